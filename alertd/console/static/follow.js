// What follows an alert: stood down, back again, closed, cancelled. One press away, said in words first, with what people will read.

import { ask, onceOnly } from "./api.js";
import { hasForm, iso, local } from "./draft.js";
import { Messages } from "./messages.js";
import { isAnothers } from "./now.js";
import { Button, Field, Refused, html, mayDo, useState } from "./parts.js";
import { TABLES } from "./tables.js";
import { t } from "./words.js";

/** What the API calls the author's words, and the prepared words that people are told. */
const ACTS = {
  "stand-down": { says: "reason", occasion: "stand-down" },
  reopen: { says: "reason" },
  extend: { says: "reason", ends: true, anothers: true },
  restrict: { says: "reason" },
  close: { says: "outcome", occasion: "close" },
  cancel: { says: "reason", occasion: "cancel" },
};

function Order({ alert, act, languages, onDone, onBack }) {
  const { says, occasion, ends } = ACTS[act];
  const [end, setEnd] = useState(ends ? local(new Date(new Date(alert.expires).getTime() + LATER_MS)) : "");
  const [words, say] = useState("");
  const [code, setCode] = useState(TABLES.codes[0]);
  const [error, fail] = useState(null);
  const [busy, work] = useState(false);
  const [once] = useState(onceOnly);
  const order = async (event) => {
    event.preventDefault();
    work(true);
    const body = { [says]: words, ...(act === "cancel" ? { code } : {}), ...(ends ? { expires: iso(end) } : {}) };
    try {
      await ask("POST", `/v1/alerts/${alert.id}/${act}`, { body, once });
      onDone();
    } catch (problem) { fail(problem); work(false); }
  };
  const query = act === "cancel" ? `&occasion=cancel&reason=${code}` : `&occasion=${occasion}`;
  return html`<form class="order" onSubmit=${order}>
    <div class="order-words"><h2>${t(act)}</h2><p>${t(`${act}-says`)}</p>
      ${act === "cancel" ? html`<fieldset><legend>${t("told-why")}</legend>${TABLES.codes.map((one) => html`<label class="check">
        <input type="radio" name="code" checked=${one === code} onChange=${() => setCode(one)} /><span>${t(one)}</span></label>`)}</fieldset>` : null}
      ${ends ? html`<${Field} label=${t("expires")} type="datetime-local" value=${end} onChange=${setEnd} required />` : null}
      <${Field} label=${t(`${says}-inside`)} value=${words} onChange=${say} wide autofocus required />
      <${Refused} error=${error} />
      <div class="actions"><${Button} onClick=${onBack}>${t("back")}<//>
        <button class="button ${["reopen", "extend"].find((one) => one === act) ? "primary" : "danger"}" disabled=${!words.trim() || busy}><span>${t(act)}</span></button></div></div>
    ${occasion && alert.alert ? html`<div class="order-texts"><${Messages} document=${alert.alert} only=${languages.slice(0, 1)} query=${query} /></div>` : null}
  </form>`;
}

/** What is not approved yet, its author takes back: nobody was told of it. */
export function Withdraw({ alert, onDone }) {
  const [asked, askFor] = useState(false);
  const [reason, explain] = useState("");
  const [error, fail] = useState(null);
  const [once] = useState(onceOnly);
  const order = (event) => {
    event.preventDefault();
    return ask("POST", `/v1/alerts/${alert.id}/cancel`, { body: { reason }, once, headers: { "If-Match": alert.etag } }).then(onDone, fail);
  };
  if (!asked) return html`<${Button} onClick=${() => askFor(true)}>${t("withdraw")}<//>`;
  return html`<form class="stop" onSubmit=${order}><p>${t("withdraw-says")}</p>
    <${Field} label=${t("reason-inside")} value=${reason} onChange=${explain} wide autofocus required /><${Refused} error=${error} />
    <div class="actions"><${Button} onClick=${() => askFor(false)}>${t("back")}<//>
      <button class="button danger" disabled=${!reason.trim()}><span>${t("withdraw")}</span></button></div></form>`;
}

/** One alert waits, or goes on: at once, because nothing of it is lost by either. */
function Wait({ alert, onDone }) {
  const [error, fail] = useState(null);
  const order = (what) => ask("POST", `/v1/alerts/${alert.id}/${what}`, { once: onceOnly() }).then(() => { fail(null); onDone(); }, fail);
  return html`${alert.paused
    ? html`<${Button} kind="primary" onClick=${() => order("resume")}>${t("go-on")}<//>`
    : html`<${Button} onClick=${() => order("pause")}>${t("pause")}<//>`}<${Refused} error=${error} />`;
}

/** By so much an end is put off, unless somebody says another time. */
const LATER_MS = 12 * 3600e3;

/** To be told for longer than was approved takes somebody who might have approved it: not the author. */
const isOthers = (act, alert, me) => ACTS[act].anothers && isAnothers(alert, me);
/** What has no facts of a child, or none any more, has none to take out. */
const isBare = (act, alert) => act === "restrict" && (alert.restricted || !hasForm(alert));
const mayOrder = (act, alert, me) => mayDo(me, `alert.${act}`) && !isOthers(act, alert, me) && !isBare(act, alert);

export function Follow({ alert, state, languages, me, onDone }) {
  const [act, begin] = useState("");
  const possible = Object.keys(ACTS).filter((one) => TABLES.acts[one].includes(state) && mayOrder(one, alert, me));
  if (act && possible.includes(act)) {
    return html`<${Order} key=${act} alert=${alert} act=${act} languages=${languages} onBack=${() => begin("")} onDone=${() => { begin(""); onDone(); }} />`;
  }
  if (!possible.length) return null;
  return html`<div class="actions follow">${possible.map((one) => html`
    <${Button} key=${one} kind=${one === "stand-down" ? "danger" : one === "reopen" ? "primary" : "plain"} onClick=${() => begin(one)}>${t(one)}<//>`)}
    ${TABLES.acts.update.includes(state) && hasForm(alert) && alert.alert && mayDo(me, "alert.update") ? html`<a class="button plain" href="#/update/${alert.id}"><span>${t("update")}</span></a>` : null}
    ${(TABLES.open.includes(state) || alert.paused) && mayDo(me, alert.paused ? "alert.resume" : "alert.pause") ? html`<${Wait} alert=${alert} onDone=${onDone} />` : null}</div>`;
}
