// How far an alert is, channel by channel.

import { now, rows } from "../parts/api.js";
import { Button, Icon, Refused, html, may, useAct, useRef, useState } from "../parts/parts.js";
import { delayOf } from "../area/pieces.js";
import { TABLES } from "../tables.js";
import { clock, number, span, t } from "../parts/words.js";

const { told: TOLD, lost: LOST, left: LEFT, spared: SPARED } = TABLES.references;
/** The states of a reference, in the order they are drawn: told, not told, still to come. */
const STATES = [...TOLD, ...LOST, ...SPARED, ...LEFT];
const WORD = { unknown: "unknown-state" };
/** Rates are taken over this long, so that they can be read. */
const OVER_S = 6;

/** Nothing more is planned for it: until then more addresses may come, and all is never yet all. */
export const isOver = (progress) => TABLES.over.includes(progress.state);
export const shareOf = (told, targeted, done) => Math.min(Math.floor((told / targeted) * 100), done ? 100 : 99);

const sum = (counts, states) => states.reduce((n, state) => n + (counts[state] || 0), 0);
export const told = (counts) => sum(counts, TOLD);
export const wordOf = (state) => t(WORD[state] || state);

export function totals(progress) {
  const all = Object.values(progress.channels);
  const over = (f) => all.reduce((n, counts) => n + f(counts), 0);
  return { targeted: over((c) => c.targeted), told: over(told), delivered: over((c) => c.delivered || 0), lost: over((c) => sum(c, LOST)), left: over((c) => sum(c, LEFT)) };
}

/** Nobody more hears of it: it is over, or was stood down with nothing left; to be reopened is no telling. */
export const isDone = (progress) => isOver(progress) || (progress.state === "stood_down" && !totals(progress).left);

/** Of how many: while more may be planned, of at least so many. */
export const ofAll = (n, done) => t(done ? "of" : "of-least", { n });

/** Of how many addresses: while more may be planned, at least one of each person that was approved. */
export const expected = (progress) => Math.max(totals(progress).targeted, isOver(progress) || typeof progress.people !== "number" ? 0 : progress.people);

/** Hand-overs a second by channel, from what was seen in the last seconds. */
function useRates(progress) {
  const seen = useRef([]);
  const now = performance.now() / 1000;
  const last = seen.current[seen.current.length - 1];
  if (!last || last.progress !== progress) seen.current.push({ at: now, progress });
  seen.current = seen.current.filter((one, i, all) => now - one.at < OVER_S || i === all.length - 1);
  const first = seen.current[0];
  const passed = now - first.at;
  const rate = (channel) => {
    const before = first.progress.channels[channel];
    return before && passed > 0.5 ? (told(progress.channels[channel]) - told(before)) / passed : 0;
  };
  return rate;
}

/** It is full once its share is all. */
const Bar = ({ name, counts, done }) => html`<div class="bar" role="progressbar" aria-label=${t(name)} aria-valuemin="0" aria-valuemax=${counts.targeted}
  aria-valuenow=${told(counts)}>
  ${STATES.filter((state) => counts[state]).map((state) => html`<i class="is-${state}" title=${`${wordOf(state)}: ${number(counts[state])}`}
    style=${{ width: `${(counts[state] / counts.targeted) * (done ? 100 : 99)}%` }}></i>`)}</div>`;

/** When the latest ring of an alert begins, in ms, 0 without rings that wait: what is queued for it says nothing of how long the rest takes. */
export const waitsUntil = ({ alert, approved }) => (approved && delayOf(alert && alert.target) ? new Date(approved).getTime() + delayOf(alert.target) * 1000 : 0);

/** How long the rest takes; while a ring waits for its hour, that hour; of what is held nobody can say. */
function Left({ left, rate, until, held }) {
  if (!left || held) return null;
  if (until > now()) return html`<span>${t("ring-waits", { time: clock(until) })}</span>`;
  return rate > 0.5 ? html`<span>${t("rate", { n: Math.round(rate) })} · ${t("left", { time: span(left / rate) })}</span>` : null;
}

function Row({ name, counts, rate, done, until, held }) {
  const left = sum(counts, LEFT);
  const told_ = told(counts);
  const share = shareOf(told_, counts.targeted, done);
  const notes = STATES.filter((state) => counts[state] && !["accepted", "queued"].includes(state));
  return html`<li class="channel" data-channel=${name}>
    <span class="channel-name"><${Icon} name=${name} />${t(name)}</span>
    <span class="channel-count"><b>${number(told_)}</b> ${ofAll(counts.targeted, done)}</span>
    <${Bar} name=${name} counts=${counts} done=${done} />
    <span class="channel-share">${number(share)} %</span>
    <span class="channel-notes">
      ${notes.map((state) => html`<span class="dot is-${state}">${wordOf(state)} ${number(counts[state])}</span>`)}
      <${Left} left=${left} rate=${rate} until=${until} held=${held} />
    </span>
  </li>`;
}

/** A channel whose counts are not shown, because they could tell where somebody lives. */
const Few = ({ name }) => html`<li class="channel" data-channel=${name}>
    <span class="channel-name"><${Icon} name=${name} />${t(name)}</span><span class="channel-count"><b>${t("hidden")}</b></span></li>`;

export function Channels({ progress, until, held }) {
  const rate = useRates(progress);
  const known = Object.entries(progress.channels).filter(([, counts]) => counts.targeted);
  return html`<ul class="channels">
    ${known.map(([name, counts]) => html`<${Row} key=${name} name=${name} counts=${counts} rate=${rate(name)} done=${isDone(progress)} until=${until} held=${held} />`)}
    ${progress.few.map((name) => html`<${Few} key=${name} name=${name} />`)}</ul>`;
}

/** Why addresses were not reached: counted from the ledger, when somebody asks, and once more where it were others by now. */
export function Reasons({ progress, me }) {
  const [found, find] = useState(null);
  const { lost } = totals(progress);
  const count = useAct(async (signal) => {
    const counts = {};
    for await (const row of rows(`/v1/alerts/${progress.id}/deliveries`, signal)) {
      const key = `${t(row.channel)} · ${row.reason.replaceAll("_", " ")} (${row.carrier || "–"})`;
      if (LOST.includes(row.state)) counts[key] = (counts[key] || 0) + 1;
    }
    find({ lost, why: Object.entries(counts).sort((a, b) => b[1] - a[1]) });
  });
  if (!lost || !may(me, "ledger:read")) return null;
  return html`<div class="reasons"><${Refused} error=${count.error} />${found
    ? html`<ul>${found.why.map(([why, n]) => html`<li><b>${number(n)}</b> ${why}</li>`)}</ul>` : null}
    ${found && found.lost === lost ? null : html`<${Button} busy=${count.busy} onClick=${() => count.run()}>${t("why-failed")}<//>`}</div>`;
}
