// The shell: the signed-in user, the current address, and its screen.

import { get, session } from "./parts/api.js";
import { Silent } from "./parts/at-work.js";
import { AllScreen, NowScreen } from "./alert/now.js";
import { draftsLeft, forget } from "./alert/draft.js";
import { Button, Icon, Refused, Stale, Sure, html, may, mayDo, render, useEffect, useErrorBoundary, usePolled, useState } from "./parts/parts.js";
import { holdPresses } from "./parts/press.js";
import { cameBack } from "./sign-in/provider.js";
import { CameBack, Enrol, Languages, Mark, Prove, ProveElsewhere, SignIn } from "./sign-in/sign-in.js";
import { Recovered } from "./sign-in/recovered.js";
import { Screen, fetchAhead, isScreen, wantsReload } from "./screens.js";
import { StopAll, Stops, useStops } from "./organisation/stops.js";
import { direction, language, t } from "./parts/words.js";

document.documentElement.lang = language;
document.documentElement.dir = direction;
holdPresses();

function useRoute() {
  const [route, go] = useState(location.hash.slice(2));
  useEffect(() => {
    const moved = () => { go(location.hash.slice(2)); scrollTo(0, 0); };
    addEventListener("hashchange", moved);
    return () => removeEventListener("hashchange", moved);
  }, []);
  return route;
}

/** The menu: address, label, icon, and the scope that a screen needs. */
const PLACES = [
  ["", "now", "now", "alerts:read"], ["alerts", "all", "all", "alerts:read"], ["regions", "regions", "polygon", "regions:read"],
  ["subscribers", "subscribers", "person", "subscribers:read"], ["carriers", "carriers", "push", "alerts:read"],
  ["organisation", "organisation", "ring", "alerts:read"], ["people", "operators", "person", "admin"], ["keys", "keys", "key", "keys:write"], ["audit", "audit", "check", "audit:read"],
];

/** Screens that belong to another menu entry. */
const WITHIN = { oncall: "organisation" };

function Head({ me, route, stops, onStopped, onSignOut }) {
  const [place] = route.split("/");
  const here = WITHIN[place] || place;
  const link = ([path, key, icon]) => html`<a href="#/${path}" aria-current=${here === path ? "page" : null}>
    <${Icon} name=${icon} />${t(key)}</a>`;
  return html`<header class="head">
    <a class="skip" href="#main" onClick=${(e) => { e.preventDefault(); document.getElementById("main").focus(); }}>${t("skip")}</a>
    <a class="brand" href="#/" aria-label="alertd"><${Mark} />alertd</a>
    <nav aria-label="alertd">${PLACES.filter(([, , , scope]) => may(me, scope)).map(link)}</nav>
    ${mayDo(me, "alert.create") ? html`<a class="new" href="#/new" aria-current=${here === "new" ? "page" : null}><${Icon} name="plus" />${t("new")}</a>` : null}
    ${mayDo(me, "stop.set") ? html`<${StopAll} stops=${stops} onDone=${onStopped} />` : null}
    <div class="who"><span dir="auto" title=${`${me.subject} · ${me.organisation}`}>${me.name || me.subject}</span><${Languages} />
      <${Sure} label=${t("sign-out")} sure=${t("sign-out-sure")} needed=${draftsLeft} onSure=${onSignOut} /></div>
  </header>`;
}

/** The start screen and the list of alerts are in the first load; other screens are fetched. */
function screenOf(route, me, stops) {
  const [place, id] = route.split("/");
  const name = place === "alerts" && id ? "alert" : place;
  if (!isScreen(name) || (["edit", "update", "permissions"].includes(name) && !id)) return html`<${place === "alerts" ? AllScreen : NowScreen} key=${route} me=${me} stops=${stops} />`;
  return html`<${Screen} key=${["alert", "edit", "update", "permissions"].includes(name) ? id : route} name=${name} id=${id} me=${me} stops=${stops} />`;
}

/** The screens with drafts: a draft that breaks its screen must be discardable. */
const DRAFTS = ["new", "edit", "update"];

/** Replaces a screen that failed: shows the error and a way out. */
function Guarded({ route, children }) {
  const [error, reset] = useErrorBoundary();
  const [place, id] = route.split("/");
  if (!error) return children;
  const again = () => { if (wantsReload(error)) location.reload(); else reset(); };
  const discard = () => { forget(id); reset(); };
  return html`<div class="page"><${Refused} error=${error} /><div class="actions">
    ${DRAFTS.includes(place) ? html`<${Button} onClick=${discard}>${t("discard")}<//>` : null}
    <${Button} kind="primary" onClick=${again}>${t("try-again")}<//></div></div>`;
}

/** The parts common to every screen, and the screen. */
function Signed({ me, route, onSignOut }) {
  const { stops, again } = useStops();
  useEffect(() => fetchAhead(me), []);
  return html`<${Head} me=${me} route=${route} stops=${stops} onStopped=${again} onSignOut=${onSignOut} />
    <${Stops} stops=${stops} me=${me} onDone=${again} />
    ${may(me, "alerts:read") ? html`<${Silent} />` : null}
    ${may(me, "keys:write") ? html`<${Recovered} />` : null}
    <main id="main" tabindex="-1"><${Guarded} key=${route} route=${route}>${screenOf(route, me, stops)}<//></main>`;
}

function App() {
  const route = useRoute();
  const [me, setMe] = useState(null);
  const [lost, lose] = useState("");
  const [asked, ask] = useState(!session.open);
  const [proof, require] = useState(null);
  const [returned, settle] = useState(Boolean(cameBack));
  useEffect(() => {
    const drop = (asked) => { if (asked) asked.answer(false); return null; };
    session.onLost = () => { if (session.lost()) { lose("key-lost"); setMe(null); require(drop); } };
    addEventListener("storage", () => { if (!session.same) session.onLost(); });  // at once, not at the next poll
    let asking = null;  // two requests at the same time share one dialog, and each gets its answer
    session.onProof = (sends) => { asking ||= new Promise((answer) => require({ answer, sends })).finally(() => { asking = null; }); return asking; };
  }, []);
  const enter = (who) => { session.claim(who); lose(""); setMe(who); };
  const { data, error } = usePolled(async (signal) => (session.open ? get("/v1/me", { signal }) : null), 0);
  useEffect(() => {
    if (data) enter(data);
    if (data || (error && !error.again)) ask(true);
  }, [data, error]);
  if (returned) return html`<${CameBack} onBack=${() => settle(false)} onSignedIn=${(who) => { enter(who); settle(false); }} />`;
  if (route === "prove" && session.open) return html`<${ProveElsewhere} />`;
  if (!asked) return error ? html`<main class="sign-in"><p class="brand"><${Mark} />alertd</p><${Stale} error=${error} /></main>` : null;
  if (route.split("/")[0] === "enrol") return html`<${Enrol} code=${route.split("/")[1] || ""} onSignedIn=${enter} />`;
  if (!me) return html`<${SignIn} lost=${lost} onSignedIn=${enter} />`;
  const leave = async () => { const told = await session.end(); location.hash = "#/"; lose(told ? "" : "sign-out-unheard"); setMe(null); };
  const proven = (yes) => { proof.answer(yes); require(null); };
  return html`<${Signed} me=${me} route=${route} onSignOut=${leave} />
    ${proof ? html`<${Prove} me=${me} sends=${proof.sends} onProven=${proven} />` : null}`;
}

render(html`<${App} />`, document.body);
