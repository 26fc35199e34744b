// The API of alertd, called as anybody's program calls it, and who calls: an operator's session, which is the browser's, or one key,
// in this tab alone.

const KEY = "alertd.key";
/** Whether an operator signed in here: the session itself is in a cookie that no script reads. */
const SIGNED_IN = "alertd.signed-in";

/** Whose tab it is: what is typed in it, and what was read of a case, are theirs. Of the browser: whose its session is. */
const OWNER = "alertd.owner";
const ownerOf = ({ organisation, subject }) => JSON.stringify([organisation, subject]);

/** Whose the screen is, from when that is known until they are signed out of it. */
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

/** A place for what was read of a case: nothing of it outlives the session of whoever read it. */
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
  /** By which way, "passkey" or "provider", which is what one is asked for again. */
  signedIn(way, who) {
    sessionStorage.removeItem(KEY);
    localStorage.setItem(SIGNED_IN, way);
    localStorage.setItem(OWNER, ownerOf(who));
    shown = null;
  },
  get way() { return localStorage.getItem(SIGNED_IN); },
  /** Whether it is still of whoever the screen is: the cookie is that of all tabs, and another one may have ended it, or let somebody else in. */
  get same() { return Boolean(this.key) || !shown || localStorage.getItem(OWNER) === shown; },
  /** The session is over: nobody asks with it again. What was begun stays in the tab, for whoever signs in. Whether somebody had one. */
  lost() {
    const had = this.open || Boolean(shown);
    this.close();
    return had;
  },
  /** Nothing of this person or a case stays in the tab. Whether alertd was told. */
  async end() {
    const told = Boolean(this.key) || !this.same || await post("/v1/sign-out").then(() => true, ({ status }) => status === 401);
    this.close();
    wipe();
    return told;
  },
  /** Nobody's is the screen. What the other tabs have is theirs: a session where this one has a key, or that of somebody else. */
  close() {
    if (!this.key && this.same) [SIGNED_IN, OWNER].forEach((name) => localStorage.removeItem(name));
    shown = null;
  },
  /** From now on the tab is this person's: nothing that another one left in it is theirs to see. */
  claim(who) {
    const { key } = this;
    shown = ownerOf(who);
    if (sessionStorage.getItem(OWNER) !== shown) wipe();
    if (key) this.begin(key);
    else localStorage.setItem(OWNER, shown);
    sessionStorage.setItem(OWNER, shown);
  },
  /** Told when the API no longer knows who calls. */
  onLost: () => {},
  /** Asks the operator to show again that it is they; whether they did. */
  onProof: async () => false,
};

/** A name for a POST, under which it can be sent again without being done again. */
export function onceOnly() {
  return Array.from(crypto.getRandomValues(new Uint8Array(16)), (n) => n.toString(16).padStart(2, "0")).join("");
}

/** Of what the line answers: a refusal to go on is kept apart from a line that is down. */
const heard = (answer) => answer.catch((error) => { throw error.name === "AbortError" ? error : new Offline(error.message); });

/** Who has no answer by then has none: what is shown is old, and the screen says so. The longest search takes less. */
const READ_MS = 20_000;
/** Of a stream in which nothing happens alertd says three times in that time that it is there. */
const SILENT_MS = 45_000;

/** A line that is down where nothing comes over it for so long: a machine that went off the net is told so by nobody. `signal` gives it up. */
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

/** Why nothing came over a line: WebKit forgets the reason for which it was given up, and so does Firefox of an answer that it reads. */
const whyNot = (line, error) => (line && line.signal.reason instanceof Offline ? line.signal.reason : error);

/** A name for a POST of this body, the same whenever it is sent again, after a lost answer or a reload: `of` tells alike ones apart. */
export function onceOf(of, body) {
  const text = JSON.stringify(body);
  let [a, b] = [0xdeadbeef, 0x41c6ce57];
  for (let i = 0; i < text.length; i += 1) {
    a = Math.imul(a ^ text.charCodeAt(i), 0x9e3779b1);
    b = Math.imul(b ^ text.charCodeAt(i), 0x5f356495);
  }
  return `${of}-${(a >>> 0).toString(16)}${(b >>> 0).toString(16)}`;
}

/** By how many ms this browser's clock is before the API's: what is decided or over is so by that one. */
let ahead = 0;
export const now = () => Date.now() - ahead;

function timed(response) {
  const there = Date.parse(response.headers.get("Date"));
  if (there) ahead = Date.now() - there;
  return response;
}

/** Nothing is asked, or decided, in the name of somebody else than the screen says. */
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

/** What a call answers. What decides is asked again once the operator has shown that it is they. `tried`: with a key that nobody has signed in with yet. Throws Problem, or Offline. */
async function answered(call, tried = false) {
  let response = await call();
  if (response.ok) return response;
  const error = await refusal(response, tried);
  if (!error.step_up || !(await session.onProof())) throw error;
  response = await call();
  if (!response.ok) throw await refusal(response);
  return response;
}

/** The answer's body and ETag. What decides is waited for as long as it takes. Throws Problem, or Offline. */
export async function ask(method, path, options = {}) {
  const line = method === "GET" ? patience(READ_MS, options.signal) : null;
  try {
    const response = await answered(() => request(method, path, line ? { ...options, signal: line.signal } : options), "key" in options);
    const told = response.status === 204 ? null : await heard(response.json());
    return { body: told, etag: response.headers.get("ETag") };
  } catch (error) { throw whyNot(line, error);
  } finally { if (line) line.done(); }
}

/** Uploads a file; `fetch` does not tell how far that is. */
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

/** Hands a file in; `onPart` hears how much of it is there, of 1. Throws Problem, or Offline. */
export const handIn = async (path, file, onPart, signal) => (await answered(async () => { requireSame(); return uploaded(path, file, onPart, signal); })).json();

/** Whether the store takes writes. */
export const isReady = async (signal) => (await heard(fetch("/readyz", { signal, cache: "no-store" }))).ok;

export const get = async (path, options) => (await ask("GET", path, options)).body;
export const post = async (path, body, options) => (await ask("POST", path, { ...options, body })).body;

/** What a proxy says that takes less than alertd. */
const TOO_LARGE = { type: "/problems/too-large" };

async function refusal(response, tried = false) {
  if (response.status === 401 && !tried) session.onLost();
  const body = await response.json().catch(() => null);
  if (!body && response.status >= 500) return new Offline(`HTTP ${response.status}`);  // a proxy's: whether what was sent arrived, it does not know either
  return new Problem(response.status, body || (response.status === 413 ? TOO_LARGE : {}));
}

/** A photo that only those who work on the alert may see: the address of a copy in this tab, until it is revoked. */
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

/** The progress of an alert at every change, until nothing more of it changes. */
export async function* progressOf(id, signal) {
  const line = patience(SILENT_MS, signal);
  try {
    const response = await request("GET", `/v1/alerts/${id}/progress`, { headers: { Accept: "text/event-stream" }, signal: line.signal });
    if (!response.ok) throw await refusal(response);
    for await (const one of lines(response, line.heardOf)) if (one.startsWith("data: ")) yield JSON.parse(one.slice(6));
  } catch (error) { throw whyNot(line, error);
  } finally { line.done(); }
}

/** So many ms, or less where what waits is given up. */
export const pause = (ms, signal) => new Promise((done) => {
  const timer = setTimeout(done, ms);
  signal.addEventListener("abort", () => { clearTimeout(timer); done(); });
});
