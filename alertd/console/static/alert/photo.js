// A photo before upload: cropped to the face, with its rights and a description. After upload: blurred until the user asks for it.

import { ask, photo } from "../parts/api.js";
import { Button, Field, Icon, Refused, html, useEffect, usePolled, useRef, useState } from "../parts/parts.js";
import { TABLES } from "../tables.js";
import { languageName, t } from "../parts/words.js";

/** Aspect ratio, width to height; 0 keeps that of the picture. */
const SHAPES = { portrait: 4 / 5, square: 1, whole: 0 };
const CLOSEST = 5;
/** Longer side of the uploaded picture in pixels: more than any channel shows. */
const SIDE = 2048;
const VIEW = 320;
const QUALITY = 0.92;
/** An arrow key moves the picture by this many per cent of the free room. */
const STEP = 4;

const clamp = (n, low, high) => Math.min(high, Math.max(low, n));

/** The part of the picture to keep, in its pixels: x, y, width, height. `x` and `y` of the crop are per cent of the free room. */
function cutOf({ width, height }, { shape, zoom, x, y }) {
  const ratio = SHAPES[shape] || width / height;
  const wide = Math.min(width, height * ratio) / zoom;
  const high = wide / ratio;
  return [((width - wide) * x) / 100, ((height - high) * y) / 100, wide, high];
}

function drawn(canvas, picture, crop, side) {
  const cut = cutOf(picture, crop);
  const scale = side / Math.max(cut[2], cut[3]);
  canvas.width = Math.round(cut[2] * scale);
  canvas.height = Math.round(cut[3] * scale);
  canvas.getContext("2d").drawImage(picture, ...cut, 0, 0, canvas.width, canvas.height);
}

/** The file to upload: the chosen part only. */
function cropped(picture, crop) {
  const canvas = document.createElement("canvas");
  const [, , wide, high] = cutOf(picture, crop);
  drawn(canvas, picture, crop, Math.min(SIDE, Math.max(wide, high)));
  return new Promise((done) => canvas.toBlob(done, "image/jpeg", QUALITY));
}

const Slide = ({ label, value, onChange, ...limits }) => html`<label class="slide"><span>${label}</span>
  <input type="range" value=${value} onInput=${(e) => onChange(Number(e.target.value))} ...${limits} /></label>`;

const KEYS = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };

function Crop({ picture, crop, set }) {
  const canvas = useRef(null);
  const held = useRef(null);
  useEffect(() => drawn(canvas.current, picture, crop, VIEW * 2), [picture, crop]);
  const move = (x, y) => set({ ...crop, x: clamp(crop.x + x, 0, 100), y: clamp(crop.y + y, 0, 100) });
  const keys = (e) => {
    const way = KEYS[e.key];
    if (way) { e.preventDefault(); move(way[0] * STEP, way[1] * STEP); }
    if (e.key === "+" || e.key === "-") set({ ...crop, zoom: clamp(crop.zoom + (e.key === "+" ? 0.1 : -0.1), 1, CLOSEST) });
  };
  const drag = (e) => {
    if (!held.current) return;
    const [, , wide, high] = cutOf(picture, crop);
    const scale = wide / canvas.current.clientWidth;
    const by = (pixels, room) => (room > 1 ? (-pixels * scale * 100) / room : 0);
    move(by(e.clientX - held.current.x, picture.width - wide), by(e.clientY - held.current.y, picture.height - high));
    held.current = { x: e.clientX, y: e.clientY };
  };
  const take = (e) => { held.current = { x: e.clientX, y: e.clientY }; e.target.setPointerCapture(e.pointerId); };
  const let_go = () => { held.current = null; };
  return html`<div class="crop">
    <canvas ref=${canvas} tabindex="0" role="img" aria-label=${t("crop-says")} onKeyDown=${keys} onPointerDown=${take} onPointerMove=${drag} onPointerUp=${let_go} onPointerCancel=${let_go}></canvas>
    <div class="crop-tools"><div class="chips" role="group" aria-label=${t("crop-shape")}>${Object.keys(SHAPES).map((shape) => html`
        <button type="button" class="chip" aria-pressed=${crop.shape === shape ? "true" : "false"} onClick=${() => set({ ...crop, shape })}>${t(`shape-${shape}`)}</button>`)}</div>
      <${Slide} label=${t("crop-zoom")} min="1" max=${CLOSEST} step="0.05" value=${crop.zoom} onChange=${(zoom) => set({ ...crop, zoom })} />
      <${Slide} label=${t("crop-x")} min="0" max="100" step="1" value=${crop.x} onChange=${(x) => set({ ...crop, x })} />
      <${Slide} label=${t("crop-y")} min="0" max="100" step="1" value=${crop.y} onChange=${(y) => set({ ...crop, y })} />
      <p class="muted small">${t("crop-says")}</p></div></div>`;
}

const BLANK = { source: "", taken: "", rights: "", alt: {} };
const CENTRED = { shape: "portrait", zoom: 1, x: 50, y: 40 };  // faces are above the middle

function Facts({ picture, languages, onDone, onBack }) {
  const [facts, set] = useState(BLANK);
  const [crop, setCrop] = useState(CENTRED);
  const [error, fail] = useState(null);
  const [busy, work] = useState(false);
  const more = (part) => set({ ...facts, ...part });
  const alt = Object.fromEntries(languages.filter((tag) => (facts.alt[tag] || "").trim()).map((tag) => [tag, facts.alt[tag].trim()]));
  const lacks = !facts.source.trim() || !facts.taken.trim() || !facts.rights.trim() || !Object.keys(alt).length;
  const send = async () => {
    work(true);
    const form = new FormData();
    form.append("photo", await cropped(picture, crop));
    form.append("facts", JSON.stringify({ source: facts.source, taken: facts.taken, rights: facts.rights, alt }));
    try { onDone((await ask("POST", "/v1/media", { body: form })).body.id); } catch (problem) { fail(problem); work(false); }
  };
  return html`<div class="photo-facts"><${Crop} picture=${picture} crop=${crop} set=${setCrop} />
    <div class="grid"><${Field} label=${t("photo-source")} value=${facts.source} onChange=${(source) => more({ source })} />
      <${Field} label=${t("photo-taken")} value=${facts.taken} onChange=${(taken) => more({ taken })} />
      <${Field} label=${t("photo-rights")} value=${facts.rights} onChange=${(rights) => more({ rights })} hint=${t("photo-rights-says")} wide /></div>
    <div class="grid">${languages.map((tag) => html`<${Field} key=${tag} label=${`${t("photo-alt")} (${languageName(tag)})`} value=${facts.alt[tag] || ""} lang=${tag} dir="auto"
      onChange=${(text) => more({ alt: { ...facts.alt, [tag]: text } })} />`)}</div>
    <p class="muted small">${t("photo-alt-says")}</p><${Refused} error=${error} />
    <div class="actions"><${Button} onClick=${onBack}>${t("remove")}<//><${Button} kind="primary" disabled=${lacks || busy} busy=${busy} onClick=${send}>${t("photo-send")}<//>
      ${lacks ? html`<span class="muted small">${t("photo-lacks")}</span>` : null}</div></div>`;
}

/** `picture` is chosen but not uploaded yet; `take` sets it. Leaving the step needs to know about it. */
export function PhotoPart({ draft, change, picture, take }) {
  const [fault, tell] = useState("");
  const set = (media) => change((before) => ({ child: { ...before.child, photo: media } }));
  const choose = async (e) => {
    const [file] = e.target.files;
    e.target.value = "";
    if (!file) return;
    try { take(await createImageBitmap(file)); tell(""); } catch { tell(t("photo-unread")); }
  };
  if (draft.child.photo) return html`<div class="photo-in"><${Photo} media=${draft.child.photo} /><p><${Icon} name="check" />${t("photo-kept")}</p>
    <${Button} kind="quiet" onClick=${() => set(null)}>${t("remove")}<//></div>`;
  if (picture) return html`<${Facts} picture=${picture} languages=${draft.languages} onBack=${() => take(null)} onDone=${(media) => { take(null); set(media); }} />`;
  return html`<div><label class="button plain file"><${Icon} name="plus" /><span>${t("photo-add")}</span>
    <input type="file" accept="image/jpeg,image/png,image/webp" onChange=${choose} /></label>${fault ? html`<p class="fault" role="alert">${fault}</p>` : null}</div>`;
}

/** Blurred until the user asks for it, and again afterwards. A photo that does not load shows an error: the alert has one. */
export function Photo({ media }) {
  const { data: address, error } = usePolled((signal) => photo(media, signal), 0, media);
  const [clear, show] = useState(false);
  useEffect(() => () => { if (address) URL.revokeObjectURL(address); }, [address]);
  if (!address) return html`<div class="face">${error ? html`<span role="status">${t(error.status === 410 ? "photo-withdrawn" : "photo-lost")}</span>` : null}</div>`;
  const press = (e) => { e.preventDefault(); show(!clear); };
  return html`<button type="button" class="face ${clear ? "is-clear" : ""}" aria-pressed=${clear ? "true" : "false"} onClick=${press}>
    <img src=${address} alt="" /><span>${t(clear ? "photo-hide" : "photo-show")}</span></button>`;
}

/** A stood-down or ended alert shows no photo: it was removed. */
const hasPhoto = ({ state }) => state === "sent" || !(TABLES.over.includes(state) || TABLES.acts.reopen.includes(state));

export function Face({ alert }) {
  const child = alert.alert && alert.alert.case && alert.alert.case.children && alert.alert.case.children[0];
  const media = child && child.photos && child.photos[0] && child.photos[0].media;
  return media && hasPhoto(alert) ? html`<${Photo} key=${media} media=${media} />` : null;
}
