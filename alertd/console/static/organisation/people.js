// Who may sign in, and their roles.

import { ask, get, onceOnly, post } from "../parts/api.js";
import { Order } from "../parts/order.js";
import { Button, Check, Empty, Field, NotYet, Refused, html, useAct, usePolled, useState } from "../parts/parts.js";
import { Keeps } from "../parts/shared.js";
import { TABLES } from "../tables.js";
import { list, moment, t } from "../parts/words.js";

const chosen = (roles, one, on) => TABLES.roles.filter((each) => (each === one ? on : roles.includes(each)));

const Roles = ({ roles, onChange }) => html`<fieldset class="roles"><legend>${t("role-what")}</legend>
  ${TABLES.roles.map((one) => html`<div key=${one}><${Check} label=${t(`role-${one}`)} checked=${roles.includes(one)} onChange=${(on) => onChange(chosen(roles, one, on))} />
    <p class="hint">${t(`role-${one}-says`)}</p></div>`)}</fieldset>`;

function NewPerson({ onMade, onBack }) {
  const [name, setName] = useState("");
  const [subject, setSubject] = useState("");
  const [roles, choose] = useState([TABLES.roles[0]]);
  const [once] = useState(onceOnly);
  const act = useAct(async () => onMade(await post("/v1/operators", { name: name.trim(), subject: subject.trim(), roles }, { once })));
  const add = (event) => { event.preventDefault(); act.run(); };
  return html`<form class="sheet new-person" onSubmit=${add}><header><h2>${t("person-new")}</h2></header>
    <div class="grid"><${Field} label=${t("person-name")} value=${name} onChange=${setName} required autofocus hint=${t("person-name-says")} />
      <${Field} label=${t("person-subject")} value=${subject} onChange=${setSubject} required spellcheck=${false} hint=${t("key-for-says")} /></div>
    <${Roles} roles=${roles} onChange=${choose} /><${Keeps} act=${act} ready=${name.trim() && subject.trim() && roles.length} word="person-add" onBack=${onBack} /></form>`;
}

/** The sign-in link, shown once. */
const Way = ({ made, onDone }) => html`<section class="sheet token" role="status"><header><h2>${t("way-in", { who: made.name })}</h2></header>
  <p>${t("way-in-says", { time: moment(made.invited_until) })}</p><code class="secret">${made.url}</code>
  <p class="muted">${t("way-in-code")} <code>${made.code}</code></p>
  <div class="actions"><${Button} onClick=${() => navigator.clipboard && navigator.clipboard.writeText(made.url)}>${t("copy")}<//><${Button} kind="primary" onClick=${onDone}>${t("way-in-done")}<//></div></section>`;

/** Acts that cannot be undone, each with its explanation. */
const SURES = { replace: "way-lost-sure", remove: "person-remove-sure" };

/** Sends only changed fields, and shows the others as they are now: another administrator may change them meanwhile. */
function Change({ one, own, onDone, onWay, onBack }) {
  const [typed, setName] = useState(null);
  const [ticked, tick] = useState({});
  const name = typed ?? one.name;
  const roles = TABLES.roles.filter((role) => ticked[role] ?? one.roles.includes(role));
  const choose = (next) => tick(Object.fromEntries(TABLES.roles.filter((role) => next.includes(role) !== one.roles.includes(role)).map((role) => [role, next.includes(role)])));
  const [sure, make] = useState("");
  const path = `/v1/operators/${one.id}`;
  const keep = useAct(async (signal, body) => { await ask("PATCH", path, { body }); onDone(); });
  const way = useAct(async () => onWay(await post(`${path}/code`, { replace: false })));
  const deeds = { replace: async () => onWay(await post(`${path}/code`, { replace: true })), remove: async () => { await ask("DELETE", path); onDone(); } };
  const save = (event) => { event.preventDefault(); keep.run({ ...(typed === null ? {} : { name: name.trim() }), ...(Object.keys(ticked).length ? { roles } : {}) }); };
  if (sure) return html`<${Order} key=${sure} className="change-person" act=${deeds[sure]} word=${t(SURES[sure])} says=${`${t(`${SURES[sure]}-says`)}${one.keys.length ? ` ${t("person-keys-say")}` : ""}`} onBack=${() => make("")} onDone=${() => {}} />`;
  const busy = keep.busy || way.busy;
  return html`<form class="change-person" onSubmit=${save}>
    <${Field} label=${t("person-name")} value=${name} onChange=${setName} required autofocus /><${Roles} roles=${roles} onChange=${choose} /><${Refused} error=${keep.error || way.error} />
    <div class="actions"><${Button} onClick=${onBack}>${t("back")}<//>
      <button class="button primary" disabled=${busy || !name.trim() || !roles.length}><span>${t("person-keep")}</span></button><span class="grow"></span>
      ${one.disabled ? null : html`<${Button} kind="quiet" busy=${busy} onClick=${() => way.run()}>${t("way-new")}<//>`}
      ${one.disabled || !(one.passkeys || one.identities) ? null : html`<${Button} kind="quiet" onClick=${() => make("replace")}>${t("way-lost")}<//>`}
      ${own ? null : html`<${Button} kind="quiet" busy=${busy} onClick=${() => keep.run({ disabled: !one.disabled })}>${t(one.disabled ? "person-enable" : "person-disable")}<//>
        <${Button} kind="quiet" onClick=${() => make("remove")}>${t("person-remove")}<//>`}</div></form>`;
}

const standing = (one) => (one.disabled ? ["rejected", t("person-disabled")]
  : one.passkeys || one.identities ? ["sent", list(["passkeys", "identities"].filter((name) => one[name]).map((name) => t(`${name}-n`, { n: one[name] })))]
  : one.invited_until && new Date(one.invited_until) > new Date() ? ["pending", t("invited-until", { time: moment(one.invited_until) })] : ["draft", t("passkeys-none")]);

function Person({ one, me, open, onOpen, ...rest }) {
  const [state, words] = standing(one);
  return html`<li class="line person-line ${one.disabled ? "is-disabled" : ""}"><div class="person-row">
      <div><span class="line-title">${one.name}</span>${one.subject === me.subject ? html` <span class="count">${t("person-you")}</span>` : null}
        <p class="about">${one.subject} · ${list(one.roles.map((role) => t(`role-${role}`)))}</p>
        ${one.keys.length ? html`<p class="about">${t("person-keys", { n: one.keys.length })}: ${one.keys.map((key, i) => html`${i ? ", " : ""}<code>${key}</code>`)}${one.disabled ? `. ${t("person-keys-say")}` : ""}</p>` : null}</div>
      <span class="state state-${state}">${words}</span>
      ${open ? null : html`<${Button} kind="quiet" onClick=${onOpen} aria-label=${`${t("person-change")}: ${one.name}`}>${t("person-change")}<//>`}</div>
    ${open ? html`<${Change} one=${one} own=${one.subject === me.subject} ...${rest} />` : null}</li>`;
}

export function PeopleScreen({ me }) {
  const [turn, again] = useState(0);
  const [making, make] = useState(false);
  const [made, told] = useState(null);
  const [open, show] = useState("");
  const { data, error } = usePolled((signal) => get("/v1/operators", { signal }), 3000, String(turn));
  const anew = () => { show(""); make(false); again(turn + 1); };
  const way = (one) => { told(one); anew(); };
  if (!data) return html`<div class="page"><${NotYet} error=${error} /></div>`;
  return html`<div class="page"><div class="page-head"><h1>${t("operators")}</h1>
      ${making || made ? null : html`<${Button} kind="primary" icon="plus" onClick=${() => make(true)}>${t("person-new")}<//>`}</div>
    <p class="muted">${t("operators-say")}</p>
    ${made ? html`<${Way} made=${made} onDone=${() => told(null)} />` : null}
    ${making ? html`<${NewPerson} onBack=${() => make(false)} onMade=${way} />` : null}
    <${Refused} error=${error} />
    ${data.operators.length ? html`<ul class="lines">${data.operators.map((one) => html`<${Person} key=${one.id} one=${one} me=${me} open=${open === one.id}
      onOpen=${() => { told(null); show(one.id); }} onBack=${() => show("")} onDone=${anew} onWay=${way} />`)}</ul>` : html`<${Empty} title=${t("operators-none")} />`}</div>`;
}
