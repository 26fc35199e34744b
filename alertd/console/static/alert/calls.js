// The people on call who were called for an alert that waits, or for another organisation's stand-down request; who took it; and the button "I have it".

import { get, now, onceOnly, post } from "../parts/api.js";
import { Button, Refused, html, mayDo, useAct, usePolled, useState } from "../parts/parts.js";
import { list, minute, t } from "../parts/words.js";

const LOOK_MS = 3000;
/** The latest calls only: the audit has all of them. */
const SHOWN = 4;

export const readCalls = async (signal) => (await get("/v1/oncall/alerts", { signal })).calls;
export const callOf = (calls, alert) => calls.find((one) => one.alert.id === alert.id);

const personOf = ({ name, at, taken }) => t(taken ? "called-one" : "called-not", { who: name, time: minute(at) });

/** The next call; nothing if all calls were in vain. */
function Coming({ next, unanswered, held }) {
  if (unanswered && !held) return html`<p class="calls-alone"><strong>${t(unanswered === "nobody" ? "calls-nobody" : "calls-in-vain")}</strong></p>`;
  return next && new Date(next) > now() ? html`<p class="muted">${t("calls-next", { time: minute(next) })}</p>` : null;
}

/** `anothers`: the alert has another author; authors cannot take their own alerts. */
export function Called({ call, me, anothers, onDone }) {
  const [told, tell] = useState(call);
  const shown = told.taken && (!call.taken || call.taken.at < told.taken.at) ? told : call;
  const act = useAct(async (signal) => { tell(await post(`/v1/alerts/${call.alert.id}/take`, undefined, { signal, once: onceOnly() })); if (onDone) onDone(); });
  const { pages, taken, next, unanswered } = shown;
  if (!pages.length && !taken && !unanswered) return null;
  const held = taken && (!taken.until || new Date(taken.until) > now());
  const offers = !anothers && mayDo(me, "alert.take") && !(held && taken.by === me.subject);
  return html`<div class="called small" role="group" aria-label=${t("oncall")}><div class="grow">
    ${held ? html`<p><strong>${taken.until ? t("taken-by", { who: taken.by, time: minute(taken.until) }) : t("taken-for-good", { who: taken.by })}</strong></p>` : null}
    ${pages.length ? html`<p class="muted">${t("called", { list: list(pages.slice(-SHOWN).map(personOf)) })}</p>` : null}
    <${Coming} next=${next} unanswered=${unanswered} held=${held} />
    ${offers ? html`<p class="muted">${t(call.alert.state === "pending" ? "take-says" : "take-says-asked")}</p>` : null}<${Refused} error=${act.error} /></div>
    ${offers ? html`<${Button} icon="check" busy=${act.busy} onClick=${() => act.run()}>${t("take")}<//>` : null}</div>`;
}

/** The same beside one alert, polled. */
export function Calls({ alert, me, anothers }) {
  const { data } = usePolled(readCalls, LOOK_MS, alert.id);
  const call = data && callOf(data, alert);
  return call && (call.pages.length || call.taken || call.unanswered) ? html`<section class="panel calls"><${Called} call=${call} me=${me} anothers=${anothers} /></section>` : null;
}
