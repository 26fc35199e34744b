// Records of an alert: report, signed evidence, and a legal hold that keeps the whole case for a court.

import { get, onceOf, onceOnly, post } from "../parts/api.js";
import { Awaited, Button, Field, Icon, Kept, Refused, html, mayDo, saveFile, useAct, usePolled, useState } from "../parts/parts.js";
import { ReportPart } from "./report.js";
import { moment, t } from "../parts/words.js";

/** Poll interval: another person may set or release a hold at any time. */
const LOOK_MS = 10_000;

/** The legal hold of the alert's case, null until it is known; a purged case has none. */
export function useHold(alert) {
  const [turn, again] = useState(0);
  const load = async (signal) => (alert.state === "purged" ? { held: false } : get(`/v1/alerts/${alert.id}/hold`, { signal }));
  const { data, error } = usePolled(load, LOOK_MS, `${alert.id} ${alert.state} ${turn}`);
  return { hold: data, error, again: () => again(turn + 1) };
}

function Release({ alert, hold, me, onDone }) {
  const [asked, askFor] = useState(false);
  const [once] = useState(onceOnly);
  const release = useAct(async () => { await post(`/v1/alerts/${alert.id}/release`, undefined, { once: onceOf(once, hold) }); onDone(); });
  if (!mayDo(me, "alert.release")) return html`<p class="small">${t("hold-admin")}</p>`;
  if (hold.by === me.subject) return html`<p class="small">${t("hold-yours")}</p>`;
  if (!asked) return html`<div class="actions"><${Button} onClick=${() => askFor(true)}>${t("hold-release")}<//></div>`;
  return html`<p>${t("hold-release-says")}</p><${Refused} error=${release.error} /><${Awaited} busy=${release.busy} />
    <div class="actions"><${Button} onClick=${() => askFor(false)}>${t("back")}<//>
      <${Button} kind="danger" busy=${release.busy} onClick=${() => release.run()}>${t("hold-release-sure")}<//></div>`;
}

/** Shown at the top of an alert: the case is on hold, by whom, why, and who may release it. */
export function HoldNote({ alert, holding, me }) {
  const { hold, error, again } = holding;
  if (!hold) return error && !error.again ? html`<${Refused} error=${error} />` : null;
  if (!hold.held) return null;
  return html`<section class="hold-note" role="region" aria-label=${t("hold-on")}><${Icon} name="lock" /><div>
    <h2>${t("hold-on")}</h2><p class="hold-why">${hold.reason}</p>
    <p class="small"><bdi>${hold.by}</bdi> · <time datetime=${hold.at}>${moment(hold.at)}</time> · ${t("hold-on-says")}</p>
    <${Release} key=${hold.at} alert=${alert} hold=${hold} me=${me} onDone=${again} /></div></section>`;
}

function Evidence({ alert }) {
  const [saved, tell] = useState("");
  const { busy, error, run } = useAct(async (signal) => {
    const name = `evidence-${alert.id}.json`;
    saveFile(name, await get(`/v1/alerts/${alert.id}/evidence`, { signal }));
    tell(name);
  });
  return html`<${Kept} title=${t("evidence")} says=${t("evidence-says")} act=${html`<${Button} busy=${busy} onClick=${() => run()}>${t("evidence-save")}<//>`}>
    <${Refused} error=${error} />${saved && !error ? html`<p class="note is-good small" role="status">${t("saved-as", { name: saved })} ${t("evidence-check")} <code dir="ltr">alertd evidence verify ${saved} --key key.pem</code></p>` : null}<//>`;
}

function Hold({ alert, onDone }) {
  const [asked, askFor] = useState(false);
  const [reason, explain] = useState("");
  const [once] = useState(onceOnly);
  const set = useAct(async () => { const body = { reason: reason.trim() }; await post(`/v1/alerts/${alert.id}/hold`, body, { once: onceOf(once, body) }); askFor(false); onDone(); });
  const hold = (event) => { event.preventDefault(); set.run(); };
  return html`<${Kept} title=${t("hold")} says=${t("hold-says")} act=${asked ? null : html`<${Button} onClick=${() => askFor(true)}>${t("hold-open")}<//>`}>
    ${asked ? html`<form class="kept-form" onSubmit=${hold}><${Field} label=${t("hold-reason")} value=${reason} onChange=${explain} wide autofocus required hint=${t("hold-reason-says")} />
      <${Refused} error=${set.error} /><${Awaited} busy=${set.busy} />
      <div class="actions"><${Button} onClick=${() => askFor(false)}>${t("back")}<//>
        <button class="button primary" aria-busy=${set.busy ? "true" : null} disabled=${set.busy || !reason.trim()}><span>${t("hold-set")}</span></button></div></form>` : null}<//>`;
}

/** The records that this user may see; nothing if there are none. */
export function Keep({ alert, holding, me }) {
  const told = alert.approved && alert.alert;
  const parts = [
    told && mayDo(me, "report.read") ? html`<${ReportPart} key="report" alert=${alert} />` : null,
    told && mayDo(me, "evidence.read") ? html`<${Evidence} key="evidence" alert=${alert} />` : null,
    alert.state !== "purged" && holding.hold && !holding.hold.held && mayDo(me, "alert.hold") ? html`<${Hold} key="hold" alert=${alert} onDone=${holding.again} />` : null,
  ].filter(Boolean);
  return parts.length ? html`<section class="panel keep"><header><h2>${t("for-record")}</h2></header>${parts}</section>` : null;
}
