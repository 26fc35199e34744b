// In a worker: the polygons and circles of what was uploaded or pasted. A hundred thousand corners take a moment here, and none elsewhere.

/** Decimals of a degree that are kept: a decimetre. */
const GRAIN = 1e6;

const round = (n) => Math.round(n * GRAIN) / GRAIN;

/** The polygons of whatever GeoJSON it is. */
function ofJson(json) {
  if (json.type === "FeatureCollection") return json.features.flatMap(ofJson);
  if (json.type === "Feature") return json.geometry ? ofJson(json.geometry) : [];
  if (json.type === "GeometryCollection") return json.geometries.flatMap(ofJson);
  if (json.type === "Polygon") return [json.coordinates];
  return json.type === "MultiPolygon" ? json.coordinates : [];
}

const pairs = (text) => text.trim().split(/\s+/).map((pair) => pair.split(",").map(Number));
/** CAP 1.2, section 3.2.4: latitude first. */
const ofCap = (text) => [pairs(text).map(([lat, lon]) => [lon, lat])];
const circleOf = (text) => {
  const [[lat, lon], [radius]] = pairs(text);
  return { center: [round(lon), round(lat)], radius_km: radius };
};

/** What is between the tags of a name, whatever its prefix. */
const inside = (xml, name) => [...xml.matchAll(new RegExp(`<((?:[\\w.-]+:)?${name})(?:\\s[^>]*)?>([^]*?)</\\1\\s*>`, "g"))].map((found) => found[2]);

/** CAP and KML say where in plain text between tags. A worker has no parser of XML, and that of pages logs what is no XML. */
function ofXml(text) {
  const xml = text.replace(/<!--[^]*?-->/g, "").trim();
  const root = xml.match(/<([A-Za-z_][\w:.-]*)/);
  if (!root || !xml.endsWith(`</${root[1]}>`)) throw new SyntaxError("cut off");
  const kml = inside(xml, "Polygon").map((polygon) => inside(polygon, "coordinates").map(pairs));
  return { polygons: [...inside(xml, "polygon").map(ofCap), ...kml], circles: inside(xml, "circle").map(circleOf) };
}

function read(text) {
  const { polygons, circles } = text.trimStart().startsWith("<") ? ofXml(text) : { polygons: ofJson(JSON.parse(text)), circles: [] };
  return { polygons: polygons.map((rings) => rings.map((ring) => ring.map(([lon, lat]) => [round(lon), round(lat)]))), circles };
}

function boxOf(polygons) {
  const box = [Infinity, Infinity, -Infinity, -Infinity];
  for (const [outline] of polygons) for (const [lon, lat] of outline) {
    box[0] = Math.min(box[0], lon); box[1] = Math.min(box[1], lat); box[2] = Math.max(box[2], lon); box[3] = Math.max(box[3], lat);
  }
  return box;
}

const isNumber = (n) => Number.isFinite(n);

function told(text) {
  let read_;
  try { read_ = read(text); } catch { return { fault: "file-unknown" }; }
  const { polygons, circles } = read_;
  if (!polygons.length && !circles.length) return { fault: "file-empty" };
  if (!polygons.every((rings) => rings.every((ring) => ring.every((point) => point.every(isNumber))))) return { fault: "file-unknown" };
  if (!circles.every((one) => one.center.every(isNumber) && one.radius_km > 0)) return { fault: "file-unknown" };
  const shapes = polygons.map((coordinates) => ({ type: "Polygon", coordinates }));
  const corners = polygons.reduce((n, rings) => rings.reduce((m, ring) => m + ring.length, n), 0);
  return { polygons: shapes, circles, corners, box: boxOf(polygons), json: JSON.stringify(shapes) };
}

onmessage = ({ data }) => postMessage(told(data));
