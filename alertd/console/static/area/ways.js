// Ways to an area without the map: coordinates, file, pasted text. A file can be dropped on the map too.

import { Button, Field, Icon, html, useState } from "../parts/parts.js";
import { HELD_CORNERS, boxOf, hold, readShapes, ringsOf } from "./shapes.js";
import { amountOf, digits, t } from "../parts/words.js";

/** A longer pasted text is not shown first: a field of a megabyte is slow. */
const LONGEST_SHOWN = 50_000;
const KM_A_DEGREE = 111;

export function uuid() {
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  bytes[6] = (bytes[6] & 15) | 64;
  bytes[8] = (bytes[8] & 63) | 128;
  return [...bytes].map((n, i) => ([4, 6, 8, 10].includes(i) ? "-" : "") + n.toString(16).padStart(2, "0")).join("");
}

const circlePiece = (circle) => ({ id: uuid(), type: "circle", ...circle });

/** Shapes as pieces of a target: editable ones if they are small, else one piece for all of them. */
function piecesOf({ polygons, circles, corners, json, box }, name) {
  const round = circles.map(circlePiece);
  if (!polygons.length) return round;
  if (corners <= HELD_CORNERS) return [...polygons.map((geometry) => ({ id: uuid(), type: "polygon", geometry })), ...round];
  const id = uuid();
  hold(id, polygons, json);
  return [{ id, type: "file", name, corners, box }, ...round];
}

const around = ({ center: [lon, lat], radius_km }) => {
  const degrees = radius_km / KM_A_DEGREE;
  return [[lon - degrees, lat - degrees], [lon + degrees, lat + degrees]];
};
const corners = (piece) => {
  if (piece.center) return around(piece);
  const box = piece.box || piece.bbox;
  if (box) return [box.slice(0, 2), box.slice(2)];
  return piece.geometry ? ringsOf(piece.geometry).flat() : [];  // a region outside the library has no geometry
};
export const boxOfPieces = (pieces) => boxOf(pieces.flatMap(corners));

/** Reads input; `busy` while it runs, `fault` a sentence if it was refused, `note` a sentence if a part was left out. */
export function useReading(onAdd) {
  const [state, set] = useState({ busy: false, fault: "", note: "" });
  const take = async (text, name) => {
    set({ busy: true, fault: "", note: "" });
    const told = await readShapes(text);
    set({ busy: false, fault: told.fault ? t(told.fault, told) : "", note: told.ignored ? t("file-ignored", { n: told.ignored }) : "" });
    if (!told.fault) onAdd(piecesOf(told, name));
    return !told.fault;
  };
  const takeFile = async (file) => take(await file.text(), file.name);
  return { ...state, take, takeFile };
}

export function OtherWays({ onAdd, reading, open, shapesOnly }) {
  const [place, setPlace] = useState("");
  const [radius, setRadius] = useState("5");
  const [text, setText] = useState("");
  const [wrong, setWrong] = useState({});
  const circle = () => {
    const center = digits(place).split(/[\s,;،]+/).filter(Boolean).map(Number);
    const radius_km = amountOf(radius);
    const isPlace = center.length === 2 && Math.abs(center[0]) <= 180 && Math.abs(center[1]) <= 90;
    setWrong({ place: isPlace ? "" : t("lonlat-bad"), radius: radius_km > 0 ? "" : t("radius-bad") });
    if (isPlace && radius_km > 0) { onAdd([circlePiece({ center, radius_km })]); setPlace(""); }
  };
  const paste = async () => { if (await reading.take(text, t("pasted"))) setText(""); };
  const pasted = (e) => {
    const long = e.clipboardData.getData("text");
    if (long.length > LONGEST_SHOWN) { e.preventDefault(); reading.take(long, t("pasted")); }
  };
  const chosen = (e) => { if (e.target.files[0]) reading.takeFile(e.target.files[0]); e.target.value = ""; };
  return html`<details class="other-ways" open=${open || reading.fault || reading.note || null}><summary>${t("other-ways")}</summary>
    ${shapesOnly ? null : html`<div class="circle-form"><${Field} label=${t("lonlat")} value=${place} onChange=${setPlace} error=${wrong.place} placeholder="-5.98, 37.39" />
      <${Field} label=${t("radius")} value=${radius} onChange=${setRadius} error=${wrong.radius} inputmode="decimal" />
      <${Button} onClick=${circle}>${t("add")}<//></div>`}
    <label class="button plain file"><${Icon} name="plus" /><span>${t("file-choose")}</span>
      <input type="file" accept=".json,.geojson,.xml,.cap,.kml,application/geo+json,application/cap+xml" onChange=${chosen} /></label>
    <div class="paste-form"><${Field} type="area" label=${t("file-text")} value=${text} onChange=${setText} onPaste=${pasted} error=${reading.fault} spellcheck=${false} />
      ${reading.note ? html`<p class="note small" role="status">${reading.note}</p>` : null}
      <${Button} onClick=${paste} busy=${reading.busy} disabled=${!text.trim() || reading.busy}>${t("add")}<//></div></details>`;
}
