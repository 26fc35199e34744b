// The OpenID provider: redirects the browser to it, and sends its answer to the API.

import { get, post } from "../parts/api.js";

/** Marks the window that was opened to confirm the identity. */
const PROVES = "alertd.proves";
const told = new BroadcastChannel("alertd.proof");

/** The ways to sign in here, fetched once. */
let ways = null;
export const waysIn = () => {
  ways = ways || get("/v1/sign-in").catch(() => { ways = null; return { provider: null }; });
  return ways;
};

/** The address before sign-in: people on call follow a link to an alert. */
const FROM = "alertd.from";

/** The provider's answer, taken from the address and removed there. */
export const cameBack = (() => {
  const given = new URLSearchParams(location.search);
  if (!given.has("state")) return null;
  history.replaceState(null, "", `${location.pathname}${sessionStorage.getItem(FROM) || "#/"}`);
  sessionStorage.removeItem(FROM);
  return Object.fromEntries(["state", "code", "iss"].filter((name) => given.has(name)).map((name) => [name, given.get(name)]));
})();

/** Redirects to the provider: to sign in, with a one-time `code`, or to `prove`. */
export async function leave(what = {}) {
  const { url } = await post("/v1/sign-in/provider", what);
  if (!what.code && !what.prove) sessionStorage.setItem(FROM, location.hash);
  location.assign(url);
}

/** Redirects to the provider to confirm the identity, in a window that `proveElsewhere` opened. */
export async function leaveToProve() {
  sessionStorage.setItem(PROVES, "yes");
  await leave({ prove: true });
}

/** Sends the provider's answer to the API; returns the signed-in person, or null if the window only confirmed the identity. */
export async function handIn() {
  const who = await post("/v1/sign-in/provider/answer", cameBack);
  if (!isForProof()) return who;
  provenHere(who);
  return null;
}

/** Reports the confirmed person to the window that asked, and closes this one. */
export function provenHere(who) {
  sessionStorage.removeItem(PROVES);
  told.postMessage({ organisation: who.organisation, subject: who.subject });
  window.close();
}

export const isForProof = () => Boolean(sessionStorage.getItem(PROVES));

/** Opens a window for the provider, because the present page has unsaved work. False if the browser blocks it. */
export const proveElsewhere = () => Boolean(window.open("/console#/prove", "_blank", "popup,width=520,height=720"));

/** Calls `proven` when such a window confirmed an identity, until the returned function is called. */
export function onProven(proven) {
  const heard = ({ data }) => proven(data);
  told.addEventListener("message", heard);
  return () => told.removeEventListener("message", heard);
}
