// An alert that was returned, or is a draft, as its author changes it. Whoever else changed it meanwhile is shown, and nothing of either is lost.

import { ask, onceOf } from "../parts/api.js";
import { documentOf, draftOf, forget, keepEdit, keptEdit } from "./draft.js";
import { changes, compared, joined, patch, withValues } from "../parts/merge.js";
import { ringWords } from "../area/pieces.js";
import { boxOf, ringsOf } from "../area/shapes.js";
import { TABLES } from "../tables.js";
import { Button, Refused, html, useAct, useEffect, useRef, useState } from "../parts/parts.js";
import { criterion, lookUp, nameOf, withinOf } from "../parts/names.js";
import { known, languageName, list, number, t } from "../parts/words.js";

/** Names of regions, which a document has by their codes alone. */
async function regionsOf({ regions = [], exclude = {} } = {}) {
  const codes = [...regions, ...(exclude.regions || [])];
  return Object.fromEntries(await Promise.all(codes.map(async (code) => [code, await lookUp(code, "none")])));
}

async function read(id) {
  const { body, etag } = await ask("GET", `/v1/alerts/${id}`);
  return { etag, state: body.state, paused: body.paused, document: body.alert, draft: draftOf(body.alert, await regionsOf(body.alert.target)) };
}

/** The alert as it was when the change began, with its ETag; what was typed into it stays in the tab until it is dropped. */
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

/** The whole document as the author wants it: what the form has no field for is as it was. */
const wanted = ({ original, base, draft }) => withValues(original, changes(base, documentOf(draft)));

/** Whether nothing was written that was not there. */
export const isSame = ({ base, draft }) => !changes(base, documentOf(draft)).length;

const submit = (id, etag) => ask("POST", `/v1/alerts/${id}/submit`, { headers: { "If-Match": etag } });

async function handIn(id, edit, saved) {
  const whole = wanted(edit);
  const body = patch(edit.original, whole);
  let { etag } = edit;
  if (Object.keys(body).length) {
    ({ etag } = await ask("PATCH", `/v1/alerts/${id}`, { body, headers: { "If-Match": etag } }));
    saved((now) => ({ ...now, etag, original: whole, base: documentOf(edit.draft) }));  // what was typed meanwhile is in the draft as it is now
  }
  await submit(id, etag);
}

/** Saves and submits. Answers null when that is done, and where somebody was first, what differs. `saved` hears of the first half. */
export async function save(id, edit, saved) {
  try {
    await handIn(id, edit, saved);
  } catch (problem) {
    if (problem.status !== 412) throw problem;
    const there = await read(id);
    if (changes(documentOf(there.draft), documentOf(edit.draft)).length) return { ...there, problem };
    if (TABLES.amendable.includes(there.state)) await submit(id, there.etag);  // it was I: the answer was lost
  }
  return null;
}

/** As often at most an alert that goes out may move on while an update of it is handed in: approved, sending, sent, and once more. */
const MOVES = 4;

/** Submits it as what the alert is to say from now on; answers the update's id, or what differs. An alert that goes out is another revision by itself: that is nobody's change; that it was told to wait is somebody's. */
export async function update(id, edit, notify) {
  const whole = wanted(edit);
  const body = { ...whole, author: { ...whole.author, subject: null }, notify }; // whoever sends it wrote it
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

/** The edit as it goes on with what was chosen. */
async function merged(edit, theirs, choices) {
  const there = documentOf(theirs.draft);
  const whole = joined(edit.base, documentOf(edit.draft), there, choices, theirs.document);
  return { etag: theirs.etag, paused: theirs.paused, original: theirs.document, base: there, draft: draftOf(whole, await regionsOf(whole.target)) };
}

/** A place as it is written: of a number that is told to people, the last digits are left out. */
const place = (point) => point.join(", ");
/** Of an outline with more corners, the box that it is in is told. */
const MOST_TOLD = 12;
function shapeWords(shape) {
  const points = ringsOf(shape).flat();
  const [west, south, east, north] = boxOf(points);
  return `${t("shape", { n: points.length - 1 })} (${points.length > MOST_TOLD ? `${place([west, south])} – ${place([east, north])}` : points.map(place).join("; ")})`;
}
const around = (what, { center }) => t("around", { what, place: place(center) });
/** Parts of a list in words, by the name of the list. */
const SHAPES = { circles: (one) => around(`${one.radius_km} km`, one), rings: (one) => around(ringWords(one), one), polygons: shapeWords, languages: languageName };

const isEmpty = (value) => value === undefined || value === null || value === "" || value === 0 || (typeof value === "object" && Object.values(value).every(isEmpty));

/** What nothing means where it means something. */
const NONE = { jurisdiction: "everywhere", unattended: "always-two", break_glass: "glass-none", cap_sender: "cap-configured", languages: "no-language", verification: "org-verification-none", contact: "org-contact-none", ...Object.fromEntries(TABLES.everyLevel.map((level) => [level, "org-verification-none"])) };

/** A value in words. What is told by several numbers, as a circle is, has all of them: which of them changed is what is asked. */
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

/** What of an alert is another than it was, each with what it was. */
export const Differs = ({ from, to }) => html`<ul class="taken">${changes(from, to).map((one) => html`<${Differ} key=${one.path.join()} one=${one} />`)}</ul>`;

const Side = ({ name, way, chosen, choose, value, of }) => html`<label class="option ${chosen ? "is-chosen" : ""}">
  <input type="radio" name=${name} checked=${chosen} onChange=${choose} /><strong>${t(way)}</strong><span>${said(value, of)}</span></label>`;

/** What two changed, each side of it to be chosen, and what the other changed alone; `onChosen` gets the choices where there is anything left to decide. */
export function Choose({ base, mine, theirs, onChosen }) {
  const { both, others } = compared(base, mine, theirs);
  const [choices, set] = useState({});
  const { busy, error, run } = useAct(async () => onChosen(choices));
  const side = (one, i, way) => html`<${Side} name=${`c${i}`} way=${way} of=${one.path.at(-1)} chosen=${choices[i] === way} choose=${() => set({ ...choices, [i]: way })} value=${one[way]} />`;
  return html`${both.map((one, i) => html`<fieldset key=${one.path.join()}><legend>${nameOf(one.path)}</legend><div class="options">${side(one, i, "mine")}${side(one, i, "theirs")}</div></fieldset>`)}
    ${others.length ? html`<div><h3>${t("theirs-taken")}</h3><${Differs} from=${base} to=${withValues(base, others)} /></div>` : null}
    ${onChosen ? html`<${Refused} error=${error} /><div class="actions"><${Button} kind="primary" disabled=${busy || both.some((_, i) => !choices[i])} onClick=${() => run()}>${t("conflict-merge")}<//></div>` : null}`;
}

/** What is told above the choices. */
export const chooseWords = (base, mine, theirs) => t(compared(base, mine, theirs).both.length ? "conflict-says" : "conflict-none");

/** Whether there is something to choose: what another changed, while it can still be changed. */
export const isMet = (theirs, states) => Boolean(theirs) && states.includes(theirs.state);

export function Conflict({ edit, theirs, states, onMerged }) {
  const [mine, there] = [documentOf(edit.draft), documentOf(theirs.draft)];
  const open = isMet(theirs, states);
  const choose = async (choices) => onMerged(await merged(edit, theirs, choices));
  return html`<section class="sheet conflict" role="alertdialog" aria-label=${t("conflict")}><header><h2>${t("conflict")}</h2></header>
    <p>${open ? chooseWords(edit.base, mine, there) : t("conflict-late", { state: t(theirs.state).toLowerCase() })}</p>
    <${Choose} base=${edit.base} mine=${mine} theirs=${there} onChosen=${open ? choose : null} /></section>`;
}
