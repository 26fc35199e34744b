// Previews from the API in each language: lock screen, text message, mail.

import { post } from "../parts/api.js";
import { Icon, Refused, html, useEffect, useSettled, useState } from "../parts/parts.js";
import { withinOf } from "../parts/names.js";
import { list, t } from "../parts/words.js";

/** The user must stop typing for this long before the API is asked. */
const REST_MS = 350;

/** The API's preview of a document, or its error. The last preview stays until a newer one comes; `old` says that it belongs to an earlier text. */
export function usePreview(document, query = "") {
  const settled = useSettled(document, REST_MS);
  const [told, tell] = useState({ preview: null, error: null, of: "" });
  const keyOf = (one) => JSON.stringify([one, query]);
  useEffect(() => {
    if (!settled) return undefined;
    const stop = new AbortController();
    post(`/v1/messages/preview?${query.slice(1)}`, settled, { signal: stop.signal }).then(
      (preview) => tell({ preview, error: null, of: keyOf(settled) }),
      (error) => { if (!stop.signal.aborted) tell((before) => ({ ...before, error })); },
    );
    return () => stop.abort();
  }, [keyOf(settled)]);
  return { ...told, old: told.of !== keyOf(document) };
}

const Phone = ({ message }) => html`<div class="phone"><p class="phone-from"><${Icon} name="push" />alertd</p>
  <p class="phone-title">${message.title}</p><p class="phone-body">${message.body}</p></div>`;

const codingOf = (one) => [one.encoding === "gsm7" ? "GSM-7" : "UCS-2", one.national_table].filter(Boolean).join(" + ");

/** One SMS coding, with parts and price. */
const Coded = ({ one }) => html`<li>${[
  one.carrier, one.transliterated ? t("sms-plain", { coding: codingOf(one) }) : codingOf(one), t("segments", { n: one.segments }),
  one.price === null ? "" : String(one.price), one.used ? t("sms-used") : "",
].filter(Boolean).join(" · ")}</li>`;

const Sms = ({ message }) => html`<div class="bubble"><p>${message.text}</p></div>
  <div class="small muted" dir=${document.dir || "ltr"}><p>${t("segments", { n: message.segments })} · ${codingOf(message)}</p>
    ${message.codings.length > 1 || message.codings.some((one) => one.price !== null) ? html`<ul>${message.codings.map((one) => html`<${Coded} one=${one} />`)}</ul>` : null}
    ${message.name_decides ? html`<p>${t("sms-name")}</p>` : null}</div>`;

const Mail = ({ message }) => html`<details class="letter"><summary><${Icon} name="mail" /><span>${message.subject}</span></summary>
  <p>${message.text}</p></details>`;

const SHAPES = { push: Phone, webpush: Phone, sms: Sms, mail: Mail };
/** Browsers show the text that phones show. */
const isShown = ({ channel }, messages) => channel !== "webpush" || !messages.some((one) => one.channel === "push");
/** A text of the alert or the case, with the name that the form gives it. */
const fieldOf = ([first, ...rest]) => withinOf([first === "info" ? rest.at(-1) : rest.slice(0, -1).filter((part) => !/^\d+$/.test(part)).at(-1) || first]);
/** A contact is named by its number or address. */
const shortOf = (one) => (one.startsWith("contact ") ? one.slice(8) : withinOf([one]));
export const fields = (pointers) => list([...new Set(pointers.map((one) => fieldOf(one.split("/").slice(1))))]);

/** Texts that were left out, grouped by channel: a mail has room for more than a text message. */
export function withoutRoom(messages) {
  const found = {};
  for (const what of new Set(messages.flatMap((one) => one.left_out))) {
    const channels = list(messages.filter((one) => one.left_out.includes(what)).map((one) => t(one.channel)));
    found[channels] = [...(found[channels] || []), shortOf(what)];
  }
  return Object.entries(found);
}

function InLanguage({ about, messages }) {
  return html`<article class="in-language" lang=${about.language} dir=${about.direction}>
    <h3>${about.name}</h3>
    ${messages.map((one) => (isShown(one, messages) ? html`<div class="message" key=${one.channel}><${SHAPES[one.channel]} message=${one} /></div>` : null))}
    <div dir=${document.dir || "ltr"} class="small muted notes">
      ${withoutRoom(messages).map(([channels, what]) => html`<p>${t("left-out", { channels, list: list(what) })}</p>`)}
      ${about.untranslated.length ? html`<p>${t("untranslated", { list: fields(about.untranslated) })}</p>` : null}
    </div>
  </article>`;
}

/** `only`: the languages shown first; the others open with a click. `old`: the preview belongs to an earlier text. */
export function Shown({ preview, only, old }) {
  const own = only && only.length ? only : preview.languages.map((one) => one.language).slice(0, 3);
  const [picked, pick] = useState(null);
  const shown = picked || own;
  const toggle = (tag) => pick(shown.includes(tag) ? shown.filter((one) => one !== tag) : [...shown, tag]);
  return html`<div class="chips" role="group" aria-label=${t("in-words")}>
      ${preview.languages.map((one) => html`<button type="button" class="chip" aria-pressed=${shown.includes(one.language)}
        onClick=${() => toggle(one.language)} lang=${one.language}>${one.name}</button>`)}</div>
    <div class="previewed ${old ? "is-old" : ""}">${old ? html`<p class="note small old-says" role="status">${t("preview-old")}</p>` : null}
      <div class="languages-row">${preview.languages.filter((one) => shown.includes(one.language)).map((about) => html`
      <${InLanguage} key=${about.language} about=${about} messages=${preview.messages.filter((one) => one.language === about.language)} />`)}</div></div>`;
}

export function Messages({ document, only, query }) {
  const { preview, error, old } = usePreview(document, query);
  if (!preview && !error) return html`<p class="muted">${t("loading")}</p>`;
  return html`<${Refused} error=${error} />${preview ? html`<${Shown} preview=${preview} only=${only} old=${old} />` : null}`;
}
