// An area to look at: on the map if the browser can draw one, otherwise as an outline.

import { useAreaMap } from "../parts/mount.js";
import { Sketch, hasWebGl, html, useEffect, useState } from "../parts/parts.js";
import { boxOf, ringsOf, together } from "./shapes.js";

export const boundsOf = (geometry) => boxOf(together(ringsOf(geometry)).flat());

export function Ground({ geometry, label }) {
  const [drawable, draw] = useState(hasWebGl);
  const key = geometry ? JSON.stringify(boundsOf(geometry)) : "";
  const view = geometry && { bounds: boundsOf(geometry), fitBoundsOptions: { padding: 24 } };
  const { box, map } = useAreaMap({ view, key: drawable ? key : "", onNoMap: () => draw(false) });  // connection lost: fall back to the outline
  useEffect(() => { if (map) map.setArea(geometry); }, [map, JSON.stringify(geometry)]);  // a different area may have the same box
  if (!drawable) return html`<${Sketch} geometry=${geometry} label=${label} />`;
  return html`<div class="ground" ref=${box} role="region" aria-label=${label || ""}></div>`;
}
