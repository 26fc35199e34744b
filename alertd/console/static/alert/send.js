// The last step before submission: one sentence, the messages side by side, the end, the channels.

import { clockHint, documentOf, endOf, isNoNumber, previewOf, targetOf } from "./draft.js";
import { Untranslated } from "../parts/spoken.js";
import { Messages } from "./messages.js";
import { Ground } from "../area/ground.js";
import { Check, Field, StatusMark, html, sentenceOf } from "../parts/parts.js";
import { RingWords } from "../area/pieces.js";
import { Untold } from "../area/reach.js";
import { TABLES } from "../tables.js";
import { t } from "../parts/words.js";

/** What goes to whom. For an update (`notify`), how recipients are notified; the API gives their number after submission. */
const sentence = (draft, told, notify) => (notify
  ? t(`notify-${notify}`) : sentenceOf({ ...draft, expires: documentOf(draft).expires }, told));

/** `same`: an update that changes nothing. It may be intended, so the form notes it and does not refuse it. */
export function SendStep({ draft, change, reach, notify, same }) {
  const toggle = (one, on) => change({ channels: TABLES.channels.filter((each) => (each === one ? on : draft.channels.includes(each))) });
  const clock = clockHint(draft.seen.zone);
  const document = previewOf(draft);
  const told = reach.counting ? null : reach.told;  // the sentence belongs to this area, or there is none
  return html`<div class="send-step">
    <section class="approval of-${draft.status}">
      <div class="approval-words"><${StatusMark} status=${draft.status} long />
        <h2>${t("what-happens")}</h2>
        ${told ? html`<p class="sentence">${sentence(draft, told, notify)}</p>` : html`<${Untold} reach=${reach} />`}
        ${same ? html`<p class="note" role="status">${t("update-same")}</p>` : null}
        <${RingWords} rings=${(targetOf(draft) || {}).rings} />
        ${draft.status === "Actual" ? html`<p class="muted">${t("submit-says")}</p>` : null}
        <div class="grid"><${Field} label=${t("expires")} type="datetime-local" value=${endOf(draft)} onChange=${(expires) => change({ expires })} hint=${clock} />
          ${notify ? null : html`<${Field} label=${t("starts")} type="datetime-local" value=${draft.starts} onChange=${(starts) => change({ starts })} hint=${`${t("starts-says")} ${clock}`} />`}
          <${Field} label=${t("pace-alert")} value=${draft.pace || ""} onChange=${(pace) => change({ pace })} error=${isNoNumber(draft.pace || "") ? t("number-bad") : ""} inputmode="numeric" hint=${t("pace-alert-says")} />
          <fieldset class="channels-choice"><legend>${t("by-channels")}</legend>${TABLES.channels.map((one) => html`
            <${Check} label=${t(one)} checked=${draft.channels.includes(one)} onChange=${(on) => toggle(one, on)} />`)}</fieldset></div>
      </div>
      <figure><${Ground} geometry=${told && told.geometry} label=${told ? told.area.name : ""} />
        <figcaption>${told ? told.area.name : ""}</figcaption></figure>
    </section>
    <${Untranslated} document=${document} />
    <section><h2>${t("preview")}</h2>${document ? html`<${Messages} document=${document} only=${draft.languages} query=${notify ? "&occasion=update" : ""} />` : html`<p class="muted">${t("preview-wait")}</p>`}</section>
  </div>`;
}
