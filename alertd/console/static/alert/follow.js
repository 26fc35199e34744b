// Stand-down, reopening, closing, cancelling: each with a hint of its effect at the button, then explained, with a preview of the messages.

import { onceOnly, post } from "../parts/api.js";
import { clockHint, hasForm, local, proposedOr } from "./draft.js";
import { Messages } from "./messages.js";
import { isAnothers } from "./now.js";
import { Order } from "../parts/order.js";
import { PublicPage } from "./page.js";
import { Start } from "../organisation/stops.js";
import { Awaited, Button, Fact, Field, Refused, Since, html, mayDo, useAct, useState, useTyped } from "../parts/parts.js";
import { TABLES } from "../tables.js";
import { known, language, list, t, zoned } from "../parts/words.js";

const isOnScreen = (channel) => TABLES.onScreen.includes(channel);

/**
 * `says`: API name of the author's reason. `sends`: the messages that recipients get, by occasion; a stand-down goes to screens only, so
 * recipients of text messages and e-mails read nothing before the close. `rings`: phones may ring. `stops`: what a stop of all sending does to it. `final`: the word
 * must be typed.
 */
const ACTS = {
  "stand-down": { says: "reason", sends: [{ occasion: "stand-down", on: isOnScreen, title: "down-now" }, { occasion: "close", on: (one) => !isOnScreen(one), title: "down-later" }], rings: true, stops: "stop-delays" },
  reopen: { says: "reason", rings: true, stops: "stop-refuses" },
  extend: { says: "reason", ends: true, anothers: true },
  restrict: { says: "reason", stops: "stop-delays", final: true },
  close: { says: "outcome", sends: [{ occasion: "close" }], rings: true, stops: "stop-delays" },
  cancel: { says: "reason", sends: [{ occasion: "cancel" }], rings: true, stops: "stop-delays" },
};

/** Decisions that do not end the alert: they apply to the version that was read. An end applies to the current version. */
const MILD = ["reopen", "extend"];

/** `seen`: ETag of the version that was read. Calls `onSeen` when a newer one has been read. */
function Decision({ alert, act, languages, stopped, me, seen, onSeen, onDone, onBack }) {
  const { says, sends = [], rings, ends, stops, final } = ACTS[act];
  const mild = MILD.includes(act);
  const later = new Date(new Date(alert.expires).getTime() + LATER_MS);
  const [typed, setEnd] = useState(null);  // later than the present end, until the user types a time, even if another person extends the alert
  const end = typed ?? local(later);
  const newEnd = proposedOr(end, later);
  const [words, say] = useTyped(`${act} ${alert.id}`);
  const [sure, type] = useState("");
  const word = t("restrict-word");
  const ready = words.trim() && (!final || sure.trim().toUpperCase() === word);
  const [code, setCode] = useState(TABLES.codes[0]);
  const [once] = useState(onceOnly);
  const give = async () => {
    const body = { [says]: words, ...(act === "cancel" ? { code } : {}), ...(ends ? { expires: newEnd } : {}) };
    await post(`/v1/alerts/${alert.id}/${act}`, body, { once: `${once}-${seen}`, headers: mild ? { "If-Match": seen } : {} });
    say("");
  };
  const told = alert.approved ? `&alerted=${encodeURIComponent(alert.approved)}` : "";  // the end notice names the time of the alert
  const queryOf = (occasion, channels) => `&occasion=${occasion}&channels=${channels}${act === "cancel" ? `&reason=${code}` : ""}${told}`;
  const isDown = TABLES.acts.reopen.includes(alert.state) && known(`${act}-says-down`);
  const texts = alert.alert ? sends.map((one) => ({ ...one, channels: alert.alert.channels.filter(one.on || Boolean) })).filter(({ channels }) => channels.length) : [];
  return html`<div class="order"><${Order} className="order-words" act=${give} ready=${ready} word=${t(act)} kind=${mild ? "primary" : "danger"} onBack=${onBack} onDone=${onDone}>
      <h2>${t(act)}</h2><p>${t(`${act}-says${isDown ? "-down" : ""}`)}</p>
      ${rings ? html`<p>${t("rings-ordinary")}</p>` : null}
      ${final ? html`<p><strong>${t("restrict-final")}</strong></p>` : null}
      <${PublicPage} alert=${alert} act=${act} />
      ${stopped && stops ? html`<p class="note">${t(stops)} <${Start} stop=${stopped} me=${me} /></p>` : null}
      ${mild && seen !== alert.etag ? html`<${Since} onSeen=${onSeen} />` : null}
      ${act === "cancel" ? html`<fieldset><legend>${t("told-why")}</legend>${TABLES.codes.map((one) => html`<label class="check">
        <input type="radio" name="code" checked=${one === code} onChange=${() => setCode(one)} /><span>${t(one)}</span></label>`)}</fieldset>` : null}
      ${ends ? html`<dl class="ends"><${Fact} name=${t("end-old")}>${zoned(alert.expires)}<//><${Fact} name=${t("end-new")}>${zoned(newEnd)}<//></dl>
        <${Field} label=${t("end-new")} type="datetime-local" value=${end} onChange=${setEnd} required hint=${clockHint(alert.alert?.case?.last_seen?.time_zone)} />` : null}
      <${Field} label=${t(`${says}-inside`)} value=${words} onChange=${say} wide autofocus required />
      ${final ? html`<${Field} label=${t("forget-type", { id: word })} value=${sure} onChange=${type} required />` : null}<//>
    ${texts.length ? html`<div class="order-texts">${texts.map(({ occasion, title, channels }) => html`${title ? html`<h3>${t(title, { channels: list(channels.map((one) => t(one))) })}</h3>` : null}
      <${Messages} key=${occasion} document=${alert.alert} only=${languages.filter((one, i) => !i || one.slice(0, 2) === language)} query=${queryOf(occasion, channels)} />`)}</div>` : null}
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

/** The effect of the button `of`, in words beside it. */
const Hint = ({ of, says }) => html`<p class="hint" id=${`hint-${of}`}>${t(says)}</p>`;

/** Pauses or resumes one alert at once, without a second press: both can be undone. */
function Wait({ alert, onDone }) {
  const { busy, error, run } = useAct(async (signal, what) => { await post(`/v1/alerts/${alert.id}/${what}`, undefined, { once: onceOnly() }); onDone(); });
  return html`<div class="offer">${alert.paused
    ? html`<${Button} kind="primary" busy=${busy} onClick=${() => run("resume")} aria-describedby="hint-go-on">${t("go-on")}<//><${Hint} of="go-on" says="go-on-says" />`
    : html`<${Button} busy=${busy} onClick=${() => run("pause")} aria-describedby="hint-pause">${t("pause")}<//><${Hint} of="pause" says="pause-says" />`}<${Refused} error=${error} /><${Awaited} busy=${busy} /></div>`;
}

/** Default extension. */
const LATER_MS = 12 * 3600e3;

/** Extending needs a person who may have approved the alert: not its author. */
const isOthers = (act, alert, me) => ACTS[act].anothers && isAnothers(alert, me);
/** Nothing to remove: the alert has no facts of a child, or is already restricted. */
const isBare = (act, alert) => act === "restrict" && (alert.restricted || !hasForm(alert));
const mayOrder = (act, alert, me) => mayDo(me, `alert.${act}`) && !isOthers(act, alert, me) && !isBare(act, alert);

/** `stopped`: whose sending is stopped as a whole. */
export function Follow({ alert, state, languages, stopped, me, onDone }) {
  const [act, begin] = useTyped(`order ${alert.id}`);
  const [seen, see] = useState(alert.etag);
  const look = () => see(alert.etag);
  const possible = Object.keys(ACTS).filter((one) => TABLES.acts[one].includes(state) && mayOrder(one, alert, me));
  if (act && possible.includes(act)) {
    return html`<${Decision} key=${act} alert=${alert} act=${act} languages=${languages} stopped=${stopped} me=${me} seen=${seen} onSeen=${look} onBack=${() => begin("")} onDone=${() => { begin(""); onDone(); }} />`;
  }
  if (!possible.length) return null;
  return html`<div class="follow">${possible.map((one) => html`<div class="offer" key=${one}>
    <${Button} kind=${one === "stand-down" ? "danger" : one === "reopen" ? "primary" : "plain"} onClick=${() => { look(); begin(one); }} aria-describedby=${`hint-${one}`}>${t(one)}<//><${Hint} of=${one} says=${`${one}-hint`} /></div>`)}
    ${TABLES.acts.update.includes(state) && hasForm(alert) && alert.alert && mayDo(me, "alert.update") ? html`<div class="offer"><a class="button plain" href="#/update/${alert.id}" aria-describedby="hint-update"><span>${t("update")}</span></a><${Hint} of="update" says="update-hint" /></div>` : null}
    ${(TABLES.open.includes(state) || alert.paused) && mayDo(me, alert.paused ? "alert.resume" : "alert.pause") ? html`<${Wait} alert=${alert} onDone=${onDone} />` : null}</div>`;
}
