// Distributors of an alert: which of them have it, their answers, and open take-downs.

import { get, onceOf, onceOnly, post } from "../parts/api.js";
import { Awaited, Button, Icon, Refused, html, mayDo, useAct, usePolled, useState } from "../parts/parts.js";
import { TABLES } from "../tables.js";
import { moment, t } from "../parts/words.js";

/** Poll interval: a distributor may answer at any time. */
const LOOK_MS = 5_000;
const AGAIN = ["refused", "given_up"];

/** The state of each distributor for this alert, null until it is known. */
export function useDistribution(alert) {
  const [turn, again] = useState(0);
  const [chain] = alert.id.split("-");
  const { data, error } = usePolled((signal) => get(`/v1/alerts/${chain}/distribution`, { signal }), LOOK_MS, `${alert.id} ${alert.state} ${turn}`);
  return { chain, shares: data && data.distributors, error, again: () => again(turn + 1) };
}

function Confirm({ one, chain, onDone }) {
  const [asked, askFor] = useState(false);
  const [once] = useState(onceOnly);
  const { busy, error, run } = useAct(async () => { await post(`/v1/alerts/${chain}/distribution/${one.distributor}/confirm`, undefined, { once: onceOf(once, one.takedown) }); onDone(); });
  if (!asked) return html`<div class="actions"><${Button} onClick=${() => askFor(true)}>${t("takedown-confirm")}<//></div>`;
  return html`<p class="small">${t("takedown-confirm-says")}</p><${Refused} error=${error} /><${Awaited} busy=${busy} />
    <div class="actions"><${Button} onClick=${() => askFor(false)}>${t("back")}<//><${Button} kind="danger" busy=${busy} onClick=${() => run()}>${t("takedown-sure")}<//></div>`;
}

/** Shown at the top: a distributor may still show an ended alert. */
export function Takedowns({ distribution, me }) {
  const open = (distribution.shares || []).filter((one) => one.takedown.state === "open");
  return open.map((one) => html`<section key=${one.distributor} class="hold-note takedown" role="region" aria-label=${t("takedown-open", { name: one.name })}><${Icon} name="warn" /><div>
    <h2>${t("takedown-open", { name: one.name })}</h2>
    <p class="small"><time datetime=${one.takedown.since}>${moment(one.takedown.since)}</time> · ${t("takedown-says")}</p>
    ${mayDo(me, "alert.takedown-confirm") ? html`<${Confirm} one=${one} chain=${distribution.chain} onDone=${distribution.again} />` : null}</div></section>`);
}

/** The state of one distributor in words: the last message sent to it, or why none was sent. */
function stands({ messages, why_not, takedown }) {
  if (takedown.state === "confirmed") return t(takedown.confirmed_by ? "takedown-done-by" : "takedown-done", { time: moment(takedown.confirmed_at), who: takedown.confirmed_by || "" });
  const last = messages.at(-1);
  if (!last) return t(why_not ? `sent-nothing-${why_not}` : "sent-to-come");
  return `${t(`sent-${last.type}`)}: ${t(`sent-is-${last.state}`)}`;
}

const GOOD = ["acknowledged", "accepted"];
const lookOf = (last, open) => (open || (last && AGAIN.includes(last.state)) ? "rejected" : last && GOOD.includes(last.state) ? "sent" : "pending");

/** `told`: the alert is active, so a refused message may still matter; of an ended alert only the take-down matters. */
function Share({ one, chain, told, me, onDone }) {
  const last = one.messages.at(-1);
  const [once] = useState(onceOnly);
  const { busy, error, run } = useAct(async () => { await post(`/v1/alerts/${chain}/distribution/${one.distributor}/resend`, undefined, { once: onceOf(once, last) }); onDone(); });
  const fails = last && AGAIN.includes(last.state);
  const wanted = fails && (told || last.type === "Cancel") && mayDo(me, "alert.distribute-again");
  return html`<li class="line share-line"><div class="share-row"><div><span class="line-title">${one.name}</span><p class="about">${stands(one)}${last && last.last ? html` · <time datetime=${last.last}>${moment(last.last)}</time>` : null}</p>
      ${fails && last.note ? html`<p class="small share-note"><q dir="auto">${last.note}</q></p>` : null}${fails && !last.note && last.answered ? html`<p class="small muted">${t("sent-answered", { n: String(last.answered) })}</p>` : null}<${Refused} error=${error} /></div>
    ${last || one.why_not === null ? html`<span class="state state-${lookOf(last, one.takedown.state === "open")}">${t(one.takedown.state === "open" ? "sent-shows" : one.has_it ? "sent-has" : last ? "sent-has-not" : "sent-waits")}</span>` : null}
    ${wanted ? html`<${Button} busy=${busy} onClick=${() => run()}>${t("sent-again")}<//>` : null}</div></li>`;
}

/** All distributors of the organisation, for this alert; nothing if there is none. */
export function Distribution({ alert, distribution, me }) {
  const { shares, chain, error, again } = distribution;
  if (!shares || !shares.length) return error && !error.again ? html`<${Refused} error=${error} />` : null;
  return html`<section class="distribution"><h2>${t("distributors")}</h2><ul class="lines">${shares.map((one) => html`<${Share} key=${one.distributor} one=${one} chain=${chain} told=${TABLES.acts.update.includes(alert.state)} me=${me} onDone=${again} />`)}</ul></section>`;
}
