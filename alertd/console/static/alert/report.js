// The report of an alert: recipients, speed, unsubscriptions, outcome. The API counts, this file words it.

import { get } from "../parts/api.js";
import { Shares } from "./course.js";
import { Button, Icon, Kept, Refused, counted, html, saveFile, useAct, useState } from "../parts/parts.js";
import { TABLES } from "../tables.js";
import { known, moment, number, personOf, span, t } from "../parts/words.js";

const { told: TOLD, lost: LOST, left: LEFT } = TABLES.references;

const sum = (counts, names) => names.reduce((n, name) => n + (counts[name] || 0), 0);
const all = (counts) => sum(counts, Object.keys(counts));
/** Sums a figure over all versions. */
const over = (versions, of) => versions.reduce((n, one) => n + of(one), 0);
const ofChannels = (names) => (one) => Object.values(one.channels).reduce((n, counts) => n + sum(counts, names), 0);
/** The slowest of several speeds; null if there is none. */
const slowest = (speeds) => (speeds.length ? Math.max(...speeds.map((one) => one.last_s)) : null);

const Figure = ({ n, name }) => html`<li><b>${number(n)}</b><span>${name}</span></li>`;

/** One table cell; `data-name` lets narrow screens stack the cells. */
const Cell = ({ name, children }) => html`<td data-name=${name}><span>${children}</span></td>`;
function Row({ channel, one }) {
  const counts = one.channels[channel];
  const [handed, arrived] = [one.handed_over[channel], one.delivered[channel]];
  return html`<tr><th scope="row"><${Icon} name=${channel} />${t(channel)}</th>
    <${Cell} name=${t("report-handed")}><b>${number(sum(counts, TOLD))}</b> <span class="muted">${t("of", { n: counts.targeted || 0 })}</span><//>
    <${Cell} name=${t("report-half")}>${handed ? span(handed.p50_s, 1) : "–"}<//>
    <${Cell} name=${t("report-last")}>${handed ? span(handed.last_s, 1) : "–"}<//>
    <${Cell} name=${t("delivered")}>${arrived ? html`<b>${number(arrived.messages)}</b> <span class="muted">${t("report-after", { time: span(arrived.p50_s, 1) })}</span>` : "–"}<//>
    <${Cell} name=${t("report-lost")}>${number(sum(counts, LOST))}<//>
    <${Cell} name=${t("report-opened")}>${number(one.seen[channel] || 0)}<//>
    <${Cell} name=${t("report-left")}>${number(one.left[channel] || 0)}<//></tr>`;
}

/** The occasions that are decisions: the approval of the alert or of an update. */
const DECIDED = ["alert", "update"];
function whoOf({ occasion, by, by_org, approver, approver_org }, own) {
  const approved = personOf(approver, approver_org, own);
  return DECIDED.includes(occasion) && approver ? t("approved-by", { who: approved }) : html`<bdi>${personOf(by, by_org, own) || approved || "–"}</bdi>`;
}

function Version({ one, own }) {
  const name = t(`report-of-${one.occasion}`);
  const channels = Object.keys(one.channels).filter((channel) => one.channels[channel].targeted);
  const heads = ["report-handed", "report-half", "report-last", "delivered", "report-lost", "report-opened", "report-left"];
  return html`<section class="report-version"><h4>${name}${one.code && known(one.code) ? html`: ${t(one.code)}` : null}</h4>
    <p class="muted small"><time datetime=${one.began}>${moment(one.began)}</time> · ${whoOf(one, own)} · ${counted(one.people, "people")}</p>
    ${channels.length ? html`<div class="scrolls" tabindex="0" role="region" aria-label=${name}><table class="figures"><thead><tr><th>${t("report-channel")}</th>${heads.map((head) => html`<th>${t(head)}</th>`)}</tr></thead>
      <tbody>${channels.map((channel) => html`<${Row} key=${channel} channel=${channel} one=${one} />`)}</tbody></table></div>` : html`<p class="muted small">${t("report-nobody")}</p>`}</section>`;
}

/** The summary in words: number of people, and time until the last message. */
function Summary({ report }) {
  const [first] = report.versions;
  const last = first ? slowest(Object.values(first.handed_over)) : null;
  const left = over(report.versions, ofChannels(LEFT));
  return html`<p class="report-words">${report.people ? t("report-told", { people: counted(report.people, "people") }) : t("report-nobody")}${last === null ? "" : ` ${t(left ? "report-so-far" : "report-fast", { time: span(last, 1) })}`}${left ? ` ${t("report-to-go", { n: left })}` : ""}</p>
    <dl class="report-outcome"><div><dt>${t("outcome-inside")}</dt><dd>${report.outcome || t("report-open")}</dd></div></dl>`;
}

function Report({ report, own }) {
  const { versions, regions } = report;
  return html`<div class="report"><${Summary} report=${report} />
    <ul class="report-figures"><${Figure} n=${report.people} name=${t("report-people")} />
      <${Figure} n=${over(versions, ofChannels(TOLD))} name=${t("report-messages")} />
      <${Figure} n=${over(versions, ofChannels(LOST))} name=${t("report-lost")} />
      <${Figure} n=${over(versions, (one) => all(one.seen))} name=${t("report-opened")} />
      <${Figure} n=${over(versions, (one) => all(one.left))} name=${t("report-left-link")} />
      <${Figure} n=${over(versions, (one) => all(one.opted_out))} name=${t("report-opted-out")} /></ul>
    ${versions.map((one) => html`<${Version} key=${one.id} one=${one} own=${own} />`)}
    ${Object.keys(regions).length ? html`<section><h4>${t("where-people")}</h4><${Shares} regions=${regions} known=${[]} /></section>` : null}
    ${report.whole ? null : html`<p class="note small">${t("history-cut")}</p>`}</div>`;
}

export function ReportPart({ alert }) {
  const [report, tell] = useState(null);
  const { busy, error, run } = useAct(async (signal) => tell(await get(`/v1/alerts/${alert.id}/report`, { signal })));
  const act = report ? html`<div class="actions"><${Button} onClick=${() => saveFile(`report-${alert.id}.json`, report)}>${t("report-save")}<//>
      <${Button} kind="quiet" onClick=${() => tell(null)}>${t("report-hide")}<//></div>`
    : html`<${Button} busy=${busy} onClick=${() => run()}>${t("report-show")}<//>`;
  return html`<${Kept} title=${t("report")} says=${t("report-says")} act=${act}><${Refused} error=${error} />${report ? html`<${Report} report=${report} own=${alert.author_org} />` : null}<//>`;
}
