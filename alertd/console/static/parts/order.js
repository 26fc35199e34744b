// An order: what it does, in words; what is asked with it; and the press that gives it. Where the API wants to know once more who it is, `ask` does.

import { Awaited, Button, Refused, html, useAct } from "./parts.js";
import { t } from "./words.js";

/** `act` gives it; `ready`: what is asked with it, its children, is there; `word`: what the press is called. A second press does nothing meanwhile. */
export function Order({ act, ready = true, word, kind = "danger", says, className, onBack, onDone, children }) {
  const { busy, error, run } = useAct(async () => { await act(); onDone(); });
  const give = (event) => { event.preventDefault(); run(); };
  return html`<form class=${className} onSubmit=${give}>${says ? html`<p>${says}</p>` : null}${children}${ready ? null : html`<p class="hint">${t("lacks")}</p>`}<${Refused} error=${error} /><${Awaited} busy=${busy} />
    <div class="actions">${onBack ? html`<${Button} onClick=${onBack}>${t("back")}<//>` : null}
      <button class="button ${kind}" aria-busy=${busy ? "true" : null} disabled=${busy || !ready}><span>${word}</span></button></div></form>`;
}
