// Imports a region library from a file: first a test with a report, then the import, with progress.

import { get, handIn, pause } from "../parts/api.js";
import { bareName } from "../parts/names.js";
import { Button, Check, Choice, Field, Icon, Refused, html, retried, useAct, useEffect, useState, useTyped } from "../parts/parts.js";
import { digits, number, t } from "../parts/words.js";

const KINDS = ["city", "county", "province", "country"];
const STEPS = ["uploading", "reading", "checking", "trying", "storing"];
/** The API's format name by file ending. */
const FORMATS = { geojson: "geojson", json: "geojson", topojson: "topojson", gpkg: "gpkg", fgb: "fgb", zip: "zip" };
const LOOK_MS = 700;
/** Number of entries listed from the report; the rest is one count. */
const MOST_LISTED = 12;

/** Format and default name of a file; null for an unknown format. */
function fileOf({ name }) {
  const [, stem, ending, packed] = /^(.*?)\.([^.]+)(\.gz)?$/.exec(name.toLowerCase()) || [];
  const format = FORMATS[ending] && (ending !== "zip" || !packed) ? FORMATS[ending] + (packed || "") : null;
  return { format, name: bareName(stem || "").slice(0, 64) };
}

const BLANK = {
  name: "", kind: "city", code_field: "", name_field: "", parent_field: "", country: "", parent_digits: "", exclaves: "", layer: "", encoding: "",
  source: "", licence: "", guess_parents: false, replace: false,
};

/** The query for the API; empty fields are left out. */
function queryOf(form, file, dry) {
  const said = { ...form, parent_digits: digits(form.parent_digits), country: form.country.trim().toUpperCase(), format: fileOf(file).format, dry_run: dry };
  return new URLSearchParams(Object.entries(said).filter(([, value]) => value !== "" && value !== false));
}

const FIELDS = {
  code_field: { required: true, dir: "auto" }, name_field: { required: true, dir: "auto" }, parent_field: { dir: "auto" }, country: { maxlength: 2, dir: "ltr" },
};
const MORE = { parent_digits: { inputmode: "numeric" }, layer: {}, encoding: { dir: "ltr" }, exclaves: { dir: "ltr" }, source: {}, licence: {} };
const wordOf = (name) => t(`import-${name.replaceAll("_", "-")}`);

function Form({ form, put, file, choose }) {
  const field = ([name, rest]) => html`<${Field} key=${name} label=${wordOf(name)} value=${form[name]} onChange=${(value) => put({ [name]: value })} ...${rest} />`;
  const chosen = (e) => { if (e.target.files[0]) choose(e.target.files[0]); e.target.value = ""; };
  const bad = file && !fileOf(file).format;
  return html`<label class="button plain file"><${Icon} name="plus" /><span>${file ? file.name : t("import-file")}</span>
      <input type="file" accept=".json,.geojson,.topojson,.gpkg,.fgb,.zip,.gz" onChange=${chosen} /></label>
    ${bad ? html`<p class="fault" role="alert">${t("import-formats")}</p>` : html`<p class="hint">${t("import-formats")}</p>`}
    <${Choice} label=${t("region-kind")} value=${form.kind} options=${Object.fromEntries(KINDS.map((one) => [one, t(`kind-${one}`)]))} onChange=${(kind) => put({ kind })} needed />
    ${Object.entries(FIELDS).map(field)}
    <${Field} label=${t("import-name")} value=${form.name} onChange=${(name) => put({ name })} hint=${t("import-name-says")} required dir="ltr" />
    <details class="more"><summary>${t("import-more")}</summary><div class="stack">
      ${["guess_parents", "replace"].map((name) => html`<${Check} key=${name} label=${wordOf(name)} checked=${form[name]} onChange=${(on) => put({ [name]: on })} />`)}
      ${Object.entries(MORE).map(field)}</div></details>`;
}

/** The progress: the steps, and for the upload its share. */
function Steps({ at, part, regions, dry }) {
  const steps = STEPS.filter((one) => !dry || one !== "storing");
  const now = steps.indexOf(at);
  return html`<ol class="importing" aria-live="polite">${steps.map((one, i) => html`<li key=${one} class=${i < now ? "is-over" : i === now ? "is-now" : ""}>
    <span>${t(`importing-${one}`)}${i === now && regions ? ` · ${number(regions)}` : ""}</span>
    ${i === now ? html`<progress aria-label=${t(`importing-${one}`)} max="1" value=${one === "uploading" ? part : null}></progress>` : i < now ? html`<${Icon} name="check" />` : null}</li>`)}</ol>`;
}

const Line = ({ name, children }) => html`<div><dt>${t(name)}</dt><dd>${children}</dd></div>`;

function Listed({ name, all, count, each = (one) => one }) {
  if (!count) return null;
  const rest = count - Math.min(all.length, MOST_LISTED);
  return html`<${Line} name=${name}>${number(count)}<ul class="listed">${all.slice(0, MOST_LISTED).map((one) => html`<li>${each(one)}</li>`)}
    ${rest ? html`<li class="muted">${t("import-rest", { n: rest })}</li>` : null}</ul><//>`;
}

const Count = ({ name, n }) => (n ? html`<${Line} name=${name}>${number(n)}<//>` : null);

const replacedBy = ({ code, was, now, shared }) => t("import-replaced-one", { code, was, now, share: number(Math.round(shared * 100)) });

function Report({ report }) {
  const { counts, codes } = report;
  return html`<section class="import-report"><p class="note is-good" role="status">${t(report.dry_run ? "import-tried" : "import-done", { n: report.regions })}</p>
    <dl><${Line} name="regions">${number(report.regions)}<//><${Line} name="import-codes"><span dir="ltr">${codes.join(" … ")}</span><//>
      ${report.reprojected_from ? html`<${Line} name="import-reprojected"><span dir="ltr">${report.reprojected_from}</span><//>` : null}
      <${Count} name="import-fronted" n=${report.country_put_before_codes} />
      <${Count} name="import-by-ground" n=${report.put_below_by_ground} /><${Count} name="import-parentless" n=${report.without_parent} />
      <${Listed} name="import-mended" all=${report.repaired} count=${counts.repaired} /><${Listed} name="import-renamed" all=${report.renamed} count=${counts.renamed} />
      <${Listed} name="import-replaced" all=${report.replaced} count=${counts.replaced} each=${replacedBy} /><${Listed} name="import-covered" all=${report.covered} count=${counts.covered} each=${(one) => `${one.code} ${one.name} · ${one.by}`} /><${Listed} name="import-gone" all=${report.gone} count=${counts.gone} /></dl>
    ${report.assumed_lon_lat ? html`<p class="note small">${t("import-assumed")}</p>` : null}
    ${counts.gone ? html`<p class="note small">${t("import-gone-says")}</p>` : null}
    ${report.dry_run ? null : html`<p class="muted small">${t("import-elsewhere")}</p>`}</section>`;
}

/** Why the file was refused: the API's errors, with the row of single features. */
const KeptOut = ({ told }) => html`<section class="refused" role="alert"><${Icon} name="warn" /><div><strong>${t(`import-${told.state}`)}</strong><p>${told.why}</p>
  <ul>${told.problems.slice(0, MOST_LISTED).map((one) => html`<li><b>${t("import-row", { n: one.row })}</b>${one.code ? html` <code>${one.code}</code>` : null} ${one.what}</li>`)}
    ${told.faults > MOST_LISTED ? html`<li>${t("import-rest", { n: told.faults - MOST_LISTED })}</li>` : null}</ul></div></section>`;

/** Follows a running import, also one that began before a page reload. */
function useImport() {
  const [id, remember] = useTyped("import");
  const [told, tell] = useState(null);
  const [part, move] = useState(null);
  const follow = useAct(async (signal, one) => {
    while (!signal.aborted) {
      const now = await get(`/v1/regions/imports/${one}`, { signal });
      tell(now);
      if (now.state !== "running") { remember(""); return; }
      await pause(LOOK_MS, signal);
    }
  });
  useEffect(() => { if (id) follow.run(id); }, []);
  const begin = useAct(async (signal, file, query) => {
    tell(null);
    move(0);
    try {
      const begun = await handIn(`/v1/regions/import?${query}`, file, move, signal);
      remember(begun.id);
      tell(begun);
      follow.run(begun.id);
    } finally { move(null); }
  });
  const again = () => follow.run(id);
  return { told, part, begin, error: begin.error || (follow.error && retried(follow.error)), lost: follow.error && id ? again : null, busy: begin.busy || follow.busy, forget: () => tell(null) };
}

export function ImportPanel({ onDone, onBack }) {
  const [form, set] = useState(BLANK);
  const [file, choose] = useState(null);
  const { told, part, begin, error, lost, busy, forget } = useImport();
  const put = (more) => { forget(); set((before) => ({ ...before, ...more })); };
  const take = (one) => { forget(); choose(one); set((before) => ({ ...before, name: before.name || fileOf(one).name })); };
  const whole = file && fileOf(file).format && form.code_field.trim() && form.name_field.trim() && form.name.trim();
  const run = (dry) => begin.run(file, queryOf(form, file, dry));
  const tried = told && told.state === "done" && told.dry_run;
  const done = told && told.state === "done" && !told.dry_run;
  useEffect(() => { if (done) onDone(); }, [done]);
  const submit = (event) => { event.preventDefault(); run(!tried); };
  const back = tried ? forget : onBack;
  return html`<form class="new-region import" onSubmit=${submit}><h2>${t("import-open")}</h2>
    ${told && (told.state === "refused" || told.state === "stored") ? html`<${KeptOut} told=${told} />` : null}<${Refused} error=${error} />
    ${busy ? html`<${Steps} at=${part !== null || !told ? "uploading" : told.step} part=${part} regions=${told && told.regions} dry=${told ? told.dry_run : !tried} />` : null}
    ${tried || done ? html`<${Report} report=${told.report} />` : busy ? null : html`<${Form} form=${form} put=${put} file=${file} choose=${take} />`}
    ${busy ? null : html`<div class="actions"><${Button} onClick=${back}>${t("back")}<//>
      ${lost ? html`<${Button} onClick=${lost}>${t("try-again")}<//>` : null}
      ${done ? null : html`<button class="button primary" disabled=${!whole}><span>${tried ? t("import-do", { n: told.report.regions }) : t("import-try")}</span></button>`}</div>`}</form>`;
}
