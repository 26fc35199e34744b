// Form for contacts without a voice call. alertd adds them to every alert of the organisation that has none.

import { listed } from "../alert/draft.js";
import { Button, Choice, Field, Icon, html, useState } from "../parts/parts.js";
import { t } from "../parts/words.js";

/** By document field: its label, and the label of its value. */
const WAYS = { text: ["contact-text", "number"], url: ["contact-url", "contact-address"], dial: ["contact-dial", "number"] };
const EMPTY = { countries: [], role: "deaf", dial: null, text: "sms:", url: null };

const wayOf = (one) => Object.keys(WAYS).find((way) => one[way] !== null && one[way] !== undefined);
const bare = (one) => one[wayOf(one)].replace(/^sms:/, "");
/** A number to dial is a relay service's, for people who cannot hear. */
const written = ({ countries, role }, way, value) => ({
  countries: way === "url" ? [] : countries, role: way === "dial" ? EMPTY.role : role, dial: null, text: null, url: null,
  [way]: way === "text" ? `sms:${value}` : way === "url" ? value.trim() : value,
});

function Countries({ value, set }) {
  const [text, type] = useState(value.join(", "));
  return html`<${Field} label=${t("countries")} value=${text} onChange=${(next) => { type(next); set(listed(next)); }} dir="ltr" spellcheck=${false} />`;
}

function Way({ one, n, set, drop }) {
  const way = wayOf(one);
  const words = Object.fromEntries(Object.entries(WAYS).map(([name, [word]]) => [name, t(word)]));
  const roles = { "": t("contact-all"), deaf: t("contact-deaf"), abroad: t("contact-abroad") };
  return html`<fieldset class="beside org-way"><legend>${t("org-way", { n: String(n + 1) })}</legend><button type="button" class="tiny" aria-label=${`${t("remove")}: ${bare(one) || words[way]}`} onClick=${drop}><${Icon} name="close" /></button>
    <div class="grid"><${Choice} label=${t("by-channels")} value=${way} options=${words} needed onChange=${(next) => set(written(one, next, bare(one)))} />
      <${Field} label=${t(WAYS[way][1])} value=${bare(one)} onChange=${(value) => set(written(one, way, value))} dir="ltr" spellcheck=${false} inputmode=${way === "url" ? "url" : "tel"} hint=${t(`${WAYS[way][0]}-says`)} required />
      ${way === "url" ? null : html`<${Countries} value=${one.countries || []} set=${(countries) => set({ ...one, countries })} />`}
      ${way === "dial" ? null : html`<${Choice} label=${t("contact-for")} value=${one.role || ""} options=${roles} needed onChange=${(role) => set({ ...one, role: role || null })} />`}</div></fieldset>`;
}

export const isReachable = (contacts) => contacts.every((one) => bare(one).trim());

export function StandingContact({ value, onChange }) {
  return html`<fieldset class="org-contact"><legend>${t("org-contact")}</legend><p class="hint">${t("org-contact-says")}</p>
    ${value.map((one, i) => html`<${Way} key=${i} one=${one} n=${i} set=${(next) => onChange(value.map((each, at) => (at === i ? next : each)))} drop=${() => onChange(value.filter((_, at) => at !== i))} />`)}
    ${value.length ? null : html`<p class="hint">${t("org-contact-none")}</p>`}
    <div><${Button} kind="quiet" icon="plus" onClick=${() => onChange([...value, EMPTY])}>${t("org-way-add")}<//></div></fieldset>`;
}
