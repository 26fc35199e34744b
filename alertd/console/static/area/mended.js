// Repairs of a submitted shape in words, so that the author sees a changed area before anything is sent.

import { html } from "../parts/parts.js";
import { nameOf } from "../parts/names.js";
import { known, number, t } from "../parts/words.js";

/** Rounds areas to as many digits as show their difference. */
const told = (figures) => Object.fromEntries(Object.entries(figures).map(([name, value]) => [name, typeof value === "number" ? number(Math.round(value * 10) / 10) : value]));
/** Whether two areas are equal in every digit shown. */
const isSame = ({ before_km2, after_km2 }) => before_km2 !== undefined && Math.abs(after_km2 - before_km2) < 0.05;

function Note({ one: { pointer, code, figures, text } }) {
  const place = nameOf(pointer.split("/").slice(1));
  const key = known(`mended-${code}-same`) && isSame(figures) ? `${code}-same` : code;
  const words = known(`mended-${key}`) ? t(`mended-${key}`, told(figures)) : text;
  return html`<p class="note small" data-mended=${code}>${place ? html`<b>${place}:</b> ` : null}${words}</p>`;
}

export const Mended = ({ told: all }) => all.map((one, i) => html`<${Note} key=${i} one=${one} />`);
