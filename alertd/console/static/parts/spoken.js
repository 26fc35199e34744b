// What is spoken where an alert is told, and what of its words is not in it.

import { html } from "./parts.js";
import { languageName, list, t } from "./words.js";

const COUNTRIES = new Intl.DisplayNames("en", { type: "region", fallback: "none" });

/** The language that most people of a country read (Unicode CLDR, likely subtags); none for what is no country. */
export function spokenIn(country) {
  if (!/^[A-Z]{2}$/.test(country) || !COUNTRIES.of(country)) return "";
  return new Intl.Locale(`und-${country}`).maximize().language;
}

/** Those of the countries that its contacts work in: an alert has a contact for each country it is told in. */
export const languagesOf = (contacts) => [...new Set(contacts.flatMap((one) => one.countries || []).map(spokenIn).filter(Boolean))];

/** By language that is spoken there, the texts of a case that are written in another and not in it. */
export function untranslated({ contact = [], children = [], last_seen }) {
  const texts = [["place", (last_seen || {}).place], ...children.flatMap((one) => [["clothing", one.clothing], ["marks", one.marks]])];
  const missing = (tag) => [...new Set(texts.filter(([, text]) => Object.keys(text || {}).length && !text[tag]).map(([key]) => key))];
  return languagesOf(contact).map((tag) => [tag, missing(tag)]).filter(([, keys]) => keys.length);
}

/** Told before it is submitted, and before it is approved. */
export function Untranslated({ document }) {
  const found = document && document.case ? untranslated(document.case) : [];
  return found.length ? html`<div class="note is-changed" role="status">${found.map(([tag, keys]) => html`
    <p>${t("not-in", { language: languageName(tag), list: list(keys.map((key) => t(key))) })}</p>`)}</div>` : null;
}
