// Stand-down, reopening, closing, cancelling: one press away, explained in words, with a preview of the messages.

import { onceOnly, post } from "../parts/api.js";
import { hasForm, local, proposedOr } from "./draft.js";
import { Messages } from "./messages.js";
import { isAnothers } from "./now.js";
import { Order } from "../parts/order.js";
import { Awaited, Button, Field, Refused, Since, html, mayDo, useAct, useState, useTyped } from "../parts/parts.js";
import { TABLES } from "../tables.js";
import { t } from "../parts/words.js";

/** API names of the author's reason, and of the prepared reasons that the public reads. */
const ACTS = {
  "stand-down": { says: "reason", occasion: "stand-down" },
  reopen: { says: "reason" },
  extend: { says: "reason", ends: true, anothers: true },
  restrict: { says: "reason" },
  close: { says: "outcome", occasion: "close" },
  cancel: { says: "reason", occasion: "cancel" },
};

/** Decisions that do not end the alert: they apply to the version that was read. An end applies to the current version. */
const MILD = ["reopen", "extend"];

/** `seen`: ETag of the version that was read. Calls `onSeen` when a newer one has been read. */
function Decision({ alert, act, languages, stopped, seen, onSeen, onDone, onBack }) {
  const { says, occasion, ends } = ACTS[act];
  const mild = MILD.includes(act);
  const later = new Date(new Date(alert.expires).getTime() + LATER_MS);
  const [typed, setEnd] = useState(null);  // later than the present end, until the user types a time, even if another person extends the alert
  const end = typed ?? local(later);
  const [words, say] = useTyped(`${act} ${alert.id}`);
  const [code, setCode] = useState(TABLES.codes[0]);
  const [once] = useState(onceOnly);
  const give = async () => {
    const body = { [says]: words, ...(act === "cancel" ? { code } : {}), ...(ends ? { expires: proposedOr(end, later) } : {}) };
    await post(`/v1/alerts/${alert.id}/${act}`, body, { once: `${once}-${seen}`, headers: mild ? { "If-Match": seen } : {} });
    say("");
  };
  const told = alert.approved ? `&alerted=${encodeURIComponent(alert.approved)}` : "";  // the end notice names the time of the alert
  const query = `&occasion=${occasion}${act === "cancel" ? `&reason=${code}` : ""}${told}`;
  return html`<div class="order"><${Order} className="order-words" act=${give} ready=${words.trim()} word=${t(act)} kind=${mild ? "primary" : "danger"} onBack=${onBack} onDone=${onDone}>
      <h2>${t(act)}</h2><p>${t(`${act}-says`)}</p>
      ${stopped && act === "stand-down" ? html`<p class="note">${t("stand-down-stopped")}</p>` : null}
      ${mild && seen !== alert.etag ? html`<${Since} onSeen=${onSeen} />` : null}
      ${act === "cancel" ? html`<fieldset><legend>${t("told-why")}</legend>${TABLES.codes.map((one) => html`<label class="check">
        <input type="radio" name="code" checked=${one === code} onChange=${() => setCode(one)} /><span>${t(one)}</span></label>`)}</fieldset>` : null}
      ${ends ? html`<${Field} label=${t("expires")} type="datetime-local" value=${end} onChange=${setEnd} required />` : null}
      <${Field} label=${t(`${says}-inside`)} value=${words} onChange=${say} wide autofocus required /><//>
    ${occasion && alert.alert ? html`<div class="order-texts"><${Messages} document=${alert.alert} only=${languages.slice(0, 1)} query=${query} /></div>` : null}
  </div>`;
}

/** The author withdraws an alert that is not approved; no one was notified. */
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

/** Pauses or resumes one alert at once, without a second press: both can be undone. */
function Wait({ alert, onDone }) {
  const { busy, error, run } = useAct(async (signal, what) => { await post(`/v1/alerts/${alert.id}/${what}`, undefined, { once: onceOnly() }); onDone(); });
  return html`${alert.paused
    ? html`<${Button} kind="primary" busy=${busy} onClick=${() => run("resume")}>${t("go-on")}<//>`
    : html`<${Button} busy=${busy} onClick=${() => run("pause")} aria-describedby="pause-says">${t("pause")}<//>`}<${Refused} error=${error} /><${Awaited} busy=${busy} />
    ${alert.paused ? null : html`<p class="muted small pause-says" id="pause-says">${t("pause-says")}</p>`}`;
}

/** Default extension. */
const LATER_MS = 12 * 3600e3;

/** Extending needs a person who may have approved the alert: not its author. */
const isOthers = (act, alert, me) => ACTS[act].anothers && isAnothers(alert, me);
/** Nothing to remove: the alert has no facts of a child, or is already restricted. */
const isBare = (act, alert) => act === "restrict" && (alert.restricted || !hasForm(alert));
const mayOrder = (act, alert, me) => mayDo(me, `alert.${act}`) && !isOthers(act, alert, me) && !isBare(act, alert);

/** `stopped`: all sending is stopped. */
export function Follow({ alert, state, languages, stopped, me, onDone }) {
  const [act, begin] = useTyped(`order ${alert.id}`);
  const [seen, see] = useState(alert.etag);
  const look = () => see(alert.etag);
  const possible = Object.keys(ACTS).filter((one) => TABLES.acts[one].includes(state) && mayOrder(one, alert, me));
  if (act && possible.includes(act)) {
    return html`<${Decision} key=${act} alert=${alert} act=${act} languages=${languages} stopped=${stopped} seen=${seen} onSeen=${look} onBack=${() => begin("")} onDone=${() => { begin(""); onDone(); }} />`;
  }
  if (!possible.length) return null;
  return html`<div class="actions follow">${possible.map((one) => html`
    <${Button} key=${one} kind=${one === "stand-down" ? "danger" : one === "reopen" ? "primary" : "plain"} onClick=${() => { look(); begin(one); }}>${t(one)}<//>`)}
    ${TABLES.acts.update.includes(state) && hasForm(alert) && alert.alert && mayDo(me, "alert.update") ? html`<a class="button plain" href="#/update/${alert.id}"><span>${t("update")}</span></a>` : null}
    ${(TABLES.open.includes(state) || alert.paused) && mayDo(me, alert.paused ? "alert.resume" : "alert.pause") ? html`<${Wait} alert=${alert} onDone=${onDone} />` : null}</div>`;
}
