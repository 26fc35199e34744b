// The stop: one person stops all sending of the organisation, two resume it.

import { get, onceOnly, post } from "../parts/api.js";
import { Order } from "../parts/order.js";
import { Awaited, Button, Field, Icon, Refused, html, may, mayDo, useAct, usePolled, useState } from "../parts/parts.js";
import { moment, personOf, t } from "../parts/words.js";

/** Poll interval: how long a stop may go unseen on a screen. */
const AGAIN_MS = 2000;

/** The active stops, polled, and fetched at once after `again`. */
export function useStops() {
  const [turn, look] = useState(0);
  const { data } = usePolled((signal) => get("/v1/stop", { signal }), AGAIN_MS, String(turn));
  return { stops: data ? data.stops : [], again: () => look((before) => before + 1) };
}

/** The stop's scope as `POST /v1/resume` takes it: `service`, `org:NAME` or `key:NAME:KEY`. */
function scopeOf({ scope }) {
  const [what, , key] = scope.split(":");
  return what === "key" ? { what, key } : { what: what === "service" ? what : "organisation" };
}

/** The stop of the whole service, or else of the organisation; undefined if neither is stopped. A stop of one API key does not count. */
export const stoppedAt = (stops) => ["service", "organisation"].map((what) => stops.find((stop) => scopeOf(stop).what === what)).find(Boolean);

/** How sending starts again, with the names of the two buttons; after the first press, who pressed and what is left to do. */
export function Start({ stop, me }) {
  const asked = stop.resume_asked_by;
  if (asked) return t("resume-asked", { who: personOf(asked, stop.resume_asked_by_org, me.organisation) });
  return t(`start-${scopeOf(stop).what === "service" ? "service" : "organisation"}`, { ask: t("resume-ask"), lift: t("resume-lift") });
}

/** An administrator of the organisation that runs the service resumes all of it; a person who may approve resumes the rest. */
const mayResume = (me, { what }) => (what === "service" ? me.host && may(me, "admin") : mayDo(me, "stop.lift"));

/** One stop and its release: the first person asks, a second one lifts it. */
function Active({ stop, me, onDone }) {
  const [once] = useState(onceOnly);
  const scope = scopeOf(stop);
  const asked = stop.resume_asked_by;
  const { busy, error, run } = useAct(async () => { await post("/v1/resume", scope, { once }); onDone(); });
  const resumes = mayResume(me, scope) && !(asked === me.subject && stop.resume_asked_by_org === me.organisation);
  return html`<section class="stopped" role="alert"><${Icon} name="warn" />
    <div><h2>${t(`stopped-${scope.what}`, scope)}</h2>
      <p>${stop.reason} · ${t("stopped-by", { who: personOf(stop.by, stop.by_org, me.organisation) })} · ${moment(stop.at)}</p>
      <p class="small"><${Start} stop=${stop} me=${me} /></p><${Refused} error=${error} /><${Awaited} busy=${busy} /></div>
    ${resumes ? html`<${Button} busy=${busy} onClick=${() => run()}>${t(asked ? "resume-lift" : "resume-ask")}<//>` : null}
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
  if (stoppedAt(stops)) return null;
  if (!asked) return html`<${Button} kind="danger stop-all" icon="stop" onClick=${() => askFor(true)}>${t("stop-all")}<//>`;
  const told = () => { askFor(false); renew(onceOnly()); onDone(); };
  return html`<${Order} className="stop" act=${() => post("/v1/stop", { reason }, { once })} ready=${reason.trim()} word=${t("stop-all")}
      says=${html`<strong>${t("stop-all")}.</strong> ${t("stop-all-sure")}`} onBack=${() => askFor(false)} onDone=${told}>
    <${Field} label=${t("reason-inside")} value=${reason} onChange=${explain} wide autofocus required /><//>`;
}
