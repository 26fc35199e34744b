// The big stop: one person halts everything of the organisation, two let it go on.

import { onceOnly, post } from "./api.js";
import { Button, Field, Icon, Refused, html, useState } from "./parts.js";
import { moment, t } from "./words.js";

/** One stop, and the way out of it: the first person asks, a second lifts it. */
function Active({ stop, me }) {
  const [error, fail] = useState(null);
  const [once] = useState(onceOnly);
  const what = stop.scope.split(":")[0] === "service" ? "service" : "organisation";
  const asked = stop.resume_asked_by;
  const resume = () => post("/v1/resume", { what }, { once }).then(() => fail(null), fail);
  return html`<section class="stopped" role="alert"><${Icon} name="warn" />
    <div><h2>${t(`stopped-${what}`)}</h2>
      <p>${stop.reason} · ${t("by", { who: stop.by })} · ${moment(stop.at)}</p>
      ${asked ? html`<p class="small">${t("resume-asked", { who: asked })}</p>` : null}<${Refused} error=${error} /></div>
    ${asked === me.subject ? null : html`<${Button} onClick=${resume}>${t(asked ? "resume-lift" : "resume-ask")}<//>`}
  </section>`;
}

export const Stops = ({ stops, me }) => stops.map((stop) => html`<${Active} key=${stop.scope + stop.resume_asked_by} stop=${stop} me=${me} />`);

/** Two presses and a reason: near, and never by accident. */
export function StopAll({ stops }) {
  const [asked, askFor] = useState(false);
  const [reason, explain] = useState("");
  const [error, fail] = useState(null);
  const [once, renew] = useState(onceOnly);
  if (stops.some((stop) => !stop.scope.startsWith("key:"))) return null;
  const stop = async (event) => {
    event.preventDefault();
    try {
      await post("/v1/stop", { reason }, { once });
      askFor(false);
      renew(onceOnly());
    } catch (problem) { fail(problem); }
  };
  if (!asked) return html`<div class="stop-all"><${Button} kind="danger" icon="stop" onClick=${() => askFor(true)}>${t("stop-all")}<//></div>`;
  return html`<form class="stop" onSubmit=${stop}><p><strong>${t("stop-all")}.</strong> ${t("stop-all-sure")}</p>
    <${Field} label=${t("reason")} value=${reason} onChange=${explain} wide autofocus required />
    <${Refused} error=${error} />
    <div class="actions"><${Button} onClick=${() => askFor(false)}>${t("back")}<//>
      <button class="button danger" disabled=${!reason.trim()}><span>${t("stop-all")}</span></button></div></form>`;
}
