// In words: the checks that a case must pass before anyone is notified.

import { criterion } from "../parts/names.js";
import { html } from "../parts/parts.js";
import { list, t } from "../parts/words.js";

/** What the organisation requires at a level: all of some criteria, a number of others, and the authorities that may verify. */
export function Asks({ all, any, least, authorities }) {
  const some = (codes) => list(codes.map(criterion));
  return html`${all.length ? html`<p class="hint">${t("asks-all", { all: some(all) })}</p>` : null}${least ? html`<p class="hint">${t("asks-any", { n: least, any: some(any) })}</p>` : null}
    ${authorities.length ? html`<p class="hint">${t("authority")}: ${list(authorities)}</p>` : null}`;
}
