// What keeps the service running: carriers, keys, the audit.

import { ask, get, onceOf, onceOnly, post } from "../parts/api.js";
import { isFailing, silence, silentOf } from "../parts/at-work.js";
import { TRIAL } from "../alert/draft.js";
import { Awaited, Button, Check, Empty, Field, Icon, NotYet, Older, Refused, Stale, html, may, mayDo, useAct, usePolled, useState } from "../parts/parts.js";
import { TABLES } from "../tables.js";
import { direction, known, language, list, listed, moment, personOf, t } from "../parts/words.js";

/** The carrier's own rate limit; without one, it takes all messages. */
const rateOf = (one) => (one.rate ? t("rate", { n: one.rate }) : t("no-limit"));

/** Why a carrier cannot send, or why a test failed: the cause in the reader's language, the carrier's words, and the settings to check. */
const Cause = ({ cause: { code, server, said, settings } }) => html`<p class="cause">
  ${t(`cause-${code}`, { server: server ? apart(server) : t("the-carrier"), said: said ? apart(said) : t("no-reason") })}
  ${settings.length ? html` <${ToCheck} settings=${settings} />` : null}</p>`;

/** Settings to check. A name does not break at its hyphen, so that it can be found in alertd.toml. */
function ToCheck({ settings }) {
  const [before, after] = t("check-settings", { list: "\n" }).split("\n");
  return html`${before}${listed(settings, (name) => html`<span class="setting">${apart(name)}</span>`)}${after}`;
}

/** Keeps the order of Latin words in a right-to-left sentence (Unicode isolates). */
const apart = (latin) => (direction === "rtl" ? `\u2068${latin}\u2069` : latin);

/** Sends one test message by the carrier to the user's own address, and shows the result. */
function TestSend({ one, onBack }) {
  const [to, type] = useState("");
  const [told, tell] = useState(null);
  const [once, renew] = useState(onceOnly);
  const { busy, error, run } = useAct(async (signal) => {
    tell(null);
    const wanted = { to: to.trim(), language };
    tell(await post(`/v1/carriers/${encodeURIComponent(one.name)}/test`, wanted, { signal, once: onceOf(once, wanted) }));
    renew(onceOnly());
  });
  const send = (event) => { event.preventDefault(); run(); };
  return html`<form class="test-send" onSubmit=${send}>
    <${Field} label=${t(`test-to-${one.channel}`)} value=${to} onChange=${type} required autofocus dir="ltr" autocomplete="off" hint=${t("test-says")} />
    ${busy ? html`<p class="muted" role="status">${t("test-waits")}</p>` : null}
    ${told ? html`<div class="note ${told.answer === "accepted" ? "is-good" : ""}" role="status"><strong>${t(`test-${told.answer}`)}</strong>
      ${told.cause ? html`<${Cause} cause=${told.cause} />` : null}</div>` : null}
    <${Refused} error=${error} />
    <div class="actions"><${Button} onClick=${onBack}>${t("back")}<//><button class="button primary" aria-busy=${busy ? "true" : null} disabled=${busy || !to.trim()}><span>${t("test-send")}</span></button></div></form>`;
}

const mayTest = (me) => me.host && !me.test && mayDo(me, "carrier.test");

/** The state of a carrier in a few words. Any state not listed here: cannot send. */
const STATES = { works: "takes", not_known: "not-known-yet", no_worker: "nobody-sends", rests: "rests", waits: "rests" };

function CarrierCard({ one, me }) {
  const [testing, test] = useState(false);
  return html`<li class="card carrier ${isFailing(one) ? "is-resting" : ""}">
    <span class="channel-name"><${Icon} name=${one.channel} />${t(one.channel)}</span>
    <div><h3>${one.name}</h3><p class="about">${rateOf(one)}${one.ramp_s ? ` · ${t("ramp", { n: one.ramp_s })}` : ""}${one.weight === 0 ? ` · ${t("stands-by")}` : ""}</p></div>
    <div class="carrier-state"><span class="state state-${isFailing(one) ? "rejected" : one.state === "works" ? "sent" : "draft"}">${t(STATES[one.state] || "cannot-send")}</span>
      ${mayTest(me) && !testing ? html`<${Button} kind="quiet" onClick=${() => test(true)} aria-label=${`${t("test-open")}: ${one.name}`}>${t("test-open")}<//>` : null}</div>
    ${one.cause ? html`<${Cause} cause=${one.cause} />` : null}
    ${testing ? html`<${TestSend} one=${one} onBack=${() => test(false)} />` : null}</li>`;
}

/** One message tests one carrier. A Test alert tests them all: it takes the path of every message and reaches only testers. */
export function CarriersScreen({ me }) {
  const { data, error } = usePolled((signal) => get("/v1/carriers", { signal }), 2000);
  if (!data) return html`<div class="page"><${NotYet} error=${error} /></div>`;
  const silent = silentOf(data.carriers);
  const failing = data.carriers.filter(isFailing).map((one) => one.name);
  const trouble = (silent.length && silence(silent)) || (failing.length && t("carriers-cannot-send", { list: list(failing) })) || (!data.carriers.length && t("no-carriers"));
  return html`<div class="page"><h1>${t("carriers")}</h1>${error ? html`<${Stale} error=${error} />` : null}
    <section class="health ${trouble ? "is-troubled" : ""}" aria-live="polite"><${Icon} name=${trouble ? "warn" : "check"} />
      <div><p><strong>${trouble || t("carriers-well")}</strong></p>
        <p class="muted small">${t("carriers-say")}</p></div></section>
    <p class="muted try-says">${t("carrier-try")} <a href="#/new/${TRIAL}">${t("carrier-try-open")}</a></p>
    <ul class="cards">${data.carriers.map((one) => html`<${CarrierCard} key=${one.name} one=${one} me=${me} />`)}</ul></div>`;
}

function NewKey({ me, onMade, onBack }) {
  const [subject, name] = useState("");
  const [scopes, choose] = useState(["alerts:read", "alerts:write"]);
  const [test, setTest] = useState(false);
  const [once] = useState(onceOnly);
  const { busy, error, run } = useAct(async () => {
    const wanted = { subject: subject.trim(), scopes, test };
    onMade(await post("/v1/keys", wanted, { once: onceOf(once, wanted) }));
  });
  const make = (event) => { event.preventDefault(); run(); };
  const own = TABLES.scopes.filter((one) => may(me, one));
  return html`<form class="sheet new-key" onSubmit=${make}><header><h2>${t("key-new")}</h2></header>
    <${Field} label=${t("key-for")} value=${subject} onChange=${name} required autofocus hint=${t("key-for-says")} />
    <fieldset class="scopes"><legend>${t("key-may")}</legend>${own.map((one) => html`<${Check} key=${one} label=${t(`may-${one}`)} checked=${scopes.includes(one)}
      onChange=${(on) => choose(TABLES.scopes.filter((each) => (each === one ? on : scopes.includes(each))))} />`)}</fieldset>
    <${Check} label=${t("key-test")} checked=${test || me.test} onChange=${setTest} />
    <${Refused} error=${error} />
    <div class="actions"><${Button} onClick=${onBack}>${t("back")}<//><button class="button primary" aria-busy=${busy ? "true" : null} disabled=${busy || !subject.trim() || !scopes.length}><span>${t("key-make")}</span></button></div></form>`;
}

export const Token = ({ made, onDone }) => html`<section class="sheet token" role="status"><header><h2>${t("key-made", { who: made.subject })}</h2></header>
  <p>${t("key-once")}</p><code class="secret">${made.token}</code>
  <div class="actions"><${Button} onClick=${() => navigator.clipboard && navigator.clipboard.writeText(made.token)}>${t("copy")}<//><${Button} kind="primary" onClick=${onDone}>${t("key-noted")}<//></div></section>`;

function KeyLine({ one, me, onGone }) {
  const [sure, ask_] = useState(false);
  const { busy, error, run } = useAct(async () => { await ask("DELETE", `/v1/keys/${one.key}`); onGone(); });
  return html`<li class="line key-line"><div><span class="line-title">${one.subject}</span>${one.key === me.key ? html` <span class="count">${t("key-this")}</span>` : null}
      <p class="about"><code>${one.key}</code> · ${list(one.scopes.map((scope) => t(`may-${scope}`)))}${one.test ? ` · ${t("key-tests")}` : ""}</p><${Refused} error=${error} /><${Awaited} busy=${busy} /></div>
    ${sure ? html`<div class="actions"><${Button} onClick=${() => ask_(false)}>${t("back")}<//><${Button} kind="danger" busy=${busy} onClick=${() => run()}>${t("key-revoke-sure")}<//></div>`
      : html`<${Button} kind="quiet" onClick=${() => ask_(true)} aria-label=${`${t("key-revoke")}: ${one.subject}, ${one.key}`}>${t("key-revoke")}<//>`}</li>`;
}

export function KeysScreen({ me }) {
  const [turn, again] = useState(0);
  const [making, make] = useState(false);
  const [made, told] = useState(null);
  const { data, error } = usePolled((signal) => get("/v1/keys", { signal }), 0, String(turn));
  const anew = () => again(turn + 1);
  const keys = data ? [...data.keys].sort((a, b) => a.subject.localeCompare(b.subject) || a.key.localeCompare(b.key)) : [];
  return html`<div class="page"><div class="page-head"><h1>${t("keys")}</h1>
      ${making || made ? null : html`<${Button} kind="primary" icon="plus" onClick=${() => make(true)}>${t("key-new")}<//>`}</div>
    <p class="muted">${t("keys-say")}</p>
    ${made ? html`<${Token} made=${made} onDone=${() => told(null)} />` : null}
    ${making ? html`<${NewKey} me=${me} onBack=${() => make(false)} onMade=${(one) => { make(false); told(one); anew(); }} />` : null}
    <${Refused} error=${error} /><ul class="lines">${keys.map((one) => html`<${KeyLine} key=${one.key} one=${one} me=${me} onGone=${anew} />`)}</ul></div>`;
}

/** An act in words; an act without words by its API name. */
const actOf = (act) => (known(`act-${act}`) ? t(`act-${act}`) : act || "?");
/** The act of every reach preview, many times an hour. */
const LOOK = "target.preview";

const Entry = ({ one, me }) => html`<tr class="is-${one.outcome}"><td class="muted">${one.of ? `${one.of}–${one.entry}` : one.entry}</td><td><time>${moment(one.at)}</time></td><td>${personOf(one.by, one.by_org, me.organisation)}</td>
  <td><b>${actOf(one.act)}</b>${one.object ? html`<small><code>${one.object}</code></small>` : null}
    ${Object.keys(one.facts).length ? html`<small>${Object.entries(one.facts).map(([name, value]) => `${name} ${value}`).join(" · ")}</small>` : null}</td>
  <td><span class="state state-${{ done: "sent", refused: "rejected", failed: "rejected" }[one.outcome] || "draft"}">${t(`outcome-${one.outcome}`)}</span></td></tr>`;

function Verdict() {
  const [told, tell] = useState(null);
  const { busy, error, run } = useAct(async (signal) => tell(await get("/v1/audit/verify", { signal })));
  const whole = told && !told.broken;
  return html`<section class="health ${!told ? "is-open" : whole ? "" : "is-troubled"}" aria-live="polite">${told ? html`<${Icon} name=${whole ? "check" : "warn"} />` : null}
    <div class="grow"><p><strong>${told ? (whole ? t("audit-whole", { n: told.entries }) : t("audit-broken", { n: told.broken })) : t("audit-verify-says")}</strong></p>
      ${told && told.why ? html`<p>${told.why}</p>` : null}
      ${told && told.head ? html`<p class="small muted">${t("audit-head")} <code>${told.head}</code></p>` : null}<${Refused} error=${error} /></div>
    <${Button} busy=${busy} onClick=${() => run()}>${t("audit-verify")}<//></section>`;
}

export function AuditScreen({ me }) {
  const [pages, add] = useState([]);
  const first = usePolled((signal) => get("/v1/audit?limit=50", { signal }), 0);
  const shown = [first.data, ...pages].filter(Boolean);
  const next = shown.length && shown[shown.length - 1].next;
  const all = shown.flatMap((page) => page.entries);
  const ended = new Set(all.map((one) => one.of));
  const [looks, show] = useState(false);
  const entries = all.filter((one) => !ended.has(one.entry) && (looks || one.act !== LOOK));  // an act with its outcome is one line
  const more = useAct(async (signal) => { const page = await get(`/v1/audit?limit=50&cursor=${next}`, { signal }); add((before) => [...before, page]); });
  return html`<div class="page wide-page"><h1>${t("audit")}</h1><${Verdict} /><${Refused} error=${first.error} />
    <${Check} label=${t("audit-looks")} checked=${looks} onChange=${show} />
    ${first.data && !all.length ? html`<${Empty} title=${t("audit-empty")} />` : null}
    <div class="scrolls" tabindex="0" role="region" aria-label=${t("audit")}><table class="audit"><thead><tr><th>${t("audit-entry")}</th><th>${t("seen-at")}</th><th>${t("audit-by")}</th><th>${t("audit-act")}</th><th>${t("audit-outcome")}</th></tr></thead>
      <tbody>${entries.map((one) => html`<${Entry} key=${one.entry} one=${one} me=${me} />`)}</tbody></table></div>
    <${Older} next=${next} more=${more} /></div>`;
}
