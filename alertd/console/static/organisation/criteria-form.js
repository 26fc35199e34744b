// Form for what cases must meet before anyone is notified, by level.

import { criterion } from "../parts/names.js";
import { Check, Choice, Field, html, useState } from "../parts/parts.js";
import { TABLES } from "../tables.js";
import { list, t } from "../parts/words.js";

const RULE = { all_of: [], any_of: [], at_least: 1, authorities: [], custody_checked: true };
const CRITERIA = Object.keys(TABLES.criterion.en);
/** A criterion is not required, always required, or one of several. */
const LISTS = { all_of: "asks-always", any_of: "asks-several" };
const wayOf = (rule, code) => Object.keys(LISTS).find((name) => rule[name].includes(code)) || "";
/** At the gravest level the service itself requires some criteria, which the organisation cannot choose. */
const chosenAt = (level, rule) => CRITERIA.filter((code) => level !== TABLES.gravest || !TABLES.criteria.includes(code) || wayOf(rule, code));
const isAsked = (rule) => Object.keys(LISTS).some((name) => rule[name].length);

/** The rule with one criterion changed; the required number never exceeds the number of criteria. */
function asking(rule, code, way) {
  const lists = Object.fromEntries(Object.keys(LISTS).map((name) => [name, CRITERIA.filter((one) => (one === code ? name === way : rule[name].includes(one)))]));
  return { ...rule, ...lists, at_least: Math.max(1, Math.min(rule.at_least, lists.any_of.length)) };
}

const linesOf = (text) => text.split("\n").map((line) => line.trim()).filter(Boolean);

/** Names as typed, one a line. */
function Authorities({ value, set }) {
  const [text, type] = useState(value.join("\n"));
  return html`<${Field} label=${t("asks-authorities")} type="area" value=${text} onChange=${(next) => { type(next); set(linesOf(next)); }} hint=${t("asks-authorities-say")} />`;
}

function Rule({ rule, level, set }) {
  const several = rule.any_of.length;
  const ways = { "": t("asks-not"), ...Object.fromEntries(Object.entries(LISTS).map(([name, word]) => [name, t(word)])) };
  return html`<div class="stack">
    <div class="grid">${chosenAt(level, rule).map((code) => html`<${Choice} key=${code} label=${criterion(code)} value=${wayOf(rule, code)} options=${ways} needed
      onChange=${(way) => set(asking(rule, code, way))} />`)}</div>
    ${isAsked(rule) ? null : html`<p class="note small" role="status">${t("asks-choose")}</p>`}
    ${several > 1 ? html`<${Choice} label=${t("asks-least")} needed value=${String(rule.at_least)} options=${Object.fromEntries(rule.any_of.map((_, i) => [String(i + 1), t("asks-least-n", { n: i + 1, of: several })]))}
      onChange=${(n) => set({ ...rule, at_least: Number(n) })} />` : null}
    <${Authorities} value=${rule.authorities} set=${(authorities) => set({ ...rule, authorities })} />
    ${level === TABLES.gravest ? html`<p class="hint">${t("asks-custody-always")}</p>`
      : html`<${Check} label=${t("asks-custody")} checked=${rule.custody_checked} onChange=${(custody_checked) => set({ ...rule, custody_checked })} />`}</div>`;
}

export const isRuled = (rules) => Object.values(rules).every(isAsked);

export function Verification({ value, onChange }) {
  const put = (level) => (rule) => onChange((before) => Object.fromEntries(Object.entries({ ...before, [level]: rule }).filter(([, one]) => one)));
  return html`<fieldset class="org-allowed org-levels"><legend>${t("org-verification")}</legend><p class="hint">${t("asks-says")}</p>
    ${Object.keys(TABLES.levels).map((level) => html`<div key=${level} class="org-level" data-rule=${level}>
      <${Check} label=${t("asks-more", { level: t(level) })} checked=${Boolean(value[level])} onChange=${(on) => put(level)(on ? RULE : null)} />
      ${level === TABLES.gravest ? html`<p class="hint">${t("asks-gravest", { list: list(TABLES.criteria.map(criterion)) })}</p>` : null}
      ${value[level] ? html`<${Rule} rule=${value[level]} level=${level} set=${put(level)} />` : null}</div>`)}</fieldset>`;
}
