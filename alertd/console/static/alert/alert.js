// One alert: for an approver, what it will do; then, for everyone, its progress.

import { ask, get, now, onceOf, onceOnly, pause, post, progressOf } from "../parts/api.js";
import { Calls } from "./calls.js";
import { Channels, Reasons, expected, isDone, isOver, ofAll, shareOf, totals, waitsUntil } from "./channels.js";
import { Curve, Timeline, Where } from "./course.js";
import { Asked } from "./explain.js";
import { Messages } from "./messages.js";
import { clockHint, hasForm } from "./draft.js";
import { FollowMark, Marks, Standing, isAnothers, standsAs, titleOf } from "./now.js";
import { Differs } from "./edit.js";
import { Distribution, Takedowns, useDistribution } from "./distribution.js";
import { Face } from "./photo.js";
import { Follow, Withdraw } from "./follow.js";
import { Glass, useAlone } from "./glass.js";
import { Ground } from "../area/ground.js";
import { HoldNote, Keep, useHold } from "./keep.js";
import { Awaited, Button, Field, NotYet, Refused, Ribbon, Since, Stale, about, counted, html, isTyped, lackOf, may, mayDo, reached, retried, sentenceOf, some, useEffect, usePolled, useState, useTyped } from "../parts/parts.js";
import { TABLES } from "../tables.js";
import { RingWords, delayOf } from "../area/pieces.js";
import { Eta, ReachRings } from "../area/reach.js";
import { Untranslated } from "../parts/spoken.js";
import { Start, stoppedAt } from "../organisation/stops.js";
import { PublicPage } from "./page.js";
import { Permissions, StandDownAsked } from "./permits.js";
import { Differences, Verified } from "./verified.js";
import { language, moment, number, personOf, span, t } from "../parts/words.js";

/** The id of a later version is the alert's id plus a number. */
const versionOf = (id) => Number(id.split("-")[1] || 0);

async function read(id, signal) {
  const { body, etag } = await ask("GET", `/v1/alerts/${id}`, { signal });
  return { ...body, etag };
}

/** Fetches what the target reaches, once per version of an alert, or once for all versions, and again with each `turn`; `alert` is the version that the answer belongs to. */
function useReach(me, alert, of, turn = 0) {
  const { target, kind, policy } = alert.alert || {};
  const load = async (signal) => (target && may(me, "alerts:write", "alerts:approve") ? { ...(await post("/v1/targets/preview", { target, kind, policy, language }, { signal })), alert } : null);
  return usePolled(load, 0, `${of} ${turn}`);
}

const Changed = ({ alert, reach }) => html`<p class="changed ${alert.people === reach.audience.people ? "" : "is-changed"}">
  ${alert.people === reach.audience.people
    ? t("nothing-changed")
    : t("people-changed", { then: reached(alert), now: about(reach.audience.people, "people") })}</p>`;

/** `unseen`: the alert changed after the approver read it, who must confirm the change first. `stopped`: whose sending is stopped. Calls `onMoved` if the audience changed. */
function Decide({ alert, reach, me, unseen, stopped, onDecided, onMoved }) {
  const [typed, type] = useState("");
  const [reason, explain] = useTyped(`reason ${alert.id}`);
  const [asked, askFor] = useTyped(`asked ${alert.id}`);
  const [error, fail] = useState(null);
  const [busy, work] = useState("");
  const [once] = useState(onceOnly);
  const people = reach.audience.people;
  const typing = isTyped(people);
  const [plates, typePlates] = useState({});
  const named = alert.status === "Actual" ? ((alert.alert.case || {}).vehicles || []).filter((one) => one.plate) : [];
  const starts = new Date(alert.starts) > now();
  const act = async (what, body) => {
    work(what);
    fail(null);
    try {
      await ask("POST", `/v1/alerts/${alert.id}/${what}`, { body, once: onceOf(`${once}-${what}-${alert.rev}`, body), sends: !starts, headers: { "If-Match": alert.etag } });
      explain("");
      askFor("");
      onDecided();
    } catch (problem) {
      fail(problem);
      if (problem.slug === "audience-changed") onMoved();
    }
    work("");
  };
  const alone = useAlone(alert, me);
  if (isAnothers(alert, me) && !alone) return html`<p class="note">${t("yours")}</p>`;
  if (!mayDo(me, "alert.approve")) return html`<p class="note">${t("approver-decides")}</p>`;
  const seen = { ...(typeof people === "number" ? { people } : {}), ...(named.length ? { plates: Object.values(plates) } : {}) };
  const lack = unseen ? "lacks-seen" : lackOf(people, typed) || (named.some((_, i) => !(plates[i] || "").trim()) ? "lacks" : "");
  const decides = Boolean(asked) === alone;  // and may neither return nor reject it
  return html`<div class="decide of-${alert.status}">
    ${stopped ? html`<p class="note" role="status">${t("stop-refuses")} <${Start} stop=${stopped} me=${me} /></p>` : null}
    ${alone ? html`<p class="note">${t("yours")} ${t("break-glass-says")}</p>` : null}
    ${typing ? html`<${Field} label=${t("approve-sure", { n: people })} value=${typed} onChange=${type} inputmode="numeric" />` : null}
    ${named.map((_, i) => html`<${Field} label=${t("plate-again", { n: i + 1 })} value=${plates[i] || ""} onChange=${(text) => typePlates({ ...plates, [i]: text })} dir="ltr" autocomplete="off" />`)}
    ${alert.similar?.length ? html`<p class="note similar" role="status"><strong>${t("similar")}</strong> ${alert.similar.map((one) => html`<a class="link" key=${one.id} href="#/alerts/${one.id}"><code dir="ltr">…${one.id.slice(21)}</code> ${t(one.state)} · ${t("by", { who: one.author })}</a> `)}</p>` : null}
    <${Refused} error=${error} />
    ${asked ? html`<${Field} label=${t("reason")} value=${reason} onChange=${explain} wide autofocus hint=${reason.trim() ? "" : t("lacks")} />` : null}
    ${decides && lack ? html`<p class="hint" role="status">${t(lack)}</p>` : null}<${Awaited} busy=${Boolean(busy)} />
    <div class="actions">
      ${asked
        ? html`<${Button} onClick=${() => askFor("")}>${t("back")}<//>
            <${Button} kind="primary" disabled=${!reason.trim() || (alone && lack)} busy=${busy === asked} onClick=${() => act(asked, alone ? { ...seen, reason } : { reason })}>${t(asked)}<//>`
        : alone ? html`<${Button} kind="danger" onClick=${() => askFor("break-glass")}>${t("break-glass")}<//>`
        : html`<${Button} onClick=${() => askFor("return")}>${t("return")}<//>
            <${Button} onClick=${() => askFor("reject")}>${t("reject")}<//>
            <${Button} kind=${`send send-${alert.status}`} disabled=${Boolean(lack || stopped)}
              busy=${busy === "approve"} onClick=${() => act("approve", seen)}>${starts ? t("approve-starts", { time: moment(alert.starts) }) : t("approve")}<//>`}
    </div>
    ${decides && me.signed_in ? html`<p class="hint">${t("prove-comes")}</p>` : null}
  </div>`;
}

const Reach = ({ reach, target }) => html`<ul class="reach-channels">
  ${Object.entries(reach.audience.addresses).filter(([name, n]) => some(n) || name in reach.eta).map(([name, n]) => html`
    <li><span>${t(name)}</span><b>${number(n)}</b>
      <${Eta} n=${n} eta=${reach.eta[name]} delay=${delayOf(target)} /></li>`)}
</ul>`;

/** Whether the alert ends before its last message goes out. The time that an update's rings have already waited is not known here. */
function endsFirst({ alert, expires, starts, update }, eta) {
  const last = Math.max(0, ...Object.values(eta)) + (update ? 0 : delayOf(alert.target));
  return last > (Date.parse(expires) - Math.max(now(), Date.parse(starts) || 0)) / 1000;
}

/** Keeps the version that was read, and the result of a press, on the screen until the new version is counted, so that every press gets an answer. */
function Approval({ alert: newest, me, unseen, stopped, onDecided }) {
  const [turn, countAgain] = useState(0);
  const { data: reach, error } = useReach(me, newest, newest.rev, turn);
  if (!may(me, "alerts:write", "alerts:approve")) return null;
  if (!reach) return error ? html`<${Refused} error=${error} />` : html`<p class="muted">${t("counting")}</p>`;
  const { alert } = reach;
  return html`<section class="approval of-${alert.status}">
    <div class="approval-words">
      <h2>${t("what-happens")}</h2>
      <p class="sentence">${alert.update
        ? t("update-tells", { again: about(alert.update.told_again, "people"), newly: about(alert.update.newly_inside, "people") })
        : sentenceOf({ ...alert, channels: alert.alert.channels }, reach)}</p>
      <p>${t("approve-final")}</p>
      <${PublicPage} alert=${alert} act=${alert.update ? "update" : "approve"} />
      ${alert.update ? html`<p>${t(`notify-${alert.update.notify}`)}</p>` : null}
      <${RingWords} rings=${alert.alert.target.rings} />
      ${alert.alert.policy.pace_per_min ? html`<p>${t("pace-of-all", { n: number(alert.alert.policy.pace_per_min) })}</p>` : null}
      ${alert.update ? html`<p>${t("update-area", { people: about(reach.audience.people, "people"), area: reach.area.name || "" })}</p>` : html`<${Changed} alert=${alert} reach=${reach} />`}
      <${Reach} reach=${reach} target=${alert.alert.target} />
      ${endsFirst(alert, reach.eta) ? html`<p class="note" data-ends-first>${t("ends-first")}</p>` : null}
      <${ReachRings} rings=${reach.audience.rings} target=${alert.alert.target} />
    </div>
    <figure><${Ground} geometry=${reach.geometry} label=${reach.area.name} />
      <figcaption>${reach.area.name}<span class="muted">${number(Math.round(reach.area.km2))} km²</span></figcaption></figure>
  </section>
  ${alert.update ? html`<${Differences} alert=${alert} />` : null}
  <${Verified} alert=${alert} />
  <${Untranslated} document=${alert.alert} />
  <${Texts} alert=${alert} />
  ${alert.rev === newest.rev ? null : error ? html`<${Refused} error=${error} />` : html`<p class="muted" role="status">${t("counting")}</p>`}
  <${Decide} alert=${{ ...alert, similar: newest.similar }} reach=${reach} me=${me} unseen=${unseen} stopped=${stopped} onDecided=${onDecided} onMoved=${() => countAgain(turn + 1)} />`;
}

/** The messages as they would be sent now. */
const Texts = ({ alert }) => (alert.alert && new Date(alert.expires) > now()
  ? html`<section><h2>${t(alert.approved ? "preview-sent" : "preview")}</h2>
      <${Messages} document=${alert.alert} only=${languagesOf(alert.alert)} query=${alert.update ? "&occasion=update" : ""} /></section>` : null);

/** What happened, how fast, where, and why one person was notified: each from the API, if the key may see it. */
function Account({ alert, progress, me, held }) {
  const { data: reach } = useReach(me, alert, alert.id);
  return html`<div class="course"><${Timeline} alert=${alert} progress=${progress} held=${held} />${progress ? html`<${Curve} alert=${alert} progress=${progress} />` : null}</div>
    ${reach ? html`<${Where} reach=${reach} />` : null}
    ${may(me, "ledger:explain") ? html`<${Asked} alert=${alert} />` : null}`;
}

/** Number of messages still unsent when an end, or the next version, came first. */
const unsentOf = (progress) => Object.values(progress.channels).reduce((sum, counts) => sum + (counts.cancelled || 0), 0);

/** The version that notifies the recipients that this version did not reach; null if the alert ended before, undefined until the answer is known. */
function useNext(alert, unsent) {
  const { data } = usePolled(async (signal) => (unsent ? get(`/v1/alerts/${alert.id}/history`, { signal }) : null), 0, `${alert.id} ${alert.rev} ${Boolean(unsent)}`);
  const later = data && data.acts.filter((one) => one.act === "alert.approve").map((one) => one.object).find((id) => versionOf(id) > versionOf(alert.id));
  return data ? later || null : undefined;
}

/** The decisions that end the sending early, by the state after them. */
const ENDED_BY = { stood_down: "stand-down", cancelled: "cancel" };

/** Whether everything had been sent when a decision ended the sending; the numbers of messages that were not sent, or not received. */
function verdictOfEnd(act, progress) {
  const { lost, left, targeted } = totals(progress);
  const unsent = left + unsentOf(progress);
  if (progress.nobody || progress.few.length || (progress.planned && !targeted)) return t(`act-alert.${act}`);  // no one, or too few to say more
  const words = [t(`${unsent || !progress.planned ? "early" : "all"}-${act}`)];
  if (unsent) words.push(t("not-sent", { n: unsent }));
  if (lost) words.push(t("not-reached", { n: lost }));
  return words.join(" ");
}

function verdict(alert, progress, stopped, next) {
  const { delivered, told, lost, left, targeted } = totals(progress);
  const unsent = unsentOf(progress);
  if (ENDED_BY[alert.state]) return verdictOfEnd(ENDED_BY[alert.state], progress);
  if (progress.stalled) return t("stalled");
  if (!isOver(progress) || left) return t(stopped ? "stop-holds" : standsAs(alert, progress.state).word);
  if (progress.nobody) return t(alert.status === "Actual" ? "finished-nobody" : "finished-no-tester");
  if (progress.few.length && !lost) return t(progress.state); // too few to say that everyone was notified
  if (!targeted) return t("finished-nobody");
  if (unsent && !next) return next === null ? t("finished-short", { n: unsent }) : t(progress.state);
  if (lost) return t("finished-but", { n: lost });
  if (unsent) return t("next-tells");
  return delivered < told ? t("finished-handed", { n: delivered }) : t("finished");
}

/** Later notices about the alert: an update, a restriction, its end. Each has numbers of its own. */
function ToldBy({ id, stopped }) {
  const { data } = usePolled(async (signal) => ({ alert: await read(id, signal), progress: await get(`/v1/alerts/${id}/progress`, { signal }) }), AGAIN_MS, id);
  if (!data) return null;
  const { alert, progress } = data;
  const n = expected(progress);
  return html`<section class="note told-by" role="status">
    <p><${FollowMark} alert=${alert} /> <${Standing} alert=${alert} state=${progress.state} stopped=${stopped} /> ${number(totals(progress).told)} ${ofAll(n, isDone(progress))} ${t("addresses", { n })} ${t("accepted")} · <a class="link" href="#/alerts/${id}">${t("next-version")}</a></p></section>`;
}

function Told({ alert, progress, me, stopped }) {
  const { told } = totals(progress);
  const unsent = unsentOf(progress);
  const next = useNext(alert, unsent);
  const targeted = expected(progress);
  const share = targeted ? `${number(shareOf(told, targeted, isDone(progress)))} %` : "–";
  return html`<section class="told" aria-live="polite">
    <div class="told-head">
      <div class="dial"><b id="share">${share}</b><span>${t("accepted")}</span></div>
      <div class="told-words"><p class="verdict">${verdict(alert, progress, stopped, next)}</p>
        ${stopped && TABLES.open.includes(progress.state) ? html`<p><${Start} stop=${stopped} me=${me} /></p>` : null}
        <p class="muted">${targeted || !progress.few.length ? `${number(told)} ${ofAll(targeted, isDone(progress))} ${t("addresses", { n: targeted })} · ` : ""}${alert.exact ? counted(progress.people, "people") : about(progress.people, "people")}
          ${progress.first_send_s === null ? "" : ` · ${t("first-send", { time: span(progress.first_send_s) })}`}</p></div>
    </div>
    ${next ? html`<p class="left-to">${t("left-to-next", { n: unsent })} <a class="link" href="#/alerts/${next}">${t("next-version")}</a></p>` : null}
    <${Channels} progress=${progress} until=${waitsUntil(alert)} held=${stopped || alert.paused} /><${Reasons} progress=${progress} me=${me} />
  </section>`;
}

/** After sending, an alert may still be stood down, restricted or extended, so the screen polls it, rarely. */
const AGAIN_MS = 2000;
const SELDOM_MS = 5000;

/** Yields an alert's state, and its progress while that changes; starts again when the alert has a new revision. */
async function follow(id, add, signal) {
  let alert = await read(id, signal);
  add({ alert, error: null });
  if (!alert.approved) return AGAIN_MS;
  let over = false;
  for await (const progress of progressOf(id, signal)) {
    over = isOver(progress);
    if (progress.rev !== alert.rev) alert = await read(id, signal);
    add({ alert, progress });
  }
  return over ? SELDOM_MS : AGAIN_MS;
}

/** The alert and its progress, kept up to date; `error` says why the data may be old. */
function useAlert(id) {
  const [told, tell] = useState({ alert: null, progress: null, error: null });
  const [turn, again] = useState(0);
  const add = (more) => tell((before) => ({ ...before, ...more }));
  useEffect(() => {
    const stop = new AbortController();
    const look = async () => {
      while (!stop.signal.aborted) {
        const wait = await follow(id, add, stop.signal).catch((error) => { if (!stop.signal.aborted) add({ error: retried(error) }); return AGAIN_MS; });
        await pause(wait, stop.signal);
      }
    };
    look();
    return () => stop.abort();
  }, [id, turn]);
  return { ...told, again: () => again(turn + 1) };
}

/** The languages that the author wrote texts in. */
function languagesOf(document) {
  const { info, case: { last_seen, children } } = document || { case: {} };
  const texts = [info, last_seen && last_seen.place, ...(children || []).map((child) => [child.clothing, child.marks]).flat()];
  return [...new Set(texts.flatMap((one) => Object.keys(one || {})))];
}

/** What the author may still do with an alert that is not approved. */
function Own({ alert, me, onDone }) {
  const amendable = TABLES.amendable.includes(alert.state);
  if (!amendable && alert.state !== "pending" && alert.state !== "scheduled") return null;
  return html`<div class="actions">${amendable && hasForm(alert) && mayDo(me, "alert.change") ? html`<a class="button primary" href="#/edit/${alert.id}"><span>${t("edit")}</span></a>` : null}
    ${mayDo(me, "alert.cancel") ? html`<${Withdraw} alert=${alert} onDone=${onDone} />` : null}</div>`;
}

export function AlertScreen({ id, me, stops }) {
  const { alert, progress, error, again } = useAlert(id);
  if (alert) return html`<${Shown} alert=${alert} progress=${progress} error=${error} me=${me} stops=${stops} again=${again} />`;
  if (error && error.status === 404) return html`<div class="page"><p>${t("not-found")}</p></div>`;
  return html`<div class="page"><${NotYet} error=${error} /></div>`;
}

function Shown({ alert, progress, error, me, stops, again }) {
  const stopped = stoppedAt(stops);
  const holding = useHold(alert);
  const distribution = useDistribution(alert);
  const [seen, see] = useState(alert);
  const unseen = !alert.approved && seen.alert && alert.alert && JSON.stringify(seen.alert) !== JSON.stringify(alert.alert);
  const state = TABLES.underWay.includes(alert.state) && progress ? progress.state : alert.state;
  const [chain] = alert.id.split("-");  // a follow-up has the alert's id plus a number, and is decided together with the alert
  const clock = clockHint(alert.alert?.case?.last_seen?.time_zone);
  const number_ = alert.alert && alert.alert.case && alert.alert.case.number;
  return html`${alert.status === "Actual" ? null : html`<${Ribbon} status=${alert.status} />`}<div class="page alert-page of-${alert.status}">
    <header class="alert-head">
      <${Face} alert=${alert} />
      <div><${Marks} alert=${alert} />
        <h1>${titleOf(alert)}</h1>
        <p class="about">${titleOf(alert) === t(alert.level) ? null : `${t(alert.level)} · `}${t("by", { who: alert.author })}
          ${alert.approver ? ` · ${t("approved-by", { who: personOf(alert.approver, alert.approver_org, alert.author_org) })}` : ""} · ${t("until", { time: moment(alert.expires) })}
          ${number_ ? ` · ${t("case", { n: number_ })}` : ""}</p>
        ${clock ? html`<p class="hint">${clock}</p>` : null}</div>
      <${Standing} alert=${alert} state=${state} stopped=${stopped} />
    </header>
    ${error ? html`<${Stale} error=${error} />` : null}
    ${alert.starts && !alert.approved ? html`<p class="note is-due" role="status"><strong>${t(alert.state === "scheduled" ? "starts-at" : "would-start", { time: moment(alert.starts) })}</strong>${alert.state === "scheduled" ? ` ${t("starts-itself")}` : ""}</p>` : null}
    <${HoldNote} alert=${alert} holding=${holding} me=${me} />
    <${Takedowns} distribution=${distribution} me=${me} />
    ${chain !== alert.id ? html`<p class="note">${t(alert.approved ? "tells-of" : "update-waits")} <a href="#/alerts/${chain}">${t("update-of")}</a></p>` : null}
    <${StandDownAsked} alert=${alert} />
    <${Permissions} alert=${alert} me=${me} onDone=${again} />
    ${alert.break_glass ? html`<${Glass} alert=${alert} me=${me} onDone=${again} />` : null}
    ${unseen ? html`<${Since} onSeen=${() => see(alert)}><${Differs} from=${seen.alert} to=${alert.alert} /><//>` : null}
    ${alert.state === "pending" || alert.stand_down_asked.length ? html`<${Calls} alert=${alert} me=${me} anothers=${alert.state === "pending" && isAnothers(alert, me)} />` : null}
    ${alert.state === "pending" ? html`<${Approval} alert=${alert} me=${me} unseen=${unseen} stopped=${stopped} onDecided=${() => { again(); scrollTo(0, 0); }} />` : null}
    ${alert.reason ? html`<p class="note"><strong>${TABLES.acts.update.includes(alert.state) ? t("last-reason") : `${t(alert.state)}.`}</strong> ${alert.reason}</p>` : null}
    ${(alert.author === me.subject && !alert.approved) || alert.state === "scheduled" ? html`<${Own} alert=${alert} me=${me} onDone=${again} />` : null}
    ${alert.still_named?.length ? html`<p class="note is-due" role="status"><strong>${t("still-named")}</strong> ${alert.still_named.map((one) => html`<a class="link" key=${one} href="#/alerts/${one}"><code dir="ltr">…${one.slice(21)}</code></a> `)}</p>` : null}
    ${alert.paused ? html`<p class="note" role="status">${t("waits")}</p>` : null}
    ${alert.told_by ? html`<${ToldBy} id=${alert.told_by} stopped=${stopped} />` : null}
    ${alert.approved && progress ? html`<${Told} alert=${alert} progress=${progress} me=${me} stopped=${stopped} />` : null}
    ${alert.approved && chain === alert.id ? html`<${Follow} alert=${alert} state=${state} languages=${languagesOf(alert.alert)} stopped=${stopped} me=${me} onDone=${again} />` : null}
    ${alert.approved ? html`<${Account} alert=${alert} progress=${progress} me=${me} held=${holding.hold} />` : html`<${Timeline} alert=${alert} progress=${null} held=${holding.hold} />`}
    ${chain === alert.id ? html`<${Distribution} alert=${alert} distribution=${distribution} me=${me} />` : null}
    ${chain === alert.id ? html`<${Keep} alert=${alert} holding=${holding} me=${me} />` : null}
    ${alert.state === "pending" ? null : html`<${Texts} alert=${alert} />`}
  </div>`;
}
