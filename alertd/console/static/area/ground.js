// An area, to be looked at: on the map where the browser can draw one, else its outline alone.

import { useAreaMap } from "../parts/mount.js";
import { Sketch, hasWebGl, html, useEffect, useState } from "../parts/parts.js";
import { boxOf, ringsOf, together } from "./shapes.js";

export const boundsOf = (geometry) => boxOf(together(ringsOf(geometry)).flat());

export function Ground({ geometry, label }) {
  const [drawable, draw] = useState(hasWebGl);
  const key = geometry ? JSON.stringify(boundsOf(geometry)) : "";
  const view = geometry && { bounds: boundsOf(geometry), fitBoundsOptions: { padding: 24 } };
  const { box, map } = useAreaMap({ view, key: drawable ? key : "", onNoMap: () => draw(false) });  // the line was cut: the outline does without it
  useEffect(() => { if (map) map.setArea(geometry); }, [map, JSON.stringify(geometry)]);  // another ground may lie in the same box
  if (!drawable) return html`<${Sketch} geometry=${geometry} label=${label} />`;
  return html`<div class="ground" ref=${box} role="region" aria-label=${label || ""}></div>`;
}
