// An alert that its author approves alone in an emergency, and the review that another person must do.

import { get, onceOnly, post } from "../parts/api.js";
import { isAnothers } from "./now.js";
import { Order } from "../parts/order.js";
import { Field, html, mayDo, usePolled, useState } from "../parts/parts.js";
import { TABLES } from "../tables.js";
import { moment, t } from "../parts/words.js";

/** Whether the author may approve alone: a signed-in person, if the organisation allows it for this alert. */
export function useAlone(alert, me) {
  const may = isAnothers(alert, me) && me.signed_in && mayDo(me, "alert.break_glass") && !alert.update;
  const load = async (signal) => (may ? (await get(`/v1/organisations/${me.organisation}`, { signal })).organisation : null);
  const { data } = usePolled(load, 0, `${may} ${me.organisation}`);
  return Boolean(may && data && data.break_glass && data.break_glass.levels.includes(alert.level));
}

function Review({ alert, onDone }) {
  const [verdict, judge] = useState("");
  const [note, explain] = useState("");
  const [once] = useState(onceOnly);
  const review = () => post(`/v1/alerts/${alert.id}/review`, { verdict, note }, { once });
  return html`<${Order} act=${review} ready=${verdict && note.trim()} word=${t("glass-review")} kind="primary" onDone=${onDone}>
    <fieldset><legend>${t("glass-verdict")}</legend>${TABLES.verdicts.map((one) => html`<label class="check">
      <input type="radio" name="verdict" checked=${one === verdict} onChange=${() => judge(one)} /><span>${t(one)}</span></label>`)}</fieldset>
    <${Field} label=${t("glass-note")} value=${note} onChange=${explain} wide required /><//>`;
}

/** The note that it was approved alone, the reason, and the review. */
export function Glass({ alert, me, onDone }) {
  const { by, at, reason, review } = alert.break_glass;
  const reviews = !review && by !== me.subject && me.signed_in && mayDo(me, "alert.review");
  return html`<section class="note since glass" aria-label=${t("glass-title")}>
    <p><strong>${t("glass-broken", { who: by, time: moment(at) })}</strong></p>
    ${reason ? html`<p>${reason}</p>` : null}
    ${review ? html`<p><strong>${t(review.verdict)}</strong> · ${t("by", { who: review.by })} · ${moment(review.at)}</p>${review.note ? html`<p>${review.note}</p>` : null}`
    : html`<p>${t("glass-awaits")}</p>`}
    ${reviews ? html`<${Review} alert=${alert} onDone=${onDone} />` : null}
  </section>`;
}
