// Outlines of many corners: read in a worker, kept beside the draft, so that nothing that is typed waits for them.

import { forSession } from "../parts/api.js";
import { TABLES } from "../tables.js";

/** Where a map is opened that nobody has moved: [longitude, latitude], degrees. */
export const START = { center: [8, 44], zoom: 3 };

const KEPT = "alertd.shapes.";
/** Up to here hands can hold it, and it is part of the draft itself. */
export const HELD_CORNERS = 500;
/** As much as the API takes in one body. */
const MOST_BYTES = 10 * 1024 * 1024;

const held = forSession();

/** The polygons that a piece of a file stands for; none where the tab no longer has them. */
export function polygonsOf(id) {
  if (!held.has(id)) held.set(id, JSON.parse(sessionStorage.getItem(KEPT + id) || "[]"));
  return held.get(id);
}

export function hold(id, polygons, json) {
  held.set(id, polygons);
  try { sessionStorage.setItem(KEPT + id, json); } catch { /* it is too large to outlive the page: the file is still there */ }
}

/** Lets go of each outline that none of the drafts in this tab names; `drafts` are their texts. */
export function letGo(drafts) {
  const inTab = Object.keys(sessionStorage).filter((key) => key.startsWith(KEPT)).map((key) => key.slice(KEPT.length));
  for (const id of [...held.keys(), ...inTab].filter((one) => !drafts.some((text) => text.includes(one)))) {
    held.delete(id);
    sessionStorage.removeItem(KEPT + id);
  }
}

/** Every outline and hole of a Polygon or MultiPolygon. */
export const ringsOf = ({ type, coordinates }) => (type === "Polygon" ? coordinates : coordinates.flat());

/** West, south, east, north of what the points are in; of no point, nothing is in it. */
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
/** Outlines as they lie on the ground: what crosses the antimeridian comes in two parts, one at either edge of the world, and is told as one. */
export function together(rings) {
  const turned = rings.map((ring) => (ring.every(([lon]) => lon < 0) ? ring.map(([lon, lat]) => [lon + 360, lat]) : ring));
  return widthOf(turned) < widthOf(rings) / 2 ? turned : rings;
}

/** Of an outline, about as many corners as a sketch can show. */
const SKETCHED = 2000;
/** Of each ring so many of them, or fewer where there are hundreds: a hole or an island has few beside a coast, and is seen none the less. */
const SEEN = 50;
/** Of any ring: a triangle, closed. */
const FEWEST = 4;
export function thinned(rings) {
  const each = Math.ceil(rings.reduce((n, ring) => n + ring.length, 0) / SKETCHED);
  const seen = Math.max(FEWEST, Math.min(SEEN, SKETCHED / rings.length));
  const stepOf = ({ length }) => Math.max(1, Math.min(each, Math.floor(length / seen)));
  return rings.map((ring) => { const step = stepOf(ring); return ring.filter((_, i) => i % step === 0 || i === ring.length - 1); });
}

/**
 * The shapes of a GeoJSON, CAP or KML text: `{polygons, circles, corners, box, json}`, or `{fault, n}`, the key of a sentence.
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
