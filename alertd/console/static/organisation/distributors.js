// An organisation's distributors: state, alerts, and open take-downs.

import { ask, get, onceOnly, post } from "../parts/api.js";
import { ChangeDistributor, NewDistributor, Secret, pathOf } from "./distributor-form.js";
import { Order } from "../parts/order.js";
import { Button, NotYet, Refused, Stale, html, mayDo, useAct, usePolled, useState } from "../parts/parts.js";
import { languageName, list, moment, t } from "../parts/words.js";

const LOOK_MS = 5_000;

/** Creation time of an alert: the first 48 bits of its id. */
const BASE32 = "0123456789ABCDEFGHJKMNPQRSTVWXYZ";
const madeAt = (id) => moment([...id.slice(0, 10)].reduce((ms, one) => ms * 32 + BASE32.indexOf(one), 0));

function Tried({ told: { taken, answered, acknowledged }, acks }) {
  const word = taken ? (acknowledged ? "tried-ack" : acks ? "tried-no-ack" : "tried-taken") : answered ? "tried-not" : "tried-none";
  return html`<p class="note small" role="status">${t(word, { n: String(answered || "") })}</p>`;
}

/** An act that cannot be undone: explained before the second press. */
function Twice({ name, word, sure, says, kind, act, onDone }) {
  const [asked, askFor] = useState(false);
  if (!asked) return html`<${Button} kind="quiet" onClick=${() => askFor(true)} aria-label=${`${t(word)}: ${name}`}>${t(word)}<//>`;
  return html`<${Order} act=${act} kind=${kind} word=${t(sure)} says=${t(says)} onBack=${() => askFor(false)} onDone=${onDone} />`;
}

/** Why a distributor cannot be removed, or the button to do so. */
const Remove = ({ one, onDone }) => (one.alerts || one.takedowns_open ? html`<p class="small muted">${t("distributor-keeps")}</p>`
  : html`<${Twice} name=${one.name} word="person-remove" sure="person-remove-sure" says="distributor-remove-says" act=${() => ask("DELETE", pathOf(one.id))} onDone=${onDone} />`);

/** Replaces the secret. Each press makes another one: a lost answer loses its secret. */
function Rotate({ one, onMade }) {
  const act = async () => onMade(await post(`${pathOf(one.id)}/rotate`, undefined, { once: onceOnly() }));
  return html`<${Twice} name=${one.name} word="distributor-rotate" sure="distributor-rotate-sure" says="distributor-rotate-says" kind="primary" act=${act} onDone=${() => {}} />`;
}

/** The acts of an administrator. */
function Acts({ one, onChange, onDone }) {
  const [told, tell] = useState(null);
  const [renewed, renew] = useState(null);
  const { busy, error, run } = useAct(async (signal) => tell(await post(`${pathOf(one.id)}/test`, undefined, { signal, once: onceOnly() })));
  if (renewed) return html`<${Secret} title="distributor-rotated" says="distributor-rotated-says" made=${renewed} onDone=${() => { renew(null); onDone(); }} />`;
  return html`${told ? html`<${Tried} told=${told} acks=${one.distributor.acknowledges} />` : null}<${Refused} error=${error} />
    <div class="actions"><${Button} kind="quiet" onClick=${onChange} aria-label=${`${t("person-change")}: ${one.name}`}>${t("person-change")}<//>
      <${Button} kind="quiet" busy=${busy} onClick=${() => run()} aria-label=${`${t("distributor-try")}: ${one.name}`}>${t("distributor-try")}<//><${Rotate} one=${one} onMade=${renew} /><${Remove} one=${one} onDone=${onDone} /></div>`;
}

/** Which alerts it receives, in one line. */
function getsOf({ statuses, levels, languages, jurisdiction }) {
  const parts = [list(statuses.map((one) => t(one))), levels.length ? list(levels.map((one) => t(one))) : t("distributor-every-level"),
    languages.length ? list(languages.map(languageName)) : t("distributor-every-language"), t(jurisdiction ? "distributor-some-ground" : "everywhere")];
  return parts.join(" · ");
}

/** Its state and the reason, in words. */
function stands({ takedowns_open, failing_since, enabled, answered }) {
  const [look, word] = takedowns_open ? ["rejected", "sent-shows"] : failing_since ? ["rejected", "distributor-failing"] : enabled ? ["sent", "distributor-on"] : ["pending", "distributor-off"];
  const says = failing_since ? `${t("distributor-fails", { time: moment(failing_since) })} ${answered ? t("sent-answered", { n: String(answered) }) : t("distributor-silent")}` : t(answered ? "distributor-takes" : "distributor-new");
  return { look, word, says };
}

function Line({ one, me, open, onOpen, onBack, onDone }) {
  const { look, word, says } = stands(one);
  const mine = one.distributor && mayDo(me, "distributor.write") && !me.test;
  return html`<li class="line share-line"><div class="share-row"><div><span class="line-title">${one.name}</span><p class="about"><code dir="ltr">${one.host}</code> · ${says}</p>
      ${one.distributor ? html`<p class="about">${getsOf(one.distributor)}</p>` : null}
      <p class="small">${one.alerts ? t("distributor-has", { n: one.alerts }) : t("distributor-has-none")}${one.enabled ? "" : ` ${t("distributor-off-says")}`}</p>
      ${one.takedowns_open ? html`<p class="small"><strong>${t("takedowns-open", { n: one.takedowns_open })}</strong> ${t("takedown-ring")}</p>
        <ul class="small takedown-links">${one.takedowns.map((id) => html`<li key=${id}><a class="link" href="#/alerts/${id}">${t("takedown-of", { time: madeAt(id) })}</a></li>`)}</ul>` : null}</div>
    <span class="state state-${look}">${t(word)}</span></div>
    ${!mine ? null : open ? html`<${ChangeDistributor} one=${one} onDone=${onDone} onBack=${onBack} />` : html`<div class="share-acts"><${Acts} one=${one} onChange=${onOpen} onDone=${onDone} /></div>`}</li>`;
}

export function Distributors({ me }) {
  const [turn, again] = useState(0);
  const [shown, show] = useState("");
  const [made, tell] = useState(null);
  const { data, error } = usePolled((signal) => get("/v1/distributors", { signal }), LOOK_MS, String(turn));
  const anew = () => { show(""); again(turn + 1); };
  if (!data) return html`<${NotYet} error=${error} />`;
  const adds = mayDo(me, "distributor.create") && !me.test && shown !== "new" && !made;
  return html`<section class="distribution"><div class="page-head"><h2>${t("distributors")}</h2>
      ${adds ? html`<${Button} icon="plus" onClick=${() => show("new")}>${t("distributor-add")}<//>` : null}</div>
    <p class="muted small">${t("distributors-say")}</p>${error ? html`<${Stale} error=${error} />` : null}
    ${made ? html`<${Secret} title="distributor-made" says="distributor-made-says" made=${made} onDone=${() => tell(null)} />` : null}
    ${shown === "new" ? html`<${NewDistributor} onBack=${() => show("")} onMade=${(one) => { tell(one); anew(); }} />` : null}
    ${data.distributors.length ? html`<ul class="lines">${data.distributors.map((one) => html`<${Line} key=${one.id} one=${one} me=${me} open=${shown === one.id}
      onOpen=${() => show(one.id)} onBack=${() => show("")} onDone=${anew} />`)}</ul>` : html`<p class="muted">${t("distributors-none")}</p>`}</section>`;
}
