// The start screen: approvals first, then alerts that are going out, then the health of the service.

import { Problem, forSession, get, isReady } from "../parts/api.js";
import { isFailing, silence, silentOf } from "../parts/at-work.js";
import { Called, callOf, readCalls } from "./calls.js";
import { Channels, expected, isDone, ofAll, totals, waitsUntil } from "./channels.js";
import { Empty, Icon, NotYet, Older, People, Refused, Stale, StatusMark, about, html, mayDo, reached, useAct, usePolled, useRef, useState } from "../parts/parts.js";
import { Face } from "./photo.js";
import { stoppedAt } from "../organisation/stops.js";
import { TABLES } from "../tables.js";
import { list, moment, number, t } from "../parts/words.js";

const RECENT = 6;
/** Number of alerts with live progress: more than anyone watches at once. */
const WATCHED = 8;

/** Cache by revision: valid until an alert has another revision. */
const known = forSession();

async function once(what, { id, rev }, read) {
  const key = `${what} ${id}`;
  if (!known.has(key) || known.get(key).rev !== rev) known.set(key, { rev, told: await read() });
  return known.get(key).told;
}

/** Poll interval; longer if answers are slow, because each one reads many alerts. */
const AGAIN_MS = 1500;
const AGAIN_TIMES = 4;

/** Alerts in one of these states, newest first, even if many others are newer; `more` if they exceed one page. */
async function standing(states, signal) {
  const pages = await Promise.all(states.map((state) => get(`/v1/alerts?state=${state}&limit=50`, { signal })));
  const alerts = pages.flatMap((page) => page.alerts).sort((a, b) => (a.created < b.created ? 1 : -1));
  return { alerts, more: pages.some((page) => page.next && page.alerts.length) };
}

/** Alerts that another organisation asks to stand down, each once. Phones still show those that were sent. */
const askedOf = (pages) => [...new Map(pages.flatMap((page) => page.alerts).filter((one) => one.stand_down_asked.length).map((one) => [one.id, one])).values()];

async function load(signal) {
  const whole = (one) => once("whole", one, () => get(`/v1/alerts/${one.id}`, { signal }));
  const progress = (one) => get(`/v1/alerts/${one.id}/progress`, { signal });
  const watched = async (one) => ({ ...(await whole(one)), progress: await progress(one) });
  const ended = async (one) => ({ ...(await whole(one)), progress: await once("progress", one, () => progress(one)) });
  const shown = async (found, read) => ({ ...found, shown: await Promise.all(found.alerts.slice(0, WATCHED).map(read)) });
  const [waiting, going, told, due, newest, ready, { carriers }, owed, calls, { distributors }, { requests }] = await Promise.all([
    standing(["pending"], signal), standing(TABLES.open, signal), get("/v1/alerts?telling=true", { signal }), standing(["scheduled"], signal), get("/v1/alerts?limit=50", { signal }),
    isReady(signal), get("/v1/carriers", { signal }),
    get("/v1/reviews", { signal }), readCalls(signal), get("/v1/distributors", { signal }),
    get("/v1/permissions", { signal }),
  ]);
  const rest = newest.alerts.filter((one) => one.state !== "pending" && !TABLES.underWay.includes(one.state)).slice(0, RECENT);
  const besides = told.alerts.filter(({ id }) => !going.alerts.some((one) => one.id === id));  // an approved update is in both lists
  const out = { ...going, alerts: [...going.alerts, ...besides] };
  const [pending, reviews, live, later, past] = await Promise.all([shown(waiting, whole), shown(owed, whole), shown(out, watched), shown(due, whole), Promise.all(rest.map(ended))]);
  const toStandDown = await Promise.all(askedOf([waiting, out, due, newest]).map(whole));
  const takedowns = distributors.flatMap(({ name, takedowns: open }) => open.map((id) => ({ name, id })));
  const [asked, permitted] = ["asked", "granted"].map((state) => requests.filter((one) => one.permission.state === state));
  return { pending, reviews, live, later, rest: past, ready, carriers, calls, takedowns, toStandDown, asked, permitted: permitted.filter((one) => one.live) };
}

/** Isolates a right-to-left name: otherwise a browser takes the age after it as part of the name, and moves it to the other side. */
const apart = (name) => (/[\u0590-\u08ff]/.test(name) ? `\u2068${name}\u2069` : name);
const childName = ({ name, age }) => (age && typeof age.years === "number" ? `${apart(name.public)}, ${t("years", { n: age.years })}` : apart(name.public));

/** The title of an alert: the children's names, else its headline, else its level. */
export function titleOf(alert) {
  const told = alert.alert || {};
  const named = ((told.case && told.case.children) || []).filter((one) => one.name && one.name.public);
  if (named.length) return list(named.map(childName));
  const own = Object.values(told.info || {}).find((info) => info.headline);
  return own ? own.headline : t(alert.level);
}

/** An Actual alert needs an approver other than its author. */
export const isAnothers = (alert, me) => alert.status === "Actual" && alert.author === me.subject;
const mayApprove = (alert, me) => mayDo(me, "alert.approve") && !isAnothers(alert, me);
/** Which follow-up a version is; empty for the alert itself. */
const followsOf = ({ occasion }) => (occasion === "alert" ? "" : t(occasion === "update" ? "is-update" : `act-alert.${occasion}`));
export const FollowMark = ({ alert }) => (followsOf(alert) ? html` <span class="mark mark-update">${followsOf(alert)}</span>` : null);

/** The status, and which follow-up a version is. */
export const Marks = ({ alert }) => html`<p class="marks"><${StatusMark} status=${alert.status} long /><${FollowMark} alert=${alert} /></p>`;

/** The state of an alert: one that is `stopped` with all others, or paused, does not show as sending. */
export function standsAs({ paused }, state, stopped) {
  if (!TABLES.open.includes(state) || !(stopped || paused)) return { look: state, word: state };
  return stopped ? { look: "rejected", word: "halted" } : { look: "pending", word: "act-alert.pause" };
}
export function Standing({ alert, state, stopped }) {
  const { look, word } = standsAs(alert, state, stopped);
  return html`<span class="state state-${look}">${t(word)}</span>`;
}

/** The alerts that share a title with another one. */
function twinsIn(alerts) {
  const titles = alerts.map(titleOf);
  return new Set(alerts.filter((_, i) => titles.indexOf(titles[i]) !== titles.lastIndexOf(titles[i])).map((one) => one.id));
}

/** Tells apart alerts with the same title: case, creation time, end of the id. */
function Apart({ alert }) {
  const number_ = alert.alert && alert.alert.case && alert.alert.case.number;
  return html`<span class="apart">${number_ ? `${t("case", { n: number_ })} · ` : ""}${t("made-at", { time: moment(alert.created) })} · <code dir="ltr">…${alert.id.slice(21)}</code></span>`;
}

const About = ({ alert, twin }) => html`<p class="about">
  ${t(alert.level)} · ${t("by", { who: alert.author })} · ${t("until", { time: moment(alert.expires) })}${twin ? html` · <${Apart} alert=${alert} />` : null}</p>`;

const Pending = ({ alert, me, call, twin }) => html`
  <li class="card alert-card of-${alert.status}"><${Face} alert=${alert} />
    <div class="card-body">
      <${Marks} alert=${alert} />
      <h3>${titleOf(alert)}</h3>
      <${About} alert=${alert} twin=${twin} />
      ${alert.starts ? html`<p class="small"><strong>${t("would-start", { time: moment(alert.starts) })}</strong></p>` : null}
      ${isAnothers(alert, me) ? html`<p class="muted small">${t("yours")}</p>` : null}
      ${call ? html`<${Called} call=${call} me=${me} anothers=${isAnothers(alert, me)} />` : null}
    </div>
    <div class="figure"><${People} n=${alert.people} exact=${alert.exact} /></div>
    <a class="button ${mayApprove(alert, me) ? "primary" : "plain"}" href="#/alerts/${alert.id}">
      <span>${t(mayApprove(alert, me) ? "review" : "watch")}</span></a>
  </li>`;

/** A neighbour's request to send its alert here too. */
const Asked = ({ request, me }) => html`
  <li class="card alert-card of-${request.status}">
    <div class="card-body"><p class="marks"><${StatusMark} status=${request.status} long /></p>
      <h3>${t("permission-of", { who: request.asked_by_name })}</h3>
      <p class="about">${t(request.level)} · ${t("until", { time: moment(request.expires) })}</p></div>
    <div class="figure"><${People} n=${request.permission.people} /></div>
    <a class="button ${mayDo(me, "permission.grant") ? "primary" : "plain"}" href="#/permissions/${request.id}"><span>${t(mayDo(me, "permission.grant") ? "review" : "watch")}</span></a>
  </li>`;

/** An alert that another organisation asks to stand down, because the child was found. */
const ToStandDown = ({ alert }) => html`<li class="line"><a href="#/alerts/${alert.id}"><${StatusMark} status=${alert.status} />
  <span class="line-title">${titleOf(alert)}</span><span class="state state-pending">${list(alert.stand_down_asked.map((one) => t("stand-down-asked-by", { who: one.name })))}</span></a></li>`;

/** Approved, but with a later start: no one was notified yet. */
const Due = ({ alert, twin }) => html`
  <li class="card alert-card of-${alert.status}"><${Face} alert=${alert} />
    <div class="card-body"><${Marks} alert=${alert} /><h3>${titleOf(alert)}</h3><${About} alert=${alert} twin=${twin} />
      <p role="status"><strong>${t("starts-at", { time: moment(alert.starts) })}</strong></p></div>
    <a class="button plain" href="#/alerts/${alert.id}"><span>${t("watch")}</span></a>
  </li>`;

/** A neighbour's alert that was permitted and is still active. */
const Permitted = ({ request }) => html`<li class="line"><a href="#/permissions/${request.id}"><${StatusMark} status=${request.status} />
  <span class="line-title">${t("permission-was-of", { who: request.asked_by_name })}</span><span class="state state-sent">${t("permission-granted")}</span>
  <span class="muted line-people">${about(request.permission.people, "people")}</span><time class="muted">${moment(request.permission.answered)}</time></a></li>`;

/** The neighbours that a part of the alert waits for, and their answers. */
const Neighbours = ({ permissions }) => (permissions.length ? html`<ul class="neighbours">${permissions.map((one) => html`
  <li key=${one.organisation} data-permission=${one.state}>${t(`permission-${one.state}-by`, { who: one.name })}</li>`)}</ul>` : null);

const Live = ({ alert, stopped, twin }) => html`
  <li class="card live-card of-${alert.status}">
    <div class="live-head"><${Face} alert=${alert} />
      <div class="grow"><${Marks} alert=${alert} />
        <h3><a href="#/alerts/${alert.id}">${titleOf(alert)}</a></h3><${About} alert=${alert} twin=${twin} /><${Standing} alert=${alert} state=${alert.progress.state} stopped=${stopped} /><${Neighbours} permissions=${alert.progress.permissions} /></div>
      <div class="figure"><b>${number(totals(alert.progress).told)}</b>
        <span>${t("accepted")} ${ofAll(expected(alert.progress), isDone(alert.progress))}</span></div>
    </div>
    ${alert.paused ? html`<p class="note small" role="status">${t("waits")}</p>` : null}
    ${alert.progress.stalled ? html`<p class="note small" role="status">${t("stalled")}</p>` : null}
    <${Channels} progress=${alert.progress} until=${waitsUntil(alert)} held=${stopped || alert.paused} />
  </li>`;

const Line = ({ alert, twin, stopped }) => html`
  <li class="line">
    <a href="#/alerts/${alert.id}">
      <${StatusMark} status=${alert.status} />
      <span class="line-title">${titleOf(alert)}<${FollowMark} alert=${alert} />${twin ? html` <small class="muted"><${Apart} alert=${alert} /></small>` : null}<${Neighbours} permissions=${alert.permissions} /></span>
      <${Standing} alert=${alert} state=${alert.state} stopped=${stopped} />
      <span class="muted line-people">${reached(alert)}</span>
      <time class="muted">${moment(alert.created)}</time>
    </a>
  </li>`;

function troubles({ ready, carriers, live, stops }) {
  const found = stoppedAt(stops) ? [t("stop-holds")] : [];
  if (!ready) found.push(t("not-ready"));
  if (!carriers.length) found.push(t("no-carriers"));
  const silent = silentOf(carriers);
  if (silent.length) found.push(silence(silent));
  const failing = carriers.filter((one) => isFailing(one) && one.state !== "no_worker").map((one) => one.name);
  if (failing.length) found.push(t("carriers-cannot-send", { list: list(failing) }));
  for (const alert of live.shown) {  // an ended alert shows its failures on its own screen
    const n = totals(alert.progress).lost;
    if (n) found.push(t("failing", { n, what: titleOf(alert) }));
    if (alert.progress.stalled) found.push(t("stalls", { what: titleOf(alert) }));
  }
  return found;
}

function Health({ data, stops }) {
  const found = troubles({ ...data, stops });
  const channels = [...new Set(data.carriers.filter((one) => !isFailing(one)).map((one) => t(one.channel)))];
  return html`<section class="health ${found.length ? "is-troubled" : ""}" aria-label=${t("health")}>
    <${Icon} name=${found.length ? "warn" : "check"} />
    <div><p><strong>${found.length ? found[0] : t("healthy")}</strong></p>
      ${found.slice(1, 4).map((one) => html`<p>${one}</p>`)}
      ${channels.length ? html`<p class="muted small">${t("channels-up", { list: list(channels) })}</p>` : null}</div>
  </section>`;
}

const Part = ({ title, n, children }) => html`<section class="part">
  <h2>${title}${n ? html`<span class="count">${n}</span>` : null}</h2>${children}</section>`;

/** The first alerts of a list, and their total number. */
function Some({ title, none, found: { alerts, shown, more }, card }) {
  const n = alerts.length && `${number(alerts.length)}${more ? "+" : ""}`;
  return html`<${Part} title=${title} n=${n}>
    ${n ? html`<ul class="cards">${shown.map(card)}</ul>` : html`<p class="muted">${none}</p>`}
    ${alerts.length > shown.length ? html`<p><a href="#/alerts">${t("all")}</a></p>` : null}<//>`;
}

export function NowScreen({ me, stops }) {
  const { data, error } = usePolled(load, (took) => Math.max(AGAIN_MS, took * AGAIN_TIMES));
  if (!data) return html`<${NotYet} error=${error} />`;
  const twins = twinsIn([data.pending, data.live, data.later].flatMap((found) => found.shown).concat(data.rest));
  return html`<div class="page now">
    <h1 class="sr-only">${t("now")}</h1>
    ${error ? html`<${Stale} error=${error} />` : null}
    ${data.toStandDown.length ? html`<${Part} title=${t("stand-down-asked")} n=${number(data.toStandDown.length)}><ul class="lines">${data.toStandDown.map((one) => html`<${ToStandDown} key=${one.id} alert=${one} />`)}</ul><//>` : null}
    <${Some} title=${t("waiting")} none=${t("nobody-waits")} found=${data.pending} card=${(one) => html`<${Pending} key=${one.id} alert=${one} me=${me} twin=${twins.has(one.id)} call=${callOf(data.calls, one)} />`} />
    ${data.asked.length ? html`<${Part} title=${t("permission-asked-of")} n=${data.asked.length}>
      <ul class="cards">${data.asked.map((one) => html`<${Asked} key=${one.id} request=${one} me=${me} />`)}</ul><//>` : null}
    ${data.reviews.alerts.length ? html`<${Some} title=${t("glass-reviews")} found=${data.reviews} card=${(one) => html`<${Line} key=${one.id} alert=${one} />`} />` : null}
    ${data.takedowns.length ? html`<${Part} title=${t("takedowns-missing")} n=${number(data.takedowns.length)}><ul class="lines">${data.takedowns.map(({ id, name }) => html`<li key=${`${id} ${name}`} class="line">
      <a href="#/alerts/${id}"><${Icon} name="warn" /><span class="line-title">${t("takedown-open", { name })}</span></a></li>`)}</ul><//>` : null}
    <${Some} title=${t("live")} none=${t("nothing-live")} found=${data.live} card=${(one) => html`<${Live} key=${one.id} alert=${one} twin=${twins.has(one.id)} stopped=${stoppedAt(stops)} />`} />
    ${data.later.alerts.length ? html`<${Some} title=${t("scheduled")} found=${data.later} card=${(one) => html`<${Due} key=${one.id} alert=${one} twin=${twins.has(one.id)} />`} />` : null}
    ${data.permitted.length ? html`<${Part} title=${t("permission-given")} n=${number(data.permitted.length)}><ul class="lines">${data.permitted.map((one) => html`<${Permitted} key=${one.id} request=${one} />`)}</ul><//>` : null}
    <${Health} data=${data} stops=${stops} />
    ${data.rest.length ? html`<${Part} title=${t("recent")}>
      <ul class="lines">${data.rest.map((one) => html`<${Line} key=${one.id} alert=${one} twin=${twins.has(one.id)} />`)}</ul><//>` : null}
  </div>`;
}

/** The list, newest first. Polls the states of all loaded alerts, older ones too. */
export function AllScreen({ stops }) {
  const [older, add] = useState([]);
  // The list has no names, so each alert is fetched; one refused alert does not hide the others.
  const named = (one, signal) => once("whole", one, () => get(`/v1/alerts/${one.id}`, { signal })).catch((error) => { if (error instanceof Problem) return one; throw error; });
  const page = async (cursor, signal) => {
    const found = await get(`/v1/alerts?limit=50${cursor && `&cursor=${cursor}`}`, { signal });
    return { ...found, alerts: await Promise.all(found.alerts.map((one) => named(one, signal))) };
  };
  const { data, error } = usePolled((signal) => Promise.all(["", ...older].map((cursor) => page(cursor, signal))), 10000, older.join());
  const shown = data || [];
  const seen = useRef(new Map()).current;  // alerts pushed off the first page are on no other loaded page
  for (const one of shown.flatMap((each) => each.alerts)) seen.set(one.id, one);
  const next = shown.length > older.length && shown[older.length].next;  // no further request while the last one is running
  const more = useAct(async (signal) => { await page(next, signal); add((before) => [...before, next]); });
  const alerts = [...seen.values()].sort((a, b) => (a.created < b.created ? 1 : -1));
  const twins = twinsIn(alerts);
  return html`<div class="page"><h1>${t("all")}</h1><${Refused} error=${error} />
    ${data && !alerts.length ? html`<${Empty} title=${t("quiet")} />` : null}
    <ul class="lines">${alerts.map((one) => html`<${Line} key=${one.id} alert=${one} twin=${twins.has(one.id)} stopped=${stoppedAt(stops)} />`)}</ul>
    <${Older} next=${next} more=${more} /></div>`;
}
