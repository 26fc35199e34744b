// The alertd API, called like any client does, and the caller: an operator's session, shared by the browser, or a key, in this tab only.

const KEY = "alertd.key";
/** Whether an operator signed in here: the session itself is in a cookie that scripts cannot read. */
const SIGNED_IN = "alertd.signed-in";

/** Owner of the tab: its drafts and the case data read in it. In localStorage: the owner of the browser's session. */
const OWNER = "alertd.owner";
const ownerOf = ({ organisation, subject }) => JSON.stringify([organisation, subject]);

/** The user that the screen belongs to, from sign-in to sign-out. */
let shown = null;

/** No answer came, or half of one. */
export class Offline extends Error {}

/** A refusal in the API's own words (RFC 9457): `type`, `title`, `detail`, `what_to_do`, `errors`. */
export class Problem extends Error {
  constructor(status, body) {
    super(body.detail || body.title || `HTTP ${status}`);
    Object.assign(this, { status, slug: (body.type || "").split("/").pop(), errors: [], ...body });
  }
}

const kept = [];

/** A cache for case data: it ends with the session of its reader. */
export function forSession() {
  kept.push(new Map());
  return kept[kept.length - 1];
}

function wipe() {
  sessionStorage.clear();
  kept.forEach((one) => one.clear());
}

export const session = {
  get key() { return sessionStorage.getItem(KEY); },
  get open() { return Boolean(this.key || localStorage.getItem(SIGNED_IN)); },
  begin(key) { sessionStorage.setItem(KEY, key); },
  /** How the operator signed in, "passkey" or "provider": the same way confirms their identity later. */
  signedIn(way, who) {
    sessionStorage.removeItem(KEY);
    localStorage.setItem(SIGNED_IN, way);
    localStorage.setItem(OWNER, ownerOf(who));
    shown = null;
  },
  get way() { return localStorage.getItem(SIGNED_IN); },
  /** Whether the session still belongs to the screen's user: all tabs share the cookie, and another tab may have ended it or signed in someone else. */
  get same() { return Boolean(this.key) || !shown || localStorage.getItem(OWNER) === shown; },
  /** Ends the session here. The draft stays in the tab for its owner. Returns whether there was a session. */
  lost() {
    const had = this.open || Boolean(shown);
    this.close();
    return had;
  },
  /** Signs out: deletes everything of this person and of cases from the tab. Returns whether alertd was reached. */
  async end() {
    const told = Boolean(this.key) || !this.same || await post("/v1/sign-out").then(() => true, ({ status }) => status === 401);
    this.close();
    wipe();
    return told;
  },
  /** Clears the screen's user. Leaves the other tabs alone: a session, if this tab has a key, or another person's session. */
  close() {
    if (!this.key && this.same) [SIGNED_IN, OWNER].forEach((name) => localStorage.removeItem(name));
    shown = null;
  },
  /** Makes the tab this person's: deletes data that another person left in it. */
  claim(who) {
    const { key } = this;
    shown = ownerOf(who);
    if (sessionStorage.getItem(OWNER) !== shown) wipe();
    if (key) this.begin(key);
    else localStorage.setItem(OWNER, shown);
    sessionStorage.setItem(OWNER, shown);
  },
  /** Called when the API no longer knows the caller. */
  onLost: () => {},
  /** Asks the operator to confirm their identity, for a decision that `sends` at once or another one; returns whether they did. */
  onProof: async () => false,
  /** Whether that question is open: requests wait for the operator, not for alertd. */
  proving: false,
};

async function proven(sends) {
  session.proving = true;
  try { return await session.onProof(sends);
  } finally { session.proving = false; }
}

/** An idempotency key for a POST, so that a retry is not executed twice. */
export function onceOnly() {
  return Array.from(crypto.getRandomValues(new Uint8Array(16)), (n) => n.toString(16).padStart(2, "0")).join("");
}

/** The answer of a request; separates an abort from a lost connection. */
const heard = (answer) => answer.catch((error) => { throw error.name === "AbortError" ? error : new Offline(error.message); });

/** A read without an answer after this time counts as lost, and the screen says that its data may be old. The longest search takes less. */
const READ_MS = 20_000;
/** alertd writes to a quiet stream three times within this time. */
const SILENT_MS = 45_000;

/** Treats silence of this length as a lost connection, because a browser does not report a disconnected machine. `signal` aborts it. */
function patience(ms, signal) {
  const stop = new AbortController();
  let timer;
  const done = () => clearTimeout(timer);
  const heardOf = () => { done(); timer = setTimeout(() => stop.abort(new Offline("nothing came")), ms); };
  const giveUp = () => stop.abort(signal.reason);
  if (signal && signal.aborted) giveUp();
  else if (signal) signal.addEventListener("abort", giveUp);
  heardOf();
  return { signal: stop.signal, heardOf, done };
}

/** Why a request failed: WebKit forgets the reason of an abort, and so does Firefox while it reads a body. */
const whyNot = (line, error) => (line && line.signal.reason instanceof Offline ? line.signal.reason : error);

/** An idempotency key for this body, stable across retries and reloads; `of` separates equal bodies. */
export function onceOf(of, body) {
  const text = JSON.stringify(body);
  let [a, b] = [0xdeadbeef, 0x41c6ce57];
  for (let i = 0; i < text.length; i += 1) {
    a = Math.imul(a ^ text.charCodeAt(i), 0x9e3779b1);
    b = Math.imul(b ^ text.charCodeAt(i), 0x5f356495);
  }
  return `${of}-${(a >>> 0).toString(16)}${(b >>> 0).toString(16)}`;
}

/** How many ms this browser's clock is ahead of the API's clock, which decides about time limits. */
let ahead = 0;
export const now = () => Date.now() - ahead;

function timed(response) {
  const there = Date.parse(response.headers.get("Date"));
  if (there) ahead = Date.now() - there;
  return response;
}

/** Refuses requests and decisions under the name of anyone but the screen's user. */
function requireSame() {
  if (session.same) return;
  session.onLost();
  throw new Problem(401, {});
}

async function request(method, path, { body, key = session.key, headers = {}, signal, once } = {}) {
  requireSame();
  const sent = { ...(key ? { Authorization: `Bearer ${key}` } : {}), ...headers };
  if (body !== undefined && !(body instanceof FormData)) sent["Content-Type"] = "application/json";
  if (once) sent["Idempotency-Key"] = once;
  const data = body === undefined || body instanceof FormData ? body : JSON.stringify(body);
  return heard(fetch(path, { method, headers: sent, body: data, signal, cache: "no-store" })).then(timed);
}

/** Runs a call; repeats it once after the operator confirmed their identity. `tried`: the call tests a key before sign-in. `sends`: messages go out at once. Throws Problem, or Offline. */
async function answered(call, { tried = false, sends = false } = {}) {
  let response = await call();
  if (response.ok) return response;
  const error = await refusal(response, tried);
  if (!error.step_up) throw error;
  if (!(await proven(sends))) throw Object.assign(error, { unproven: true });
  response = await call();
  if (!response.ok) throw await refusal(response);
  return response;
}

/** The answer's body and ETag. Waits for decisions without a time limit. Throws Problem, or Offline. */
export async function ask(method, path, options = {}) {
  const line = method === "GET" ? patience(READ_MS, options.signal) : null;
  try {
    const response = await answered(() => request(method, path, line ? { ...options, signal: line.signal } : options), { tried: "key" in options, sends: options.sends });
    const told = response.status === 204 ? null : await heard(response.json());
    return { body: told, etag: response.headers.get("ETag") };
  } catch (error) { throw whyNot(line, error);
  } finally { if (line) line.done(); }
}

/** Uploads a file with XMLHttpRequest: `fetch` reports no upload progress. */
const uploaded = (path, file, onPart, signal) => heard(new Promise((done, fail) => {
  const line = new XMLHttpRequest();
  line.open("POST", path);
  if (session.key) line.setRequestHeader("Authorization", `Bearer ${session.key}`);
  line.setRequestHeader("Content-Type", "application/octet-stream");
  line.upload.onprogress = ({ loaded, total }) => onPart(total ? loaded / total : 0);
  line.onload = () => done(new Response(line.responseText, { status: line.status }));
  line.onerror = () => fail(new TypeError("The line is down."));
  line.onabort = () => fail(new DOMException("It was given up.", "AbortError"));
  signal.addEventListener("abort", () => line.abort());
  line.send(file);
}));

/** Uploads a file; calls `onPart` with the uploaded share, 0 to 1. Throws Problem, or Offline. */
export const handIn = async (path, file, onPart, signal) => (await answered(async () => { requireSame(); return uploaded(path, file, onPart, signal); })).json();

/** Whether the store accepts writes. */
export const isReady = async (signal) => (await heard(fetch("/readyz", { signal, cache: "no-store" }))).ok;

export const get = async (path, options) => (await ask("GET", path, options)).body;
export const post = async (path, body, options) => (await ask("POST", path, { ...options, body })).body;

/** The answer of a proxy with a smaller limit than alertd. */
const TOO_LARGE = { type: "/problems/too-large" };

async function refusal(response, tried = false) {
  if (response.status === 401 && !tried) session.onLost();
  const body = await response.json().catch(() => null);
  if (!body && response.status >= 500) return new Offline(`HTTP ${response.status}`);  // from a proxy, which does not know whether the request arrived
  return new Problem(response.status, body || (response.status === 413 ? TOO_LARGE : {}));
}

/** A photo that only people with access to the alert may see: URL of a copy in this tab, until it is revoked. */
export async function photo(id, signal) {
  const response = await request("GET", `/m/${id}?size=push`, { signal });
  if (!response.ok) throw await refusal(response);
  return URL.createObjectURL(await heard(response.blob()));
}

async function* lines(response, onHeard = () => {}) {
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  for (;;) {
    const { value, done } = await heard(reader.read());
    if (done) return;
    onHeard();
    const parts = (rest + value).split("\n");
    rest = parts.pop();
    yield* parts;
  }
}

/** Each line of an NDJSON answer. */
export async function* rows(path, signal) {
  const response = await request("GET", path, { signal });
  if (!response.ok) throw await refusal(response);
  for await (const line of lines(response)) if (line) yield JSON.parse(line);
}

/** Yields the progress of an alert at every change, until the end. */
export async function* progressOf(id, signal) {
  const line = patience(SILENT_MS, signal);
  try {
    const response = await request("GET", `/v1/alerts/${id}/progress`, { headers: { Accept: "text/event-stream" }, signal: line.signal });
    if (!response.ok) throw await refusal(response);
    for await (const one of lines(response, line.heardOf)) if (one.startsWith("data: ")) yield JSON.parse(one.slice(6));
  } catch (error) { throw whyNot(line, error);
  } finally { line.done(); }
}

/** Waits `ms`, or less if `signal` aborts. */
export const pause = (ms, signal) => new Promise((done) => {
  const timer = setTimeout(done, ms);
  signal.addEventListener("abort", () => { clearTimeout(timer); done(); });
});
