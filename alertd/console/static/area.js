// Where: search, click, draw, take away; beside it whom that reaches. All of it works without the map.

import { get } from "./api.js";
import { Button, Field, Icon, Sketch, hasWebGl, html, useEffect, useRef, useSettled, useState } from "./parts.js";
import { ReachPanel } from "./reach.js";
import { language, number, t } from "./words.js";

const TOOLS = ["pick", "polygon", "circle", "edit"];
/** The kind of region a click means, by how near one looks. */
const MEANT = [[5, "country"], [8, "province"], [99, "city"]];
const REST_MS = 150;

function uuid() {
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  bytes[6] = (bytes[6] & 15) | 64;
  bytes[8] = (bytes[8] & 63) | 128;
  return [...bytes].map((n, i) => ([4, 6, 8, 10].includes(i) ? "-" : "") + n.toString(16).padStart(2, "0")).join("");
}

const regionPiece = (region, minus) => ({ id: `region-${region.code}`, type: "region", code: region.code, name: region.names[language] || region.name, kind: region.kind, bbox: region.bbox, minus });

function Search({ onFound }) {
  const [text, type] = useState("");
  const [found, find] = useState(null);
  const settled = useSettled(text.trim(), REST_MS);
  useEffect(() => {
    if (settled.length < 2) { find(null); return undefined; }
    const stop = new AbortController();
    get(`/v1/regions?limit=8&q=${encodeURIComponent(settled)}`, { signal: stop.signal }).then((told) => find(told.regions), () => {});
    return () => stop.abort();
  }, [settled]);
  const take = (region) => { onFound(region); type(""); find(null); };
  const keys = (e) => {
    if (e.key === "Enter" && found && found.length) { e.preventDefault(); take(found[0]); }
    if (e.key === "Escape") { type(""); find(null); }
  };
  return html`<div class="search"><${Icon} name="search" />
    <input type="search" aria-label=${t("search-place")} placeholder=${t("search-place")} value=${text} onInput=${(e) => type(e.target.value)} onKeyDown=${keys} />
    ${found ? html`<ul class="found">${found.length ? found.map((one) => html`<li><button type="button" onClick=${() => take(one)}>
      <b>${one.names[language] || one.name}</b><span class="muted">${one.kind} · ${one.parent || one.country} · ${one.code}</span></button></li>`) : html`<li class="muted">${t("no-region")}</li>`}</ul>` : null}
  </div>`;
}

function Pieces({ pieces, onChange }) {
  const set = (id, more) => onChange(pieces.map((one) => (one.id === id ? { ...one, ...more } : one)));
  const title = (one) => (one.type === "region" ? one.name : one.type === "circle" ? t("circle") : t("shape", { n: one.geometry.coordinates.flat(one.geometry.type === "Polygon" ? 1 : 2).length - 1 }));
  return html`<ul class="pieces">${pieces.map((one) => html`<li key=${one.id} class=${one.minus ? "is-minus" : ""}>
    <span class="piece-title">${title(one)}${one.minus ? html` <em>${t("minus")}</em>` : null}</span>
    ${one.type === "circle" ? html`<label class="radius"><input type="number" min="0.1" step="0.1" value=${one.radius_km} aria-label=${t("radius")}
      onChange=${(e) => Number(e.target.value) > 0 && set(one.id, { radius_km: Number(e.target.value) })} /> km</label>` : null}
    <button type="button" class="tiny" aria-pressed=${one.minus ? "true" : "false"} aria-label=${`${t("tool-minus")}: ${title(one)}`} onClick=${() => set(one.id, { minus: !one.minus })}><${Icon} name="minus" /></button>
    <button type="button" class="tiny" aria-label=${`${t("remove")}: ${title(one)}`} onClick=${() => onChange(pieces.filter((other) => other.id !== one.id))}><${Icon} name="close" /></button>
  </li>`)}</ul>`;
}

/** The polygons of whatever GeoJSON it is. */
function polygonsIn(json) {
  if (json.type === "FeatureCollection") return json.features.flatMap(polygonsIn);
  if (json.type === "Feature") return polygonsIn(json.geometry);
  if (json.type === "GeometryCollection") return json.geometries.flatMap(polygonsIn);
  return ["Polygon", "MultiPolygon"].includes(json.type) ? [{ type: json.type, coordinates: json.coordinates }] : [];
}

function OtherWays({ onAdd, open }) {
  const [place, setPlace] = useState("");
  const [radius, setRadius] = useState("5");
  const [text, setText] = useState("");
  const [fault, tell] = useState({});
  const circle = () => {
    const center = place.split(/[\s,;]+/).filter(Boolean).map(Number);
    const good = center.length === 2 && Math.abs(center[0]) <= 180 && Math.abs(center[1]) <= 90 && Number(radius) > 0;
    tell(good ? {} : { place: t("lonlat-bad") });
    if (good) { onAdd([{ id: uuid(), type: "circle", center, radius_km: Number(radius) }]); setPlace(""); }
  };
  const paste = () => {
    let found = [];
    try { found = polygonsIn(JSON.parse(text)); } catch { /* told below */ }
    tell(found.length ? {} : { text: t("geojson-bad") });
    if (found.length) { onAdd(found.map((geometry) => ({ id: uuid(), type: "polygon", geometry }))); setText(""); }
  };
  return html`<details class="other-ways" open=${open}><summary>${t("other-ways")}</summary>
    <div class="circle-form"><${Field} label=${t("lonlat")} value=${place} onChange=${setPlace} error=${fault.place} placeholder="-5.98, 37.39" />
      <${Field} label=${t("radius")} value=${radius} onChange=${setRadius} inputmode="decimal" />
      <${Button} onClick=${circle}>${t("add")}<//></div>
    <div class="paste-form"><${Field} type="area" label=${t("geojson")} value=${text} onChange=${setText} error=${fault.text} spellcheck=${false} />
      <${Button} onClick=${paste} disabled=${!text.trim()}>${t("add")}<//></div></details>`;
}

function Toolbar({ tool, minus, onTool, onMinus }) {
  return html`<div class="tools" role="toolbar" aria-label=${t("step-area")}>${TOOLS.map((one) => html`
    <button type="button" aria-pressed=${tool === one ? "true" : "false"} onClick=${() => onTool(one)}><${Icon} name=${one} /><span>${t(`tool-${one}`)}</span></button>`)}
    <button type="button" class="tool-minus" aria-pressed=${minus ? "true" : "false"} onClick=${() => onMinus(!minus)}><${Icon} name="minus" /><span>${t("tool-minus")}</span></button></div>`;
}

/** The map where the browser can draw it; its code is fetched here, not before. */
function useMap(draft, change, reach, told) {
  const box = useRef(null);
  const map = useRef(null);
  const [ready, setReady] = useState(false);
  const heard = useRef(told);
  heard.current = told;
  useEffect(() => {
    let gone = false;
    const tell = (name) => (...values) => heard.current[name](...values);
    import("./map.js").then(async ({ AreaMap }) => {
      if (gone) return;
      map.current = new AreaMap(box.current, draft.view, { picked: tell("picked"), drawn: tell("drawn"), edited: tell("edited"), moved: (view) => change({ view }) });
      await map.current.ready;
      if (!gone) setReady(true);
    });
    return () => { gone = true; if (map.current) map.current.destroy(); };
  }, []);
  useEffect(() => { if (ready) map.current.setPieces(draft.pieces); }, [ready, draft.pieces]);
  useEffect(() => { if (ready) map.current.setArea(reach.told && reach.told.geometry); }, [ready, reach.told]);
  return { box, map: ready ? map.current : null };
}

function DrawnMap({ draft, change, reach, onPieces, fit }) {
  const [tool, setTool] = useState("pick");
  const [minus, setMinus] = useState(false);
  const add = (piece) => onPieces((before) => [...before.filter((one) => one.id !== piece.id), piece]);
  const picked = async (lon, lat, zoom) => {
    const { regions } = await get(`/v1/regions?at=${lon},${lat}`);
    const kind = MEANT.find(([below]) => zoom < below)[1];
    const region = regions.find((one) => one.kind === kind || (kind === "city" && one.kind === "county")) || regions[0];
    if (!region) return;
    onPieces((before) => (before.some((one) => one.code === region.code) ? before.filter((one) => one.code !== region.code) : [...before, regionPiece(region, minus)]));
  };
  const edited = (piece) => onPieces((before) => before.map((one) => (one.id === piece.id ? { ...one, ...piece } : one)));
  const { box, map } = useMap(draft, change, reach, { picked, drawn: add, edited });
  useEffect(() => { if (map) map.setTool(tool, minus); }, [map, tool, minus]);
  useEffect(() => { if (map && fit) map.fit(fit); }, [map, fit]);
  return html`<div class="map-box"><div class="map" ref=${box} role="application" aria-label=${t("step-area")}></div>
    <${Toolbar} tool=${tool} minus=${minus} onTool=${setTool} onMinus=${setMinus} /></div>`;
}

const NoMap = ({ reach }) => html`<div class="map-box no-map"><p class="note">${t("no-map")}</p>
  <${Sketch} geometry=${reach.told && reach.told.geometry} label=${reach.told ? reach.told.area.name : ""} />
  ${reach.told ? html`<p class="muted">${reach.told.area.name} · ${number(Math.round(reach.told.area.km2))} km²</p>` : null}</div>`;

export function AreaStep({ draft, change, reach }) {
  const [drawable] = useState(hasWebGl);
  const [fit, setFit] = useState(null);
  const onPieces = (next) => change((before) => ({ pieces: typeof next === "function" ? next(before.pieces) : next }));
  const found = (region) => {
    onPieces((before) => [...before.filter((one) => one.code !== region.code), regionPiece(region, false)]);
    setFit(region.bbox);
  };
  const added = (pieces) => {
    onPieces((before) => [...before, ...pieces]);
    const points = pieces.flatMap((one) => (one.center ? [one.center] : one.geometry.coordinates.flat(one.geometry.type === "Polygon" ? 1 : 2)));
    const by = (i) => points.map((point) => point[i]);
    const margin = pieces.some((one) => one.center) ? Math.max(...pieces.map((one) => (one.radius_km || 0) / 90)) : 0;
    setFit([Math.min(...by(0)) - margin, Math.min(...by(1)) - margin, Math.max(...by(0)) + margin, Math.max(...by(1)) + margin]);
  };
  return html`<div class="area-step">
    <div class="area-side"><${Search} onFound=${found} />
      <${Pieces} pieces=${draft.pieces} onChange=${onPieces} />
      <${ReachPanel} reach=${reach} status=${draft.status} />
      <${OtherWays} onAdd=${added} open=${!drawable} /></div>
    ${drawable ? html`<${DrawnMap} draft=${draft} change=${change} reach=${reach} onPieces=${onPieces} fit=${fit} />` : html`<${NoMap} reach=${reach} />`}
  </div>`;
}
