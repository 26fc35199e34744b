// Form for a distributor: its URL, and which alerts it receives.

import { ask, get, onceOf, onceOnly, post } from "../parts/api.js";
import { changes } from "../parts/merge.js";
import { Jurisdiction, Languages, Levels, isSomewhere } from "./organisation-form.js";
import { Button, Check, Choice, Field, html, useAct, useState } from "../parts/parts.js";
import { Keeps, Met, useShared } from "../parts/shared.js";
import { TABLES } from "../tables.js";
import { t } from "../parts/words.js";

const BLANK = { name: "", url: "https://", profile: null, languages: [], statuses: ["Actual"], levels: [], jurisdiction: null, acknowledges: true, enabled: true };
export const pathOf = (id) => `/v1/distributors/${encodeURIComponent(id)}`;

const isFinished = (mine) => Boolean(mine.name.trim()) && /^https?:\/\/./.test(mine.url.trim()) && mine.statuses.length > 0 && isSomewhere(mine);
const closed = (mine, authorization) => ({ ...mine, name: mine.name.trim(), url: mine.url.trim(), ...(authorization === undefined ? {} : { authorization }) });

/** `kept`: a header is stored, which no one can read. Undefined leaves it unchanged. */
function Authorization({ kept, value, onChange }) {
  return html`<div><${Field} label=${t("distributor-secret")} value=${value || ""} onChange=${(text) => onChange(text || undefined)} dir="ltr" spellcheck=${false} autocomplete="off" hint=${t(kept ? "distributor-secret-kept" : "distributor-secret-says")} wide />
    ${kept ? html`<${Check} label=${t("distributor-secret-none")} checked=${value === ""} onChange=${(on) => onChange(on ? "" : undefined)} />` : null}</div>`;
}

const Statuses = ({ value, onChange }) => html`<fieldset class="roles"><legend>${t("distributor-statuses")}</legend>${TABLES.statuses.map((one) => html`<${Check} key=${one} label=${t(one)} checked=${value.includes(one)}
  onChange=${(on) => onChange(TABLES.statuses.filter((each) => (each === one ? on : value.includes(each))))} />`)}</fieldset>`;

function Fields({ mine, put, children }) {
  const profiles = { "": t("distributor-plain"), ipaws: "IPAWS", "cap-cp": "CAP-CP" };
  return html`<div class="grid"><${Field} label=${t("distributor-name")} value=${mine.name} onChange=${put("name")} required autofocus />
      <${Field} label=${t("distributor-url")} value=${mine.url} onChange=${put("url")} type="url" required dir="ltr" spellcheck=${false} hint=${t("distributor-url-says")} /></div>
    ${children}
    <${Check} label=${t("distributor-enabled")} checked=${mine.enabled} onChange=${put("enabled")} />${mine.enabled ? null : html`<p class="note small" role="status">${t("distributor-off-says")}</p>`}
    <div><${Check} label=${t("distributor-acks")} checked=${mine.acknowledges} onChange=${put("acknowledges")} /><p class="hint">${t(mine.acknowledges ? "distributor-acks-say" : "distributor-acks-not")}</p></div>
    <${Statuses} value=${mine.statuses} onChange=${put("statuses")} />
    <${Levels} title="distributor-levels" value=${mine} set=${({ levels }) => put("levels")(levels)} />
    <${Languages} value=${mine.languages} onChange=${put("languages")} title="distributor-languages" says="distributor-languages-say" />
    <${Choice} label=${t("distributor-profile")} value=${mine.profile || ""} options=${profiles} needed onChange=${(one) => put("profile")(one || null)} />
    <${Jurisdiction} title="distributor-ground" value=${mine.jurisdiction} onChange=${put("jurisdiction")} />`;
}

export function NewDistributor({ onMade, onBack }) {
  const [mine, set] = useState(BLANK);
  const [secret, give] = useState();
  const [once] = useState(onceOnly);
  const put = (name) => (next) => set((now) => ({ ...now, [name]: typeof next === "function" ? next(now[name]) : next }));
  const act = useAct(async () => { const wanted = closed(mine, secret); onMade(await post("/v1/distributors", wanted, { once: onceOf(once, wanted) })); });
  const save = (event) => { event.preventDefault(); act.run(); };
  return html`<form class="sheet org-form" onSubmit=${save}><header><h3>${t("distributor-add")}</h3></header>
    <${Fields} mine=${mine} put=${put}><${Authorization} value=${secret} onChange=${give} /><//>
    <${Keeps} act=${act} ready=${isFinished(mine)} word="distributor-make" onBack=${onBack} /></form>`;
}

export function ChangeDistributor({ one, onDone, onBack }) {
  const [secret, give] = useState();
  const read = async () => ({ whole: (await get(pathOf(one.id))).distributor });
  /** The API has no version of a distributor, so the form reads it again just before saving. */
  const write = async (mine, _, base) => {
    const there = await read();
    if (changes(base, there.whole).length && changes(there.whole, mine).length) throw Object.assign(new Error(), { status: 412 });
    await ask("PUT", pathOf(one.id), { body: closed(mine, secret) });
  };
  const shared = useShared({ opened: { whole: one.distributor }, read, write, onDone });
  const save = (event) => { event.preventDefault(); shared.act.run(); };
  return html`<${Met} shared=${shared} /><form class="org-form change-distributor" onSubmit=${save} aria-label=${`${t("person-change")}: ${one.name}`}>
    <${Fields} mine=${shared.mine} put=${shared.put}><${Authorization} kept=${one.authorized} value=${secret} onChange=${give} /><//>
    <${Keeps} act=${shared.act} ready=${!shared.theirs && isFinished(shared.mine)} onBack=${onBack} /></form>`;
}

/** The secret, shown once, and the URL for its Acks. */
export const Secret = ({ title, says, made, onDone }) => html`<section class="sheet token" role="status"><header><h3>${t(title, { name: made.name })}</h3></header>
  <p>${t(says)}</p><code class="secret">${made.secret}</code><p class="muted">${t("distributor-receipts")} <code class="long" dir="ltr">${made.receipts}</code></p>
  <div class="actions"><${Button} onClick=${() => navigator.clipboard && navigator.clipboard.writeText(made.secret)}>${t("copy")}<//><${Button} kind="primary" onClick=${onDone}>${t("key-noted")}<//></div></section>`;
