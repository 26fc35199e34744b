// The area: search, click, draw, cut out; beside it, the reach. Everything works without the map.

import { get } from "../parts/api.js";
import { Icon, Refused, Sketch, hasWebGl, html, useEffect, useLayoutEffect, useRef, useSettled, useState } from "../parts/parts.js";
import { useAreaMap } from "../parts/mount.js";
import { Pieces, kindOf, regionPiece } from "./pieces.js";
import { ReachPanel } from "./reach.js";
import { START } from "./shapes.js";
import { OtherWays, boxOfPieces, useReading } from "./ways.js";
import { language, number, t } from "../parts/words.js";

const TOOLS = ["pick", "polygon", "circle", "edit"];
/** The kind of region that a click selects, by zoom level. */
const MEANT = [[5, "country"], [8, "province"], [99, "city"]];
const REST_MS = 150;

/** Of regions with exactly the typed name, the smallest comes first: "Sevilla" means the town before the province. */
const KINDS = ["drawn", "city", "county", "province", "country"];
const bare = (text) => text.normalize("NFD").replace(/\p{M}/gu, "").toLowerCase();
export function meant(regions, text) {
  const same = regions.filter((one) => [one.name, ...Object.values(one.names)].some((name) => bare(name) === bare(text)));
  return [...same.sort((a, b) => KINDS.indexOf(a.kind) - KINDS.indexOf(b.kind)), ...regions.filter((one) => !same.includes(one))];
}

/** `near` (longitude, latitude): nearer regions come first. With several results, Enter moves the focus to them and selects none. */
export function Search({ onFound, near = START.center }) {
  const [text, type] = useState("");
  const [found, find] = useState(null);
  const list = useRef(null);
  const settled = useSettled(text.trim(), REST_MS);
  useEffect(() => {
    if (settled.length < 2) { find(null); return undefined; }
    const stop = new AbortController();
    get(`/v1/regions?limit=8&at=${near.map((n) => n.toFixed(3)).join()}&q=${encodeURIComponent(settled)}`, { signal: stop.signal }).then(
      ({ regions }) => find({ of: settled, regions: meant(regions, settled), error: null }),
      (error) => { if (!stop.signal.aborted) find({ of: settled, regions: [], error }); },
    );
    return () => stop.abort();
  }, [settled]);
  const take = (region) => { onFound(region); type(""); find(null); };
  const keys = (e) => {
    if (e.key === "Enter" || e.key === "ArrowDown") e.preventDefault();
    if (!["Enter", "ArrowDown"].includes(e.key) || !found || found.of !== text.trim() || !found.regions.length) return;  // results of an earlier text are not selectable
    if (e.key === "Enter" && found.regions.length === 1) take(found.regions[0]); else list.current.querySelector("button").focus();
  };
  const leave = (e) => {
    if (e.key === "Escape") { type(""); find(null); }
  };
  return html`<div class="search" onKeyDown=${leave}><${Icon} name="search" />
    <input type="search" aria-label=${t("search-place")} placeholder=${t("search-place")} value=${text} onInput=${(e) => type(e.target.value)} onKeyDown=${keys} />
    ${found && found.error ? html`<${Refused} error=${found.error} />` : found ? html`<ul class="found" ref=${list} aria-busy=${found.of === text.trim() ? null : "true"}>${found.regions.length ? found.regions.map((one) => html`<li><button type="button" onClick=${() => take(one)}>
      <b>${one.names[language] || one.name}</b><span class="muted">${kindOf({ kind: one.kind, within: one.parent || one.country })} · ${one.code}</span></button></li>`) : html`<li class="muted">${t("no-region")}</li>`}</ul>` : null}
  </div>`;
}

function Toolbar({ tool, minus, onTool, onMinus }) {
  return html`<div class="tools" role="toolbar" aria-label=${t("step-area")}>${TOOLS.map((one) => html`
    <button type="button" aria-pressed=${tool === one ? "true" : "false"} onClick=${() => onTool(one)}><${Icon} name=${one} /><span>${t(`tool-${one}`)}</span></button>`)}
    <button type="button" class="tool-minus" aria-pressed=${minus ? "true" : "false"} onClick=${() => onMinus(!minus)}><${Icon} name="minus" /><span>${t("tool-minus")}</span></button>
    <p class="tool-says small muted">${t(`${tool}-says`)}</p></div>`;
}

/** The map, if the browser can draw one, with the pieces and the resolved area. */
function useMap(draft, change, reach, told, onNoMap) {
  const { box, map } = useAreaMap({ view: draft.view, told: { ...told, moved: (view) => change({ view }) }, onNoMap });
  useEffect(() => { if (map) map.setPieces(draft.pieces); }, [map, draft.pieces]);
  useEffect(() => { if (map) map.setArea(reach.told && reach.told.geometry); }, [map, reach.told]);
  return { box, map };
}

/** The region at a click; null on the sea. */
export async function regionAt(lon, lat, zoom) {
  const { regions } = await get(`/v1/regions?at=${lon},${lat}`);
  const kind = MEANT.find(([below]) => zoom < below)[1];
  return regions.find((one) => one.kind === kind || (kind === "city" && one.kind === "county")) || regions[0];
}

function DrawnMap({ draft, change, reach, reading, onPieces, onOpen, fit, onNoMap, onFault }) {
  const [tool, setTool] = useState("pick");
  const [minus, setMinus] = useState(false);
  const add = (piece) => onPieces((before) => [...before.filter((one) => one.id !== piece.id), piece]);
  const picked = (lon, lat, zoom) => pick(lon, lat, zoom).then(() => onFault(null), onFault);
  const pick = async (lon, lat, zoom) => {
    const region = await regionAt(lon, lat, zoom);
    if (!region) return;
    onPieces((before) => (before.some((one) => one.code === region.code) ? before.filter((one) => one.code !== region.code) : [...before, regionPiece(region, minus)]));
  };
  const edited = (piece) => onPieces((before) => before.map((one) => (one.id === piece.id ? { ...one, ...piece, type: one.type } : one)));
  const { box, map } = useMap(draft, change, reach, { picked, drawn: add, edited, opened: onOpen }, onNoMap);
  useEffect(() => () => onOpen(false), []);
  useLayoutEffect(() => { if (map) map.setTool(tool, minus); }, [map, tool, minus]);  // at once, so that a tap right after the press counts
  useEffect(() => { if (map && fit) map.fit(fit); }, [map, fit]);
  const drop = (e) => { e.preventDefault(); const [file] = e.dataTransfer.files; if (file) reading.takeFile(file); };
  return html`<div class="map-box" onDragOver=${(e) => e.preventDefault()} onDrop=${drop}><div class="map" ref=${box} role="application" aria-label=${t("step-area")}></div>
    <${Toolbar} tool=${tool} minus=${minus} onTool=${setTool} onMinus=${setMinus} /></div>`;
}

const NoMap = ({ reach }) => html`<div class="map-box no-map"><p class="note">${t("no-map")}</p>
  <${Sketch} geometry=${reach.told && reach.told.geometry} label=${reach.told ? reach.told.area.name : ""} />
  ${reach.told ? html`<p class="muted">${reach.told.area.name} · ${number(Math.round(reach.told.area.km2))} km²</p>` : null}</div>`;

export function AreaStep({ draft, change, reach, refusal, go, onOpen }) {
  const [drawable, draw] = useState(hasWebGl);
  const [fault, tell] = useState(null);
  const [fit, setFit] = useState(() => (draft.view ? null : boxOfPieces(draft.pieces)));  // fits the map to the existing area until the user moves the map
  const onPieces = (next) => change((before) => ({ pieces: typeof next === "function" ? next(before.pieces) : next }));
  const found = (region) => {
    onPieces((before) => [...before.filter((one) => one.code !== region.code), regionPiece(region, false)]);
    setFit(region.bbox);
  };
  const added = (pieces) => {
    onPieces((before) => [...before, ...pieces]);
    setFit(boxOfPieces(pieces));
  };
  const reading = useReading(added);
  const onAsk = (yes) => change((before) => ({ beyond: { ...before.beyond, beyond: yes ? "ask" : "refuse" } }));
  return html`<div class="area-step">
    <div class="area-side"><${Search} onFound=${found} near=${(draft.view || START).center} /><${Refused} error=${fault} />
      <${Pieces} pieces=${draft.pieces} onChange=${onPieces} onAdd=${added} />
      <${ReachPanel} reach=${reach} status=${draft.status} asks=${(draft.beyond || {}).beyond === "ask"} onAsk=${onAsk} />
      ${refusal ? html`<div class="would-refuse"><p class="small">${t("would-refuse")}</p><${Refused} error=${refusal} go=${go} /></div>` : null}
      <${OtherWays} onAdd=${added} reading=${reading} open=${!drawable} /></div>
    ${drawable ? html`<${DrawnMap} draft=${draft} change=${change} reach=${reach} reading=${reading} onPieces=${onPieces} onOpen=${onOpen} fit=${fit} onNoMap=${() => draw(false)} onFault=${tell} />` : html`<${NoMap} reach=${reach} />`}
  </div>`;
}
