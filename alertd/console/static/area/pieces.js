// The pieces of an area: regions, shapes, circles, and rings with their own loudness and delay.

import { Button, Icon, html, useState } from "../parts/parts.js";
import { ringsOf as outlines } from "./shapes.js";
import { TABLES } from "../tables.js";
import { amountOf, countOf, language, number, span, t } from "../parts/words.js";
import { uuid } from "./ways.js";

/** Default factor and delay of a wider ring. */
const WIDER = 3;
const LATER_MIN = 15;

export const regionPiece = (region, minus) => ({ id: `region-${region.code}`, type: "region", code: region.code, name: region.names[language] || region.name, kind: region.kind, within: region.parent || region.country, bbox: region.bbox, minus });

const isRound = (piece) => piece.type === "circle" || piece.type === "ring";
const ringsOf = (pieces) => pieces.filter((one) => one.type === "ring");

/** Tells Seville the city from the province: its kind and its parent. */
export const kindOf = ({ kind, within }) => [kind && t(`kind-${kind}`), within].filter(Boolean).join(" · ");

const TITLES = {
  region: (one) => html`${one.name} <small class="muted">${kindOf(one)}</small>`,
  circle: () => t("circle"),
  ring: (one, pieces) => t("ring", { n: String(ringsOf(pieces).indexOf(one) + 1) }),
  polygon: (one) => t("shape", { n: outlines(one.geometry).flat().length - 1 }),
  file: (one) => html`${one.name} <small class="muted">${t("shape", { n: one.corners })}</small>`,
};
const NAMES = { ...TITLES, region: (one) => one.name, file: (one) => one.name };

/** "Loud within 5 km", "Normal within 30 km, 15 minutes later, at most 60 messages a minute". */
export const ringWords = ({ radius_km, loudness, delay_min, pace_per_min }) => [
  t("ring-within", { how: t(loudness ? `is-${loudness}` : "as-alert"), km: number(Math.round(radius_km * 10) / 10) }),
  delay_min ? t("later", { time: span(delay_min * 60) }) : "", pace_per_min ? t("paced", { n: number(pace_per_min) }) : "",
].filter(Boolean).join(", ");

/** Seconds from the approval to the start of the latest ring. */
export const delayOf = (target) => 60 * Math.max(0, ...((target && target.rings) || []).map((one) => one.delay_min || 0));

export const RingWords = ({ rings }) => (rings && rings.length ? html`<ul class="rings-say">${[...rings].sort((a, b) => a.radius_km - b.radius_km).map((one) => html`<li>${ringWords(one)}</li>`)}</ul>` : null);

/**
 * A number field: redraws keep the typed digits. Invalid input is dropped on leaving; an empty field calls `set(undefined)` if it is
 * optional.
 */
function Amount({ value, set, label, optional, whole, min, max = Infinity, placeholder }) {
  const [text, type] = useState(null);
  const typed = (e) => {
    const [wanted, n] = [e.target.value.trim(), (whole ? countOf : amountOf)(e.target.value)];
    type(e.target.value);
    if (wanted ? n >= min && n <= max : optional) set(wanted ? n : undefined);
  };
  return html`<input inputmode=${whole ? "numeric" : "decimal"} placeholder=${placeholder} value=${text === null ? (value === undefined ? "" : value) : text} aria-label=${label} onInput=${typed} onBlur=${() => type(null)} />`;
}

const RingFields = ({ one, title, set }) => html`<div class="ring-fields">
  <select aria-label=${`${t("loudness")}: ${title}`} onChange=${(e) => set({ loudness: e.target.value })}>
    <option value="" selected=${!one.loudness}>${t("as-alert")}</option>
    ${TABLES.loudness.map((each) => html`<option value=${each} selected=${one.loudness === each}>${t(`is-${each}`)}</option>`)}</select>
  <label class="radius">${t("ring-after")} <${Amount} whole min=${0} max=${1440} value=${one.delay_min} label=${`${t("delay")}: ${title}`} set=${(delay_min) => set({ delay_min })} /> min</label>
  <label class="radius">${t("ring-most")} <${Amount} optional whole min=${1} placeholder="–" value=${one.pace_per_min} label=${`${t("pace")}: ${title}`} set=${(pace_per_min) => set({ pace_per_min })} /> ${t("ring-pace")}</label></div>`;

function Piece({ one, pieces, set, drop, wider }) {
  const title = NAMES[one.type](one, pieces);
  const toRing = () => set({ type: one.type === "ring" ? "circle" : "ring", loudness: one.loudness || TABLES.loudness[0], delay_min: one.delay_min || 0, minus: false });
  const canRing = one.type === "ring" || ringsOf(pieces).length < TABLES.mostRings;
  return html`<li class="${one.minus ? "is-minus" : ""} of-${one.type}">
    <span class="piece-title">${TITLES[one.type](one, pieces)}${one.minus ? html` <em>${t("minus")}</em>` : null}</span>
    ${isRound(one) ? html`<label class="radius"><${Amount} min=${0.1} value=${one.radius_km} label=${`${t("radius")}: ${title}`} set=${(radius_km) => set({ radius_km })} /> km</label>` : null}
    ${isRound(one) && canRing ? html`<button type="button" class="tiny is-ring" aria-pressed=${one.type === "ring" ? "true" : "false"} aria-label=${`${t("tool-ring")}: ${title}`} title=${t("tool-ring-says")} onClick=${toRing}><${Icon} name="ring" /></button>` : null}
    ${one.type === "ring" ? null : html`<button type="button" class="tiny" aria-pressed=${one.minus ? "true" : "false"} aria-label=${`${t("tool-minus")}: ${title}`} onClick=${() => set({ minus: !one.minus })}><${Icon} name="minus" /></button>`}
    <button type="button" class="tiny" aria-label=${`${t("remove")}: ${title}`} onClick=${drop}><${Icon} name="close" /></button>
    ${one.type === "ring" ? html`<${RingFields} one=${one} title=${title} set=${set} />` : null}
    ${wider ? html`<${Button} kind="quiet" icon="plus" onClick=${wider}>${t("ring-wider")}<//>` : null}
  </li>`;
}

/** A ring around the widest one: one degree quieter, a little later. */
function widerThan(ring) {
  const quieter = TABLES.loudness[Math.min(TABLES.loudness.indexOf(ring.loudness) + 1, TABLES.loudness.length - 1)];
  return { ...ring, id: uuid(), radius_km: ring.radius_km * WIDER, loudness: quieter, delay_min: ring.delay_min + LATER_MIN };
}

export function Pieces({ pieces, onChange, onAdd }) {
  const rings = ringsOf(pieces);
  const last = rings[rings.length - 1];
  const wider = rings.length < TABLES.mostRings ? () => onAdd([widerThan(last)]) : null;
  return html`<ul class="pieces">${pieces.map((one) => html`<${Piece} key=${one.id} one=${one} pieces=${pieces} wider=${one === last ? wider : null}
    set=${(more) => onChange(pieces.map((each) => (each.id === one.id ? { ...each, ...more } : each)))}
    drop=${() => onChange(pieces.filter((each) => each.id !== one.id))} />`)}</ul>`;
}
