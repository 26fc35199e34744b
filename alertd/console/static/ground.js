// An area, to be looked at: on the map where the browser can draw one, else its outline alone.

import { Sketch, hasWebGl, html, useEffect, useRef, useState } from "./parts.js";
import { boxOf, ringsOf } from "./shapes.js";

export const boundsOf = (geometry) => boxOf(ringsOf(geometry).flat());

export function Ground({ geometry, label }) {
  const [drawable, draw] = useState(hasWebGl);
  const box = useRef(null);
  const key = geometry ? JSON.stringify(boundsOf(geometry)) : "";
  useEffect(() => {
    if (!drawable || !geometry) return undefined;
    let gone = false;
    let map;
    import("./map.js").then(async ({ AreaMap }) => {
      if (gone) return;
      map = new AreaMap(box.current, { bounds: boundsOf(geometry), fitBoundsOptions: { padding: 24 } }, null);
      await map.ready;
      if (!gone) map.setArea(geometry);
    }).catch(() => { if (!gone) draw(false); });  // the line was cut: the outline does without it
    return () => { gone = true; if (map) map.destroy(); };
  }, [key]);
  if (!drawable) return html`<${Sketch} geometry=${geometry} label=${label} />`;
  return html`<div class="ground" ref=${box} role="region" aria-label=${label || ""}></div>`;
}
