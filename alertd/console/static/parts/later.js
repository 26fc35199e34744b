// A part of the console whose code is fetched when it is shown.

import { Offline } from "./api.js";
import { Loading, Stale, html, usePolled } from "./parts.js";

const fetched = new Map();

/** What `load` answers, fetched once. Browsers say of a line that is down and of a file that is not there the same; what is wrong with the file itself is another's to hear. */
export async function fetchPart(load) {
  if (!fetched.has(load)) fetched.set(load, await load().catch((error) => { throw error instanceof TypeError ? new Offline(error.message) : error; }));
  return fetched.get(load);
}

/** A file that did not come although alertd answers. */
export class Missing extends Error {}

const cameAnew = () => performance.getEntriesByType("navigation").some(({ type }) => type === "reload");

/**
 * What a part that did not come is to whoever waits for it. A browser may remember that a file did not come for as long as the page is
 * there (HTML, "fetch a single module script"), and some do: with the line back, the page comes anew, once.
 */
async function withoutPart(error) {
  if (!(error instanceof Offline)) throw error;
  await fetch(import.meta.url, { method: "HEAD", cache: "no-store" }).catch(() => { throw error; });
  if (cameAnew()) throw new Missing(error.message);
  location.reload();
  throw error;
}

/** The component that `load` fetches, always the same one; asked for again while the line is down. */
export function Later({ load, ...rest }) {
  const { data, error } = usePolled(() => fetchPart(load).catch(withoutPart), 0);
  const Shown = fetched.get(load) || data;
  if (Shown) return html`<${Shown} ...${rest} />`;
  if (error && !(error instanceof Offline)) throw error;
  return html`<div class="page">${error ? html`<${Stale} error=${error} />` : html`<${Loading} />`}</div>`;
}
