// What happened to one alert: acts with person and time, speed of sending, places.

import { get, now } from "../parts/api.js";
import { isOver, totals } from "./channels.js";
import { Ground } from "../area/ground.js";
import { Refused, html, usePolled, useState } from "../parts/parts.js";
import { mostFirst, sized, useNames } from "../area/reach.js";
import { TABLES } from "../tables.js";
import { clock, date, number, personOf, span, t } from "../parts/words.js";

/** Number of regions listed; the others are one count. */
const SHOWN_REGIONS = 7;
/** Pause between two fetches of a curve. A slow answer makes it longer, so that a large ledger is not read all the time. */
const AGAIN_MS = 1500;
const AGAIN_TIMES = 20;

/** How an act is drawn: approvals and ends stand out, all others are plain. */
const LOOKS = { "alert.approve": "approved", "alert.cancel": "ended", "alert.stand-down": "ended", "alert.reject": "ended", "alert.purge": "ended", "alert.close": "ended", "alert.found": "ended" };
const wordOf = ({ act, state, object }) => {
  if (act === "alert.create" && state === "draft") return t("act-draft");
  return t(act === "alert.approve" && object.includes("-") ? "act-update-approved" : `act-${act}`);  // the id of a later version has a number at its end
};
const later = (iso, s) => new Date(new Date(iso).getTime() + s * 1000).toISOString();

/** Acts, accepted messages and the end, in order of time. */
function happened(alert, acts, progress) {
  const found = acts.map((one) => ({ at: one.at, what: wordOf(one), by: personOf(one.by, one.by_org, alert.author_org), look: LOOKS[one.act] || "", doubt: one.outcome === "done" ? "" : t(`doubt-${one.outcome}`) }));
  if (progress && progress.first_send_s !== null) {
    found.push({ at: later(alert.approved, progress.first_send_s), what: t("first-over"), look: "sending" });
    found.push({ at: later(alert.approved, progress.last_send_s), what: t(isOver(progress) && !totals(progress).left ? "last-over" : "latest-over"), look: "sending" });
  }
  found.sort((a, b) => (a.at < b.at ? -1 : 1));
  const past = new Date(alert.expires) <= now();
  return TABLES.acts.close.includes(alert.state) ? [...found, { at: alert.expires, what: t(past ? "has-ended" : "will-end"), look: past ? "ended" : "to-come" }] : found;
}

/** `held`: the legal hold, which does not change the alert's revision. */
export function Timeline({ alert, progress, held }) {
  const { data, error } = usePolled((signal) => get(`/v1/alerts/${alert.id}/history`, { signal }), 0, `${alert.etag} ${(progress || alert).state} ${(held && held.at) || ""}`);
  const all = happened(alert, data ? data.acts : [], progress);
  const isNewDay = (i) => i === 0 || date(all[i].at) !== date(all[i - 1].at);
  return html`<section class="panel"><header><h2>${t("timeline")}</h2></header>
    <${Refused} error=${error} />
    ${data && !data.whole ? html`<p class="note small">${t("history-cut")}</p>` : null}
    <ol class="times">${all.map((one, i) => html`<li class=${one.look ? `is-${one.look}` : ""}>
      <time datetime=${one.at}>${clock(one.at)}${isNewDay(i) ? html`<small>${date(one.at)}</small>` : null}</time><i></i>
      <span><strong>${one.what}</strong>${one.by ? html`<span class="who"><bdi>${one.by}</bdi></span>` : null}${one.doubt ? html`<span class="doubt">${one.doubt}</span>` : null}</span></li>`)}</ol></section>`;
}

/** Adds the curves of several channels; a shorter list continues with its last number. */
function summed(lists) {
  const length = Math.max(0, ...lists.map((list) => list.length));
  return Array.from({ length }, (_, i) => lists.reduce((n, list) => n + (list.length ? list[Math.min(i, list.length - 1)] : 0), 0));
}

/** Starts from zero at the approval; x and y run to 1,000. */
function pathOf(counts, most) {
  const x = (i) => ((i / counts.length) * 1000).toFixed(1);
  const y = (n) => (1000 - (n / most) * 1000).toFixed(1);
  return `M0 1000${counts.map((n, i) => `L${x(i + 1)} ${y(n)}`).join("")}`;
}

const useCurve = (alert, over) =>
  usePolled((signal) => get(`/v1/alerts/${alert.id}/curve`, { signal }), over ? 0 : (took) => AGAIN_MS + took * AGAIN_TIMES, `${alert.id} ${over}`);

const halfAt = (counts, step, most) => (counts.findIndex((n) => n >= most / 2) + 1) * step;

export function Curve({ alert, progress }) {
  const over = isOver(progress) && !totals(progress).left;
  const { data, error } = useCurve(alert, over);
  const [chosen, choose] = useState("");
  const known = Object.keys(progress.channels).filter((name) => progress.channels[name].targeted);
  const names = chosen ? [chosen] : known;
  const targeted = names.reduce((n, name) => n + progress.channels[name].targeted, 0);
  const of = (kind) => summed(names.map((name) => (data && data[kind][name]) || []));
  const [handed, arrived] = [of("handed_over"), of("delivered")];
  const last = (counts) => counts[counts.length - 1] || 0;
  const most = Math.max(targeted, 1);
  const seconds = data ? handed.length * data.step_s : 0; // up to the last report of a carrier
  const took = data ? (handed.indexOf(last(handed)) + 1) * data.step_s : 0;
  if (!known.length && progress.few.length) return null; // the counts are hidden
  const says = data && last(handed) ? t("curve-says", { half: span(halfAt(handed, data.step_s, last(handed)), 1), n: last(handed), time: span(took, 1) }) : t(totals(progress).told ? "counting" : "curve-none");
  return html`<section class="panel"><header><h2>${t("curve")}</h2>
      ${known.length > 1 ? html`<div class="chips" role="group" aria-label=${t("by-channels")}>${["", ...known].map((name) => html`
        <button type="button" class="chip" aria-pressed=${chosen === name ? "true" : "false"} onClick=${() => choose(name)}>${t(name || "together")}</button>`)}</div>` : null}</header>
    <${Refused} error=${error} />
    <p class="muted small">${says}</p>
    <div class="plot" role="img" aria-label=${`${says} ${t("accepted")}: ${number(last(handed))}. ${t("delivered")}: ${number(last(arrived))}.`}>
      <div class="all-of"><span>${number(targeted)} ${t("addresses", { n: targeted })}</span></div>
      ${handed.length ? html`<svg viewBox="0 0 1000 1000" preserveAspectRatio="none" aria-hidden="true"><path class="ground-of" d=${`${pathOf(handed, most)}L1000 1000Z`} />
        <path class="handed" d=${pathOf(handed, most)} />${last(arrived) ? html`<path class="arrived" d=${pathOf(arrived, most)} />` : null}</svg>` : null}</div>
    <p class="plot-times"><span>0</span><span>${seconds ? span(seconds, 1) : ""}</span></p>
    <ul class="legend"><li><i></i>${t("accepted")} <b>${number(last(handed))}</b></li>
      <li class="arrived"><i></i>${t("delivered")} <b>${number(last(arrived))}</b></li></ul></section>`;
}

/** People by region, largest first; for the rest, the number of regions. */
export function Shares({ regions, known }) {
  const told = mostFirst(regions);
  const shown = told.slice(0, SHOWN_REGIONS);
  const names = useNames(shown.map(([code]) => code), known);
  const most = Math.max(1, ...shown.map(([, n]) => sized(n)));
  return html`<ul class="shares">${shown.map(([code, n]) => html`<li><span>${names[code] || code}</span>
        <span class="track"><i style=${{ width: `${(sized(n) / most) * 100}%` }}></i></span><b>${number(n)}</b></li>`)}</ul>
      ${told.length > shown.length ? html`<p class="muted small shares-rest">${t("more-regions", { n: told.length - shown.length })}</p>` : null}`;
}

/** Where the people in the target are now: carriers do not report where a message was read. */
export const Where = ({ reach: { audience, area, geometry } }) => html`<section class="panel where"><div><h2>${t("where-people")}</h2><p class="muted small">${t("where-says")}</p>
      <${Shares} regions=${audience.regions} known=${area.regions} /></div>
    <figure><${Ground} geometry=${geometry} label=${area.name} /><figcaption>${area.name}<span class="muted">${number(Math.round(area.km2))} km²</span></figcaption></figure></section>`;
