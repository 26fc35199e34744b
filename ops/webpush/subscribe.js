// Subscribes a browser from a page of your own site. ops/docs/integrate/web-push.md explains the part of your backend. Import it as a module.

/**
 * Subscribes the browser. It asks for permission, so call it from a button that explains why. `worker` is the path of sw.js, `key` the
 * `application_server_key` of `GET /v1/carriers`, `hand` your function that sends the subscription, as JSON, to your backend: only the
 * backend has a key of alertd.
 *
 * Returns "subscribed"; "denied" if the user refuses; "home-screen" on an iPhone or iPad where the user must first add the page to the
 * home screen and open it there; "unsupported" in a browser without push.
 */
export async function subscribe({ worker, key, hand }) {
  if (!("serviceWorker" in navigator && "PushManager" in window && "Notification" in window)) {
    return navigator.standalone === false ? "home-screen" : "unsupported";
  }
  if ((await Notification.requestPermission()) !== "granted") return "denied";
  await navigator.serviceWorker.register(worker);
  const { pushManager } = await navigator.serviceWorker.ready;
  await hand((await subscribed(pushManager, key)).toJSON());
  return "subscribed";
}

/**
 * Call it at every visit of a user who is subscribed in your records: it sends the subscription again, because browsers change it and not
 * all of them report that. It never asks the user. Without permission it does nothing and returns "denied".
 */
export async function resume(options) {
  const isAllowed = "Notification" in window && Notification.permission === "granted";
  return isAllowed ? subscribe(options) : "denied";
}

/** Ends the subscription. Returns its endpoint, so that your backend deletes this address at alertd; null if there was none. */
export async function unsubscribe() {
  const registration = await navigator.serviceWorker.getRegistration();
  const subscription = registration && (await registration.pushManager.getSubscription());
  if (!subscription) return null;
  await subscription.unsubscribe();
  return subscription.endpoint;
}

/** Returns the existing subscription or a new one: a browser keeps a subscription with another key until it is unsubscribed. */
async function subscribed(pushManager, key) {
  const options = { userVisibleOnly: true, applicationServerKey: key };
  try {
    return await pushManager.subscribe(options);
  } catch (error) {
    if (error.name !== "InvalidStateError") throw error;
    await (await pushManager.getSubscription()).unsubscribe();
    return pushManager.subscribe(options);
  }
}
