// Components that every screen uses.

import { html } from "../vendor/html.mjs";
import { useEffect, useLayoutEffect, useRef, useState } from "../vendor/hooks.mjs";
import { Offline, Problem, session } from "./api.js";
import { nameOf, stepOf } from "./names.js";
import { boxOf, ringsOf, thinned, together } from "../area/shapes.js";
import { TABLES } from "../tables.js";
import { digits, known, list, moment, number, t } from "./words.js";

export { html, useEffect, useLayoutEffect, useRef, useState };
export { render } from "../vendor/html.mjs";
export { useErrorBoundary } from "../vendor/hooks.mjs";

const PATHS = {
  push: "M8 2.5h8a1.5 1.5 0 0 1 1.5 1.5v16a1.5 1.5 0 0 1-1.5 1.5H8A1.5 1.5 0 0 1 6.5 20V4A1.5 1.5 0 0 1 8 2.5zM11 18.7h2",
  webpush: "M3 5h18v14H3zM3 9h18M6 7h.01M8.5 7h.01",
  sms: "M4 5h16v11H10l-4.5 4V16H4zM8 9h8M8 12h5",
  mail: "M3 5.5h18v13H3zM3.5 6l8.5 7L20.5 6",
  search: "M10.5 4a6.5 6.5 0 1 0 0 13 6.5 6.5 0 0 0 0-13zM15.5 15.5L20.5 20.5",
  pick: "M6 3l12 9-5.2 1L16 19.5l-2.600 1.2-3-6.600L6 17.5z",
  polygon: "M5 8l8-4 6 7-4 8-9-2zM5 8h.01M13 4h.01M19 11h.01M15 19h.01M6 17h.01",
  circle: "M12 4a8 8 0 1 0 0 16 8 8 0 0 0 0-16zM12 12h8",
  edit: "M12 3v18M3 12h18M12 3L9.5 5.5M12 3l2.5 2.5M12 21l-2.5-2.5M12 21l2.5-2.5M3 12l2.5-2.5M3 12l2.5 2.5M21 12l-2.5-2.5M21 12l-2.5 2.5",
  minus: "M5 12h14",
  ring: "M12 3a9 9 0 1 0 0 18 9 9 0 0 0 0-18zM12 8.500a3.500 3.500 0 1 0 0 7 3.500 3.500 0 0 0 0-7z",
  stop: "M8.5 3h7L21 8.5v7L15.5 21h-7L3 15.5v-7z",
  close: "M6 6l12 12M18 6L6 18",
  check: "M5 12.5l4.5 4.5L19 7.5",
  warn: "M12 4l9 16H3zM12 10v4.5M12 17.2h.01",
  now: "M4 13h4l2-7 4 12 2-5h4",
  plus: "M12 5v14M5 12h14",
  person: "M12 4a3.500 3.500 0 1 0 0 7 3.500 3.500 0 0 0 0-7zM5 20c0-4 3-6 7-6s7 2 7 6",
  key: "M8 9a4 4 0 1 0 0 8 4 4 0 0 0 0-8zM11 10.500L19 4M16 6.500l2.500 3",
  lock: "M6 11h12v9H6zM8.500 11V8a3.500 3.500 0 0 1 7 0v3M12 15v2",
  all: "M4 6h16M4 12h16M4 18h10",
};

export const Icon = ({ name }) => html`
  <svg class="icon" viewBox="0 0 24 24" aria-hidden="true" fill="none" stroke="currentColor" stroke-width="1.7"
    stroke-linecap="round" stroke-linejoin="round"><path d=${PATHS[name]} /></svg>`;

/** The status (Actual, Test, Exercise), shown by word, colour and pattern. */
export const StatusMark = ({ status, long }) => html`
  <span class="mark mark-${status}">${t(status)}${long ? html` <small>${t(`${status}-says`)}</small>` : null}</span>`;

/** Across the whole screen: this is no actual alert. */
export const Ribbon = ({ status }) => html`<p class="ribbon of-${status}"><strong>${t(status)}</strong> ${t(`${status}-says`)}</p>`;

export const Button = ({ kind = "plain", icon, busy, disabled, children, ...rest }) => html`
  <button type="button" class="button ${kind}" aria-busy=${busy ? "true" : null} disabled=${busy || disabled} ...${rest}>
    ${icon ? html`<${Icon} name=${icon} />` : null}<span>${children}</span>
  </button>`;

/** Subscribers belong to the host organisation. */
const reaches = (me, scope) => me.host || !scope.startsWith("subscribers:");
/** Whether the user has one of these scopes, or admin. */
export const may = (me, ...scopes) => scopes.some((one) => reaches(me, one) && [one, "admin"].some((scope) => me.scopes.includes(scope)));
/** Whether the API would allow an act, by its name in the audit. */
export const mayDo = (me, act) => may(me, ...TABLES.needs[act]);

/** An act that cannot be undone: two presses if something would be lost. */
export function Sure({ label, sure, needed = () => true, onSure }) {
  const [asked, askFor] = useState(false);
  const go = () => { askFor(false); onSure(); };
  if (!asked) return html`<${Button} kind="quiet" onClick=${() => (needed() ? askFor(true) : onSure())}>${label}<//>`;
  return html`<div class="actions"><${Button} onClick=${() => askFor(false)}>${t("back")}<//><${Button} kind="danger" onClick=${go}>${sure}<//></div>`;
}

/** Limits the year to four digits; without it a date field accepts more. */
const LATEST = { "datetime-local": "9999-12-31T23:59" };

let fields = 0;
const useId = () => useState(() => `f${(fields += 1)}`)[0];

/** A labelled field; `error` is the API's sentence about it. Turns autocomplete off by default: it would offer a child's name to the next user. */
/** `autofocus` focuses the field when it appears; a browser does this only while it loads the page. */
export function Field({ label, value, onChange, type = "text", error, wide, hint, autofocus, ...rest }) {
  const id = useId();
  const ref = useRef();
  useEffect(() => { if (autofocus) ref.current.focus(); }, []);
  const control = { id, ref, value, onInput: (e) => onChange(e.target.value), "aria-invalid": error ? "true" : null, autocomplete: "off", ...rest };
  return html`<div class="field ${wide ? "wide" : ""}">
    <label for=${id}>${label}</label>
    ${type === "area" ? html`<textarea rows="2" ...${control}></textarea>` : html`<input type=${type} max=${LATEST[type]} ...${control} />`}
    ${hint ? html`<p class="hint">${hint}</p>` : null}
    ${error ? html`<p class="fault">${error}</p>` : null}
  </div>`;
}

/** `needed`: the empty choice is missing. */
export function Choice({ label, value, options, onChange, needed }) {
  const id = useId();
  return html`<div class="field">
    <label for=${id}>${label}</label>
    <select id=${id} value=${value} onChange=${(e) => onChange(e.target.value)}>
      ${needed ? null : html`<option value="">${t("unknown")}</option>`}
      ${Object.entries(options).map(([code, word]) => html`<option value=${code} selected=${code === value}>${word}</option>`)}
    </select>
  </div>`;
}

export const Check = ({ label, checked, onChange }) => html`
  <label class="check"><input type="checkbox" checked=${checked} onChange=${(e) => onChange(e.target.checked)} />
    <span>${label}</span></label>`;

/** The message for a lost connection; only polled data says "trying again". */
const lineDown = ({ again }) => t(again ? "offline" : "unanswered");

/** A banner: the data may be old, because the connection is lost or the API refused. */
export const Stale = ({ error }) => (error instanceof Offline ? html`<p class="banner" role="status">${lineDown(error)}</p>` : html`<${Refused} error=${error} />`);

/** A note that something changed while the user had it open, and what: the user may still believe the first version. */
export const Since = ({ onSeen, children }) => html`<section class="note since" role="status"><p><strong>${t("changed-since")}</strong></p>${children}
  <${Button} onClick=${onSeen}>${t("changed-seen")}<//></section>`;

/** The place of an error in the form's words; `go` links to it. */
function Place({ pointer, go }) {
  const step = go && stepOf(pointer);
  const name = nameOf(pointer.split("/").slice(1)) || pointer;
  return step ? html`<button type="button" class="link" onClick=${() => go(step)}>${name}</button>` : html`<b>${name}</b>`;
}

/** What to do about a refusal on this screen, if that differs from the advice for programs. */
const nextOf = ({ slug, what_to_do }) => (known(`do-${slug}`) ? t(`do-${slug}`) : what_to_do);

/** A refusal in the API's words, each error with its place; `go` opens a step of the form. */
export function Refused({ error, go }) {
  if (!error) return null;
  const told = error.unproven ? { title: t("prove-left") } : error instanceof Problem ? error : { title: error instanceof Offline ? lineDown(error) : t("own-fault", { what: error.message }) };
  return html`<div class="refused" role="alert">
    <${Icon} name="warn" />
    <div><strong>${told.title || told.message}</strong>
      ${told.detail && told.detail !== told.title && !(told.errors || []).length ? html`<p>${told.detail}</p>` : null}
      <ul>${(told.errors || []).slice(0, 8).map((one) => html`<li>${one.pointer ? html`<${Place} pointer=${one.pointer} go=${go} />: ` : null}${one.detail} ${one.parameter ? html`<code>${one.parameter}</code>` : null}</li>`)}</ul>
      ${nextOf(told) ? html`<p class="next-step">${nextOf(told)}</p>` : null}
    </div>
  </div>`;
}

/** From this number of people on, the approver must type it: Enter alone is no decision. */
const TYPED_FROM = 10_000;
export const isTyped = (people) => typeof people === "number" && people >= TYPED_FROM;

/** What the `typed` number lacks; shown at the button. */
export function lackOf(people, typed) {
  const told = digits(typed).replace(/\D/g, "");
  if (!isTyped(people) || told === String(people)) return "";
  return told ? "lacks-number" : "lacks";
}

/** After this time a press shows that no answer came yet. */
const ANSWER_MS = 4000;
const TICK_MS = 500;

/** For a press that is `busy` for long: it was received and is running. Says nothing while the operator is asked to confirm their identity. */
export function Awaited({ busy }) {
  const [late, tell] = useState(false);
  useEffect(() => {
    let waited = 0;
    const timer = busy && setInterval(() => { waited = session.proving ? 0 : waited + TICK_MS; tell(waited >= ANSWER_MS); }, TICK_MS);
    return () => { clearInterval(timer); tell(false); };
  }, [busy]);
  return busy && late ? html`<p class="note" role="status">${t("answer-late")}</p>` : null;
}

/** The link to the `next` page of a list; a refusal of `more` shows here, not above the list. */
export const Older = ({ next, more }) => html`<${Refused} error=${more.error} />${next ? html`<${Button} busy=${more.busy} onClick=${() => more.run()}>${t("older")}<//>` : null}`;

export const Loading = () => html`<p class="muted loading">${t("loading")}</p>`;

/** In place of data: an error, or that it is loading. */
export const NotYet = ({ error }) => html`<${error ? Refused : Loading} error=${error} />`;

export const Fact = ({ name, children }) => html`<div><dt>${name}</dt><dd>${children}</dd></div>`;

export const Empty = ({ title, children }) => html`<div class="empty"><p class="empty-title">${title}</p>${children}</div>`;

/** Time by which a browser has taken a file. */
const TAKEN_MS = 60_000;

/** Offers a document to the browser as a file of that name. */
export function saveFile(name, document_) {
  const url = URL.createObjectURL(new Blob([JSON.stringify(document_, null, 2)], { type: "application/json" }));
  Object.assign(document.createElement("a"), { href: url, download: name }).click();
  setTimeout(() => URL.revokeObjectURL(url), TAKEN_MS);
}

/** One record to save: name, button, and result. */
export const Kept = ({ title, says, act, children }) => html`<section class="kept"><div class="kept-row"><div><h3>${title}</h3><p class="muted small">${says}</p></div>${act}</div>${children}</section>`;

/** Errors that pass by themselves: no answer, or the API cannot answer now. */
const passes = (error) => error instanceof Offline || error.status >= 500;
const AFTER_MS = 2000;

/** Marks an error of polled data. */
export const retried = (error) => Object.assign(error, { again: true });

/**
 * Polls `load` every `ms` after an answer (or as often as a function of the last duration says); keeps the last data without an answer.
 * With 0, stops after the first answer.
 */
export function usePolled(load, ms, key = "") {
  const [told, tell] = useState({ data: null, error: null });
  useEffect(() => {
    const stop = new AbortController();
    let timer, took = 0;
    const look = async () => {
      const began = performance.now();
      try {
        const data = await load(stop.signal);
        took = performance.now() - began;
        tell({ data, error: null });
      } catch (error) {
        if (stop.signal.aborted) return;
        const soon = ms || passes(error);
        tell((before) => ({ data: before.data, error: soon ? retried(error) : error }));
        if (!ms && soon) timer = setTimeout(look, AFTER_MS);
      }
      if (ms && !stop.signal.aborted) timer = setTimeout(look, typeof ms === "function" ? ms(took) : ms);
    };
    look();
    return () => { stop.abort(); clearTimeout(timer); };
  }, [key]);
  return told;
}

/**
 * Runs a user's act: `run(...)` calls `act(signal, ...)`; `busy` meanwhile; `error` is its exception. A second press does nothing; with
 * `newest` it aborts the first one. Leaving the screen stops updates.
 */
export function useAct(act, newest = false) {
  const [state, tell] = useState({ busy: false, error: null });
  const going = useRef(null);
  useEffect(() => () => { if (going.current) going.current.abort(); }, []);
  const run = async (...values) => {
    if (going.current && !newest) return;
    if (going.current) going.current.abort();
    const mine = new AbortController();
    going.current = mine;
    tell({ busy: true, error: null });
    const error = await act(mine.signal, ...values).then(() => null, (problem) => problem);
    if (mine.signal.aborted) return;
    going.current = null;
    tell({ busy: false, error });
  };
  return { ...state, run };
}

/** Unsent text, kept in the tab, so that a change of language keeps it. */
export function useTyped(name) {
  const key = `alertd.typed ${name}`;
  const [text, set] = useState(() => sessionStorage.getItem(key) || "");
  const type = (next) => {
    try { if (next) sessionStorage.setItem(key, next); else sessionStorage.removeItem(key); } catch { /* the tab is full: it is still on the page */ }
    set(next);
  };
  return [text, type];
}

/** The last value, once it has not changed for `ms`. */
export function useSettled(value, ms) {
  const [settled, settle] = useState(value);
  const key = JSON.stringify(value);
  useEffect(() => {
    const timer = setTimeout(() => settle(value), ms);
    return () => clearTimeout(timer);
  }, [key]);
  return settled;
}

/** For a hidden count: large enough for the plural of every language. */
const MANY = 100;

/** A number, or a hidden count, in words. */
export function counted(n, key) {
  const told = String(n).startsWith("<") ? t("fewer-than", { n: n.slice(1) }) : number(n);
  return `${told} ${t(key, { n: typeof n === "number" ? n : MANY })}`;
}

/** An estimate in words: "about 1,200 people", "fewer than 100 people". */
export const about = (n, key) => (typeof n === "number" ? t("about-n", { n: counted(n, key) }) : counted(n, key));

/** How many people an alert reaches: exact after approval. */
export const reached = (alert) => (alert.exact ? counted : about)(alert.people, "people");

/** The number of people, in large type. */
export const People = ({ n, id, exact = false }) => html`<b id=${id}>${typeof n === "number" && !exact ? t("about-n", { n: number(n) }) : number(n)}</b> <span>${t("people", { n: typeof n === "number" ? n : MANY })}</span>`;

/** Whether the browser supports WebGL, which the map needs. */
export function hasWebGl() {
  try { return Boolean(document.createElement("canvas").getContext("webgl2")); } catch { return false; }
}

/** An estimate of the messages on a channel, in words. */
const messages = (n, channel) => (typeof n === "number" ? t("about-n", { n: t(`${channel}-n`, { n }) }) : t(`${channel}-n`, { n: t("fewer-than", { n: n.slice(1) }) }));

const capital = (text) => text.charAt(0).toLocaleUpperCase() + text.slice(1);

/** "About 390 push messages, fewer than 100 SMS, and fewer than 100 mails go to about 480 people in Sevilla: child alert, until Thu 22:30." The people are those of all channels. */
export function sentenceOf({ channels, level, expires, status }, { audience, area }) {
  const has = Object.keys(audience.addresses).filter((one) => some(audience.addresses[one]));
  const counts = channels.filter((one) => has.includes(one)).map((one) => messages(audience.addresses[one], one));
  const told = counts.length === has.length ? "sentence" : "sentence-some";
  return capital(t(!counts.length ? "sentence-nobody" : status === "Actual" ? told : "sentence-testers", {
    what: list(counts), people: about(audience.people, "people"), level: t(level).toLowerCase(),
    area: area.name || `${number(Math.round(area.km2))} km²`, until: moment(expires),
  }));
}

/** Whether a count is not zero: "<100" is more than none. */
export const some = (n) => n !== 0 && n !== undefined;

/** An area drawn without a map: for small previews, and without WebGL. */
export function Sketch({ geometry, label }) {
  if (!geometry) return html`<div class="sketch" aria-hidden="true"></div>`;
  const rings = thinned(together(ringsOf(geometry)));
  const [west, south, east, north] = boxOf(rings.flat());
  const squeeze = Math.cos(((south + north) / 2) * (Math.PI / 180));
  const size = Math.max((east - west) * squeeze, north - south) || 1;
  const x = (lon) => (((lon - (west + east) / 2) * squeeze) / size) * 90 + 50;
  const y = (lat) => ((-(lat - (south + north) / 2)) / size) * 90 + 50;
  const path = rings.map((ring) => `M${ring.map((p) => `${x(p[0]).toFixed(2)} ${y(p[1]).toFixed(2)}`).join("L")}Z`).join("");
  return html`<svg class="sketch" viewBox="0 0 100 100" role="img" aria-label=${label}><path d=${path} fill-rule="evenodd" /></svg>`;
}
