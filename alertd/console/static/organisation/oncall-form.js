// Form for the rota: steps, people, addresses and hours.

import { ask } from "../parts/api.js";
import { Button, Check, Field, Icon, Refused, html, useAct, useState } from "../parts/parts.js";
import { TABLES } from "../tables.js";
import { dayName, digits, t } from "../parts/words.js";

const CHANNELS = Object.keys(TABLES.contacts);
const ADDRESS = { channel: CHANNELS[0], value: "" };
const PERSON = { name: "", subject: "", addresses: [ADDRESS], hours: [] };
const HOURS = { days: TABLES.days, from: "08:00", to: "20:00" };

/** The rota in the form's shape: each address with its value under one name. */
const opened = (rota) => ({
  time_zone: Intl.DateTimeFormat().resolvedOptions().timeZone, ...TABLES.rota, ...rota,
  steps: ((rota && rota.steps) || []).map(({ people }) => people.map((one) => ({
    ...one, subject: one.subject || "", addresses: one.addresses.map((each) => ({ ...each, value: each[TABLES.contacts[each.channel]] })),
  }))),
});

/** A number if the input is one; otherwise the input itself, for the API to refuse with a message. */
const amount = (text) => (/^\d+$/.test(digits(String(text).trim())) ? Number(digits(String(text))) : text);
const addressOf = ({ channel, value, language }) => ({ channel, [TABLES.contacts[channel]]: value.trim(), ...(language ? { language } : {}) });

/** The rota in the API's shape. */
const closed = ({ steps, time_zone, ...rest }) => ({
  time_zone: time_zone.trim(), ...Object.fromEntries(Object.keys(TABLES.rota).map((name) => [name, amount(rest[name])])),
  steps: steps.map((people) => ({ people: people.map((one) => ({ name: one.name.trim(), subject: one.subject.trim() || null, addresses: one.addresses.map(addressOf), hours: one.hours })) })),
});

const Drop = ({ what, onDrop }) => html`<button type="button" class="tiny" aria-label=${`${t("remove")}: ${what}`} onClick=${onDrop}><${Icon} name="close" /></button>`;

/** The list with the entry at place `i` replaced. */
const edited = (list, i, next) => list.map((one, at) => (at === i ? next : one));
const without = (list, i) => list.filter((_, at) => at !== i);

const Address = ({ one, who, alone, set, drop }) => html`<div class="rota-row">
  <div class="field rota-way"><label aria-hidden="true">${t("oncall-way")}</label>
    <select aria-label=${`${t("oncall-way")}: ${who}`} value=${one.channel} onChange=${(e) => set({ channel: e.target.value, value: "" })}>
      ${CHANNELS.map((channel) => html`<option value=${channel} selected=${channel === one.channel}>${t(channel)}</option>`)}</select></div>
  <${Field} label=${t(`by-${one.channel}`)} value=${one.value} onChange=${(value) => set({ ...one, value })} dir="ltr" spellcheck=${false} required />
  ${alone ? null : html`<${Drop} what=${one.value || t(one.channel)} onDrop=${drop} />`}</div>`;

function Shift({ one, set, drop }) {
  const days = (day, on) => set({ ...one, days: TABLES.days.filter((each) => (each === day ? on : one.days.includes(each))) });
  return html`<fieldset class="rota-hours"><legend>${t("oncall-hours")}</legend>
    <div class="rota-days">${TABLES.days.map((day, n) => html`<${Check} key=${day} label=${dayName(n)} checked=${one.days.includes(day)} onChange=${(on) => days(day, on)} />`)}</div>
    <div class="rota-row"><${Field} type="time" label=${t("oncall-from")} value=${one.from} onChange=${(from) => set({ ...one, from })} required />
      <${Field} type="time" label=${t("oncall-to")} value=${one.to} onChange=${(to) => set({ ...one, to })} required />
      <${Drop} what=${`${t("oncall-hours")} ${one.from}`} onDrop=${drop} /></div></fieldset>`;
}

function Person({ one, n, alone, set, drop }) {
  const who = one.name || `${t("oncall-person")} ${n + 1}`;
  const put = (name) => (value) => set({ ...one, [name]: value });
  const { addresses, hours } = one;
  return html`<fieldset class="beside rota-one"><legend><bdi>${who}</bdi></legend>${alone ? null : html`<${Drop} what=${who} onDrop=${drop} />`}
    <div class="grid"><${Field} label=${t("person-name")} value=${one.name} onChange=${put("name")} required hint=${t("oncall-name-says")} />
      <${Field} label=${t("oncall-subject")} value=${one.subject} onChange=${put("subject")} spellcheck=${false} hint=${t("oncall-subject-says")} /></div>
    ${addresses.map((each, i) => html`<${Address} key=${i} one=${each} who=${who} alone=${addresses.length === 1} set=${(next) => put("addresses")(edited(addresses, i, next))} drop=${() => put("addresses")(without(addresses, i))} />`)}
    ${hours.map((each, i) => html`<${Shift} key=${i} one=${each} set=${(next) => put("hours")(edited(hours, i, next))} drop=${() => put("hours")(without(hours, i))} />`)}
    ${hours.length ? null : html`<p class="hint">${t("oncall-always")}</p>`}
    <div class="actions"><${Button} kind="quiet" icon="plus" onClick=${() => put("addresses")([...addresses, ADDRESS])}>${t("oncall-add-way")}<//>
      <${Button} kind="quiet" icon="plus" onClick=${() => put("hours")([...hours, HOURS])}>${t("oncall-add-hours")}<//></div></fieldset>`;
}

function Step({ people, n, set, drop, earlier }) {
  const title = t("oncall-step", { n: n + 1 });
  return html`<section class="rota-edit" aria-label=${title}><header><h3>${title}</h3>
      ${n ? html`<${Button} kind="quiet" onClick=${earlier} aria-label=${`${t("oncall-earlier")}: ${title}`}>${t("oncall-earlier")}<//>` : null}<${Drop} what=${title} onDrop=${drop} /></header>
    ${people.map((one, i) => html`<${Person} key=${i} one=${one} n=${i} alone=${people.length === 1} set=${(next) => set(edited(people, i, next))} drop=${() => set(without(people, i))} />`)}
    <${Button} kind="quiet" icon="plus" onClick=${() => set([...people, PERSON])}>${t("oncall-add-person")}<//></section>`;
}

const isWhole = ({ steps, time_zone }) => Boolean(time_zone.trim()) && steps.flat().every((one) => one.name.trim() && one.addresses.every((each) => each.value.trim()) && one.hours.every((each) => each.days.length));

export function RotaForm({ told, onDone, onBack }) {
  const [edit, set] = useState(() => opened(told.rota));
  const put = (name) => (value) => set((now) => ({ ...now, [name]: value }));
  const { steps } = edit;
  const { busy, error, run } = useAct(async () => { await ask("PUT", "/v1/oncall", { body: closed(edit), headers: { "If-Match": told.etag } }); onDone(); });
  const save = (event) => { event.preventDefault(); run(); };
  const earlier = (n) => put("steps")([...steps.slice(0, n - 1), steps[n], steps[n - 1], ...steps.slice(n + 1)]);
  return html`<form class="sheet org-form rota-form" onSubmit=${save}>
    ${steps.length ? null : html`<p class="note">${t("oncall-none")}</p>`}
    ${steps.map((people, n) => html`<${Step} key=${n} people=${people} n=${n} set=${(next) => put("steps")(edited(steps, n, next))} drop=${() => put("steps")(without(steps, n))} earlier=${() => earlier(n)} />`)}
    <div><${Button} icon="plus" onClick=${() => put("steps")([...steps, [PERSON]])}>${t("oncall-add-step")}<//></div>
    <div class="grid">${Object.keys(TABLES.rota).map((name) => html`<${Field} key=${name} label=${t(`oncall-${name.split("_")[0]}`)} value=${String(edit[name])} onChange=${put(name)} inputmode="numeric" />`)}
      <${Field} label=${t("oncall-zone")} value=${edit.time_zone} onChange=${put("time_zone")} dir="ltr" spellcheck=${false} /></div>
    <${Refused} error=${error} />
    <div class="actions"><${Button} onClick=${onBack}>${t("back")}<//>
      <button class="button primary" aria-busy=${busy ? "true" : null} disabled=${busy || !isWhole(edit)}><span>${t("person-keep")}</span></button></div></form>`;
}
