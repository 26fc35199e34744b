// The organisation's rota, and the people who would be called now. Administrators change it, others read it.

import { ask } from "../parts/api.js";
import { RotaForm } from "./oncall-form.js";
import { Button, Fact, NotYet, Stale, html, mayDo, usePolled, useState } from "../parts/parts.js";
import { TABLES } from "../tables.js";
import { dayName, list, moment, number, span, t } from "../parts/words.js";

const LOOK_MS = 5000;

async function read(signal) {
  const { body, etag } = await ask("GET", "/v1/oncall", { signal });
  return { ...body, etag };
}

const waysOf = (channels) => list([...new Set(channels)].map((one) => t(one)));
/** Every day, Mon–Fri, or Sat and Sun. */
function daysOf(days) {
  const at = days.map((one) => TABLES.days.indexOf(one)).sort((a, b) => a - b);
  if (at.length === TABLES.days.length) return t("oncall-daily");
  const last = at[at.length - 1];
  return at.length > 2 && last - at[0] === at.length - 1 ? `${dayName(at[0])}–${dayName(last)}` : list(at.map(dayName));
}
const hoursOf = (hours) => (hours.length ? hours.map((one) => t("oncall-hours-are", { days: daysOf(one.days), from: one.from, to: one.to })).join("; ") : t("oncall-always"));

const Person = ({ name, channels, hours, on }) => html`<li class="rota-person"><div><span class="line-title"><bdi>${name}</bdi></span>
    <p class="about">${waysOf(channels)}${hours ? html` · <bdi>${hoursOf(hours)}</bdi>` : null}</p></div>
  <span class="state state-${on ? "sent" : "draft"}">${t(on ? "oncall-on" : "oncall-off")}</span></li>`;

/** All people of a step if the user may see them, otherwise those on duty. */
const peopleOf = ({ people }, step) => (step ? step.people.map((one) => ({ ...one, channels: one.addresses.map((each) => each.channel), on: people.some((each) => each.name === one.name) }))
  : people.map((one) => ({ ...one, on: true })));

function Step({ n, now, step, after, last }) {
  const people = peopleOf(now, step);
  return html`<li class="line rota-step"><h3>${t("oncall-step", { n: n + 1 })}${n === 0 ? html` <small class="muted">${t("oncall-first")}</small>` : after ? html` <small class="muted">${t("oncall-later", { time: span(n * after * 60) })}</small>` : null}</h3>
    <ul>${people.map((one) => html`<${Person} key=${one.name} ...${one} />`)}</ul>
    ${now.people.length ? null : html`<p class="muted small">${t(last ? "oncall-step-empty-last" : "oncall-step-empty")}</p>`}</li>`;
}

function Rota({ told }) {
  const { now, rota, by, at } = told;
  if (!now.length) return html`<p class="note" role="status"><strong>${t("oncall-none")}</strong></p>`;
  return html`${now.some((one) => one.people.length) ? null : html`<p class="note" role="status"><strong>${t("oncall-nobody-now")}</strong></p>`}
    <ol class="lines rota">${now.map((one, n) => html`<${Step} key=${n} n=${n} last=${n === now.length - 1} now=${one} step=${rota && rota.steps[n]} after=${rota && rota.after_min} />`)}</ol>
    <section class="panel"><dl class="org-facts">
      ${rota ? html`<${Fact} name=${t("oncall-after")}>${number(rota.after_min)}<//><${Fact} name=${t("oncall-times")}>${number(rota.times)}<//>
        <${Fact} name=${t("oncall-hold")}>${number(rota.hold_min)}<//><${Fact} name=${t("oncall-zone")}><bdi>${rota.time_zone}</bdi><//>` : null}
      <${Fact} name=${t("oncall-by")}><bdi>${by}</bdi>, ${moment(at)}<//></dl></section>`;
}

export function OnCallScreen({ me }) {
  const [turn, again] = useState(0);
  const [changing, change] = useState(null);
  const { data, error } = usePolled(read, LOOK_MS, String(turn));
  if (!data) return html`<div class="page"><${NotYet} error=${error} /></div>`;
  const may = mayDo(me, "oncall.write") && !me.test;
  const done = () => { change(null); again(turn + 1); };
  return html`<div class="page"><div class="page-head"><h1>${t("oncall")}</h1>
      ${may && !changing ? html`<${Button} kind="primary" onClick=${() => change(data)}>${t("person-change")}<//>` : null}</div>
    <p class="muted">${t("oncall-says")} <a class="link" href="#/organisation">${t("organisation")}</a></p>${error ? html`<${Stale} error=${error} />` : null}
    ${changing ? html`<${RotaForm} told=${changing} onDone=${done} onBack=${() => change(null)} />` : html`<${Rota} told=${data} />`}</div>`;
}
