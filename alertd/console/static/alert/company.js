// Protection of the child, and the people and vehicles that the child may be with.

import { Button, Check, Choice, Field, Icon, html } from "../parts/parts.js";
import { TABLES } from "../tables.js";
import { language, languageName, t } from "../parts/words.js";


/** With protection, the alert shows only age, sex, place and contact, even if other fields are filled in. */
export function Protection({ draft, change }) {
  const { protection } = draft;
  const toggle = (one, on) => change({ protection: on ? [...protection, one] : protection.filter((other) => other !== one) });
  return html`<fieldset><legend>${t("protection")}</legend>
    ${TABLES.protection.map((one) => html`<${Check} label=${t(`protection-${one}`)} checked=${protection.includes(one)} onChange=${(on) => toggle(one, on)} />`)}
    ${protection.length ? html`<p class="note" role="status">${t("protection-says")}</p>` : null}</fieldset>`;
}

/** The description of each in every language of the alert, and the legal basis for publishing it. */
const Described = ({ one, set, languages }) => html`
  ${languages.map((tag) => html`<${Field} label=${`${t("looks")}: ${languageName(tag)}`} value=${one.description[tag] || ""} lang=${tag} dir="auto"
    onChange=${(text) => set({ description: { ...one.description, [tag]: text } })} />`)}
  <${Field} label=${t("legal-basis")} value=${one.basis} onChange=${(basis) => set({ basis })} />`;

const Person = ({ one, set, words }) => html`
  <${Field} label=${t("name")} value=${one.name} onChange=${(name_) => set({ name: name_ })} />
  <${Choice} label=${t("sex")} value=${one.sex} options=${words} onChange=${(sex) => set({ sex })} />`;

const Vehicle = ({ one, set }) => html`
  <${Field} label=${t("plate")} value=${one.plate} onChange=${(plate) => set({ plate })} autocapitalize="characters" dir="ltr" />
  <${Field} label=${t("plate-country")} value=${one.country} onChange=${(country) => set({ country })} maxlength="2" dir="ltr" />`;

function Several({ list, put, empty, add, title, part, languages, words }) {
  const set = (i, more) => put(list.map((one, at) => (at === i ? { ...one, ...more } : one)));
  return html`${list.map((one, i) => html`<fieldset class="beside"><legend>${title} ${i + 1}</legend>
      <div class="grid"><${part} one=${one} set=${(more) => set(i, more)} words=${words} />
        <${Described} one=${one} set=${(more) => set(i, more)} languages=${languages} /></div>
      <button type="button" class="tiny" aria-label=${`${t("remove")}: ${title} ${i + 1}`} onClick=${() => put(list.filter((_, at) => at !== i))}><${Icon} name="close" /></button>
    </fieldset>`)}
    <${Button} icon="plus" kind="quiet" onClick=${() => put([...list, empty])}>${add}<//>`;
}

export function Company({ draft, change, kind }) {
  const { sought, vehicles, languages } = draft;
  const person = kind ? kind.codes.person[language] || kind.codes.person.en : {};
  return html`<section class="sheet"><header><h2>${t("beside")}</h2></header>
    ${draft.protection.length ? html`<p class="muted small">${t("protection-says")}</p>` : html`
      <p class="muted small">${t("beside-why")}</p>
      <${Several} list=${vehicles} put=${(list) => change({ vehicles: list })} empty=${{ plate: "", country: "", description: {}, basis: "" }}
        add=${t("add-vehicle")} title=${t("vehicle")} part=${Vehicle} languages=${languages} />
      <${Several} list=${sought} put=${(list) => change({ sought: list })} empty=${{ name: "", sex: "", description: {}, basis: "" }}
        add=${t("add-sought")} title=${t("sought")} part=${Person} languages=${languages} words=${person} />`}</section>`;
}
