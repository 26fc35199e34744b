// How a page of your own site subscribes a browser: ops/docs/integrate/web-push.md says what your backend does with it. Import it as a module.

/**
 * Asks for permission, so call it when somebody presses a button that says what for. `worker` is where sw.js is, `key` the
 * `application_server_key` of `GET /v1/carriers`, `hand` your own function that takes the subscription, as JSON, to your backend: only that
 * has a key of alertd.
 *
 * Answers "subscribed"; "denied" when they do not want it; "home-screen" on an iPhone or iPad whose owner has to add the page to the home
 * screen first and open it there; "unsupported" in a browser that knows no push.
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
 * At every visit of whoever is subscribed, by your own account of it: hands the subscription over once more, since browsers change it and not
 * all say so. Nobody is asked for anything; without their permission nothing happens, and it answers "denied".
 */
export async function resume(options) {
  const isAllowed = "Notification" in window && Notification.permission === "granted";
  return isAllowed ? subscribe(options) : "denied";
}

/** Ends it, and answers the endpoint, whose address your backend deletes at alertd; null where there was none. */
export async function unsubscribe() {
  const registration = await navigator.serviceWorker.getRegistration();
  const subscription = registration && (await registration.pushManager.getSubscription());
  if (!subscription) return null;
  await subscription.unsubscribe();
  return subscription.endpoint;
}

/** The one that there is, or a new one: a browser that subscribed with another key keeps that one until it is told. */
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
