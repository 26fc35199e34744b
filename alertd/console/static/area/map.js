// The map: outlines and names from one file, the area that the API resolved, and drawing by hand. Loaded only where a map is shown and the
// browser can draw one.

import { LngLat, LngLatBounds, Map as MapLibre, NavigationControl, addProtocol } from "../vendor/maplibre-gl.mjs";
import { FetchSource, PMTiles, Protocol } from "../vendor/pmtiles.mjs";
import { TerraDraw, TerraDrawCircleMode, TerraDrawPolygonMode, TerraDrawSelectMode } from "../vendor/terra-draw.mjs";
import { TerraDrawMapLibreGLAdapter } from "../vendor/terra-draw-maplibre.mjs";
import { HELD_CORNERS, START } from "./shapes.js";
import { t } from "../parts/words.js";

export { prewarm } from "../vendor/maplibre-gl.mjs";

const BASE = `${location.origin}/console/map/base.pmtiles`;
const SOURCES = "Made with Natural Earth · © Instituto Geográfico Nacional, CC BY 4.0 ign.es · © BFS, swisstopo · U.S. Census Bureau";
const MODES = { polygon: "polygon", circle: "circle", edit: "select", pick: "static" };
/** Stored decimals of a degree: 6, about a decimetre. */
const DECIMALS = 6;
const EARTH_KM = 6371.0088;
/** Below this width in px, the map has no room for the names of its sources. */
const NARROW = 760;
const NOTHING = { type: "FeatureCollection", features: [] };

/** Attempts to load a piece of the map before it counts as missing. */
const TRIES = 4;
/** Pause after an attempt in ms; it grows with each one. */
const REST_MS = 200;

/** A lost connection shows as a TypeError, a broken one as too few bytes: retries both, unless the request was aborted. */
class Persistent extends FetchSource {
  async getBytes(offset, length, signal, etag) {
    for (let left = TRIES; ; left -= 1) {
      try {
        const piece = await super.getBytes(offset, length, signal, etag);
        if (piece.data.byteLength < length) throw new TypeError(`${piece.data.byteLength} of ${length} bytes came`);
        return piece;
      } catch (error) {
        if (left === 1 || !(error instanceof TypeError) || (signal && signal.aborted)) throw error;
        await new Promise((resume) => setTimeout(resume, REST_MS * (TRIES - left + 1)));
      }
    }
  }
}

const protocol = new Protocol();
protocol.add(new PMTiles(new Persistent(BASE)));
addProtocol("pmtiles", protocol.tile);

const round = (n) => Number(n.toFixed(DECIMALS));
/** A point on the globe: a map continues beyond 180 degrees. */
const wrapped = (lon, lat) => [round(new LngLat(lon, lat).wrap().lng), round(lat)];
const rounded = (ring) => ring.map((point) => point.map(round));
const colours = () => {
  const style = getComputedStyle(document.documentElement);
  return (name) => style.getPropertyValue(`--${name}`).trim();
};

/** The outline of a circle, accurate enough for a map. */
export function outline([lon, lat], radius_km, corners = 64) {
  const [phi, d] = [(lat * Math.PI) / 180, radius_km / EARTH_KM];
  const at = (i) => {
    const bearing = (i / corners) * 2 * Math.PI;
    const y = Math.asin(Math.sin(phi) * Math.cos(d) + Math.cos(phi) * Math.sin(d) * Math.cos(bearing));
    const x = Math.atan2(Math.sin(bearing) * Math.sin(d) * Math.cos(phi), Math.cos(d) - Math.sin(phi) * Math.sin(y));
    return [round(lon + (x * 180) / Math.PI), round((y * 180) / Math.PI)];
  };
  return [...Array.from({ length: corners }, (_, i) => at(corners - i)), at(corners)];
}

/** A drawn feature as a piece of a target. */
function pieceOf(feature) {
  const ring = rounded(feature.geometry.coordinates[0]);
  if (feature.properties.mode !== "circle") return { id: feature.id, type: "polygon", geometry: { type: "Polygon", coordinates: [ring] } };
  const [lons, lats] = [ring.map((p) => p[0]), ring.map((p) => p[1])];
  const middle = (all) => round((Math.min(...all) + Math.max(...all)) / 2);
  return { id: feature.id, type: "circle", center: wrapped(middle(lons), middle(lats)), radius_km: Number(feature.properties.radiusKilometers.toFixed(3)) };
}

function featureOf(piece) {
  const circle = Boolean(piece.center);
  const coordinates = circle ? [outline(piece.center, piece.radius_km)] : piece.geometry.coordinates.map(rounded);
  const properties = { mode: circle ? "circle" : "polygon", minus: Boolean(piece.minus), loudness: piece.type === "ring" ? piece.loudness || "as-alert" : "" };
  if (circle) properties.radiusKilometers = piece.radius_km;
  return { type: "Feature", id: piece.id, geometry: { type: "Polygon", coordinates }, properties };
}

/** A ring shows its loudness at its top. */
const labelOf = ({ center, radius_km, loudness }, i) => ({
  type: "Feature", properties: { name: `${i + 1} · ${t(loudness ? `is-${loudness}` : "as-alert")}` }, geometry: { type: "Point", coordinates: outline(center, radius_km)[0] },
});

/** Whether the piece can be edited by hand: one outline with few corners. Others show only as part of the area. */
const isDrawn = ({ type, geometry }) =>
  type === "circle" || type === "ring" || (type === "polygon" && geometry.type === "Polygon" && geometry.coordinates.length === 1 && geometry.coordinates[0].length <= HELD_CORNERS);

const named = (id, kind, minzoom, colour, size, weight) => ({
  id, type: "symbol", source: "base", "source-layer": "names", minzoom, filter: ["==", "kind", kind],
  layout: { "text-field": ["get", "name"], "text-size": size, "symbol-sort-key": ["-", 0, ["get", "size"]], "text-max-width": 7, "text-padding": weight },
  paint: { "text-color": colour("map-name"), "text-halo-color": colour("map-land"), "text-halo-width": 1.4 },
});

const border = (id, kinds, minzoom, colour, width) => ({
  id, type: "line", source: "base", "source-layer": "regions", minzoom, filter: ["in", "kind", ...kinds],
  paint: { "line-color": colour, "line-width": width },
});

function style() {
  const colour = colours();
  return {
    version: 8,
    sources: {
      base: { type: "vector", url: `pmtiles://${BASE}`, attribution: SOURCES },
      area: { type: "geojson", data: NOTHING },
      rings: { type: "geojson", data: NOTHING },
    },
    layers: [
      { id: "sea", type: "background", paint: { "background-color": colour("map-sea") } },
      { id: "land", type: "fill", source: "base", "source-layer": "regions", filter: ["==", "kind", "country"], paint: { "fill-color": colour("map-land"), "fill-antialias": false } },
      border("small", ["city", "county"], 8, colour("map-line"), ["interpolate", ["linear"], ["zoom"], 8, 0.4, 12, 1]),
      border("provinces", ["province"], 4, colour("map-line"), ["interpolate", ["linear"], ["zoom"], 4, 0.4, 10, 1.6]),
      border("countries", ["country"], 0, colour("map-border"), ["interpolate", ["linear"], ["zoom"], 1, 0.5, 8, 1.8]),
      { id: "area-fill", type: "fill", source: "area", paint: { "fill-color": colour("area"), "fill-opacity": 0.2 } },
      { id: "area-line", type: "line", source: "area", paint: { "line-color": colour("area"), "line-width": 2.2 } },
      named("city-names", "city", 9, colour, 12, 4),
      named("county-names", "county", 8, colour, 12, 4),
      named("province-names", "province", 5.5, colour, 12, 12),
      named("country-names", "country", 1, colour, 13, 8),
      { id: "ring-names", type: "symbol", source: "rings", layout: { "text-field": ["get", "name"], "text-size": 13, "text-anchor": "bottom", "text-offset": [0, -0.2], "text-allow-overlap": true },
        paint: { "text-color": colour("area"), "text-halo-color": colour("map-land"), "text-halo-width": 2 } },
    ],
  };
}

/** Louder rings are more opaque. */
const FILLED = { loud: 0.34, normal: 0.16, silent: 0.04 };

/** The styles of drawn shapes, by drawing mode. */
function drawnStyles() {
  const colour = colours();
  const of = (feature) => colour(feature.properties.minus ? "minus" : "area");
  const styles = { fillColor: of, fillOpacity: (f) => (f.properties.minus ? 0.3 : FILLED[f.properties.loudness] || 0.12), outlineColor: of, outlineWidth: 2 };
  const select = {
    selectedPolygonColor: colour("area"), selectedPolygonFillOpacity: 0.25, selectedPolygonOutlineColor: colour("area"), selectedPolygonOutlineWidth: 3,
    selectionPointColor: colour("area"), midPointColor: colour("area"),
  };
  return { polygon: styles, circle: styles, select };
}

/** A finger does not move before it taps: a circle ends at the tap, not at the last pointer position. */
class Circle extends TerraDrawCircleMode {
  onClick(event) {
    if (this.state === "drawing") this.onMouseMove(event);
    super.onClick(event);
  }
}

function modes() {
  const styles = drawnStyles();
  const hand = (shape) => ({ feature: { draggable: true, ...shape } });
  const flags = { polygon: hand({ coordinates: { midpoints: true, draggable: true, deletable: true } }), circle: hand({}) };
  return [
    new TerraDrawPolygonMode({ styles: styles.polygon }),
    new Circle({ styles: styles.circle }),
    new TerraDrawSelectMode({ flags, styles: styles.select }),
  ];
}

/** `told` receives `picked(lon, lat, zoom)`, `drawn(piece)`, `edited(piece)`, `moved(view)` and `opened(yes)` (a shape is open); null makes a read-only map. */
export class AreaMap {
  constructor(container, view, told) {
    this.told = told;
    this.tool = "pick";
    this.held = "";
    this.map = new MapLibre({ container, style: style(), attributionControl: { compact: true }, dragRotate: false, pitchWithRotate: false, ...(view || START) });
    this.map.touchZoomRotate.disableRotation();
    this.map.scrollZoom[told ? "enable" : "disable"]();
    // Cancelled tiles are no error. Errors of MapLibre's worker lose their text when printed.
    this.map.on("error", ({ error }) => { if (!this.gone) console.error(`The map: ${error.message}`); });
    if (told) this.listen(told);
    this.ready = new Promise((done) => this.map.on("load", done)).then(() => (told ? this.begin() : this.foldSources()));
    this.dark = matchMedia("(prefers-color-scheme: dark)");
    this.recolour = () => this.ready.then(() => this.paint());
    this.dark.addEventListener("change", this.recolour);
  }

  /** A small map folds its sources; one click opens them. */
  foldSources() {
    const sources = this.map.getContainer().querySelector(".maplibregl-compact-show");
    if (sources) { sources.classList.remove("maplibregl-compact-show"); sources.removeAttribute("open"); }
  }

  /** Recolours every layer; keeps the area and the drawn shapes. */
  paint() {
    for (const { id, paint } of style().layers) for (const [name, value] of Object.entries(paint)) this.map.setPaintProperty(id, name, value);
    if (this.draw) for (const [mode, styles] of Object.entries(drawnStyles())) this.draw.setModeStyles(mode, styles);
  }

  listen(told) {
    this.map.addControl(new NavigationControl({ showCompass: false }), "bottom-right");
    // A click belongs to the tool at its press: the one that ends a shape picks no region.
    this.map.getCanvasContainer().addEventListener("pointerdown", () => { this.pressed = this.tool; }, true);
    this.map.on("click", ({ lngLat }) => { if (this.pressed === "pick") told.picked(...wrapped(lngLat.lng, lngLat.lat), this.map.getZoom()); });
    this.map.on("moveend", () => told.moved({ center: this.map.getCenter().toArray(), zoom: this.map.getZoom() }));
  }

  begin() {
    this.draw = new TerraDraw({ adapter: new TerraDrawMapLibreGLAdapter({ map: this.map, coordinatePrecision: 9 }), modes: modes() });
    this.draw.start();
    this.draw.setMode("static");
    this.draw.on("finish", (id, { action, mode }) => this.finished(id, action, mode));
    for (const event of ["change", "finish"]) this.draw.on(event, () => queueMicrotask(() => this.tellOpen()));
    if (this.map.getContainer().clientWidth < NARROW) this.foldSources();
    this.map.getContainer().dataset.ready = "true";
  }

  /** A shape that is still open belongs to no area, and is lost with the map. */
  tellOpen() {
    if (!this.gone) this.told.opened(this.draw.getModeState() === "drawing");
  }

  finished(id, action) {
    const feature = this.draw.getSnapshotFeature(id);
    if (!feature) return;
    const piece = pieceOf(feature);
    if (action === "draw") {
      if (this.minus) this.draw.updateFeatureProperties(id, { minus: true });
      this.held = "";
      this.told.drawn({ ...piece, minus: this.minus });
    } else this.told.edited(piece);
  }

  setTool(tool, minus) {
    this.tool = tool;
    this.minus = minus;
    this.map.getCanvas().style.cursor = tool === "pick" ? "pointer" : "";
    this.draw.setMode(MODES[tool]);
  }

  /** Shows the editable pieces; leaves unchanged ones alone. */
  setPieces(pieces) {
    const wanted = pieces.filter(isDrawn);
    const state = JSON.stringify(wanted);
    if (state === this.held) return;
    this.held = state;
    const have = new Map(this.draw.getSnapshot().filter((one) => "minus" in one.properties || one.properties.mode in MODES).map((one) => [one.id, one]));
    const same = (piece) => have.has(piece.id) && seenOf(pieceOf(have.get(piece.id)), have.get(piece.id).properties) === seenOf(piece, featureOf(piece).properties);
    const gone = [...have.keys()].filter((id) => !wanted.some((piece) => piece.id === id && same(piece)));
    if (gone.length) this.draw.removeFeatures(gone);
    this.map.getSource("rings").setData({ type: "FeatureCollection", features: pieces.filter((one) => one.type === "ring").map(labelOf) });
    const missing = wanted.filter((piece) => !this.draw.hasFeature(piece.id));
    if (missing.length) this.draw.addFeatures(missing.map(featureOf));
  }

  setArea(geometry) {
    const source = this.map.getSource("area");
    if (source) source.setData(geometry ? { type: "Feature", properties: {}, geometry } : NOTHING);
  }

  /** Fits the map to a box; ignores empty boxes, and clips those beyond a pole. */
  fit(box) {
    if (!box.every(Number.isFinite)) return;
    const [west, south, east, north] = box.map((n, i) => (i % 2 ? Math.min(90, Math.max(-90, n)) : n));
    this.map.fitBounds(new LngLatBounds([west, south], [east, north]), { padding: { top: 96, bottom: 60, left: 60, right: 60 }, maxZoom: 11, animate: !matchMedia("(prefers-reduced-motion: reduce)").matches, duration: 500 });
  }

  destroy() {
    this.gone = true;
    this.dark.removeEventListener("change", this.recolour);
    if (this.draw) this.draw.stop();
    this.map.remove();
  }
}

/** Everything visible of a piece. */
const seenOf = ({ geometry, center, radius_km }, { minus, loudness }) => JSON.stringify([center ? [center, radius_km] : geometry, Boolean(minus), loudness || ""]);
