// The organisation: who alerts here, where, and which alerts need no second person. Some may change it, all others read it.

import { get } from "../parts/api.js";
import { Asks } from "../alert/asks.js";
import { OrganisationForm, read } from "./organisation-form.js";
import { Distributors } from "./distributors.js";
import { Ground } from "../area/ground.js";
import { Later } from "../parts/later.js";
import { useGround } from "../area/jurisdiction.js";
import { regionName } from "../parts/names.js";
import { Button, Fact, NotYet, Refused, Stale, counted, html, mayDo, usePolled, useState } from "../parts/parts.js";
import { TABLES } from "../tables.js";
import { languageName, list, number, personOf, span, t } from "../parts/words.js";

const LOOK_MS = 5000;
/** The host organisation reads all organisations, and grants each its jurisdiction. */
const isHost = (all, me) => mayDo(me, "organisation.write") && all.every((one) => one.organisation);

/** The parts that this user may change. */
function changeable(one, all, me) {
  if (!one.organisation || me.test || !mayDo(me, "organisation.write")) return [];
  return Object.keys(one.organisation).filter((name) => (TABLES.granted.includes(name) ? isHost(all, me) : one.id === me.organisation));
}

const By = ({ who }) => (who ? html`${t("unattended-by")} <bdi>${who}</bdi>` : null);

/** Which alerts go out by policy, and who allowed it. */
function Policy({ unattended, by }) {
  if (!unattended) return html`<p>${t("always-two")}</p>`;
  const { levels, people, alerts_per_hour } = unattended;
  return html`<p>${t("unattended-is", { levels: list(levels.map((one) => t(one))), people: counted(people, "people"), n: alerts_per_hour })}</p>
    <p class="muted small">${t("unattended-else")} <${By} who=${by} /></p>`;
}

/** Which alerts an author may approve alone in an emergency. */
function Alone({ glass, by }) {
  if (!glass) return t("glass-none");
  return html`<p>${t("glass-is", { time: span(glass.after_min * 60), levels: list(glass.levels.map((one) => t(one))) })}</p><p class="muted small"><${By} who=${by} /></p>`;
}

/** What an alert's case must meet, by level, in addition to the service's rules. */
function Verification({ rules }) {
  const levels = TABLES.everyLevel.filter((level) => rules[level]);
  if (!levels.length) return t("org-verification-none");
  return levels.map((level) => { const { all_of = [], any_of = [], at_least = 1, authorities = [], custody_checked = true } = rules[level]; return html`<div key=${level} data-level=${level}><p>${t(level)}</p>
    <${Asks} all=${all_of} any=${any_of} least=${any_of.length ? at_least : 0} authorities=${authorities} />${custody_checked ? null : html`<p class="hint">${t("org-custody-not")}</p>`}</div>`; });
}

const Contacts = ({ contact }) => (contact.length ? contact.map(({ dial, text, url, role, countries = [] }) => html`<p><bdi dir="ltr">${dial || text || url}</bdi>
  <span class="muted">${[role && t(`contact-${role}`), list(countries)].filter(Boolean).join(" · ")}</span></p>`) : t("org-contact-none"));

function Where({ jurisdiction }) {
  const ground = useGround(jurisdiction);
  if (!jurisdiction) return html`<section class="panel"><header><h2>${t("jurisdiction")}</h2></header><p>${t("everywhere")}</p></section>`;
  const { regions, geometry, rest, unread, error } = ground;
  return html`<section class="panel where"><div><h2>${t("jurisdiction")}</h2><p class="muted small">${t("jurisdiction-says")}</p><${Refused} error=${error} />
      <ul class="grounds">${regions.map((one) => html`<li><span>${regionName(one)} <code>${one.code}</code></span>${one.km2 ? html`<span class="muted">${number(Math.round(one.km2))} km²</span>` : null}</li>`)}
        ${rest ? html`<li class="muted">${t("more-regions", { n: rest })}</li>` : null}
        ${unread ? html`<li class="note small">${t("regions-unread")}</li>` : null}
        ${jurisdiction.polygons.length ? html`<li>${t("drawn-grounds", { n: jurisdiction.polygons.length })}</li>` : null}</ul></div>
    ${geometry ? html`<figure><${Ground} geometry=${geometry} label=${t("jurisdiction")} /></figure>` : null}</section>`;
}

function Facts({ one }) {
  const { cap_sender, languages, jurisdiction, unattended, break_glass, verification, contact } = one.organisation;
  return html`<section class="panel"><dl class="org-facts">
      <${Fact} name=${t("by-id")}><code>${one.id}</code><//>
      <${Fact} name=${t("cap-sender")}>${cap_sender ? html`<code>${cap_sender}</code>` : t("cap-configured")}<//>
      <${Fact} name=${t("org-languages")}>${languages.length ? list(languages.map(languageName)) : t("no-language")}<//>
      <${Fact} name=${t("unattended")}><${Policy} unattended=${unattended} by=${personOf(one.unattended_by, one.unattended_by_org, one.id)} /><//>
      <${Fact} name=${t("glass-title")}><${Alone} glass=${break_glass} by=${personOf(one.break_glass_by, one.break_glass_by_org, one.id)} /><//>
      <${Fact} name=${t("org-verification")}><${Verification} rules=${verification} /><//>
      <${Fact} name=${t("org-contact")}><${Contacts} contact=${contact} /><//></dl></section>
    <${Where} jurisdiction=${jurisdiction} />`;
}

const Others = ({ all, here }) => html`<section><h2>${t("org-others")}</h2><ul class="lines">${all.filter((one) => one.id !== here).map((one) => html`<li key=${one.id} class="line org-line">
    ${one.organisation ? html`<a class="link" href="#/organisation/${one.id}">${one.name}</a>` : html`<span class="line-title">${one.name}</span>`}<code>${one.id}</code></li>`)}</ul></section>`;

const newOrganisation = async () => (await import("./organisation-new.js")).NewOrganisation;
const firstKey = async () => (await import("./organisation-new.js")).FirstKey;
/** The host organisation creates organisations and adds their administrators. */
const mayMake = (me) => me.host && !me.test && mayDo(me, "organisation.write");
const mayLetIn = (me, here) => mayMake(me) && here !== me.organisation && mayDo(me, "key.make");

export function OrganisationScreen({ me, id }) {
  const here = id || me.organisation;
  const [turn, again] = useState(0);
  const [changing, change] = useState(null);
  const [making, make] = useState(false);
  const [keying, key] = useState(false);
  const load = async (signal) => {
    const [one, { organisations }] = await Promise.all([read(here, signal), get("/v1/organisations", { signal })]);
    return { one, all: organisations };
  };
  const { data, error } = usePolled(load, LOOK_MS, `${here} ${turn}`);
  if (!data) return html`<div class="page"><${NotYet} error=${error} /></div>`;
  const { one, all } = data;
  const can = changeable(one, all, me);
  const done = () => { change(null); again(turn + 1); };
  const made = (other) => { make(false); again(turn + 1); location.hash = `#/organisation/${other}`; };
  if (making) return html`<div class="page"><${Later} load=${newOrganisation} taken=${all.map((other) => other.id)} onDone=${made} onBack=${() => make(false)} /></div>`;
  if (keying) return html`<div class="page"><${Later} load=${firstKey} id=${here} title=${t("org-key-of", { name: one.name })} says=${t("org-key-says")} later=${t("back")} onDone=${() => key(false)} /></div>`;
  return html`<div class="page"><div class="page-head"><h1>${one.name}</h1>
      ${changing ? null : html`<div class="actions">${mayMake(me) ? html`<${Button} icon="plus" onClick=${() => make(true)}>${t("org-new")}<//>` : null}
        ${mayLetIn(me, here) ? html`<${Button} onClick=${() => key(true)}>${t("org-key")}<//>` : null}
        ${can.length ? html`<${Button} kind="primary" onClick=${() => change(one)}>${t("person-change")}<//>` : null}</div>`}</div>
    <p class="muted">${t("org-says")}${here === me.organisation ? html` <a class="link" href="#/oncall">${t("oncall-who")}</a>` : null}</p>${error ? html`<${Stale} error=${error} />` : null}
    ${changing ? html`<${OrganisationForm} one=${changing} can=${can} onDone=${done} onBack=${() => change(null)} />`
      : one.organisation ? html`<${Facts} one=${one} />` : html`<p class="note">${t("org-anothers")}</p>`}
    ${changing || here !== me.organisation ? null : html`<${Distributors} me=${me} />`}
    ${all.length > 1 ? html`<${Others} all=${all} here=${here} />` : null}</div>`;
}
