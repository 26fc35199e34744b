// A decision: its effect in words, its fields, and the button. If the API asks to confirm the identity, `ask` handles it.

import { Awaited, Button, Refused, html, useAct } from "./parts.js";
import { t } from "./words.js";

/** `act` runs it; `ready`: its fields are complete; `word`: the label of the button. A second press during the run does nothing. */
export function Order({ act, ready = true, word, kind = "danger", says, className, onBack, onDone, children }) {
  const { busy, error, run } = useAct(async () => { await act(); onDone(); });
  const give = (event) => { event.preventDefault(); run(); };
  return html`<form class=${className} onSubmit=${give}>${says ? html`<p>${says}</p>` : null}${children}${ready ? null : html`<p class="hint">${t("lacks")}</p>`}<${Refused} error=${error} /><${Awaited} busy=${busy} />
    <div class="actions">${onBack ? html`<${Button} onClick=${onBack}>${t("back")}<//>` : null}
      <button class="button ${kind}" aria-busy=${busy ? "true" : null} disabled=${busy || !ready}><span>${word}</span></button></div></form>`;
}
