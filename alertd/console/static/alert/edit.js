// A returned alert or a draft, as its author changes it. Shows the changes of other people; no change is lost.

import { ask, onceOf } from "../parts/api.js";
import { documentOf, draftOf, forget, keepEdit, keptEdit } from "./draft.js";
import { changes, compared, joined, patch, withValues } from "../parts/merge.js";
import { ringWords } from "../area/pieces.js";
import { boxOf, ringsOf } from "../area/shapes.js";
import { TABLES } from "../tables.js";
import { Button, Refused, html, useAct, useEffect, useRef, useState } from "../parts/parts.js";
import { criterion, lookUp, nameOf, withinOf } from "../parts/names.js";
import { known, languageName, list, number, t } from "../parts/words.js";

/** Names of regions: a document has only their codes. */
async function regionsOf({ regions = [], exclude = {} } = {}) {
  const codes = [...regions, ...(exclude.regions || [])];
  return Object.fromEntries(await Promise.all(codes.map(async (code) => [code, await lookUp(code, "none")])));
}

async function read(id) {
  const { body, etag } = await ask("GET", `/v1/alerts/${id}`);
  return { etag, state: body.state, paused: body.paused, document: body.alert, draft: draftOf(body.alert, await regionsOf(body.alert.target)) };
}

/** The alert and its ETag when the edit began; the typed text stays in the tab until the author discards it. */
export function useEdit(id) {
  const [edit, set] = useState(null);
  const [error, fail] = useState(null);
  useEffect(() => {
    const kept = keptEdit(id);
    if (kept) { set(kept); return; }
    read(id).then(({ etag, paused, document, draft }) => set({ etag, paused, original: document, base: documentOf(draft), draft }), fail);
  }, [id]);
  const over = useRef(false);
  const [full, tell] = useState(false);
  useEffect(() => { if (edit && !over.current) tell(!keepEdit(id, edit)); }, [edit]);
  const drop = () => { over.current = true; forget(id); };
  return { edit, full, set, error, drop };
}

/** The whole document that the author wants; parts unknown to the form stay unchanged. */
const wanted = ({ original, base, draft }) => withValues(original, changes(base, documentOf(draft)));

/** Whether the author changed nothing. */
export const isSame = ({ base, draft }) => !changes(base, documentOf(draft)).length;

const submit = (id, etag) => ask("POST", `/v1/alerts/${id}/submit`, { headers: { "If-Match": etag } });

async function handIn(id, edit, saved) {
  const whole = wanted(edit);
  const body = patch(edit.original, whole);
  let { etag } = edit;
  if (Object.keys(body).length) {
    ({ etag } = await ask("PATCH", `/v1/alerts/${id}`, { body, headers: { "If-Match": etag } }));
    saved((now) => ({ ...now, etag, original: whole, base: documentOf(edit.draft) }));  // the draft now also holds what was typed meanwhile
  }
  await submit(id, etag);
}

/** Saves and submits. Returns null if done, or the differences if another person was first. Calls `saved` after the first half. */
export async function save(id, edit, saved) {
  try {
    await handIn(id, edit, saved);
  } catch (problem) {
    if (problem.status !== 412) throw problem;
    const there = await read(id);
    if (changes(documentOf(there.draft), documentOf(edit.draft)).length) return { ...there, problem };
    if (TABLES.amendable.includes(there.state)) await submit(id, there.etag);  // our own save: its answer was lost
  }
  return null;
}

/** Number of times that an alert may change its state while an update is submitted: approved, sending, sent, and one spare. */
const MOVES = 4;

/** Submits an update; returns its id, or the differences. State changes of a sending alert are no conflict; a pause by a person is one. */
export async function update(id, edit, notify) {
  const whole = wanted(edit);
  const body = { ...whole, author: { ...whole.author, subject: null }, notify }; // the API takes the sender as its author
  for (let { etag } = edit, left = MOVES; ; left -= 1) {
    try {
      return { id: (await ask("POST", `/v1/alerts/${id}/updates`, { body, headers: { "If-Match": etag }, once: onceOf(`${id}-${etag.replaceAll('"', "")}`, body) })).body.id };
    } catch (problem) {
      if (problem.status !== 412) throw problem;
    }
    const theirs = await read(id);
    if (!left || theirs.paused !== Boolean(edit.paused) || changes(edit.original, theirs.document).length || !TABLES.acts.update.includes(theirs.state)) return { theirs };
    ({ etag } = theirs);
  }
}

/** The edit, continued with the choices that were made. */
async function merged(edit, theirs, choices) {
  const there = documentOf(theirs.draft);
  const whole = joined(edit.base, documentOf(edit.draft), there, choices, theirs.document);
  return { etag: theirs.etag, paused: theirs.paused, original: theirs.document, base: there, draft: draftOf(whole, await regionsOf(whole.target)) };
}

/** A point with all its digits: the number format for people would cut them. */
const place = (point) => point.join(", ");
/** For an outline with more corners than this, only its bounding box is shown. */
const MOST_TOLD = 12;
function shapeWords(shape) {
  const points = ringsOf(shape).flat();
  const [west, south, east, north] = boxOf(points);
  return `${t("shape", { n: points.length - 1 })} (${points.length > MOST_TOLD ? `${place([west, south])} – ${place([east, north])}` : points.map(place).join("; ")})`;
}
const around = (what, { center }) => t("around", { what, place: place(center) });
/** List entries in words, by the name of the list. */
const SHAPES = { circles: (one) => around(`${one.radius_km} km`, one), rings: (one) => around(ringWords(one), one), polygons: shapeWords, languages: languageName };

const isEmpty = (value) => value === undefined || value === null || value === "" || value === 0 || (typeof value === "object" && Object.values(value).every(isEmpty));

/** Words for an empty value that has a meaning. */
const NONE = { jurisdiction: "everywhere", unattended: "always-two", break_glass: "glass-none", cap_sender: "cap-configured", languages: "no-language", verification: "org-verification-none", contact: "org-contact-none", ...Object.fromEntries(TABLES.everyLevel.map((level) => [level, "org-verification-none"])) };

/** A value in words. A value of several numbers, such as a circle, shows all of them. */
export function said(value, name) {
  if (typeof value === "boolean") return t(value ? "yes" : "no");
  if (isEmpty(value) && value !== 0) return t(NONE[name] || "left-empty");
  if (Array.isArray(value)) return list(value.map(SHAPES[name] || ((one) => said(one))));
  if (typeof value === "object") {
    const parts = Object.entries(value).filter(([, one]) => !isEmpty(one)).map(([key, one]) => [withinOf([key]), said(one, key)]);
    return list(parts.map(([key, words]) => (key ? `${key}: ${words}` : words)));
  }
  return known(value) ? t(value) : typeof value === "number" ? number(value) : String(criterion(value));
}

function Differ({ one }) {
  const [was, is] = [one.was, one.is].map((value) => said(value, one.path.at(-1)));
  return html`<li><b>${nameOf(one.path)}</b> <s>${was}</s> ${was === is ? t("otherwise") : is}</li>`;
}

/** The differences between two versions of an alert, each with the old value. */
export const Differs = ({ from, to }) => html`<ul class="taken">${changes(from, to).map((one) => html`<${Differ} key=${one.path.join()} one=${one} />`)}</ul>`;

const Side = ({ name, way, chosen, choose, value, of }) => html`<label class="option ${chosen ? "is-chosen" : ""}">
  <input type="radio" name=${name} checked=${chosen} onChange=${choose} /><strong>${t(way)}</strong><span>${said(value, of)}</span></label>`;

/** The values that two people changed, each with both sides to choose from, and the values that only the other person changed; calls `onChosen` with the choices. */
export function Choose({ base, mine, theirs, onChosen }) {
  const { both, others } = compared(base, mine, theirs);
  const [choices, set] = useState({});
  const { busy, error, run } = useAct(async () => onChosen(choices));
  const side = (one, i, way) => html`<${Side} name=${`c${i}`} way=${way} of=${one.path.at(-1)} chosen=${choices[i] === way} choose=${() => set({ ...choices, [i]: way })} value=${one[way]} />`;
  return html`${both.map((one, i) => html`<fieldset key=${one.path.join()}><legend>${nameOf(one.path)}</legend><div class="options">${side(one, i, "mine")}${side(one, i, "theirs")}</div></fieldset>`)}
    ${others.length ? html`<div><h3>${t("theirs-taken")}</h3><${Differs} from=${base} to=${withValues(base, others)} /></div>` : null}
    ${onChosen ? html`<${Refused} error=${error} /><div class="actions"><${Button} kind="primary" disabled=${busy || both.some((_, i) => !choices[i])} onClick=${() => run()}>${t("conflict-merge")}<//></div>` : null}`;
}

/** The sentence above the choices. */
export const chooseWords = (base, mine, theirs) => t(compared(base, mine, theirs).both.length ? "conflict-says" : "conflict-none");

/** Whether the author has something to choose: another person changed the alert, and it can still be changed. */
export const isMet = (theirs, states) => Boolean(theirs) && states.includes(theirs.state);

export function Conflict({ edit, theirs, states, onMerged }) {
  const [mine, there] = [documentOf(edit.draft), documentOf(theirs.draft)];
  const open = isMet(theirs, states);
  const choose = async (choices) => onMerged(await merged(edit, theirs, choices));
  return html`<section class="sheet conflict" role="alertdialog" aria-label=${t("conflict")}><header><h2>${t("conflict")}</h2></header>
    <p>${open ? chooseWords(edit.base, mine, there) : t("conflict-late", { state: t(theirs.state).toLowerCase() })}</p>
    <${Choose} base=${edit.base} mine=${mine} theirs=${there} onChosen=${open ? choose : null} /></section>`;
}
