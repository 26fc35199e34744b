// The languages spoken where an alert goes, and the texts without a translation.

import { html } from "./parts.js";
import { languageName, list, t } from "./words.js";

const COUNTRIES = new Intl.DisplayNames("en", { type: "region", fallback: "none" });

/** The main language of a country (Unicode CLDR, likely subtags); null for an unknown one. */
export function spokenIn(country) {
  if (!/^[A-Z]{2}$/.test(country) || !COUNTRIES.of(country)) return "";
  return new Intl.Locale(`und-${country}`).maximize().language;
}

/** The languages of the contacts' countries: an alert has a contact for each country. */
export const languagesOf = (contacts) => [...new Set(contacts.flatMap((one) => one.countries || []).map(spokenIn).filter(Boolean))];

/** By spoken language, the texts of a case that exist only in other languages. */
export function untranslated({ contact = [], children = [], last_seen }) {
  const texts = [["place", (last_seen || {}).place], ...children.flatMap((one) => [["clothing", one.clothing], ["marks", one.marks]])];
  const missing = (tag) => [...new Set(texts.filter(([, text]) => Object.keys(text || {}).length && !text[tag]).map(([key]) => key))];
  return languagesOf(contact).map((tag) => [tag, missing(tag)]).filter(([, keys]) => keys.length);
}

/** Shown before submission and before approval. */
export function Untranslated({ document }) {
  const found = document && document.case ? untranslated(document.case) : [];
  return found.length ? html`<div class="note is-changed" role="status">${found.map(([tag, keys]) => html`
    <p>${t("not-in", { language: languageName(tag), list: list(keys.map((key) => t(key))) })}</p>`)}</div>` : null;
}
