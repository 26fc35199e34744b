// Puts a map on a screen: fetches its code when it is shown, and reports if that fails.

import { useEffect, useRef, useState } from "./parts.js";

/** Loads the map's styles before the console's, which override them. */
function styled() {
  const link = Object.assign(document.createElement("link"), { rel: "stylesheet", href: new URL("../vendor/maplibre-gl.css", import.meta.url) });
  return new Promise((done, fail) => {
    link.onload = done;
    link.onerror = () => { link.remove(); fail(new TypeError("The map's looks did not come.")); };
    document.head.prepend(link);
  });
}

let fetched = null;

/** Fetches the map's code and styles once; again after a lost connection. */
function fetchMap() {
  fetched ||= Promise.all([import("../area/map.js"), styled()]).then(([map]) => map).catch((error) => { fetched = null; throw error; });
  return fetched;
}

/** Loads the map ahead, so that it appears at once. */
export const ready = async () => (await fetchMap()).prewarm();

/** Gestures on a map. */
const DEEDS = ["picked", "drawn", "edited", "moved", "opened"];

/**
 * A map in `box`; `map` is set when it is ready. `told` receives gestures, by the names in `DEEDS`; without `told` the map is read-only.
 * Another `key` makes a new map, an empty one none. Calls `onNoMap` if the connection is lost: words and numbers work without it.
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
