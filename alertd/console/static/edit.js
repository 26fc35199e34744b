// An alert that was returned, or is a draft, as its author changes it. Whoever else changed it meanwhile is shown, and nothing of either is lost.

import { ask, get, onceOf } from "./api.js";
import { documentOf, draftOf, forget, keepEdit, keptEdit } from "./draft.js";
import { changes, compared, patch, withValues } from "./merge.js";
import { Button, Refused, html, useAct, useEffect, useRef, useState } from "./parts.js";
import { nameOf } from "./names.js";
import { known, list, number, t } from "./words.js";

/** Names of regions, which a document has by their codes alone. */
async function regionsOf({ regions = [], exclude = {} } = {}) {
  const codes = [...regions, ...(exclude.regions || [])];
  return Object.fromEntries(await Promise.all(codes.map(async (code) => [code, await get(`/v1/regions/${encodeURIComponent(code)}?geometry=none`)])));
}

async function read(id) {
  const { body, etag } = await ask("GET", `/v1/alerts/${id}`);
  return { etag, state: body.state, document: body.alert, draft: draftOf(body.alert, await regionsOf(body.alert.target)) };
}

/** The alert as it was when the change began, with its ETag; what was typed into it stays in the tab until it is dropped. */
export function useEdit(id) {
  const [edit, set] = useState(null);
  const [error, fail] = useState(null);
  useEffect(() => {
    const kept = keptEdit(id);
    if (kept) { set(kept); return; }
    read(id).then(({ etag, document, draft }) => set({ etag, original: document, base: documentOf(draft), draft }), fail);
  }, [id]);
  const over = useRef(false);
  useEffect(() => { if (edit && !over.current) keepEdit(id, edit); }, [edit]);
  const drop = () => { over.current = true; forget(id); };
  return { edit, set, error, drop };
}

/** The whole document as the author wants it: what the form has no field for is as it was. */
const wanted = ({ original, base, draft }) => withValues(original, changes(base, documentOf(draft)));

/** Saves and submits. Answers null when that is done, and where somebody was first, what differs. `saved` hears of the first half. */
export async function save(id, edit, saved) {
  const whole = wanted(edit);
  const body = patch(edit.original, whole);
  try {
    let { etag } = edit;
    if (Object.keys(body).length) {
      ({ etag } = await ask("PATCH", `/v1/alerts/${id}`, { body, headers: { "If-Match": etag } }));
      saved((now) => ({ ...now, etag, original: whole, base: documentOf(edit.draft) }));  // what was typed meanwhile is in the draft as it is now
    }
    await ask("POST", `/v1/alerts/${id}/submit`, { headers: { "If-Match": etag } });
  } catch (problem) {
    if (problem.status !== 412) throw problem;
    return { ...(await read(id)), problem };
  }
  return null;
}

/** Submits it as what the alert is to say from now on; answers the update's id, or what differs. */
export async function update(id, edit, notify) {
  try {
    const whole = wanted(edit);
    const said = { ...whole, author: { ...whole.author, subject: null }, notify }; // whoever sends it wrote it
    const { body } = await ask("POST", `/v1/alerts/${id}/updates`, { body: said, headers: { "If-Match": edit.etag }, once: onceOf(`${id}-${edit.etag.replaceAll('"', "")}`, said) });
    return { id: body.id };
  } catch (problem) {
    if (problem.status !== 412) throw problem;
    return { theirs: await read(id) };
  }
}

/** The others' changes and mine in one; where both changed a value, what was chosen. */
async function merged(edit, theirs, choices) {
  const mine = documentOf(edit.draft);
  const there = documentOf(theirs.draft);
  const { both } = compared(edit.base, mine, there);
  const kept = changes(edit.base, mine).filter((one) => !both.some((other) => other.path.every((name, i) => one.path[i] === name)));
  const chosen = both.filter((_, i) => choices[i] === "mine").map(({ path, mine: is }) => ({ path, is }));
  const whole = withValues(theirs.document, [...kept, ...chosen]);
  return { etag: theirs.etag, original: theirs.document, base: there, draft: draftOf(whole, await regionsOf(whole.target)) };
}


function said(value) {
  if (value === undefined || value === null || value === "") return t("left-empty");
  if (Array.isArray(value)) return value.length ? list(value.map(said)) : t("left-empty");
  if (typeof value === "object") return list(Object.entries(value).filter(([, one]) => one !== undefined && one !== null && JSON.stringify(one).length > 2).map(([key, one]) => (Array.isArray(one) && typeof one[0] === "object" ? `${key.replaceAll("_", " ")}: ${number(one.length)}` : `${key.replaceAll("_", " ")}: ${said(one)}`)));
  return known(value) ? t(value) : typeof value === "number" ? number(value) : String(value);
}

/** What of an alert is another than it was, each with what it was. */
export const Differs = ({ from, to }) => html`<ul class="taken">${changes(from, to).map((one) => html`<li><b>${nameOf(one.path)}</b> <s>${said(one.was)}</s> ${said(one.is)}</li>`)}</ul>`;

const Side = ({ name, way, chosen, choose, value }) => html`<label class="option ${chosen ? "is-chosen" : ""}">
  <input type="radio" name=${name} checked=${chosen} onChange=${choose} /><strong>${t(way)}</strong><span>${said(value)}</span></label>`;

export function Conflict({ edit, theirs, states, onMerged }) {
  const { both, others } = compared(edit.base, documentOf(edit.draft), documentOf(theirs.draft));
  const [choices, set] = useState({});
  const open = states.includes(theirs.state);
  const { busy, error, run } = useAct(async () => onMerged(await merged(edit, theirs, choices)));
  return html`<section class="sheet conflict" role="alertdialog" aria-label=${t("conflict")}><header><h2>${t("conflict")}</h2></header>
    ${open ? html`<p>${t(both.length ? "conflict-says" : "conflict-none")}</p>` : html`<p>${t("conflict-late", { state: t(theirs.state).toLowerCase() })}</p>`}
    ${both.map((one, i) => html`<fieldset key=${one.path.join()}><legend>${nameOf(one.path)}</legend><div class="options">
      <${Side} name=${`c${i}`} way="mine" chosen=${choices[i] === "mine"} choose=${() => set({ ...choices, [i]: "mine" })} value=${one.mine} />
      <${Side} name=${`c${i}`} way="theirs" chosen=${choices[i] === "theirs"} choose=${() => set({ ...choices, [i]: "theirs" })} value=${one.theirs} /></div></fieldset>`)}
    ${others.length ? html`<div><h3>${t("theirs-taken")}</h3><${Differs} from=${edit.base} to=${withValues(edit.base, others)} /></div>` : null}
    ${open ? html`<${Refused} error=${error} /><div class="actions"><${Button} kind="primary" disabled=${busy || both.some((_, i) => !choices[i])} onClick=${() => run()}>${t("conflict-merge")}<//></div>` : null}</section>`;
}
