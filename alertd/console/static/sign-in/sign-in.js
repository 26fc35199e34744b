// Sign-in and confirmation of identity: passkeys first, or the OpenID provider; an API key for training and machines.

import { get, post, session } from "../parts/api.js";
import { hasPasskeys, isBareAddress, named, prove, register } from "./passkey.js";
import { handIn, isForProof, leave, leaveToProve, onProven as onProvenElsewhere, proveElsewhere, provenHere, waysIn } from "./provider.js";
import { Button, Field, Loading, NotYet, Refused, html, useEffect, useRef, useState } from "../parts/parts.js";
import { LANGUAGES, language, speak, t } from "../parts/words.js";

export const Mark = () => html`<svg class="logo" viewBox="0 0 32 32" aria-hidden="true" fill="none" stroke="currentColor"
  stroke-width="2.6" stroke-linecap="round"><circle cx="16" cy="16" r="2.6" fill="currentColor" stroke="none" />
  <path d="M10.6 21.4a7.6 7.6 0 0 1 0-10.8M21.4 10.6a7.6 7.6 0 0 1 0 10.8M7 25a12.7 12.7 0 0 1 0-18M25 7a12.7 12.7 0 0 1 0 18" /></svg>`;

export const Languages = () => html`<select class="languages" aria-label="Language" onChange=${(e) => speak(e.target.value)}>
  ${Object.entries(LANGUAGES).map(([code, name]) => html`<option value=${code} selected=${code === language}>${name}</option>`)}
</select>`;

/** Why a passkey failed: the API's refusal, or the browser's, which gives no reason. */
const Failed = ({ error }) => (error instanceof DOMException
  ? html`<p class="fault" role="alert">${t(error.name === "InvalidStateError" ? "passkey-there" : "passkey-none")}</p>`
  : html`<${Refused} error=${error} />`);

async function entered(way, who) {
  session.signedIn(way, who);
  return get("/v1/me");
}

/** The provider's name, or null if there is none or it is not known yet. Pages at an IP address have none, as with passkeys. */
function useProvider() {
  const [provider, name] = useState(null);
  useEffect(() => { if (!isBareAddress) waysIn().then((ways) => name(ways.provider)); }, []);
  return provider;
}

function WithProvider({ provider, code }) {
  const [error, fail] = useState(null);
  const [busy, work] = useState(false);
  const go = async () => {
    work(true);
    fail(null);
    try { await leave(code ? { code } : {}); } catch (problem) { fail(problem); work(false); }
  };
  if (!provider) return null;
  return html`<${Button} busy=${busy} onClick=${go}>${t("provider-use", { name: provider })}<//><${Refused} error=${error} />`;
}

function WithPasskey({ onSignedIn }) {
  const [error, fail] = useState(null);
  const [busy, work] = useState(false);
  const enter = async () => {
    work(true);
    fail(null);
    try {
      onSignedIn(await entered("passkey", await prove()));
    } catch (problem) { fail(problem); work(false); }
  };
  if (isBareAddress) return html`<p class="note">${t("passkey-named")} <a href=${named}>${named}</a></p>`;
  if (!hasPasskeys) return html`<p class="note">${t("passkey-missing")}</p>`;
  return html`<${Button} kind="primary" icon="key" busy=${busy} onClick=${enter} autofocus>${t("passkey-use")}<//><${Failed} error=${error} />`;
}

function WithKey({ onSignedIn }) {
  const [key, setKey] = useState("");
  const [error, fail] = useState(null);
  const [busy, work] = useState(false);
  const enter = async (event) => {
    event.preventDefault();
    if (!/^[!-~]+$/.test(key.trim())) return fail({ status: 401 }); // not valid in a header
    work(true);
    try {
      const me = await get("/v1/me", { key: key.trim() });
      session.begin(key.trim());
      onSignedIn(me);
    } catch (problem) {
      fail(problem);
      work(false);
    }
  };
  return html`<form onSubmit=${enter}>
    <${Field} label=${t("your-key")} type="password" value=${key} onChange=${setKey} autocomplete="off" spellcheck=${false}
      required hint=${t("key-kept")} error=${error && error.status === 401 ? t("key-wrong") : null} />
    ${error && error.status !== 401 ? html`<${Refused} error=${error} />` : null}
    <button class="button" aria-busy=${busy ? "true" : null}><span>${t("sign-in")}</span></button>
  </form>`;
}

const Door = ({ title, children }) => html`<main class="sign-in">
  <p class="brand"><${Mark} />alertd</p><h1>${title}</h1>${children}<footer><${Languages} /></footer></main>`;

export function SignIn({ lost, onSignedIn }) {
  const provider = useProvider();
  return html`<${Door} title=${t("one-chance")}>
    ${lost ? html`<p class="note" role="status">${t(lost)}</p>` : null}
    <${WithPasskey} onSignedIn=${onSignedIn} /><${WithProvider} provider=${provider} />
    <p class="or"><span>${t("or-key")}</span></p>
    <${WithKey} onSignedIn=${onSignedIn} />
    <p class="small muted"><a href="#/enrol">${t("once-code-have")}</a></p><//>`;
}

/** The provider did not prove that it asked again. A retry gives the same answer, so offers a passkey instead, if there is one. */
function PasskeyInstead({ error, onProven }) {
  const [failed, fail] = useState(null);
  const [busy, work] = useState(false);
  const use = async () => {
    work(true);
    fail(null);
    try { provenHere(await prove()); onProven(); } catch (problem) { fail(problem); work(false); }
  };
  return html`<${Door} title=${t("prove")}><p class="fault" role="alert">${t(error.has_passkey ? "provider-stale" : "provider-stale-none")}</p>
    <${Failed} error=${failed} />
    ${error.has_passkey && hasPasskeys ? html`<${Button} kind="primary" icon="key" busy=${busy} onClick=${use} autofocus>${t("passkey-use")}<//>` : null}<//>`;
}

/** Back from the provider: signed in, or the reason why not. A window that confirmed the identity closes, or says that it can be closed. */
export function CameBack({ onSignedIn, onBack }) {
  const [error, fail] = useState(null);
  const [done, finish] = useState(false);
  useEffect(() => {
    handIn().then(async (who) => { if (who) onSignedIn(await entered("provider", who)); else finish(true); }).catch(fail);
  }, []);
  if (done) return html`<${Door} title=${t("provider-done")}><p>${t("provider-close")}</p><//>`;
  if (!error) return html`<${Door} title=${t("provider-back")}><${Loading} /><//>`;
  if (error.has_passkey !== undefined) return html`<${PasskeyInstead} error=${error} onProven=${() => finish(true)} />`;
  return html`<${Door} title=${t(isForProof() ? "prove" : "provider-none")}><${Refused} error=${error} />
    <${Button} kind="primary" onClick=${isForProof() ? () => leaveToProve().catch(fail) : onBack} autofocus>${t("try-again")}<//><//>`;
}

/** The window for confirming the identity, before the redirect. */
export function ProveElsewhere() {
  const [error, fail] = useState(null);
  useEffect(() => { leaveToProve().catch(fail); }, []);
  return html`<${Door} title=${t("prove")}><${NotYet} error=${error} /><//>`;
}

/** The one-time code, from the address or typed: it names the person, and the browser registers a passkey. */
export function Enrol({ code: given, onSignedIn }) {
  const [code, type] = useState(given);
  const [invited, invite] = useState(null);
  const [error, fail] = useState(null);
  const [busy, work] = useState(false);
  const provider = useProvider();
  const look = (text) => post("/v1/passkeys/options", { code: text }).then((told) => { fail(null); invite(told); }, fail);
  useEffect(() => {
    if (!given || isBareAddress) return;
    history.replaceState(null, "", "#/enrol");  // a used code is useless, and an unused one is a secret
    look(given);
  }, []);
  const make = async () => {
    work(true);
    try {
      const me = await entered("passkey", await register(code, invited.public_key));
      location.hash = "#/";
      onSignedIn(me);
    } catch (problem) {
      fail(problem);
      work(false);
      if (!(problem instanceof DOMException)) invite(null);
    }
  };
  if (!hasPasskeys && !provider) return html`<${Door} title=${t("welcome")}><${WithPasskey} /><//>`;
  if (invited) return html`<${Door} title=${t("welcome-name", { name: invited.name })}>
    ${hasPasskeys ? html`<p>${t("passkey-says")}</p>` : null}<p class="muted small">${invited.subject}</p><${Failed} error=${error} />
    ${hasPasskeys ? html`<${Button} kind="primary" icon="key" busy=${busy} onClick=${make} autofocus>${t("passkey-make")}<//>` : null}
    <${WithProvider} provider=${provider} code=${code} /><//>`;
  if (given && !error) return html`<${Door} title=${t("welcome")}><${Loading} /><//>`;
  return html`<${Door} title=${t("welcome")}>
    <form onSubmit=${(event) => { event.preventDefault(); look(code); }}>
      <${Field} label=${t("once-code")} value=${code} onChange=${type} autocomplete="one-time-code" spellcheck=${false} autofocus required hint=${t("once-code-says")} />
      <${Failed} error=${error} /><button class="button primary" disabled=${!code.trim()}><span>${t("next")}</span></button></form>
    <p class="small muted"><a href="#/">${t("once-code-none")}</a></p><//>`;
}

/** Before a decision: confirms the identity, then continues by itself. `sends`: the decision sends messages at once, and the buttons say so. */
export function Prove({ me, sends, onProven }) {
  const dialog = useRef(null);
  const [error, fail] = useState(null);
  const [busy, work] = useState(false);
  const [blocked, block] = useState(false);
  const provider = useProvider();
  const known = provider && session.way === "provider";
  useEffect(() => { dialog.current.showModal(); }, []);
  useEffect(() => onProvenElsewhere((who) => { if (who.subject === me.subject && who.organisation === me.organisation) onProven(true); }), []);
  const ask = async () => {
    work(true);
    fail(null);
    try {
      const who = await prove();
      if (who.subject !== me.subject || who.organisation !== me.organisation) location.reload();  // another person: the begun work is not theirs
      else onProven(true);
    } catch (problem) { fail(problem); work(false); }
  };
  return html`<dialog class="sheet prove" ref=${dialog} aria-labelledby="prove" onCancel=${() => onProven(false)}>
    <h2 id="prove">${t("prove")}</h2><p>${t(sends ? "prove-sends" : "prove-says")}</p><${Failed} error=${error} />
    ${blocked ? html`<p class="fault" role="alert">${t("provider-blocked")}</p>` : null}
    <div class="actions"><${Button} onClick=${() => onProven(false)}>${t("back")}<//>
      ${provider ? html`<${Button} kind=${known ? "primary" : ""} onClick=${() => block(!proveElsewhere())}>${t(sends ? "provider-send" : "provider-continue", { name: provider })}<//>` : null}
      ${hasPasskeys ? html`<${Button} kind=${known ? "" : "primary"} icon="key" busy=${busy} onClick=${ask} autofocus=${!known}>${t(sends ? "passkey-send" : "passkey-continue")}<//>` : null}</div></dialog>`;
}
