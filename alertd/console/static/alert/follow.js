// What follows an alert: stood down, back again, closed, cancelled. One press away, said in words first, with what people will read.

import { onceOnly, post } from "../parts/api.js";
import { hasForm, local, proposedOr } from "./draft.js";
import { Messages } from "./messages.js";
import { isAnothers } from "./now.js";
import { Order } from "../parts/order.js";
import { Awaited, Button, Field, Refused, Since, html, mayDo, useAct, useState, useTyped } from "../parts/parts.js";
import { TABLES } from "../tables.js";
import { t } from "../parts/words.js";

/** What the API calls the author's words, and the prepared words that people are told. */
const ACTS = {
  "stand-down": { says: "reason", occasion: "stand-down" },
  reopen: { says: "reason" },
  extend: { says: "reason", ends: true, anothers: true },
  restrict: { says: "reason" },
  close: { says: "outcome", occasion: "close" },
  cancel: { says: "reason", occasion: "cancel" },
};

/** Decisions that put nothing at an end: they are of what was read, and an end is one of whatever there is. */
const MILD = ["reopen", "extend"];

/** `seen`: the version that was read, by its ETag; of another one that was read since `onSeen` hears. */
function Decision({ alert, act, languages, seen, onSeen, onDone, onBack }) {
  const { says, occasion, ends } = ACTS[act];
  const mild = MILD.includes(act);
  const later = new Date(new Date(alert.expires).getTime() + LATER_MS);
  const [typed, setEnd] = useState(null);  // until then it is later than the end as it is now, whoever put that off
  const end = typed ?? local(later);
  const [words, say] = useTyped(`${act} ${alert.id}`);
  const [code, setCode] = useState(TABLES.codes[0]);
  const [once] = useState(onceOnly);
  const give = async () => {
    const body = { [says]: words, ...(act === "cancel" ? { code } : {}), ...(ends ? { expires: proposedOr(end, later) } : {}) };
    await post(`/v1/alerts/${alert.id}/${act}`, body, { once: `${once}-${seen}`, headers: mild ? { "If-Match": seen } : {} });
    say("");
  };
  const told = alert.approved ? `&alerted=${encodeURIComponent(alert.approved)}` : "";  // an end says of which moment the alert was
  const query = `&occasion=${occasion}${act === "cancel" ? `&reason=${code}` : ""}${told}`;
  return html`<div class="order"><${Order} className="order-words" act=${give} ready=${words.trim()} word=${t(act)} kind=${mild ? "primary" : "danger"} onBack=${onBack} onDone=${onDone}>
      <h2>${t(act)}</h2><p>${t(`${act}-says`)}</p>
      ${mild && seen !== alert.etag ? html`<${Since} onSeen=${onSeen} />` : null}
      ${act === "cancel" ? html`<fieldset><legend>${t("told-why")}</legend>${TABLES.codes.map((one) => html`<label class="check">
        <input type="radio" name="code" checked=${one === code} onChange=${() => setCode(one)} /><span>${t(one)}</span></label>`)}</fieldset>` : null}
      ${ends ? html`<${Field} label=${t("expires")} type="datetime-local" value=${end} onChange=${setEnd} required />` : null}
      <${Field} label=${t(`${says}-inside`)} value=${words} onChange=${say} wide autofocus required /><//>
    ${occasion && alert.alert ? html`<div class="order-texts"><${Messages} document=${alert.alert} only=${languages.slice(0, 1)} query=${query} /></div>` : null}
  </div>`;
}

/** What is not approved yet, its author takes back: nobody was told of it. */
export function Withdraw({ alert, onDone }) {
  const [asked, askFor] = useState(false);
  const [reason, explain] = useTyped(`withdraw ${alert.id}`);
  const [once] = useState(onceOnly);
  const give = async () => {
    await post(`/v1/alerts/${alert.id}/cancel`, { reason }, { once, headers: { "If-Match": alert.etag } });
    explain("");
  };
  if (!asked) return html`<${Button} onClick=${() => askFor(true)}>${t("withdraw")}<//>`;
  return html`<${Order} className="stop" act=${give} ready=${reason.trim()} word=${t("withdraw")} says=${t("withdraw-says")} onBack=${() => askFor(false)} onDone=${onDone}>
    <${Field} label=${t("reason-inside")} value=${reason} onChange=${explain} wide autofocus required /><//>`;
}

/** One alert waits, or goes on: at once, because nothing of it is lost by either. */
function Wait({ alert, onDone }) {
  const { busy, error, run } = useAct(async (signal, what) => { await post(`/v1/alerts/${alert.id}/${what}`, undefined, { once: onceOnly() }); onDone(); });
  return html`${alert.paused
    ? html`<${Button} kind="primary" busy=${busy} onClick=${() => run("resume")}>${t("go-on")}<//>`
    : html`<${Button} busy=${busy} onClick=${() => run("pause")}>${t("pause")}<//>`}<${Refused} error=${error} /><${Awaited} busy=${busy} />`;
}

/** By so much an end is put off, unless somebody says another time. */
const LATER_MS = 12 * 3600e3;

/** To be told for longer than was approved takes somebody who might have approved it: not the author. */
const isOthers = (act, alert, me) => ACTS[act].anothers && isAnothers(alert, me);
/** What has no facts of a child, or none any more, has none to take out. */
const isBare = (act, alert) => act === "restrict" && (alert.restricted || !hasForm(alert));
const mayOrder = (act, alert, me) => mayDo(me, `alert.${act}`) && !isOthers(act, alert, me) && !isBare(act, alert);

export function Follow({ alert, state, languages, me, onDone }) {
  const [act, begin] = useTyped(`order ${alert.id}`);
  const [seen, see] = useState(alert.etag);
  const look = () => see(alert.etag);
  const possible = Object.keys(ACTS).filter((one) => TABLES.acts[one].includes(state) && mayOrder(one, alert, me));
  if (act && possible.includes(act)) {
    return html`<${Decision} key=${act} alert=${alert} act=${act} languages=${languages} seen=${seen} onSeen=${look} onBack=${() => begin("")} onDone=${() => { begin(""); onDone(); }} />`;
  }
  if (!possible.length) return null;
  return html`<div class="actions follow">${possible.map((one) => html`
    <${Button} key=${one} kind=${one === "stand-down" ? "danger" : one === "reopen" ? "primary" : "plain"} onClick=${() => { look(); begin(one); }}>${t(one)}<//>`)}
    ${TABLES.acts.update.includes(state) && hasForm(alert) && alert.alert && mayDo(me, "alert.update") ? html`<a class="button plain" href="#/update/${alert.id}"><span>${t("update")}</span></a>` : null}
    ${(TABLES.open.includes(state) || alert.paused) && mayDo(me, alert.paused ? "alert.resume" : "alert.pause") ? html`<${Wait} alert=${alert} onDone=${onDone} />` : null}</div>`;
}
