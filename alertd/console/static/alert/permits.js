// Neighbours that must give permission for the target, each with the state of its answer.

import { onceOnly, post } from "../parts/api.js";
import { Button, Refused, about, html, mayDo, useAct, useState } from "../parts/parts.js";
import { moment, t } from "../parts/words.js";

function AskAgain({ alert, permission, onDone }) {
  const [once] = useState(onceOnly);
  const again = useAct(async () => { await post(`/v1/alerts/${alert.id}/permissions`, { organisation: permission.organisation }, { once: `${once}-${permission.answered}` }); onDone(); });
  return html`<${Refused} error=${again.error} /><div class="actions"><${Button} busy=${again.busy} onClick=${() => again.run()}>${t("permission-again")}<//></div>`;
}

const One = ({ permission, children }) => html`<li data-permission=${permission.state}>
  <p><strong>${t(`permission-${permission.state}-by`, { who: permission.name })}</strong> · ${permission.people === null ? "" : `${about(permission.people, "people")} · `}${t("km2-land", { n: Math.round(permission.km2) })}
    ${permission.answered ? ` · ${permission.by ? `${t("by", { who: permission.by })}, ` : ""}${moment(permission.answered)}` : ""}
    ${permission.told_by ? html` · <a href="#/alerts/${permission.told_by}">${t("watch")}</a>` : null}</p>
  ${permission.reason ? html`<p>${permission.reason}</p>` : null}${children}</li>`;

/** Other organisations that report the child as found, until the alert is stood down. */
export const StandDownAsked = ({ alert }) => (alert.stand_down_asked.length ? html`<section class="note is-due stand-down-asked" role="status" aria-label=${t("stand-down-asked")}>
  <ul>${alert.stand_down_asked.map((one) => html`<li key=${one.organisation}><p><strong>${t("stand-down-asked-by", { who: one.name })}</strong> · ${t("by", { who: `${one.by} (${one.organisation})` })} · ${moment(one.at)}</p>
    <p>${one.reason}</p></li>`)}</ul><p class="small">${t("stand-down-asked-says")}</p></section>` : null);

export function Permissions({ alert, me, onDone }) {
  if (!alert.permissions.length) return null;
  return html`<section class="note since permits" role="status" aria-label=${t("permissions")}><ul>${alert.permissions.map((one) => html`
    <${One} key=${one.organisation} permission=${one}>${one.state === "refused" && mayDo(me, "alert.ask-permission") ? html`<${AskAgain} alert=${alert} permission=${one} onDone=${onDone} />` : null}<//>`)}</ul></section>`;
}

/** The form's note about the part outside the jurisdiction: the neighbours can be asked, or will be. */
export const AskNeighbours = ({ told, asks, choose }) => (told.neighbours.length ? html`<label class="check ask-neighbours">
    <input type="checkbox" checked=${asks} onChange=${(e) => choose(e.target.checked)} /><span>${t("permission-ask")}</span></label>
  <ul class="reach-regions">${told.neighbours.map((one) => html`<li data-neighbour=${one.organisation}><span>${one.name}</span><b>${t("km2-land", { n: Math.round(one.km2) })}</b></li>`)}</ul>` : null);
