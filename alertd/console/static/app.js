// The shell: who is signed in, where they are, and which screen that is.

import { get, session } from "./api.js";
import { AlertScreen } from "./alert.js";
import { AllScreen, NowScreen } from "./now.js";
import { ComposeScreen, EditScreen, UpdateScreen } from "./compose.js";
import { AuditScreen, CarriersScreen, KeysScreen } from "./desk.js";
import { Button, Field, Icon, Refused, html, render, useEffect, useState } from "./parts.js";
import { RegionsScreen } from "./regions.js";
import { SubscribersScreen } from "./subscribers.js";
import { LANGUAGES, direction, language, speak, t } from "./words.js";

document.documentElement.lang = language;
document.documentElement.dir = direction;

function useRoute() {
  const [route, go] = useState(location.hash.slice(2));
  useEffect(() => {
    const moved = () => { go(location.hash.slice(2)); scrollTo(0, 0); };
    addEventListener("hashchange", moved);
    return () => removeEventListener("hashchange", moved);
  }, []);
  return route;
}

const Mark = () => html`<svg class="logo" viewBox="0 0 32 32" aria-hidden="true" fill="none" stroke="currentColor"
  stroke-width="2.6" stroke-linecap="round"><circle cx="16" cy="16" r="2.6" fill="currentColor" stroke="none" />
  <path d="M10.6 21.4a7.6 7.6 0 0 1 0-10.8M21.4 10.6a7.6 7.6 0 0 1 0 10.8M7 25a12.7 12.7 0 0 1 0-18M25 7a12.7 12.7 0 0 1 0 18" /></svg>`;

const Languages = () => html`<select class="languages" aria-label="Language" onChange=${(e) => speak(e.target.value)}>
  ${Object.entries(LANGUAGES).map(([code, name]) => html`<option value=${code} selected=${code === language}>${name}</option>`)}
</select>`;

function SignIn({ lost, onSignedIn }) {
  const [key, setKey] = useState("");
  const [error, fail] = useState(null);
  const [busy, work] = useState(false);
  const enter = async (event) => {
    event.preventDefault();
    work(true);
    try {
      const me = await get("/v1/me", { key: key.trim() });
      session.begin(key.trim());
      onSignedIn(me);
    } catch (problem) {
      fail(problem);
      work(false);
    }
  };
  return html`<main class="sign-in">
    <form onSubmit=${enter}>
      <p class="brand"><${Mark} />alertd</p>
      <h1>${t("one-chance")}</h1>
      ${lost ? html`<p class="note">${t("key-lost")}</p>` : null}
      <${Field} label=${t("your-key")} type="password" value=${key} onChange=${setKey} autocomplete="off" spellcheck=${false}
        autofocus required hint=${t("key-kept")} error=${error && error.status === 401 ? t("key-wrong") : null} />
      ${error && error.status !== 401 ? html`<${Refused} error=${error} />` : null}
      <button class="button primary" aria-busy=${busy ? "true" : null}><span>${t("sign-in")}</span></button>
    </form>
    <footer><${Languages} /></footer>
  </main>`;
}

/** Where one can go: the address, its word and icon, and the scope without which there is nothing to see. */
const PLACES = [
  ["", "now", "now", "alerts:read"], ["alerts", "all", "all", "alerts:read"], ["regions", "regions", "polygon", "regions:read"],
  ["subscribers", "subscribers", "person", "subscribers:read"], ["carriers", "carriers", "push", "alerts:read"],
  ["keys", "keys", "key", "keys:write"], ["audit", "audit", "check", "audit:read"],
];
const SCREENS = { new: ComposeScreen, regions: RegionsScreen, subscribers: SubscribersScreen, carriers: CarriersScreen, keys: KeysScreen, audit: AuditScreen, alerts: AllScreen };
const may = (me, scope) => me.scopes.includes(scope) || me.scopes.includes("admin");

function Head({ me, route, onSignOut }) {
  const here = route.split("/")[0];
  const link = ([path, key, icon]) => html`<a href="#/${path}" aria-current=${here === path ? "page" : null}>
    <${Icon} name=${icon} />${t(key)}</a>`;
  return html`<header class="head">
    <a class="skip" href="#main" onClick=${(e) => { e.preventDefault(); document.getElementById("main").focus(); }}>${t("skip")}</a>
    <a class="brand" href="#/" aria-label="alertd"><${Mark} />alertd</a>
    <nav aria-label="alertd">${PLACES.filter(([, , , scope]) => may(me, scope)).map(link)}
      <a class="new" href="#/new" aria-current=${here === "new" ? "page" : null}><${Icon} name="plus" />${t("new")}</a></nav>
    <div class="who"><span title=${me.organisation}>${me.subject}</span><${Languages} />
      <${Button} kind="quiet" onClick=${onSignOut}>${t("sign-out")}<//></div>
  </header>`;
}

function screenOf(route, me) {
  const [place, id] = route.split("/");
  if (place === "alerts" && id) return html`<${AlertScreen} key=${id} id=${id} me=${me} />`;
  if (place === "edit" && id) return html`<${EditScreen} key=${id} id=${id} me=${me} />`;
  if (place === "update" && id) return html`<${UpdateScreen} key=${id} id=${id} me=${me} />`;
  return html`<${SCREENS[place] || NowScreen} key=${place} me=${me} />`;
}

function App() {
  const route = useRoute();
  const [me, setMe] = useState(null);
  const [lost, lose] = useState(false);
  const [asked, ask] = useState(!session.key);
  useEffect(() => {
    session.onLost = () => { if (session.key) { lose(true); setMe(null); } };
    if (session.key) get("/v1/me").then(setMe, () => {}).finally(() => ask(true));
  }, []);
  if (!asked) return null;
  if (!me) return html`<${SignIn} lost=${lost} onSignedIn=${(who) => { lose(false); setMe(who); }} />`;
  const leave = () => { session.end(); location.hash = "#/"; lose(false); setMe(null); };
  return html`<${Head} me=${me} route=${route} onSignOut=${leave} />
    <main id="main" tabindex="-1">${screenOf(route, me)}</main>`;
}

render(html`<${App} />`, document.body);
