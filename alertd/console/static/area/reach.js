// The reach of the area, asked for when a drawing gesture ends, not during it.

import { Problem, post } from "../parts/api.js";
import { goneFiles, targetOf } from "../alert/draft.js";
import { People, Refused, about, html, some, useEffect, usePolled, useState } from "../parts/parts.js";
import { Mended } from "./mended.js";
import { lookUp, regionName } from "../parts/names.js";
import { AskNeighbours } from "../alert/permits.js";
import { delayOf, ringWords } from "./pieces.js";
import { language, list, number, span, t } from "../parts/words.js";

/** Clicks within this time are one request. */
const REST_MS = 60;

/** Everything that defines the area. */
const keyOf = ({ pieces, beyond = {} }) => JSON.stringify([pieces, beyond]);

/** The API's preview of the draft's target; the last answer stays visible, and `counting` says that it is out of date. */
export function useReach(draft) {
  const key = keyOf(draft);
  const [reach, tell] = useState({ key: keyOf({ pieces: [] }), told: null, error: null });
  useEffect(() => {
    const target = targetOf(draft);
    const [gone] = goneFiles(draft);
    if (!target || gone) { tell({ key, told: null, error: gone ? new Problem(0, { title: t("file-gone", { name: gone.name }) }) : null }); return undefined; }
    const stop = new AbortController();
    const timer = setTimeout(async () => {
      try {
        const told = await post("/v1/targets/preview", { target, language }, { signal: stop.signal });
        tell({ key, told, target, error: null });
      } catch (error) {
        if (!stop.signal.aborted) tell({ key, told: null, error });
      }
    }, REST_MS);
    return () => { clearTimeout(timer); stop.abort(); };
  }, [key]);
  return { ...reach, counting: reach.key !== key };
}

/** Time until the last message of a channel: the latest ring starts only when it is due. Empty without a known rate, and for no people. */
export const Eta = ({ n, eta, delay }) => html`<span class="muted">${!n || (eta === undefined && !delay) ? "" : (eta || 0) + delay < 1 ? t("at-once") : t(delay ? "eta-last" : "eta", { time: span((eta || 0) + delay) })}</span>`;

const Channel = ({ name, n, eta, delay }) => html`<li data-channel=${name}><span>${t(name)}</span><b>${number(n)}</b><${Eta} n=${n} eta=${eta} delay=${delay} /></li>`;

/** Loudness, delay and count of each ring; last, the area outside all rings. */
export const ReachRings = ({ rings, target }) => (rings.length ? html`<table class="reach-rings"><caption class="sr-only">${t("rings")}</caption><tbody>
  ${[...rings].sort((a, b) => (a.ring === 0) - (b.ring === 0)).map((one) => html`<tr data-ring=${one.ring}>
    <th scope="row">${one.ring ? t("ring", { n: String(one.ring) }) : t("ring-rest")}<small>${one.ring ? ringWords({ ...one, ...target.rings[one.ring - 1] }) : t("as-alert")}</small></th>
    <td><${People} n=${one.people} /></td></tr>`)}</tbody></table>` : null);

/** Why the reach is unknown. */
export const Untold = ({ reach: { counting, error } }) => (error && !counting ? html`<${Refused} error=${error} />` : html`<p class="muted">${t(counting ? "counting" : "area-none")}</p>`);

/** A count for drawing; a hidden one counts as less than any other. */
export const sized = (n) => (typeof n === "number" ? n : 0);

/** Regions with the most people first. */
export const mostFirst = (regions) => Object.entries(regions).sort(([, a], [, b]) => sized(b) - sized(a));

/** Names of regions by code: from the area, else from the library. */
export function useNames(codes, known) {
  const names = Object.fromEntries(known.map((one) => [one.code, one.name]));
  const missing = codes.filter((code) => !(code in names));
  const { data } = usePolled(async (signal) => {
    const found = await Promise.all(missing.map((code) => lookUp(code, "none", signal)));
    return Object.fromEntries(found.map((one) => [one.code, regionName(one)]));
  }, 0, missing.join());
  return { ...names, ...data };
}

/** Number of regions listed beside an area. */
const SHOWN_REGIONS = 6;

export function ReachPanel({ reach, status, asks, onAsk }) {
  const { told, target, counting } = reach;
  const shown = told ? mostFirst(told.audience.regions).slice(0, SHOWN_REGIONS) : [];
  const names = useNames([...shown.map(([code]) => code), ...Object.keys((told && told.untold) || {})], told ? told.area.regions : []);
  if (!told) return html`<section class="reach"><${Untold} reach=${reach} /></section>`;
  const { audience, area, eta } = told;
  return html`<section class="reach ${counting ? "is-counting" : ""}" aria-live="polite">
    <p class="reach-people"><${People} n=${audience.people} id="people" /></p>
    <p class="reach-area">${area.name || ""} <span class="muted">${number(Math.round(area.km2 * 10) / 10)} km²</span></p>
    ${told.outside ? html`<p class="note small" data-outside>${t("outside-yours", { share: number(Math.round(told.outside.share * 1000) / 10), where: [...new Set(told.outside.regions.map((one) => one.name))].join(", ") || "–" })}</p>` : null}
    <${AskNeighbours} told=${told} asks=${asks} choose=${onAsk} />
    <ul class="reach-channels">${Object.entries(audience.addresses).filter(([name, n]) => some(n) || name in eta).map(([name, n]) => html`
      <${Channel} name=${name} n=${n} eta=${eta[name]} delay=${delayOf(target)} />`)}</ul>
    <${ReachRings} rings=${audience.rings} target=${target} />
    <ul class="reach-regions">${shown.map(([code, n]) => html`
      <li><span>${names[code] || code}</span><b>${number(n)}</b></li>`)}</ul>
    ${Object.entries(told.untold || {}).map(([code, n]) => html`<p class="note small">${t("untold", { n: number(n), where: names[code] || code })}</p>`)}
    <${Mended} told=${area.mended} />
    ${target.buffer_km ? html`<p class="note small">${t("buffer-in", { km: number(target.buffer_km) })}</p>` : null}
    ${(target.groups || []).length ? html`<p class="note small">${t("groups-in", { list: list(target.groups) })}</p>` : null}
    <p class="small muted">${t("small-why")}</p>
    ${status === "Actual" ? null : html`<p class="note small">${t("testers-only")}</p>`}
    <p class="sr-only">${about(audience.people, "people")}</p>
  </section>`;
}
