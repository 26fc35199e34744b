// Progress of an alert by channel.

import { now, rows } from "../parts/api.js";
import { Button, Icon, Refused, html, may, useAct, useRef, useState } from "../parts/parts.js";
import { delayOf } from "../area/pieces.js";
import { TABLES } from "../tables.js";
import { clock, number, span, t } from "../parts/words.js";

const { told: TOLD, lost: LOST, left: LEFT, spared: SPARED } = TABLES.references;
/** The states of a reference, in drawing order: delivered, lost, not needed, still to come. */
const STATES = [...TOLD, ...LOST, ...SPARED, ...LEFT];
const WORD = { unknown: "unknown-state" };
/** Rates are averages over this time, so that they are readable. */
const OVER_S = 6;

/** The planner has finished. Until then more addresses may come, so a share is never 100 %. */
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

/** No one more is notified: the alert is over, or stood down with nothing left to send. Reopening sends nothing by itself. */
export const isDone = (progress) => isOver(progress) || (progress.state === "stood_down" && !totals(progress).left);

/** "of n"; while the planner still works, "of at least n". */
export const ofAll = (n, done) => t(done ? "of" : "of-least", { n });

/** Expected number of addresses; while the planner still works, at least one per approved person. */
export const expected = (progress) => Math.max(totals(progress).targeted, isOver(progress) || typeof progress.people !== "number" ? 0 : progress.people);

/** Accepted messages a second by channel, from the last seconds. */
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

/** Full when the share is 100 %. */
const Bar = ({ name, counts, done }) => html`<div class="bar" role="progressbar" aria-label=${t(name)} aria-valuemin="0" aria-valuemax=${counts.targeted}
  aria-valuenow=${told(counts)}>
  ${STATES.filter((state) => counts[state]).map((state) => html`<i class="is-${state}" title=${`${wordOf(state)}: ${number(counts[state])}`}
    style=${{ width: `${(counts[state] / counts.targeted) * (done ? 100 : 99)}%` }}></i>`)}</div>`;

/** Start of the alert's latest ring in ms, 0 if no ring waits. Messages queued for a ring do not show how long the rest takes. */
export const waitsUntil = ({ alert, approved }) => (approved && delayOf(alert && alert.target) ? new Date(approved).getTime() + delayOf(alert.target) * 1000 : 0);

/** Remaining time; while a ring waits, its start; nothing while sending is held. */
function Left({ left, rate, until, held }) {
  if (!left || held) return null;
  if (until > now()) return html`<span>${t("ring-waits", { time: clock(until) })}</span>`;
  return rate > 0.5 ? html`<span>${t("rate", { n: Math.round(rate) })} · ${t("left", { time: span(left / rate) })}</span>` : null;
}

function Row({ name, counts, rate, done, until, held }) {
  const left = sum(counts, LEFT);
  const told_ = told(counts);
  const share = done || told_ < counts.targeted ? `${number(shareOf(told_, counts.targeted, done))} %` : "";  // none while all so far are sent and more may come
  const notes = STATES.filter((state) => counts[state] && !["accepted", "queued"].includes(state));
  return html`<li class="channel" data-channel=${name}>
    <span class="channel-name"><${Icon} name=${name} />${t(name)}</span>
    <span class="channel-count"><b>${number(told_)}</b> ${ofAll(counts.targeted, done)}</span>
    <${Bar} name=${name} counts=${counts} done=${done} />
    <span class="channel-share">${share}</span>
    <span class="channel-notes">
      ${notes.map((state) => html`<span class="dot is-${state}">${wordOf(state)} ${number(counts[state])}</span>`)}
      <${Left} left=${left} rate=${rate} until=${until} held=${held} />
    </span>
  </li>`;
}

/** A channel with hidden counts, because they could show where a person lives. */
const Few = ({ name }) => html`<li class="channel" data-channel=${name}>
    <span class="channel-name"><${Icon} name=${name} />${t(name)}</span><span class="channel-count"><b>${t("hidden")}</b></span></li>`;

export function Channels({ progress, until, held }) {
  const rate = useRates(progress);
  const known = Object.entries(progress.channels).filter(([, counts]) => counts.targeted);
  return html`<ul class="channels">
    ${known.map(([name, counts]) => html`<${Row} key=${name} name=${name} counts=${counts} rate=${rate(name)} done=${isDone(progress)} until=${until} held=${held} />`)}
    ${progress.few.map((name) => html`<${Few} key=${name} name=${name} />`)}</ul>`;
}

/** Why addresses were not reached: counted from the ledger on demand, and offered again if the numbers have changed. */
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
