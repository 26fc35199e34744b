// One subscriber, looked up on request; the count in a region; and deletion of a subscriber.

import { ask, get, post } from "../parts/api.js";
import { Search } from "../area/area.js";
import { Button, Field, Icon, Loading, People, Refused, html, may, some, useAct, useState } from "../parts/parts.js";
import { day, language, languageName, list, number, t } from "../parts/words.js";

const WAYS = ["id", "sms", "mail", "push", "webpush"];

const shown = (id, signal) => get(`/v1/subscribers/${encodeURIComponent(id)}`, { signal });

export function Find({ onFound, onLost, byId = shown, title = t("find-one"), hint = t("find-audited"), className = "sheet" }) {
  const [way, choose] = useState("id");
  const [value, type] = useState("");
  const { error, run } = useAct(async (signal, said) => {
    await onFound(way === "id" ? await byId(said, signal) : await post("/v1/subscribers/lookup", { channel: way, value: said }, { signal }), signal);
  }, true);
  const find = (event) => { event.preventDefault(); onLost(); run(value.trim()); };
  return html`<form class="${className} find" onSubmit=${find}><header><h2>${title}</h2></header>
    <div class="find-row"><div class="field"><label for="find-way">${t("find-by")}</label><select id="find-way" onChange=${(e) => choose(e.target.value)}>
        ${WAYS.map((one) => html`<option value=${one} selected=${one === way}>${t(`by-${one}`)}</option>`)}</select></div>
      <${Field} label=${t(`by-${way}`)} value=${value} onChange=${type} required autocomplete="off" spellcheck=${false} />
      <button class="button primary" disabled=${!value.trim()}><span>${t("find")}</span></button></div>
    <p class="muted small">${hint}</p>
    ${error && error.status === 404 ? html`<p class="note" role="status">${t("find-nobody")}</p>` : html`<${Refused} error=${error} />`}</form>`;
}

/** A browser's push service; the rest of its endpoint means nothing to a reader. */
const addressOf = (one) => one.number || one.mailbox || (one.token ? `${one.token.slice(0, 12)}…` : new URL(one.subscription.endpoint).host);
const placeOf = (one) => one.region || (one.point ? t("point-kept") : "–");

/** The id must be typed, so that Enter alone deletes no one. */
function Forget({ id, onDone, onBack }) {
  const [typed, type] = useState("");
  const [error, fail] = useState(null);
  const forget = (event) => {
    event.preventDefault();
    ask("DELETE", `/v1/subscribers/${encodeURIComponent(id)}`).then(onDone, fail);
  };
  return html`<form class="stop" onSubmit=${forget}><p><strong>${t("forget")}.</strong> ${t("forget-sure")}</p>
    <${Field} label=${t("forget-type", { id })} value=${typed} onChange=${type} autofocus autocomplete="off" /><${Refused} error=${error} />
    <div class="actions"><${Button} onClick=${onBack}>${t("back")}<//><button class="button danger" disabled=${typed !== id}><span>${t("forget")}</span></button></div></form>`;
}

function Person({ one, me, onForgotten }) {
  const [sure, ask_] = useState(false);
  const { languages, kinds, addresses, places, consent, quiet, time_zone } = one.registration;
  return html`<section class="sheet person" aria-live="polite"><header><h2>${one.id}</h2></header>
    <dl><div><dt>${t("by-channels")}</dt><dd><ul>${addresses.map((each) => html`<li><${Icon} name=${each.channel} /> <bdi>${addressOf(each)}</bdi></li>`)}</ul></dd></div>
      <div><dt>${t("places")}</dt><dd><ul>${Object.entries(places).map(([name, place]) => html`<li>${t(`place-${name}`)}: ${placeOf(place)}</li>`)}</ul></dd></div>
      <div><dt>${t("speaks")}</dt><dd>${list(languages.map(languageName))}</dd></div>
      <div><dt>${t("wants")}</dt><dd>${list(kinds.map((kind) => t(`of-${kind}`)))}</dd></div>
      ${quiet ? html`<div><dt>${t("quiet-hours")}</dt><dd>${quiet.from}–${quiet.to} ${time_zone || ""}</dd></div>` : null}
      <div><dt>${t("consent")}</dt><dd>${consent.source}, ${day(consent.at)}${consent.withdrawn_at ? html` <b>${t("withdrew", { time: day(consent.withdrawn_at) })}</b>` : null}</dd></div></dl>
    ${!may(me, "subscribers:write") ? null : sure ? html`<${Forget} id=${one.id} onBack=${() => ask_(false)} onDone=${onForgotten} />`
      : html`<div class="actions"><${Button} kind="danger" onClick=${() => ask_(true)}>${t("forget-open")}<//></div>`}</section>`;
}

function Counts() {
  const [told, tell] = useState(null);
  const { busy, error, run } = useAct(async (signal, region) => {
    tell(null);
    const { audience } = await post("/v1/targets/preview", { target: { regions: [region.code] } }, { signal });
    tell({ name: region.names[language] || region.name, audience });
  }, true);
  return html`<section class="sheet counts"><header><h2>${t("how-many")}</h2></header><${Search} onFound=${run} /><${Refused} error=${error} />
    ${busy ? html`<${Loading} />` : null}
    ${told ? html`<div class="reach" aria-live="polite"><p class="reach-people"><${People} n=${told.audience.people} id="people" /></p><p class="reach-area">${told.name}</p>
      <ul class="reach-channels">${Object.entries(told.audience.addresses).filter(([, n]) => some(n)).map(([name, n]) => html`<li><span>${t(name)}</span><b>${number(n)}</b><span></span></li>`)}</ul>
      <p class="small muted">${t("small-why")}</p></div>` : null}</section>`;
}

export function SubscribersScreen({ me }) {
  const [one, show] = useState(null);
  const [gone, forgotten] = useState("");
  return html`<div class="page"><h1>${t("subscribers")}</h1>
    ${gone ? html`<p class="note is-good" role="status">${t("forgotten", { id: gone })}</p>` : null}
    <div class="two"><div class="stack"><${Find} onLost=${() => show(null)} onFound=${(found) => { forgotten(""); show(found); }} />
      ${one ? html`<${Person} key=${one.id} one=${one} me=${me} onForgotten=${() => { forgotten(one.id); show(null); }} />` : null}</div>${may(me, "alerts:write", "alerts:approve") ? html`<${Counts} />` : null}</div></div>`;
}
