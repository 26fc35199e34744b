// Passkeys in this browser: registered with a one-time code, and used to sign.

import { post } from "../parts/api.js";

const bytes = (text) => Uint8Array.from(atob(text.replace(/-/g, "+").replace(/_/g, "/")), (one) => one.charCodeAt(0));
const text = (buffer) => btoa(String.fromCharCode(...new Uint8Array(buffer))).replace(/\+/g, "-").replace(/\//g, "_").replace(/=+$/, "");

/** Passkeys need a host name, over TLS or on this machine; an IP address has none. */
export const isBareAddress = /^[\d.]+$|^\[/.test(location.hostname);
export const hasPasskeys = Boolean(window.PublicKeyCredential) && !isBareAddress;
/** The same page under a host name, if it is on this machine. */
export const named = location.href.replace(/\/\/(127\.0\.0\.1|\[::1\])/, "//localhost");

const described = (list) => (list || []).map((one) => ({ ...one, id: bytes(one.id) }));

function told(credential, names) {
  const response = Object.fromEntries(names.filter((name) => credential.response[name]).map((name) => [name, text(credential.response[name])]));
  return { id: credential.id, rawId: text(credential.rawId), type: credential.type, response };
}

/** Registers a passkey and signs in with it; returns the person. */
export async function register(code, options) {
  const publicKey = {
    ...options, challenge: bytes(options.challenge), user: { ...options.user, id: bytes(options.user.id) },
    excludeCredentials: described(options.excludeCredentials),
  };
  const made = await navigator.credentials.create({ publicKey });
  return post("/v1/passkeys", { code, passkey: told(made, ["clientDataJSON", "attestationObject"]) });
}

/** Signs with a passkey: begins a session, or confirms the identity; returns the person. */
export async function prove() {
  const { public_key: options } = await post("/v1/sign-in/options");
  const publicKey = { ...options, challenge: bytes(options.challenge), allowCredentials: described(options.allowCredentials) };
  const signed = await navigator.credentials.get({ publicKey });
  return post("/v1/sign-in", told(signed, ["clientDataJSON", "authenticatorData", "signature", "userHandle"]));
}
