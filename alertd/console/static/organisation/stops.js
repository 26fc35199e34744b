// The stop: one person stops all sending of the organisation, two resume it.

import { get, onceOnly, post } from "../parts/api.js";
import { Order } from "../parts/order.js";
import { Awaited, Button, Field, Icon, Refused, html, useAct, usePolled, useState } from "../parts/parts.js";
import { moment, personOf, t } from "../parts/words.js";

/** Poll interval: how long a stop may go unseen on a screen. */
const AGAIN_MS = 2000;

/** The active stops, polled, and fetched at once after `again`. */
export function useStops() {
  const [turn, look] = useState(0);
  const { data } = usePolled((signal) => get("/v1/stop", { signal }), AGAIN_MS, String(turn));
  return { stops: data ? data.stops : [], again: () => look((before) => before + 1) };
}

/** Whether all sending of this organisation is stopped: a stop of one key stops only that key. */
export const allStopped = (stops) => stops.some((stop) => !stop.scope.startsWith("key:"));

/** One stop and its release: the first person asks, a second one lifts it. */
function Active({ stop, me, onDone }) {
  const [once] = useState(onceOnly);
  const what = stop.scope.split(":")[0] === "service" ? "service" : "organisation";
  const asked = stop.resume_asked_by;
  const { busy, error, run } = useAct(async () => { await post("/v1/resume", { what }, { once }); onDone(); });
  return html`<section class="stopped" role="alert"><${Icon} name="warn" />
    <div><h2>${t(`stopped-${what}`)}</h2>
      <p>${stop.reason} · ${t("by", { who: personOf(stop.by, stop.by_org, me.organisation) })} · ${moment(stop.at)}</p>
      ${asked ? html`<p class="small">${t("resume-asked", { who: personOf(asked, stop.resume_asked_by_org, me.organisation) })}</p>` : null}<${Refused} error=${error} /><${Awaited} busy=${busy} /></div>
    ${asked === me.subject && stop.resume_asked_by_org === me.organisation ? null : html`<${Button} busy=${busy} onClick=${() => run()}>${t(asked ? "resume-lift" : "resume-ask")}<//>`}
  </section>`;
}

/** Shown on every screen: people who approve or watch must know that nothing is sent. */
export const Stops = ({ stops, me, onDone }) => (stops.length ? html`<div class="stops">${stops.map((stop) => html`
  <${Active} key=${stop.scope + stop.resume_asked_by} stop=${stop} me=${me} onDone=${onDone} />`)}</div>` : null);

/** Two presses and a reason: quick to reach on every screen, but not by accident. */
export function StopAll({ stops, onDone }) {
  const [asked, askFor] = useState(false);
  const [reason, explain] = useState("");
  const [once, renew] = useState(onceOnly);
  if (allStopped(stops)) return null;
  if (!asked) return html`<${Button} kind="danger stop-all" icon="stop" onClick=${() => askFor(true)}>${t("stop-all")}<//>`;
  const told = () => { askFor(false); renew(onceOnly()); onDone(); };
  return html`<${Order} className="stop" act=${() => post("/v1/stop", { reason }, { once })} ready=${reason.trim()} word=${t("stop-all")}
      says=${html`<strong>${t("stop-all")}.</strong> ${t("stop-all-sure")}`} onBack=${() => askFor(false)} onDone=${told}>
    <${Field} label=${t("reason-inside")} value=${reason} onChange=${explain} wide autofocus required /><//>`;
}
