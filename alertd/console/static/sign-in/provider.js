// The OpenID provider: this browser is sent there, and what it comes back with is handed in.

import { get, post } from "../parts/api.js";

/** In the window that was opened to show once more who it is. */
const PROVES = "alertd.proves";
const told = new BroadcastChannel("alertd.proof");

/** How one signs in here: asked for once. */
let ways = null;
export const waysIn = () => {
  ways = ways || get("/v1/sign-in").catch(() => { ways = null; return { provider: null }; });
  return ways;
};

/** Where somebody was when they left to sign in: whoever is called for an alert follows a link to it. */
const FROM = "alertd.from";

/** What brought this browser back from the provider; the address says nothing of it any more. */
export const cameBack = (() => {
  const given = new URLSearchParams(location.search);
  if (!given.has("state")) return null;
  history.replaceState(null, "", `${location.pathname}${sessionStorage.getItem(FROM) || "#/"}`);
  sessionStorage.removeItem(FROM);
  return Object.fromEntries(["state", "code", "iss"].filter((name) => given.has(name)).map((name) => [name, given.get(name)]));
})();

/** Leaves for the provider: to sign in, with a one-time `code`, or to `prove`. */
export async function leave(what = {}) {
  const { url } = await post("/v1/sign-in/provider", what);
  if (!what.code && !what.prove) sessionStorage.setItem(FROM, location.hash);
  location.assign(url);
}

/** Leaves to show once more who it is, in a window that `proveElsewhere` opened. */
export async function leaveToProve() {
  sessionStorage.setItem(PROVES, "yes");
  await leave({ prove: true });
}

/** Hands in what the browser came back with; who signed in, or null where this window was only to show once more who it is. */
export async function handIn() {
  const who = await post("/v1/sign-in/provider/answer", cameBack);
  if (!isForProof()) return who;
  provenHere(who);
  return null;
}

/** Tells the window that asked who has shown who they are, and closes this one. */
export function provenHere(who) {
  sessionStorage.removeItem(PROVES);
  told.postMessage({ organisation: who.organisation, subject: who.subject });
  window.close();
}

export const isForProof = () => Boolean(sessionStorage.getItem(PROVES));

/** Opens a window in which the provider asks who it is, for what is begun here must not be left. False where the browser opens none. */
export const proveElsewhere = () => Boolean(window.open("/console#/prove", "_blank", "popup,width=520,height=720"));

/** Tells `proven` when such a window has shown who it is, until the answer of this is called. */
export function onProven(proven) {
  const heard = ({ data }) => proven(data);
  told.addEventListener("message", heard);
  return () => told.removeEventListener("message", heard);
}
