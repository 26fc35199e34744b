// A new alert in three steps: case, area, check and submit. The draft stays in the tab until it is submitted.

import { Problem, get, onceOf, post } from "../parts/api.js";
import { AreaStep } from "../area/area.js";
import { CaseStep } from "./case.js";
import { documentOf, forget, goneFiles, keep, kept } from "./draft.js";
import { Conflict, isMet, isSame, save, update, useEdit } from "./edit.js";
import { Awaited, Button, NotYet, Refused, Ribbon, Sure, about, html, useEffect, usePolled, useSettled, useState } from "../parts/parts.js";
import { stepOf } from "../parts/names.js";
import { TABLES } from "../tables.js";
import { useReach } from "../area/reach.js";
import { SendStep } from "./send.js";
import { counted } from "../parts/parts.js";
import { t } from "../parts/words.js";

const STEPS = ["case", "area", "send"];

const Steps = ({ step, go, held }) => html`<ol class="steps">${STEPS.map((name, i) => html`<li>
  <button type="button" aria-current=${name === step ? "step" : null} disabled=${held} onClick=${() => go(name)}>
    <i>${i + 1}</i> <span>${t(`step-${name}`)}</span></button></li>`)}</ol>`;

function useDraft(name) {
  const [draft, set] = useState(() => kept(name));
  const [full, tell] = useState(false);
  useEffect(() => { tell(!keep(draft, name)); }, [draft]);
  const change = (more) => set((before) => ({ ...before, ...(typeof more === "function" ? more(before) : more) }));
  return { draft, full, change, clear: () => { forget(name); set(kept(name)); } };
}

/** The foot is always visible, so a refused submit shows its errors there. */
const Foot = ({ step, go, held, reach, draft, full, busy, error, children }) => html`<footer class="foot foot-${draft.status}">
  ${step === "send" ? html`<${Refused} error=${error} go=${go} />` : null}
  <div class="foot-row"><div class="foot-words">${held ? html`<strong role="status">${t(held)}</strong>` : full ? html`<strong role="status">${t("draft-full")}</strong>` : reach.counting ? html`<span class="muted">${t("counting")}</span>` : reach.told
    ? html`<b>${about(reach.told.audience.people, "people")}</b> ${draft.status === "Actual" ? null : t("testers-of")} <span class="muted">${reach.told.area.name || ""}</span>`
    : html`<span class="muted">${t("draft-kept")}</span>`}<${Awaited} busy=${busy} /></div>
  <div class="actions">
    ${step === "case" ? null : html`<${Button} onClick=${() => go(STEPS[STEPS.indexOf(step) - 1])}>${t("back")}<//>`}
    ${step === "send" ? children : html`<${Button} kind="primary" disabled=${held} onClick=${() => go(STEPS[STEPS.indexOf(step) + 1])}>${t("next")}<//>`}
  </div></div>
</footer>`;

function useKind() {
  return usePolled((signal) => get("/v1/kinds/missing-child", { signal }), 0).data;
}

/** The checks that the organisation requires before a child is named, by level. */
function useRules(me) {
  const { data } = usePolled((signal) => get(`/v1/organisations/${encodeURIComponent(me.organisation)}`, { signal }), 0);
  return data && data.organisation.verification;
}

/** The author must pause this long before a rehearsal, because the audit records each one. */
const TRY_MS = 1500;

/**
 * Rehearses the alert while the author chooses the area, so that errors show early; hides errors of the last step alone.
 * Does not upload a file's outline again for this.
 */
function useRefusal(draft, rehearse, on) {
  const [refusal, tell] = useState(null);
  const asked = useSettled(on && !draft.pieces.some((one) => one.type === "file") ? JSON.stringify(draft) : "", TRY_MS);
  useEffect(() => {
    if (!asked) { tell(null); return undefined; }
    const stop = new AbortController();
    rehearse(documentOf(draft), stop.signal).then(() => tell(null), (error) => { if (!stop.signal.aborted) tell(error instanceof Problem && error.status < 500 ? error : null); });
    return () => stop.abort();
  }, [asked]);
  const faults = refusal ? refusal.errors : [];
  return faults.length && faults.every((one) => stepOf(one.pointer || "") === "send") ? null : refusal;
}

/**
 * The three steps of a draft, new or existing. `submit` runs at the end; `notify` says who is notified of an update; `same`: the update
 * changes nothing; `met`: another person changed the alert, and the author has not chosen yet.
 */
function Compose({ title, draft, full, change, me, notify, same, met, submit, rehearse, onDiscard, discard, children }) {
  const [open, onOpen] = useState(false);
  const [step, setStep] = useState(() => (history.state || {}).step || STEPS[0]);  // after a reload, perhaps in another language, the step is the same
  const [error, fail] = useState(null);
  const [busy, work] = useState(false);
  const [picture, take] = useState(null);
  const held = picture ? "photo-waits" : open ? "shape-waits" : "";  // an unfinished photo or shape is not part of the alert
  const kind = useKind();
  const rules = useRules(me);
  const reach = useReach(draft);
  const refusal = useRefusal(draft, rehearse, Boolean(rehearse && step === "area" && reach.told && !reach.counting));
  const go = (name) => { setStep(name); history.replaceState({ step: name }, ""); scrollTo(0, 0); document.getElementById("main").focus(); };
  useEffect(() => { fail(null); }, [draft]);
  const act = async () => {
    work(true);
    try { await submit(); } catch (problem) { fail(problem); }
    work(false);
  };
  const shown = { draft, change, kind, rules, reach, me, refusal, go, onOpen, picture, take, notify, same };
  return html`<div class="compose of-${draft.status}">
    ${draft.status === "Actual" ? null : html`<${Ribbon} status=${draft.status} />`}
    <div class="compose-head"><h1>${title}</h1><${Steps} step=${step} go=${go} held=${held} />
      <${Sure} label=${discard} sure=${t("discard-sure")} onSure=${() => { take(null); onDiscard(); go("case"); }} /></div>
    ${children}
    ${step === "case" ? html`<${CaseStep} ...${shown} />` : null}
    ${step === "area" ? html`<${AreaStep} ...${shown} />` : null}
    ${step === "send" ? html`<${SendStep} ...${shown} />` : null}
    <${Foot} step=${step} go=${go} held=${held} reach=${reach} draft=${draft} full=${full} busy=${busy} error=${error}>
      <${Button} kind=${`send send-${draft.status}`} busy=${busy} disabled=${busy || met || goneFiles(draft).length > 0} onClick=${act}>${t(draft.status === "Actual" ? "submit" : "send-test")}<//><//>
  </div>`;
}

const rehearsal = (document, signal) => post("/v1/alerts?dry_run=true", document, { signal });

/** `id`: a draft kept beside the main one. */
export function ComposeScreen({ me, id }) {
  const { draft, full, change, clear } = useDraft(id);
  useEffect(() => { if (me.test && draft.status === "Actual") change({ status: "Test" }); }, []);
  const submit = async () => {
    const document = documentOf(draft);
    const made = await post("/v1/alerts", document, { once: onceOf(draft.external_id, document) });
    clear();
    location.hash = `#/alerts/${made.id}`;
  };
  return html`<${Compose} title=${t("new")} draft=${draft} full=${full} change=${change} me=${me} submit=${submit} rehearse=${rehearsal} onDiscard=${clear} discard=${t("discard")} />`;
}

const changeOf = (set) => (more) => set((before) => ({ ...before, draft: { ...before.draft, ...(typeof more === "function" ? more(before.draft) : more) } }));

/** An existing alert that its author changes. */
export function EditScreen({ id, me }) {
  const { edit, full, set, error, drop } = useEdit(id);
  const [theirs, meet] = useState(null);
  if (!edit) return html`<div class="page"><${NotYet} error=${error} /></div>`;
  const leave = () => { drop(); location.hash = `#/alerts/${id}`; };
  const submit = async () => {
    const found = await save(id, edit, set);
    meet(found);
    if (found) scrollTo(0, 0); else leave();
  };
  return html`<${Compose} title=${t("edit")} draft=${edit.draft} full=${full} change=${changeOf(set)} me=${me} met=${isMet(theirs, TABLES.amendable)} submit=${submit} onDiscard=${leave} discard=${t("edit-discard")}>
    ${theirs ? html`<${Conflict} edit=${edit} theirs=${theirs} states=${TABLES.amendable} onMerged=${(whole) => { set(whole); meet(null); }} />` : null}<//>`;
}

/** Who is notified of the change. */
const Notify = ({ notify, choose }) => html`<fieldset class="sheet notify"><legend class="sr-only">${t("notify")}</legend><h2>${t("notify")}</h2><div class="options">${TABLES.notify.map((one) => html`
  <label class="option ${notify === one ? "is-chosen" : ""}"><input type="radio" name="notify" checked=${notify === one} onChange=${() => choose(one)} /><strong>${t(`notify-as-${one}`)}</strong><span>${t(`notify-${one}`)}</span></label>`)}</div></fieldset>`;

/** An update of an alert that is out: a new version, which another person approves. */
export function UpdateScreen({ id, me }) {
  const { edit, full, set, error, drop } = useEdit(id);
  const [theirs, meet] = useState(null);
  if (!edit) return html`<div class="page"><${NotYet} error=${error} /></div>`;
  const { notify = TABLES.notify[0] } = edit;  // stored with the draft: a reload must not turn a silent update into a loud one
  const choose = (one) => set((before) => ({ ...before, notify: one }));
  const submit = async () => {
    const found = await update(id, edit, notify);
    if (found.id) { drop(); location.hash = `#/alerts/${found.id}`; }
    meet(found.theirs || null);
    scrollTo(0, 0);
  };
  return html`<${Compose} title=${t("update")} notify=${notify} same=${isSame(edit)} met=${isMet(theirs, TABLES.acts.update)} draft=${edit.draft} full=${full} change=${changeOf(set)} me=${me} submit=${submit} onDiscard=${() => { drop(); location.hash = `#/alerts/${id}`; }} discard=${t("edit-discard")}>
    <${Notify} notify=${notify} choose=${choose} />
    ${theirs ? html`<${Conflict} edit=${edit} theirs=${theirs} states=${TABLES.acts.update} onMerged=${(whole) => { set({ ...whole, notify }); meet(null); }} />` : null}<//>`;
}
