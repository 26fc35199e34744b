// What a case must meet before anybody is told, in words.

import { criterion } from "../parts/names.js";
import { html } from "../parts/parts.js";
import { list, t } from "../parts/words.js";

/** What the organisation asks for at a level: all of some criteria, so many of others, and who verifies. */
export function Asks({ all, any, least, authorities }) {
  const some = (codes) => list(codes.map(criterion));
  return html`${all.length ? html`<p class="hint">${t("asks-all", { all: some(all) })}</p>` : null}${least ? html`<p class="hint">${t("asks-any", { n: least, any: some(any) })}</p>` : null}
    ${authorities.length ? html`<p class="hint">${t("authority")}: ${list(authorities)}</p>` : null}`;
}
