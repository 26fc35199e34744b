// A form for a document that several people may change: the user's changes, and those of others meanwhile.

import { Choose, chooseWords } from "../alert/edit.js";
import { changes, joined } from "./merge.js";
import { Button, Refused, html, useAct, useState } from "./parts.js";
import { t } from "./words.js";

/**
 * `opened`, and the answer of `read`, are `{ whole, etag }`; `write(whole, etag)` throws 412 if another person was first. `put(name)`
 * takes the new value of a part, or a function from its old value.
 */
export function useShared({ opened, read, write, onDone }) {
  const [edit, set] = useState({ etag: opened.etag, base: opened.whole, mine: opened.whole });
  const [theirs, meet] = useState(null);
  const put = (name) => (next) => set((now) => ({ ...now, mine: { ...now.mine, [name]: typeof next === "function" ? next(now.mine[name]) : next } }));
  const act = useAct(async () => {
    try {
      await write(edit.mine, edit.etag, edit.base);
    } catch (problem) {
      if (problem.status !== 412) throw problem;
      const there = await read();
      if (changes(there.whole, edit.mine).length) { meet(there); return; }  // otherwise it was our own write: its answer was lost
    }
    onDone();
  });
  const chosen = (choices) => {
    set({ etag: theirs.etag, base: theirs.whole, mine: joined(edit.base, edit.mine, theirs.whole, choices) });
    meet(null);
  };
  return { mine: edit.mine, base: edit.base, put, act, theirs, chosen };
}

/** The conflicts to choose from. */
export const Met = ({ shared: { base, mine, theirs, chosen } }) => (theirs ? html`<section class="sheet conflict org-conflict" role="alertdialog" aria-label=${t("conflict")}><header><h2>${t("conflict")}</h2></header>
  <p>${chooseWords(base, mine, theirs.whole)}</p><${Choose} base=${base} mine=${mine} theirs=${theirs.whole} onChosen=${chosen} /></section>` : null);

/** The end of a form: the refusal, the way back, and the save button. */
export const Keeps = ({ act: { busy, error }, ready, word, onBack }) => html`${ready ? null : html`<p class="hint">${t("lacks")}</p>`}<${Refused} error=${error} />
  <div class="actions"><${Button} onClick=${onBack}>${t("back")}<//>
    <button class="button primary" aria-busy=${busy ? "true" : null} disabled=${busy || !ready}><span>${t(word || "person-keep")}</span></button></div>`;
