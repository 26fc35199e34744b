// The service worker of a site whose visitors have alerts in their browsers: ops/docs/integrate/web-push.md says what it owes to them. Serve it from the
// root of your own site, and set these.
"use strict";

/** Where alertd is, as browsers reach it: its `api.public_url`. */
const ALERTD = "https://alerts.centre.example";
/** `application_server_key` of `GET /v1/carriers`, as your pages have it. */
const KEY = "";
/** What of your own backend is told that a browser has another subscription: it registers that with alertd in the place of the old one. */
const HOOK = "/webpush/changed";
/** What a click opens where the message has no page. */
const HOME = "/";
/** `icon` and `badge` of your own, as `showNotification` has them. */
const LOOK = {};
/** What stands for what may not be shown, in the words and the language of your site. It says nothing of any alert. */
const NEUTRAL = { title: "Missing-child alerts", body: "Open to see which alerts are current.", lang: "en", dir: "auto" };

/** Whoever waits longer for an answer shows the message: an alert that is not shown helps nobody. */
const PATIENCE_MS = 3000;
/** No push service keeps a message for longer. */
const KEPT_MS = 28 * 24 * 3600 * 1000;
/** The cache, and in it the one entry, that says which sequence of each chain came last; the lock around it; and the tag of the notice. */
const MEMORY = "alertd-chains";

const QUIETLY = { silent: true, renotify: false };
/** Such requests need no permission of alertd's first (no preflight). Nobody's cookies go along: the tag in the address says it all. */
const SIMPLE = { cache: "no-store", credentials: "omit", referrerPolicy: "no-referrer" };

self.addEventListener("install", () => self.skipWaiting());
self.addEventListener("activate", (event) => event.waitUntil(self.clients.claim()));
self.addEventListener("push", (event) => event.waitUntil(take(messageOf(event))));

self.addEventListener("notificationclick", (event) => {
  const { data } = event.notification;
  event.notification.close();
  const opened = self.clients.openWindow((data && data.url) || HOME);
  event.waitUntil(Promise.allSettled([opened, data && data.ack && say(data.ack, "seen")]));
});

self.addEventListener("pushsubscriptionchange", (event) => event.waitUntil(renew(event)));

/** The notification of a message, or null for what nobody here knows. Safari, which reads such messages itself, gives it without the text. */
function messageOf({ data, notification }) {
  try {
    const found = data ? data.json().notification : notification;
    const { schema, chain, sequence, expires, ack } = found.data;
    return found.title && schema === "1" && chain && ack && Number(sequence) > 0 && Number(expires) > 0 ? found : null;
  } catch {
    return null;
  }
}

async function take(message) {
  if (!message) return stayVisible([]);
  const { ack, chain } = message.data;
  const mayShow = !isOver(message) && (await isCurrent(ack));
  if (await navigator.locks.request(chain, () => settle(message, mayShow))) await say(ack, "delivered");
}

/**
 * Answers whether it is shown. Of a chain one message at a time, or an old one that looked before a new one came would be shown after it;
 * another chain does not wait, for a picture may take a minute to load.
 */
async function settle(message, mayShow) {
  const { chain, sequence } = message.data;
  const all = await shown();
  const own = all.filter(({ tag }) => tag === chain);
  const last = await navigator.locks.request(MEMORY, () => swap(chain, Number(sequence)));
  if (Number(sequence) < last) {
    await stayVisible(own);
  } else if (mayShow) {
    await show(message, Number(sequence) === last ? QUIETLY : {}); // it came twice: nobody is rung twice
    all.filter(({ tag }) => tag === MEMORY).forEach((one) => one.close());
    return true;
  } else {
    own.forEach((one) => one.close());
    await stayVisible([]);
  }
  return false;
}

/**
 * A push must leave something on the screen. Browsers count: Safari takes the subscription away after some that did not call
 * `showNotification`, or shows the message itself where it can read it, name and all; Chrome and Firefox look whether anything of the
 * site is visible when the event ends, so what is closed at once counts as nothing, and show words of their own, or stop delivering. So
 * where nothing of a message may be shown, what is on the screen of its chain is shown once more, silently, which nobody notices; and
 * where nothing is, a neutral notice. There is one of these at most, and the next alert takes it away.
 */
async function stayVisible([one]) {
  await show(one || { ...NEUTRAL, tag: MEMORY }, QUIETLY);
}

/** Of a message, or of what is on the screen. Without `navigate`: a browser that follows it by itself would not say that it was clicked. */
function show({ title, body, lang, dir, tag, image, renotify, silent, requireInteraction, data }, changes) {
  const options = { body, lang, dir, tag, renotify, silent, requireInteraction, data, ...(image ? { image } : {}) };
  return self.registration.showNotification(title, { ...LOOK, ...options, ...changes });
}

/** What is on the screen and not over. */
async function shown() {
  const all = await self.registration.getNotifications().catch(() => []);
  all.filter(isOver).forEach((one) => one.close());
  return all.filter((one) => !isOver(one));
}

function isOver({ data }) {
  return Boolean(data) && Number(data.expires) * 1000 <= Date.now();
}

/** Notes the sequence of a chain, if it is the highest, and answers which was until now. Where a browser keeps nothing, every message is new. */
async function swap(chain, sequence) {
  try {
    const cache = await caches.open(MEMORY);
    const found = await cache.match(MEMORY);
    const known = found ? await found.json() : {};
    const [last] = known[chain] || [0];
    const fresh = Object.entries(known).filter(([, [, since]]) => since > Date.now() - KEPT_MS);
    const noted = { ...Object.fromEntries(fresh), [chain]: [Math.max(last, sequence), Date.now()] };
    await cache.put(MEMORY, new Response(JSON.stringify(noted)));
    return last;
  } catch {
    return 0;
  }
}

/** Whether the message may still be shown; without an answer, too. */
async function isCurrent(ack) {
  try {
    const answer = await fetch(pathOf(ack), { ...SIMPLE, signal: AbortSignal.timeout(PATIENCE_MS) });
    return answer.status !== 404 && !(answer.ok && (await answer.json()).show === false);
  } catch {
    return true;
  }
}

/** That a message was shown ("delivered"), or opened ("seen"). If it cannot be said, then who is to be told otherwise is told. */
async function say(ack, state) {
  await fetch(`${pathOf(ack)}?state=${state}`, { ...SIMPLE, method: "POST" }).catch(() => {});
}

function pathOf(ack) {
  return `${ALERTD}/r/${encodeURIComponent(ack)}`;
}

/** Not every browser tells of a change, nor what there was before: the page hands the subscription over at each visit as well. */
async function renew({ oldSubscription, newSubscription }) {
  const options = { userVisibleOnly: true, applicationServerKey: KEY };
  const subscription = newSubscription || (await self.registration.pushManager.subscribe(options));
  const body = JSON.stringify({ subscription, old: oldSubscription ? oldSubscription.endpoint : null });
  await fetch(HOOK, { method: "POST", headers: { "Content-Type": "application/json" }, body });
}
