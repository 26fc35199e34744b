// A press is of what was there when it began: until the finger is off the button, nothing on the screen is drawn anew. A browser makes a
// click only where a press begins and ends on the same thing: what comes meanwhile would push the button away, and nobody would hear of it.

import { options } from "../vendor/preact.mjs";

const PRESSED = "button, a, label, summary";
/** After a finger the click comes a little later, and none comes where it slid off. */
const CLICK_MS = 100;
/** However long it is pressed: a screen that stands still tells nobody anything. */
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

/** From now on a press holds what is drawn. */
export function holdPresses() {
  options.debounceRendering = (draw) => { if (held) waiting = draw; else queueMicrotask(draw); };
  addEventListener("pointerdown", hold, true);
  addEventListener("click", letGo);  // whoever hears it has: what they draw comes at once, and a second press finds it
  // A link that is dragged away is no press, and WebKit does not say that the pointer is gone.
  for (const name of ["pointerup", "pointercancel", "dragstart"]) addEventListener(name, () => soon(CLICK_MS), true);
}
