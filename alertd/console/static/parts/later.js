// A part of the console, fetched when it is shown.

import { Offline } from "./api.js";
import { Loading, Stale, html, usePolled } from "./parts.js";

const fetched = new Map();

/** Fetches a part once. Browsers report a lost connection and a missing file alike; errors in the file itself are thrown as they are. */
export async function fetchPart(load) {
  if (!fetched.has(load)) fetched.set(load, await load().catch((error) => { throw error instanceof TypeError ? new Offline(error.message) : error; }));
  return fetched.get(load);
}

/** A file that does not load although alertd answers. */
export class Missing extends Error {}

const cameAnew = () => performance.getEntriesByType("navigation").some(({ type }) => type === "reload");

/**
 * Handles a part that did not load. Some browsers remember a failed import as long as the page lives (HTML, "fetch a single module
 * script"), so the page reloads once when the connection is back.
 */
async function withoutPart(error) {
  if (!(error instanceof Offline)) throw error;
  await fetch(import.meta.url, { method: "HEAD", cache: "no-store" }).catch(() => { throw error; });
  if (cameAnew()) throw new Missing(error.message);
  location.reload();
  throw error;
}

/** The component that `load` fetches, always the same one; retries while the connection is lost. */
export function Later({ load, ...rest }) {
  const { data, error } = usePolled(() => fetchPart(load).catch(withoutPart), 0);
  const Shown = fetched.get(load) || data;
  if (Shown) return html`<${Shown} ...${rest} />`;
  if (error && !(error instanceof Offline)) throw error;
  return html`<div class="page">${error ? html`<${Stale} error=${error} />` : html`<${Loading} />`}</div>`;
}
