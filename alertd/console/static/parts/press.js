// A press applies to the screen as it was when it began: nothing is redrawn until the finger leaves the button. A browser makes a click
// only if a press begins and ends on the same element, so a redraw could move the button away and lose the click.

import { options } from "../vendor/preact.mjs";

const PRESSED = "button, a, label, summary";
/** After a touch the click comes a little later, or not at all if the finger slid off. */
const CLICK_MS = 100;
/** Limit of a long press: a screen that stands still shows nothing new. */
const LONGEST_MS = 10_000;

let timer = 0;
let held = false;
let waiting = null;

function letGo() {
  clearTimeout(timer);
  held = false;
  if (waiting) queueMicrotask(waiting);
  waiting = null;
}

function soon(ms) {
  if (!held) return;
  clearTimeout(timer);
  timer = setTimeout(letGo, ms);
}

function hold({ target }) {
  if (!(target instanceof Element) || !target.closest(PRESSED)) return;
  held = true;
  soon(LONGEST_MS);
}

/** From now on a press delays redraws. */
export function holdPresses() {
  options.debounceRendering = (draw) => { if (held) waiting = draw; else queueMicrotask(draw); };
  addEventListener("pointerdown", hold, true);
  addEventListener("click", letGo);  // the click was handled: its own redraw comes at once, and a second press works
  // Dragging a link is no press, and WebKit reports no end of the pointer.
  for (const name of ["pointerup", "pointercancel", "dragstart"]) addEventListener(name, () => soon(CLICK_MS), true);
}
