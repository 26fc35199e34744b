// Where an organisation may alert: regions by name, drawn areas, and all of it as one outline.

import { Search, regionAt } from "./area.js";
import { Button, Icon, Refused, Sketch, hasWebGl, html, usePolled, useState } from "../parts/parts.js";
import { lookUp, regionName } from "../parts/names.js";
import { RegionMap } from "./regions.js";
import { OtherWays, useReading } from "./ways.js";
import { polygonsOf } from "./shapes.js";
import { t } from "../parts/words.js";

/** With more regions than this, only their number is shown: a partial map would look like the whole. */
const MOST_SHOWN = 60;

const outlines = ({ type, coordinates }) => (type === "Polygon" ? [coordinates] : coordinates);
const whole = (shapes) => (shapes.length ? { type: "MultiPolygon", coordinates: shapes.flatMap(outlines) } : null);

/** The regions of a jurisdiction with their names, the number of further ones, and its geometry. */
export function useGround(jurisdiction) {
  const { regions = [], polygons = [] } = jurisdiction || {};
  const shown = regions.length > MOST_SHOWN ? [] : regions;
  const load = async (signal) => {
    const found = await Promise.all(shown.map((code) => lookUp(code, "simple", signal)));
    const outlined = found.map((one) => one.geometry);
    return { regions: found, unread: found.some((one) => one.unread), geometry: outlined.every(Boolean) && shown.length === regions.length ? whole([...outlined, ...polygons]) : null };
  };
  const { data, error } = usePolled(load, 0, JSON.stringify([shown, polygons]));
  return { regions: [], geometry: null, ...data, rest: regions.length - shown.length, error };
}

/** Drawn or read pieces as outlines to store. */
const shapesOf = (pieces) => pieces.flatMap((one) => (one.type === "file" ? polygonsOf(one.id) : one.geometry ? [one.geometry] : []));

function Grounds({ regions, rest, polygons, onRegion, onPolygon }) {
  return html`<ul class="pieces">${regions.map((one) => html`<li key=${one.code}><span class="piece-title">${regionName(one)} <small class="muted">${one.code}</small></span>
      <button type="button" class="tiny" aria-label=${`${t("remove")}: ${regionName(one)}`} onClick=${() => onRegion(one.code)}><${Icon} name="close" /></button></li>`)}
    ${rest ? html`<li><span class="piece-title muted">${t("more-regions", { n: rest })}</span></li>` : null}
    ${polygons.map((one, i) => html`<li key=${`p${i}`}><span class="piece-title">${t("shape", { n: outlines(one).flat(2).length - outlines(one).flat().length })}</span>
      <button type="button" class="tiny" aria-label=${`${t("remove")}: ${t("drawn-grounds", { n: 1 })} ${i + 1}`} onClick=${() => onPolygon(i)}><${Icon} name="close" /></button></li>`)}</ul>`;
}

/** `value` is a jurisdiction, or null for everywhere; an empty one is incomplete. */
export function JurisdictionField({ value, onChange }) {
  const [drawable, draw] = useState(hasWebGl);
  const [drawing, setDrawing] = useState(false);
  const [fault, tell] = useState(null);
  const ground = useGround(value);
  const { regions = [], polygons = [] } = value || {};
  const set = (more) => onChange((before) => ({ regions: [], polygons: [], ...before, ...more(before || { regions: [], polygons: [] }) }));
  const add = (pieces) => set((before) => ({ polygons: [...before.polygons, ...shapesOf(pieces)] }));
  const reading = useReading(add);
  const toggle = (code) => set((before) => ({ regions: before.regions.includes(code) ? before.regions.filter((one) => one !== code) : [...before.regions, code] }));
  const found = (region) => set((before) => ({ regions: [...before.regions.filter((one) => one !== region.code), region.code] }));
  const picked = (...place) => regionAt(...place).then((region) => { tell(null); if (region) toggle(region.code); }, tell);
  const drawn = (piece) => { setDrawing(false); add([piece]); };
  return html`<div class="org-where"><div class="stack"><${Search} onFound=${found} /><${Refused} error=${fault || ground.error} />
      <${Grounds} regions=${ground.regions} rest=${ground.rest} polygons=${polygons} onRegion=${toggle} onPolygon=${(i) => set((before) => ({ polygons: before.polygons.filter((_, at) => at !== i) }))} />
      ${drawable ? html`<${Button} icon="polygon" aria-pressed=${drawing ? "true" : "false"} onClick=${() => setDrawing(!drawing)}>${t("tool-polygon")}<//>` : null}
      ${regions.length + polygons.length ? null : html`<p class="muted small">${t("jurisdiction-none")}</p>`}
      <${OtherWays} onAdd=${add} reading=${reading} open=${!drawable} shapesOnly /></div>
    ${drawable ? html`<div class="map-box"><${RegionMap} label=${t("jurisdiction")} geometry=${ground.geometry} drawing=${drawing} onNoMap=${() => draw(false)} told=${{ picked, drawn }} /></div>`
      : html`<${Sketch} geometry=${ground.geometry} label=${t("jurisdiction")} />`}</div>`;
}
