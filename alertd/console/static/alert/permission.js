// A neighbour's request to send its alert in this organisation's jurisdiction too: the message, and the answer.

import { ask, get, onceOf, onceOnly } from "../parts/api.js";
import { Ground } from "../area/ground.js";
import { Shown } from "./messages.js";
import { Awaited, Button, Field, NotYet, Refused, Ribbon, Since, Stale, StatusMark, about, html, isTyped, lackOf, mayDo, usePolled, useState, useTyped } from "../parts/parts.js";
import { language, moment, number, t } from "../parts/words.js";

const AGAIN_MS = 10_000;
/** States that still accept an answer: a refusal can be changed to a permission. */
const OPEN = { asked: ["refuse", "grant"], refused: ["grant"] };

/** The content of a request: where, and with which messages. */
const askedIn = ({ ground, messages }) => JSON.stringify([ground, messages]);

/** If the request changed after it was read, it must be read again before it can be permitted. */
function Answer({ request, me, onDone }) {
  const [reason, explain] = useTyped(`refusal ${request.id}`);
  const [typed, type] = useState("");
  const [refusing, turn] = useState(false);
  const [error, fail] = useState(null);
  const [busy, work] = useState("");
  const [once] = useState(onceOnly);
  const open = OPEN[request.permission.state] || [];
  const people = request.people_now;
  const typing = isTyped(people);
  const [seen, see] = useState(() => askedIn(request));
  const unseen = seen !== askedIn(request);
  const lack = unseen ? "lacks-seen" : lackOf(people, typed);
  if (!open.length) return null;
  if (!mayDo(me, "permission.grant")) return html`<p class="note">${t("approver-decides")}</p>`;
  const act = async (what, body) => {
    work(what);
    fail(null);
    try {
      await ask("POST", `/v1/permissions/${request.id}/${what}`, { body, once: onceOf(`${once}-${what}`, body), sends: what === "grant" });
      explain("");
      turn(false);
    } catch (problem) { fail(problem); }
    onDone();
    work("");
  };
  const shown = { ground: request.ground, ...(typeof people === "number" ? { people } : {}) };
  return html`${unseen ? html`<${Since} onSeen=${() => see(askedIn(request))} />` : null}<div class="decide of-${request.status}">
    ${typing ? html`<${Field} label=${t("approve-sure", { n: people })} value=${typed} onChange=${type} inputmode="numeric" />` : null}
    <${Refused} error=${error} />
    ${refusing ? html`<${Field} label=${t("permission-why")} value=${reason} onChange=${explain} wide autofocus hint=${reason.trim() ? "" : t("lacks")} />` : null}
    ${!refusing && lack ? html`<p class="hint" role="status">${t(lack)}</p>` : null}<${Awaited} busy=${Boolean(busy)} />
    <div class="actions">${refusing
      ? html`<${Button} onClick=${() => turn(false)}>${t("back")}<//>
          <${Button} kind="primary" disabled=${!reason.trim()} busy=${busy === "refuse"} onClick=${() => act("refuse", { reason })}>${t("permission-refuse")}<//>`
      : html`${open.includes("refuse") ? html`<${Button} onClick=${() => turn(true)}>${t("permission-refuse")}<//>` : null}
          <${Button} kind=${`send send-${request.status}`} disabled=${Boolean(lack)} busy=${busy === "grant"} onClick=${() => act("grant", shown)}>${t("permission-grant")}<//>`}
    </div>
  </div>`;
}

export function PermissionScreen({ id, me }) {
  const [turn, again] = useState(0);
  const { data: request, error } = usePolled((signal) => get(`/v1/permissions/${id}?language=${language}`, { signal }), AGAIN_MS, `${id} ${turn}`);
  if (!request) return html`<div class="page">${error && error.status === 404 ? html`<p>${t("not-found")}</p>` : html`<${NotYet} error=${error} />`}</div>`;
  const { permission, area } = request;
  const decided = permission.state !== "asked";
  const people = decided ? permission.people : request.people_now ?? permission.people;
  return html`${request.status === "Actual" ? null : html`<${Ribbon} status=${request.status} />`}<div class="page alert-page of-${request.status}">
    <header class="alert-head"><div><p class="marks"><${StatusMark} status=${request.status} long /></p>
      <h1>${t(decided ? "permission-was-of" : "permission-of", { who: request.asked_by_name })}</h1>
      <p class="about">${t(request.level)} · ${t("until", { time: moment(request.expires) })} · <strong>${t(request.live ? "permission-live" : "permission-over")}</strong></p></div>
      <span class="state">${t(`permission-${permission.state}`)}</span></header>
    ${error ? html`<${Stale} error=${error} />` : null}
    ${permission.answered ? html`<p class="note"><strong>${t(`permission-${permission.state}`)}.</strong> ${permission.by ? `${t("by", { who: permission.by })} · ` : ""}${moment(permission.answered)}${permission.reason ? html`<br />${permission.reason}` : null}</p>` : null}
    ${area ? html`<section class="approval of-${request.status}"><div class="approval-words">
        <h2>${t(decided ? "permission-came" : "what-happens")}</h2>
        <p class="sentence">${t(decided ? `permission-${permission.state}-says` : "permission-says", { people: about(people, "people"), area: area.name || "" })}</p>
        ${permission.state === "asked" ? html`<p>${t("permission-ground")}</p>` : null}
        ${permission.state === "refused" && request.live ? html`<p>${t("permission-still", { people: about(request.people_now ?? permission.people, "people") })}</p>` : null}</div>
      <figure><${Ground} geometry=${request.geometry} label=${area.name} />
        <figcaption>${area.name}<span class="muted">${t("km2-land", { n: Math.round(permission.km2) })}</span></figcaption></figure></section>` : null}
    ${request.messages ? html`<section><h2>${t(permission.state === "granted" ? "preview-sent" : "preview")}</h2><${Shown} preview=${request.messages} only=${[]} /></section>` : null}
    <${Answer} request=${request} me=${me} onDone=${() => again(turn + 1)} />
  </div>`;
}
