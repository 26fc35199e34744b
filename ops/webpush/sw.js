// The service worker of a site that shows alerts in browsers. ops/docs/integrate/web-push.md lists its duties. Serve it from the root of your own site, and
// set these constants.
"use strict";

/** The public address of alertd: its `api.public_url`. */
const ALERTD = "https://alerts.centre.example";
/** `application_server_key` of `GET /v1/carriers`, the same as in your pages. */
const KEY = "";
/** Path of your backend for a changed subscription: the backend replaces the old one at alertd. */
const HOOK = "/webpush/changed";
/** The page that a click opens if the message has none. */
const HOME = "/";
/** Your own `icon` and `badge` for `showNotification`. */
const LOOK = {};
/** A neutral notice for a message that may not be shown, in the language of your site. It says nothing about any alert. */
const NEUTRAL = { title: "Missing-child alerts", body: "Open to see which alerts are current.", lang: "en", dir: "auto" };

/** Without an answer after this time, the message is shown: a hidden alert helps no one. */
const PATIENCE_MS = 3000;
/** The longest time that a push service keeps a message. */
const KEPT_MS = 28 * 24 * 3600 * 1000;
/** The cache and its one entry with the last sequence of each chain; the lock around it; and the tag of the notice. */
const MEMORY = "alertd-chains";

const QUIETLY = { silent: true, renotify: false };
/** Requests without preflight and without cookies: the tag in the address is enough. */
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

/** The notification of a message, or null for an unknown format. Safari reads such messages itself, and passes them on without the text. */
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
 * Returns whether the message was shown. Handles one message of a chain at a time: otherwise an old message, checked before a new one came,
 * could appear after it. Other chains do not wait, because a picture may take a minute to load.
 */
async function settle(message, mayShow) {
  const { chain, sequence } = message.data;
  const all = await shown();
  const own = all.filter(({ tag }) => tag === chain);
  const last = await navigator.locks.request(MEMORY, () => swap(chain, Number(sequence)));
  if (Number(sequence) < last) {
    await stayVisible(own);
  } else if (mayShow) {
    await show(message, Number(sequence) === last ? QUIETLY : {}); // a duplicate makes no second sound
    all.filter(({ tag }) => tag === MEMORY).forEach((one) => one.close());
    return true;
  } else {
    own.forEach((one) => one.close());
    await stayVisible([]);
  }
  return false;
}

/**
 * Leaves something on the screen after each push, because browsers require it. Safari cancels the subscription after some pushes without
 * `showNotification`, or shows a readable message itself, with the name. Chrome and Firefox check that a notification of the site is
 * visible when the event ends (one closed at once does not count); otherwise they show a text of their own, or stop delivering.
 *
 * So if a message may not be shown, this shows the chain's present notification again, silently. Without one, it shows a neutral notice:
 * at most one, which the next alert removes.
 */
async function stayVisible([one]) {
  await show(one || { ...NEUTRAL, tag: MEMORY }, QUIETLY);
}

/** Data of a message or a visible notification. Without `navigate`: a browser that follows it by itself reports no click. */
function show({ title, body, lang, dir, tag, image, renotify, silent, requireInteraction, data }, changes) {
  const options = { body, lang, dir, tag, renotify, silent, requireInteraction, data, ...(image ? { image } : {}) };
  return self.registration.showNotification(title, { ...LOOK, ...options, ...changes });
}

/** The visible notifications that have not ended. */
async function shown() {
  const all = await self.registration.getNotifications().catch(() => []);
  all.filter(isOver).forEach((one) => one.close());
  return all.filter((one) => !isOver(one));
}

function isOver({ data }) {
  return Boolean(data) && Number(data.expires) * 1000 <= Date.now();
}

/** Stores the sequence of a chain if it is the highest. Returns the previous one. If a browser stores nothing, every message counts as new. */
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

/** Whether the message may still be shown; true without an answer. */
async function isCurrent(ack) {
  try {
    const answer = await fetch(pathOf(ack), { ...SIMPLE, signal: AbortSignal.timeout(PATIENCE_MS) });
    return answer.status !== 404 && !(answer.ok && (await answer.json()).show === false);
  } catch {
    return true;
  }
}

/** Reports a message as shown ("delivered") or opened ("seen"). Without the report, alertd may notify this person by another channel. */
async function say(ack, state) {
  await fetch(`${pathOf(ack)}?state=${state}`, { ...SIMPLE, method: "POST" }).catch(() => {});
}

function pathOf(ack) {
  return `${ALERTD}/r/${encodeURIComponent(ack)}`;
}

/** Some browsers report no change, or not the old subscription: the page therefore sends the subscription at each visit too. */
async function renew({ oldSubscription, newSubscription }) {
  const options = { userVisibleOnly: true, applicationServerKey: KEY };
  const subscription = newSubscription || (await self.registration.pushManager.subscribe(options));
  const body = JSON.stringify({ subscription, old: oldSubscription ? oldSubscription.endpoint : null, before: oldSubscription || null });
  await fetch(HOOK, { method: "POST", headers: { "Content-Type": "application/json" }, body });
}
