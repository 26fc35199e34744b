// A new organisation: its id, where it may alert, which alerts need no second person; and a key for its administrator.

import { ask, onceOf, onceOnly, post } from "../parts/api.js";
import { Token } from "./desk.js";
import { changes } from "../parts/merge.js";
import { PARTS, isFinished, pathOf, read } from "./organisation-form.js";
import { Button, Field, Refused, html, useAct, useState } from "../parts/parts.js";
import { bareName } from "../parts/names.js";
import { t } from "../parts/words.js";

const BLANK = { name: "", cap_sender: null, languages: [], jurisdiction: { regions: [], polygons: [] }, unattended: null, break_glass: null, verification: {}, contact: [] };

/** Creates it, unless the id exists; returns whether it existed. After a lost answer, its own creation does not count. */
async function make(id, organisation) {
  try {
    await ask("PUT", pathOf(id), { body: organisation, headers: { "If-None-Match": "*" } });
  } catch (problem) {
    if (problem.status !== 412) throw problem;
    const there = await read(id);
    return !there.organisation || changes(there.organisation, { ...there.organisation, ...organisation }).length > 0;
  }
  return false;
}

/** The host organisation makes a key for the first administrator, who then adds the others. `later` is the label for skipping it. */
export function FirstKey({ id, title, says, later, onDone }) {
  const [subject, type] = useState("");
  const [made, tell] = useState(null);
  const [once] = useState(onceOnly);
  const { busy, error, run } = useAct(async () => {
    const wanted = { subject: subject.trim(), scopes: ["admin"], organisation: id };
    tell(await post("/v1/keys", wanted, { once: onceOf(once, wanted) }));
  });
  const submit = (event) => { event.preventDefault(); run(); };
  if (made) return html`<${Token} made=${made} onDone=${onDone} />`;
  return html`<form class="sheet org-first" onSubmit=${submit}><header><h2>${title}</h2></header><p>${says}</p>
    <${Field} label=${t("org-admin")} value=${subject} onChange=${type} required autofocus dir="ltr" hint=${t("key-for-says")} /><${Refused} error=${error} />
    <div class="actions"><${Button} onClick=${onDone}>${later}<//>
      <button class="button primary" aria-busy=${busy ? "true" : null} disabled=${busy || !subject.trim()}><span>${t("key-make")}</span></button></div></form>`;
}

/** `taken`: the existing ids, including the host's, which may have no record. */
export function NewOrganisation({ taken, onDone, onBack }) {
  const [mine, set] = useState(BLANK);
  const [typed, type] = useState("");
  const [fault, tell] = useState("");
  const [made, finish] = useState(null);
  const id = typed || bareName(mine.name).toLowerCase().slice(0, 40);
  const put = (name) => (next) => set((now) => ({ ...now, [name]: typeof next === "function" ? next(now[name]) : next }));
  const { busy, error, run } = useAct(async () => { if (taken.includes(id) || (await make(id, mine))) tell(t("org-id-taken")); else finish({ id, name: mine.name }); });
  const submit = (event) => { event.preventDefault(); tell(""); run(); };
  if (made) return html`<${FirstKey} id=${made.id} title=${t("org-made", { name: made.name })} says=${t("org-first-says")} later=${t("org-first-later")} onDone=${() => onDone(made.id)} />`;
  const part = (name) => html`<${PARTS[name]} key=${name} mine=${mine} put=${put} />`;
  return html`<form class="sheet org-form" onSubmit=${submit}><header><h2>${t("org-new")}</h2></header>
    ${part("name")}<${Field} label=${t("by-id")} value=${id} onChange=${(text) => { tell(""); type(text); }} error=${fault} required pattern="[a-z0-9][a-z0-9\\-]*" maxlength="40" dir="ltr" hint=${t("org-id-says")} />
    ${Object.keys(PARTS).filter((name) => name !== "name").map(part)}<${Refused} error=${error} />
    <div class="actions"><${Button} onClick=${onBack}>${t("back")}<//>
      <button class="button primary" aria-busy=${busy ? "true" : null} disabled=${busy || !id || !isFinished(mine)}><span>${t("org-make")}</span></button></div></form>`;
}
