// Outlines with many corners: read in a worker and kept beside the draft, so that typing stays fast.

import { forSession } from "../parts/api.js";
import { TABLES } from "../tables.js";

/** Default view of the map: [longitude, latitude], degrees. */
export const START = { center: [8, 44], zoom: 3 };

const KEPT = "alertd.shapes.";
/** Shapes up to this size are editable by hand and part of the draft. */
export const HELD_CORNERS = 500;
/** The API's limit of a request body. */
const MOST_BYTES = 10 * 1024 * 1024;

const held = forSession();

/** The polygons of a file piece; empty if the tab no longer has them. */
export function polygonsOf(id) {
  if (!held.has(id)) held.set(id, JSON.parse(sessionStorage.getItem(KEPT + id) || "[]"));
  return held.get(id);
}

export function hold(id, polygons, json) {
  held.set(id, polygons);
  try { sessionStorage.setItem(KEPT + id, json); } catch { /* it is too large to outlive the page: the file is still there */ }
}

/** Frees each outline that no draft in this tab uses; `drafts` are their texts. */
export function letGo(drafts) {
  const inTab = Object.keys(sessionStorage).filter((key) => key.startsWith(KEPT)).map((key) => key.slice(KEPT.length));
  for (const id of [...held.keys(), ...inTab].filter((one) => !drafts.some((text) => text.includes(one)))) {
    held.delete(id);
    sessionStorage.removeItem(KEPT + id);
  }
}

/** Every outline and hole of a Polygon or MultiPolygon. */
export const ringsOf = ({ type, coordinates }) => (type === "Polygon" ? coordinates : coordinates.flat());

/** West, south, east, north of the points; null without points. */
export function boxOf(points) {
  const box = [Infinity, Infinity, -Infinity, -Infinity];
  for (const [lon, lat] of points) {
    if (lon < box[0]) box[0] = lon;
    if (lat < box[1]) box[1] = lat;
    if (lon > box[2]) box[2] = lon;
    if (lat > box[3]) box[3] = lat;
  }
  return box;
}

const widthOf = (rings) => { const [west, , east] = boxOf(rings.flat()); return east - west; };
/** Joins outlines that the antimeridian split, one part at either edge of the world. */
export function together(rings) {
  const turned = rings.map((ring) => (ring.every(([lon]) => lon < 0) ? ring.map(([lon, lat]) => [lon + 360, lat]) : ring));
  return widthOf(turned) < widthOf(rings) / 2 ? turned : rings;
}

/** Number of corners that a sketch shows of an outline. */
const SKETCHED = 2000;
/** Minimum of corners per ring, or fewer with hundreds of rings, so that a small hole or island stays visible beside a coast. */
const SEEN = 50;
/** The minimum of any ring: a closed triangle. */
const FEWEST = 4;
export function thinned(rings) {
  const each = Math.ceil(rings.reduce((n, ring) => n + ring.length, 0) / SKETCHED);
  const seen = Math.max(FEWEST, Math.min(SEEN, SKETCHED / rings.length));
  const stepOf = ({ length }) => Math.max(1, Math.min(each, Math.floor(length / seen)));
  return rings.map((ring) => { const step = stepOf(ring); return ring.filter((_, i) => i % step === 0 || i === ring.length - 1); });
}

/**
 * The shapes of a GeoJSON, CAP or KML text: `{polygons, circles, corners, box, json}`, or `{fault, n}`, where `fault` is the key of a
 * sentence.
 */
export function readShapes(text) {
  if (text.length > MOST_BYTES) return Promise.resolve({ fault: "file-heavy", n: MOST_BYTES / 1024 / 1024 });
  const worker = new Worker(new URL("./reader.js", import.meta.url), { type: "module" });
  return new Promise((done) => {
    worker.onmessage = ({ data }) => { done(data.corners > TABLES.mostVertices ? { fault: "file-large", n: data.corners, most: TABLES.mostVertices } : data); worker.terminate(); };
    worker.onerror = () => { done({ fault: "file-unknown" }); worker.terminate(); };
    worker.postMessage(text);
  });
}
