// Worker: reads polygons and circles from an uploaded or pasted file. A hundred thousand corners take a moment, which would block the page.

/** Stored decimals of a degree: about a decimetre. */
const GRAIN = 1e6;

/** A missing number stays NaN: null is not 0. */
const round = (n) => (typeof n === "number" ? Math.round(n * GRAIN) / GRAIN : NaN);

/** Every geometry of a GeoJSON document of any type. */
function geometries(json) {
  if (json.type === "FeatureCollection") return json.features.flatMap(geometries);
  if (json.type === "Feature") return json.geometry ? geometries(json.geometry) : [];
  return json.type === "GeometryCollection" ? json.geometries.flatMap(geometries) : [json];
}

const SURFACES = { Polygon: (one) => [one.coordinates], MultiPolygon: (one) => one.coordinates };

/** `ignored`: the number of lines and points, which are not areas. */
function ofJson(json) {
  const all = geometries(json);
  const areas = all.filter(({ type }) => Object.hasOwn(SURFACES, type));
  return { polygons: areas.flatMap((one) => SURFACES[one.type](one)), circles: [], ignored: all.length - areas.length };
}

/** An empty field between two commas is NaN, not 0. */
const numberOf = (text) => (text ? Number(text) : NaN);
const pairs = (text) => text.trim().split(/\s+/).map((pair) => pair.split(",").map(numberOf));
/** CAP 1.2, section 3.2.4: latitude first. */
const ofCap = (text) => [pairs(text).map(([lat, lon]) => [lon, lat])];
const circleOf = (text) => {
  const [[lat, lon], [radius]] = pairs(text);
  return { center: [round(lon), round(lat)], radius_km: radius };
};

/** The content of each tag of a name, with any prefix: one pass over the text, even if many tags are never closed. */
function inside(xml, name) {
  const found = [];
  let open = null;
  for (const tag of xml.matchAll(new RegExp(`<(/?)((?:[\\w.-]+:)?${name})(?:\\s[^<>]*)?>`, "g"))) {
    const [whole, slash, named] = tag;
    if (!slash && !open && !whole.endsWith("/>")) open = { named, from: tag.index + whole.length };
    else if (slash && open && open.named === named) { found.push(xml.slice(open.from, tag.index)); open = null; }
  }
  return found;
}

/** The text without comments. */
function bare(text) {
  let [kept, from] = ["", 0];
  for (;;) {
    const begins = text.indexOf("<!--", from);
    const ends = begins < 0 ? -1 : text.indexOf("-->", begins + 4);
    if (ends < 0) return kept + text.slice(from, begins < 0 ? undefined : begins);
    kept += text.slice(from, begins);
    from = ends + 3;
  }
}

/** CAP and KML give coordinates as plain text between tags. A worker has no XML parser, and the page's parser logs invalid XML. */
function ofXml(text) {
  const xml = bare(text).trim();
  const root = xml.match(/<([A-Za-z_][\w:.-]*)/);
  if (!root || !xml.endsWith(`</${root[1]}>`)) throw new SyntaxError("cut off");
  const kml = inside(xml, "Polygon").map((polygon) => inside(polygon, "coordinates").map(pairs));
  return { polygons: [...inside(xml, "polygon").map(ofCap), ...kml], circles: inside(xml, "circle").map(circleOf), ignored: inside(xml, "LineString").length + inside(xml, "Point").length };
}

function read(text) {
  const { polygons, ...others } = text.trimStart().startsWith("<") ? ofXml(text) : ofJson(JSON.parse(text));
  return { polygons: polygons.map((rings) => rings.map((ring) => ring.map(([lon, lat]) => [round(lon), round(lat)]))), ...others };
}

function boxOf(polygons) {
  const box = [Infinity, Infinity, -Infinity, -Infinity];
  for (const [outline] of polygons) for (const [lon, lat] of outline) {
    box[0] = Math.min(box[0], lon); box[1] = Math.min(box[1], lat); box[2] = Math.max(box[2], lon); box[3] = Math.max(box[3], lat);
  }
  return box;
}

const isNumber = (n) => Number.isFinite(n);
/** Degrees; an outline that crosses the antimeridian continues beyond 180, as the API accepts it. */
const MOST_LONGITUDE = 540;
const isOnEarth = ([lon, lat]) => Math.abs(lon) <= MOST_LONGITUDE && Math.abs(lat) <= 90;

function told(text) {
  let read_;
  try { read_ = read(text); } catch { return { fault: "file-unknown" }; }
  const { polygons, circles, ignored } = read_;
  if (!polygons.length && !circles.length) return { fault: "file-empty" };
  if (!polygons.every((rings) => rings.every((ring) => ring.every((point) => point.every(isNumber))))) return { fault: "file-unknown" };
  if (!circles.every((one) => one.center.every(isNumber) && one.radius_km > 0)) return { fault: "file-unknown" };
  const points = polygons.flatMap((rings) => rings.flat()).concat(circles.map((one) => one.center));
  if (!points.every(isOnEarth)) return { fault: "file-metres" };
  const shapes = polygons.map((coordinates) => ({ type: "Polygon", coordinates }));
  const corners = polygons.reduce((n, rings) => rings.reduce((m, ring) => m + ring.length, n), 0);
  return { polygons: shapes, circles, ignored, corners, box: boxOf(polygons), json: JSON.stringify(shapes) };
}

onmessage = ({ data }) => postMessage(told(data));
