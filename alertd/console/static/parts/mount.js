// A map on a screen: its code is fetched when it is shown, not before, and what it cannot do is told.

import { useEffect, useRef, useState } from "./parts.js";

/** Its looks come before those of the console, which have the last word. */
function styled() {
  const link = Object.assign(document.createElement("link"), { rel: "stylesheet", href: new URL("../vendor/maplibre-gl.css", import.meta.url) });
  return new Promise((done, fail) => {
    link.onload = done;
    link.onerror = () => { link.remove(); fail(new TypeError("The map's looks did not come.")); };
    document.head.prepend(link);
  });
}

let fetched = null;

/** The code of the map and its looks, fetched once; after a cut line, again. */
function fetchMap() {
  fetched ||= Promise.all([import("../area/map.js"), styled()]).then(([map]) => map).catch((error) => { fetched = null; throw error; });
  return fetched;
}

/** Has it so that a map that is shown then is there at once. */
export const ready = async () => (await fetchMap()).prewarm();

/** What hands do on a map. */
const DEEDS = ["picked", "drawn", "edited", "moved", "opened"];

/**
 * A map in `box`, which is `map` once it can be told anything. `told` hears what hands do on it, by the names of `DEEDS`; without, it is to
 * be looked at. Another `key` makes it anew, an empty one none. `onNoMap` hears that the line was cut: words and numbers do without it.
 */
export function useAreaMap({ view = null, told = null, key = "map", onNoMap }) {
  const box = useRef(null);
  const [map, set] = useState(null);
  const heard = useRef(told);
  heard.current = told;
  useEffect(() => {
    if (!key) return undefined;
    let gone = false;
    let mine = null;
    const tell = (name) => (...values) => { if (heard.current[name]) heard.current[name](...values); };
    fetchMap().then(async ({ AreaMap }) => {
      if (gone) return;
      mine = new AreaMap(box.current, view, told && Object.fromEntries(DEEDS.map((name) => [name, tell(name)])));
      await mine.ready;
      if (!gone) set(mine);
    }).catch(() => { if (!gone) onNoMap(); });
    return () => { gone = true; set(null); if (mine) mine.destroy(); };
  }, [key]);
  return { box, map };
}
