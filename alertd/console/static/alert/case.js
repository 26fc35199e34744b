// The case: verification, the missing child, the last sighting, contacts; beside it, a preview of the messages.

import { now } from "../parts/api.js";
import { Asks } from "./asks.js";
import { Company, Protection } from "./company.js";
import { ZONES, askedOf, checksLeft, isNoNumber, listed, previewOf } from "./draft.js";
import { Button, Check, Choice, Field, Icon, Refused, html } from "../parts/parts.js";
import { criterion } from "../parts/names.js";
import { PhotoPart } from "./photo.js";
import { Shown, usePreview } from "./messages.js";
import { spokenIn } from "../parts/spoken.js";
import { TABLES } from "../tables.js";
import { language, languageName, t } from "../parts/words.js";

const WAYS = { dial: "tel", text: "SMS", url: "https" };

const Sheet = ({ title, aside, children, className = "" }) => html`<section class="sheet ${className}">
  <header><h2>${title}</h2>${aside}</header>${children}</section>`;

function What({ draft, change, me }) {
  const allowed = me.test ? TABLES.statuses.slice(1) : TABLES.statuses;
  return html`<${Sheet} title=${t("what-for")}>
    <div class="options statuses" role="radiogroup" aria-label=${t("what-for")}>${allowed.map((one) => html`
      <label class="option of-${one} ${draft.status === one ? "is-chosen" : ""}">
        <input type="radio" name="status" checked=${draft.status === one} onChange=${() => change({ status: one })} />
        <strong>${t(one)}</strong><span>${t(`${one}-says`)}</span></label>`)}</div>
    <div class="options" role="radiogroup" aria-label=${t("loud")}>${Object.entries(TABLES.levels).map(([one, loudness]) => html`
      <label class="option ${draft.level === one ? "is-chosen" : ""}">
        <input type="radio" name="level" checked=${draft.level === one} onChange=${() => change({ level: one })} />
        <strong>${t(one)}</strong><span>${t(loudness)}</span></label>`)}</div><//>`;
}

function Checks({ draft, change, rules }) {
  const { checks } = draft;
  const set = (more) => change({ checks: { ...checks, ...more } });
  const toggle = (one, on) => set({ criteria: on ? [...checks.criteria, one] : checks.criteria.filter((other) => other !== one) });
  const left = checksLeft(draft, rules);
  const asked = askedOf(draft.level, rules);
  const codes = [...new Set([...TABLES.criteria, ...asked.all, ...asked.any, ...checks.criteria])];
  return html`<${Sheet} title=${t("checks")} aside=${html`<span class="tally ${left ? "" : "is-done"}">
      ${draft.status !== "Actual" ? t("checks-spared") : left ? t("checks-left", { n: left }) : t("checks-done")}</span>`}>
    <p class="muted small">${t("checks-why")}</p>
    <div class="grid">
      <${Field} label=${t("authority")} value=${checks.authority} onChange=${(authority) => set({ authority })} />
      <${Field} label=${t("reference")} value=${checks.reference} onChange=${(reference) => set({ reference })} />
    </div>
    <fieldset><legend>${t("criteria")}</legend><${Asks} ...${asked} />${codes.map((one) => html`
      <${Check} label=${criterion(one)} checked=${checks.criteria.includes(one)} onChange=${(on) => toggle(one, on)} />`)}</fieldset>
    <fieldset><legend class="sr-only">${t("checks")}</legend>
      <${Check} label=${t("custody")} checked=${checks.custody} onChange=${(custody) => set({ custody })} />
      <${Check} label=${t("identity")} checked=${checks.identity} onChange=${(identity) => set({ identity })} /></fieldset>
    <${Protection} draft=${draft} change=${change} />
    <div class="grid">
      <${Field} label=${t("risk")} value=${checks.risk} onChange=${(risk) => set({ risk, riskAt: now() })} />
      <${Field} label=${t("interests")} value=${checks.interests} onChange=${(interests) => set({ interests, interestsAt: now() })} />
    </div><//>`;
}

function ChildPart({ draft, change, kind, picture, take }) {
  const { child } = draft;
  const set = (more) => change({ child: { ...child, ...more } });
  const wrong = (text) => (isNoNumber(text) ? t("number-bad") : null);
  const words = (fact) => (kind ? kind.codes[fact][language] || kind.codes[fact].en : {});
  return html`<${Sheet} title=${t("child")}>
    <div class="grid">
      <${Field} label=${t("name")} value=${child.name} onChange=${(name) => set({ name })} />
      <div class="trio"><${Field} label=${t("age")} value=${child.age} error=${wrong(child.age)} onChange=${(age) => set({ age })} inputmode="numeric" />
        <${Choice} label=${t("sex")} value=${child.sex} options=${words("sex")} onChange=${(sex) => set({ sex })} /></div>
      <div class="trio"><${Choice} label=${t("hair")} value=${child.hair} options=${words("hair")} onChange=${(hair) => set({ hair })} />
        <${Choice} label=${t("eyes")} value=${child.eyes} options=${words("eyes")} onChange=${(eyes) => set({ eyes })} /></div>
      <div class="trio"><${Field} label=${t("height")} value=${child.from} error=${wrong(child.from)} onChange=${(from) => set({ from })} inputmode="numeric" />
        <${Field} label=${t("to")} value=${child.to} error=${wrong(child.to)} onChange=${(to) => set({ to })} inputmode="numeric" /></div>
      <${Field} label=${t("case-number")} value=${draft.number} onChange=${(number) => change({ number })} />
    </div>
    <${PhotoPart} draft=${draft} change=${change} picture=${picture} take=${take} /><//>`;
}

function Seen({ draft, change, kind }) {
  const { seen, clothing, marks, languages } = draft;
  const set = (more) => change({ seen: { ...seen, ...more } });
  const others = kind ? kind.languages.filter((tag) => !languages.includes(tag)) : [];
  return html`<${Sheet} title=${t("seen")}>
    <div class="grid"><${Field} label=${t("seen-at")} type="datetime-local" value=${seen.at} onChange=${(at) => set({ at })} />
      <${Field} label=${t("zone")} value=${seen.zone} onChange=${(zone) => set({ zone })} list="zones" />
      <datalist id="zones">${ZONES.map((zone) => html`<option value=${zone}></option>`)}</datalist></div>
    <h3>${t("in-words")}</h3><p class="muted small">${t("in-words-why")}</p>
    <div class="side-by-side">${languages.map((tag) => html`<div class="column" key=${tag}>
      <p class="column-head">${languageName(tag)}${languages.length > 1 ? html`<button type="button" class="tiny" aria-label=${`${t("remove")}: ${languageName(tag)}`}
        onClick=${() => change({ languages: languages.filter((one) => one !== tag) })}><${Icon} name="close" /></button>` : null}</p>
      <${Field} label=${t("place")} value=${seen.place[tag] || ""} lang=${tag} dir="auto" onChange=${(text) => set({ place: { ...seen.place, [tag]: text } })} />
      <${Field} label=${t("clothing")} value=${clothing[tag] || ""} lang=${tag} dir="auto" onChange=${(text) => change({ clothing: { ...clothing, [tag]: text } })} />
      <${Field} label=${t("marks")} value=${marks[tag] || ""} lang=${tag} dir="auto" onChange=${(text) => change({ marks: { ...marks, [tag]: text } })} />
    </div>`)}</div>
    ${others.length ? html`<select class="add-language" aria-label=${t("add-language")} value="" onChange=${(e) => e.target.value && change({ languages: [...languages, e.target.value] })}>
      <option value="">${t("add-language")}</option>${others.map((tag) => html`<option value=${tag}>${languageName(tag)}</option>`)}</select>` : null}<//>`;
}

/** If an author names a country, its language gets a column too, because its people read the alert. */
const alsoIn = (countries, kind) => ({ languages }) => ({
  languages: [...new Set([...languages, ...listed(countries).map(spokenIn).filter((tag) => kind && kind.languages.includes(tag))])],
});

function Contacts({ draft, change, kind }) {
  const { contacts } = draft;
  const set = (i, more) => change({ contacts: contacts.map((one, at) => (at === i ? { ...one, ...more } : one)) });
  return html`<${Sheet} title=${t("contact")}>${contacts.map((one, i) => html`<div class="contact">
      <div class="field"><label for=${`way${i}`}>${t("by-channels")}</label><select id=${`way${i}`} value=${one.way} onChange=${(e) => set(i, { way: e.target.value })}>
        ${Object.entries(WAYS).map(([way, word]) => html`<option value=${way} selected=${way === one.way}>${word}</option>`)}</select></div>
      <${Field} label=${one.way === "url" ? "https://" : t("number")} value=${one.value} onChange=${(value) => set(i, { value })} />
      ${one.way === "url" ? null : html`<${Field} label=${t("countries")} value=${one.countries} onChange=${(countries) => { set(i, { countries }); change(alsoIn(countries, kind)); }} />`}
      ${contacts.length > 1 ? html`<button type="button" class="tiny" aria-label=${t("remove")} onClick=${() => change({ contacts: contacts.filter((_, at) => at !== i) })}><${Icon} name="close" /></button>` : null}
    </div>`)}
    <${Button} icon="plus" kind="quiet" onClick=${() => change({ contacts: [...contacts, { way: "dial", value: "", countries: "" }] })}>${t("add-contact")}<//><//>`;
}

function Preview({ draft, rules }) {
  const document = previewOf(draft);
  const { preview, error, old } = usePreview(document);
  const left = checksLeft(draft, rules);
  return html`<aside class="case-preview"><h2>${t("preview")}</h2>
    ${preview && document ? html`<${Shown} preview=${preview} only=${draft.languages.slice(0, 1)} old=${old} />` : null}
    ${!document || (left && !preview) ? html`<div class="phone is-empty"><p>${t("preview-wait")}</p>${left ? html`<p class="small">${t("checks-left", { n: left })}</p>` : null}</div>` : null}
    ${document && !left && error ? html`<${Refused} error=${error} />` : null}</aside>`;
}

export const CaseStep = (shown) => html`<div class="case-step">
  <div class="case-form"><${What} ...${shown} /><${Checks} ...${shown} /><${ChildPart} ...${shown} /><${Seen} ...${shown} /><${Company} ...${shown} /><${Contacts} ...${shown} /></div>
  <${Preview} ...${shown} /></div>`;
