// Why one person was notified of an alert, or not: asked by id or address, answered in words without place or address.

import { get } from "../parts/api.js";
import { wordOf } from "./channels.js";
import { Icon, html, useState } from "../parts/parts.js";
import { Find } from "../organisation/subscribers.js";
import { moment, t } from "../parts/words.js";

const ICONS = { yes: "check", no: "close", maybe: "warn" };
const STATES = { accepted: "sent", delivered: "sent", failed: "rejected", expired: "rejected", unknown: "pending" };

const Message = ({ one }) => html`<li><${Icon} name=${one.channel} />${t(one.channel)} <span class="state state-${STATES[one.state] || "draft"}">${wordOf(one.state)}</span>
  <span class="muted">${one.carrier || ""}${one.first ? ` · ${moment(one.first)}` : ""}${one.receipt ? ` · ${t("receipt-at", { time: moment(one.receipt) })}` : ""}${one.attempts > 1 ? ` · ${t("attempts", { n: one.attempts })}` : ""}</span>
  ${one.doubled ? html`<span class="muted">${t("perhaps-twice")}</span>` : null}</li>`;

function Answer({ told }) {
  const guest = told.consents === null; // who sees no data of people
  return html`<div class="answer is-${told.told}" role="status">
    <p class="answer-head"><${Icon} name=${ICONS[told.told]} /><span><bdi>${told.about}</bdi>: <strong>${t(`told-${told.told}`)}</strong> ${told.why === "has-messages" ? "" : t(`why-${told.why}`)}</span></p>
    <dl>${told.messages.length ? html`<div><dt>${t("messages")}</dt><dd><ul>${told.messages.map((one) => html`<${Message} one=${one} />`)}</ul></dd></div>` : null}
      ${guest ? null : html`<div><dt>${t("places")}</dt><dd><ul>${told.places.map((one) => html`<li>${t(`place-${one.kind}`)}: ${t(`stands-${one.standing}`)}</li>`)}${told.places.length ? null : html`<li>–</li>`}</ul></dd></div>
      <div><dt>${t("reachable")}</dt><dd><ul>${told.addresses.map((one) => html`<li><${Icon} name=${one.channel} />${t(one.channel)}
        <span class="muted">${t(!one.active ? "address-stopped" : one.asked_for ? "address-asked" : "address-other")}</span></li>`)}${told.addresses.length ? null : html`<li>–</li>`}</ul></dd></div>
      <div><dt>${t("consent")}</dt><dd>${t(told.consents ? "agreed" : "not-agreed")}</dd></div>`}</dl>
    ${guest ? null : html`<p class="muted small">${t("explain-now")}</p>`}</div>`;
}

export function Asked({ alert }) {
  const [told, tell] = useState(null);
  const explain = async ({ id }, signal) => tell({ about: id, ...(await get(`/v1/subscribers/${encodeURIComponent(id)}/explain?alert=${alert.id}`, { signal })) });
  return html`<section class="panel asked"><${Find} title=${t("explain-title")} hint=${t("explain-audited")} className="" byId=${(id) => ({ id })} onLost=${() => tell(null)} onFound=${explain} />
    ${told ? html`<${Answer} told=${told} />` : null}</section>`;
}
