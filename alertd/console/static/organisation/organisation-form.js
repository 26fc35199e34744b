// Form for an organisation: the parts that this user may change, and what another person changed meanwhile.

import { ask, get } from "../parts/api.js";
import { StandingContact, isReachable } from "./contact-form.js";
import { Verification, isRuled } from "./criteria-form.js";
import { JurisdictionField } from "../area/jurisdiction.js";
import { Check, Field, Icon, html, usePolled } from "../parts/parts.js";
import { Keeps, Met, useShared } from "../parts/shared.js";
import { TABLES } from "../tables.js";
import { digits, languageName, t } from "../parts/words.js";

export const pathOf = (id) => `/v1/organisations/${encodeURIComponent(id)}`;

export async function read(id, signal) {
  const { body, etag } = await ask("GET", pathOf(id), { signal });
  return { ...body, etag };
}

const write = (id, organisation, etag) => ask("PUT", pathOf(id), { body: organisation, headers: { "If-Match": etag } });

/** A number if the input is one; otherwise the input itself, for the API to refuse with a message. */
const amount = (text) => (/^\d+$/.test(digits(text.trim())) ? Number(digits(text)) : text.trim());

export function Languages({ value, onChange, title = "org-languages", says = "org-languages-say" }) {
  const { data } = usePolled((signal) => get("/v1/kinds/missing-child", { signal }), 0);
  const others = data ? data.languages.filter((tag) => !value.includes(tag)) : [];
  return html`<fieldset class="org-languages"><legend>${t(title)}</legend><p class="hint">${t(says)}</p>
    ${value.length ? html`<ul class="tags">${value.map((tag) => html`<li key=${tag}>${languageName(tag)}
      <button type="button" class="tiny" aria-label=${`${t("remove")}: ${languageName(tag)}`} onClick=${() => onChange(value.filter((one) => one !== tag))}><${Icon} name="close" /></button></li>`)}</ul>` : null}
    <select class="add-language" aria-label=${t("add-language")} value="" onChange=${(e) => e.target.value && onChange([...value, e.target.value])}>
      <option value="">${t("add-language")}</option>${others.map((tag) => html`<option value=${tag}>${languageName(tag)}</option>`)}</select></fieldset>`;
}

/** The levels that a rule applies to. */
export const Levels = ({ value, set, title = "unattended-levels" }) => html`<fieldset class="roles"><legend>${t(title)}</legend>${TABLES.everyLevel.map((one) => html`<${Check} key=${one} label=${t(one)} checked=${value.levels.includes(one)}
  onChange=${(on) => set({ levels: TABLES.everyLevel.filter((each) => (each === one ? on : value.levels.includes(each))) })} />`)}</fieldset>`;

/** An optional permission: a box to tick, its meaning, and its limits. */
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

export function Jurisdiction({ value, onChange, title = "jurisdiction" }) {
  return html`<fieldset class="org-jurisdiction"><legend>${t(title)}</legend>
    <${Check} label=${t("everywhere")} checked=${!value} onChange=${(on) => onChange(() => (on ? null : { regions: [], polygons: [] }))} />
    ${value ? html`<${JurisdictionField} value=${value} onChange=${onChange} />` : null}</fieldset>`;
}

/** The parts of an organisation by name, each with its form. `put(name)` takes the new value, or a function from the old one. */
export const PARTS = {
  name: ({ mine, put }) => html`<${Field} label=${t("org-name")} value=${mine.name} onChange=${put("name")} required />`,
  cap_sender: ({ mine, put }) => html`<${Field} label=${t("cap-sender")} value=${mine.cap_sender || ""} onChange=${(text) => put("cap_sender")(text.trim() || null)} dir="ltr" hint=${t("cap-sender-says")} />`,
  languages: ({ mine, put }) => html`<${Languages} value=${mine.languages} onChange=${put("languages")} />`,
  unattended: ({ mine, put }) => html`<${Allowed} ...${UNATTENDED} value=${mine.unattended} onChange=${put("unattended")} />`,
  break_glass: ({ mine, put }) => html`<${Allowed} ...${GLASS} value=${mine.break_glass} onChange=${put("break_glass")} />`,
  verification: ({ mine, put }) => html`<${Verification} value=${mine.verification} onChange=${put("verification")} />`,
  contact: ({ mine, put }) => html`<${StandingContact} value=${mine.contact} onChange=${put("contact")} />`,
  jurisdiction: ({ mine, put }) => html`<${Jurisdiction} value=${mine.jurisdiction} onChange=${put("jurisdiction")} />`,
};

export const isSomewhere = ({ jurisdiction }) => !jurisdiction || jurisdiction.regions.length + jurisdiction.polygons.length > 0;
export const isFinished = (mine) => Boolean(mine.name.trim()) && isSomewhere(mine) && isRuled(mine.verification) && isReachable(mine.contact)
  && [mine.unattended, mine.break_glass].every((one) => !one || one.levels.length);

const sharedOf = ({ organisation, etag }) => ({ whole: organisation, etag });

export function OrganisationForm({ one, can, onDone, onBack }) {
  const shared = useShared({ opened: sharedOf(one), read: async () => sharedOf(await read(one.id)), write: (mine, etag) => write(one.id, mine, etag), onDone });
  const { mine, put, act, theirs } = shared;
  const save = (event) => { event.preventDefault(); act.run(); };
  const granted = TABLES.granted.some((name) => !can.includes(name));
  return html`<${Met} shared=${shared} />
    <form class="sheet org-form" onSubmit=${save}>
      ${Object.keys(PARTS).filter((name) => can.includes(name)).map((name) => html`<${PARTS[name]} key=${name} mine=${mine} put=${put} />`)}
      ${granted ? html`<p class="muted small">${t("granted-says")}</p>` : null}
      <${Keeps} act=${act} ready=${!theirs && isFinished(mine)} onBack=${onBack} /></form>`;
}
