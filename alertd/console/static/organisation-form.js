// An organisation, as whoever may changes it: each part that is theirs to change, and what somebody else changed meanwhile.

import { ask, get } from "./api.js";
import { Choose, chooseWords } from "./edit.js";
import { JurisdictionField } from "./jurisdiction.js";
import { changes, joined } from "./merge.js";
import { Button, Check, Field, Icon, Refused, html, useAct, usePolled, useState } from "./parts.js";
import { TABLES } from "./tables.js";
import { digits, languageName, t } from "./words.js";

const pathOf = (id) => `/v1/organisations/${encodeURIComponent(id)}`;

export async function read(id, signal) {
  const { body, etag } = await ask("GET", pathOf(id), { signal });
  return { ...body, etag };
}

const write = (id, organisation, etag) => ask("PUT", pathOf(id), { body: organisation, headers: { "If-Match": etag } });

/** A number where it is one; else what was typed, for the API to refuse in words. */
const amount = (text) => (/^\d+$/.test(digits(text.trim())) ? Number(digits(text)) : text.trim());

function Languages({ value, onChange }) {
  const { data } = usePolled((signal) => get("/v1/kinds/missing-child", { signal }), 0);
  const others = data ? data.languages.filter((tag) => !value.includes(tag)) : [];
  return html`<fieldset class="org-languages"><legend>${t("org-languages")}</legend><p class="hint">${t("org-languages-say")}</p>
    ${value.length ? html`<ul class="tags">${value.map((tag) => html`<li key=${tag}>${languageName(tag)}
      <button type="button" class="tiny" aria-label=${`${t("remove")}: ${languageName(tag)}`} onClick=${() => onChange(value.filter((one) => one !== tag))}><${Icon} name="close" /></button></li>`)}</ul>` : null}
    <select class="add-language" aria-label=${t("add-language")} value="" onChange=${(e) => e.target.value && onChange([...value, e.target.value])}>
      <option value="">${t("add-language")}</option>${others.map((tag) => html`<option value=${tag}>${languageName(tag)}</option>`)}</select></fieldset>`;
}

/** Which levels something is allowed for. */
const Levels = ({ value, set }) => html`<fieldset class="roles"><legend>${t("unattended-levels")}</legend>${TABLES.everyLevel.map((one) => html`<${Check} key=${one} label=${t(one)} checked=${value.levels.includes(one)}
  onChange=${(on) => set({ levels: TABLES.everyLevel.filter((each) => (each === one ? on : value.levels.includes(each))) })} />`)}</fieldset>`;

/** What is allowed once it is ticked: what that means, and how far it goes. */
function Allowed({ title, label, says, none, first, value, onChange, amounts }) {
  const set = (more) => onChange({ ...value, ...more });
  return html`<fieldset class="org-allowed"><legend>${t(title)}</legend>
    <${Check} label=${t(label)} checked=${Boolean(value)} onChange=${(on) => onChange(on ? first : null)} />
    ${value ? html`<div class="stack"><p class="note small">${t(says)}</p><${Levels} value=${value} set=${set} />
      <div class="grid">${Object.entries(amounts).map(([name, word]) => html`<${Field} key=${name} label=${t(word)} value=${String(value[name])} onChange=${(text) => set({ [name]: amount(text) })} inputmode="numeric" />`)}</div></div>`
      : html`<p class="hint">${t(none)}</p>`}</fieldset>`;
}
const UNATTENDED = {
  title: "unattended", label: "unattended-some", says: "unattended-warn", none: "always-two", amounts: { people: "unattended-people", alerts_per_hour: "unattended-hourly" },
  first: { levels: TABLES.everyLevel.slice(-1), people: 1000, alerts_per_hour: 1 },
};
const GLASS = {
  title: "glass-title", label: "glass-some", says: "break-glass-says", none: "glass-none", amounts: { after_min: "glass-minutes" },
  first: { levels: [TABLES.gravest], after_min: 10 },
};

function Jurisdiction({ value, onChange }) {
  return html`<fieldset class="org-jurisdiction"><legend>${t("jurisdiction")}</legend>
    <${Check} label=${t("everywhere")} checked=${!value} onChange=${(on) => onChange(() => (on ? null : { regions: [], polygons: [] }))} />
    ${value ? html`<${JurisdictionField} value=${value} onChange=${onChange} />` : null}</fieldset>`;
}

/** The parts of an organisation by their names, each with how it is changed. `put(name)` takes what it is to be, or how it follows from what it was. */
const PARTS = {
  name: ({ mine, put }) => html`<${Field} label=${t("org-name")} value=${mine.name} onChange=${put("name")} required />`,
  cap_sender: ({ mine, put }) => html`<${Field} label=${t("cap-sender")} value=${mine.cap_sender || ""} onChange=${(text) => put("cap_sender")(text.trim() || null)} dir="ltr" hint=${t("cap-sender-says")} />`,
  languages: ({ mine, put }) => html`<${Languages} value=${mine.languages} onChange=${put("languages")} />`,
  unattended: ({ mine, put }) => html`<${Allowed} ...${UNATTENDED} value=${mine.unattended} onChange=${put("unattended")} />`,
  break_glass: ({ mine, put }) => html`<${Allowed} ...${GLASS} value=${mine.break_glass} onChange=${put("break_glass")} />`,
  jurisdiction: ({ mine, put }) => html`<${Jurisdiction} value=${mine.jurisdiction} onChange=${put("jurisdiction")} />`,
};

const isSomewhere = ({ jurisdiction }) => !jurisdiction || jurisdiction.regions.length + jurisdiction.polygons.length > 0;
const isFinished = (mine) => Boolean(mine.name.trim()) && isSomewhere(mine) && [mine.unattended, mine.break_glass].every((one) => !one || one.levels.length);

export function OrganisationForm({ one, can, onDone, onBack }) {
  const [edit, set] = useState({ etag: one.etag, base: one.organisation, mine: one.organisation });
  const [theirs, meet] = useState(null);
  const put = (name) => (next) => set((now) => ({ ...now, mine: { ...now.mine, [name]: typeof next === "function" ? next(now.mine[name]) : next } }));
  const { busy, error, run } = useAct(async () => {
    try {
      await write(one.id, edit.mine, edit.etag);
    } catch (problem) {
      if (problem.status !== 412) throw problem;
      const there = await read(one.id);
      if (changes(there.organisation, edit.mine).length) { meet(there); return; }  // else it was I: the answer was lost
    }
    onDone();
  });
  const chosen = (choices) => {
    set({ etag: theirs.etag, base: theirs.organisation, mine: joined(edit.base, edit.mine, theirs.organisation, choices) });
    meet(null);
  };
  const save = (event) => { event.preventDefault(); run(); };
  const granted = TABLES.granted.some((name) => !can.includes(name));
  return html`${theirs ? html`<section class="sheet conflict org-conflict" role="alertdialog" aria-label=${t("conflict")}><header><h2>${t("conflict")}</h2></header>
      <p>${chooseWords(edit.base, edit.mine, theirs.organisation)}</p>
      <${Choose} base=${edit.base} mine=${edit.mine} theirs=${theirs.organisation} onChosen=${chosen} /></section>` : null}
    <form class="sheet org-form" onSubmit=${save}>
      ${Object.keys(PARTS).filter((name) => can.includes(name)).map((name) => html`<${PARTS[name]} key=${name} mine=${edit.mine} put=${put} />`)}
      ${granted ? html`<p class="muted small">${t("granted-says")}</p>` : null}
      <${Refused} error=${error} />
      <div class="actions"><${Button} onClick=${onBack}>${t("back")}<//>
        <button class="button primary" aria-busy=${busy ? "true" : null} disabled=${busy || theirs || !isFinished(edit.mine)}><span>${t("person-keep")}</span></button></div></form>`;
}
