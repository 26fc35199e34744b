// The region library: found by name, by a click on the map or by code; and regions of one's own, drawn or from a file, with a name.

import { ask, get } from "./api.js";
import { boundsOf } from "./ground.js";
import { useAreaMap } from "./mount.js";
import { Button, Field, Refused, Sketch, hasWebGl, html, may, useAct, useEffect, useState } from "./parts.js";
import { Search } from "./area.js";
import { OtherWays, useReading } from "./ways.js";
import { polygonsOf } from "./shapes.js";
import { language, number, t } from "./words.js";

const nameOf = (region) => region.names[language] || region.name;
const bareCode = (name) => name.normalize("NFD").replace(/[\u0300-\u036f]/g, "").replace(/[^A-Za-z0-9]+/g, "-").replace(/^-+|-+$/g, "").toUpperCase().slice(0, 32);

/** A map to be clicked and drawn on; `told` hears what hands do. */
export function RegionMap({ geometry, drawing, told, onNoMap, label = t("regions") }) {
  const { box, map } = useAreaMap({ told: { ...told, edited: told.drawn }, onNoMap });
  useEffect(() => { if (map) map.setArea(geometry); if (map && geometry) map.fit(boundsOf(geometry)); }, [map, geometry]);
  useEffect(() => { if (map) map.setTool(drawing ? "polygon" : "pick", false); }, [map, drawing]);
  useEffect(() => { if (map) map.setPieces([]); }, [map, drawing, geometry]);  // what was drawn is shown as the area
  return html`<div class="map" ref=${box} role="application" aria-label=${label}></div>`;
}

const Fact = ({ name, children }) => html`<div><dt>${name}</dt><dd>${children}</dd></div>`;

function Facts({ region, chain, onShow }) {
  return html`<section class="facts" aria-live="polite"><h2>${nameOf(region)}</h2>
    <dl><${Fact} name=${t("code")}><code>${region.code}</code><//>
      <${Fact} name=${t("region-kind")}>${t(`kind-${region.kind}`)}<//>
      <${Fact} name=${t("surface")}>${number(Math.round(region.km2 * 10) / 10)} km²<//>
      ${chain.length ? html`<${Fact} name=${t("lies-in")}>${chain.map((one) => html`<button type="button" class="link" onClick=${() => onShow(one.code)}>${nameOf(one)}</button>`)}<//>` : null}
      ${region.aliases.length ? html`<${Fact} name=${t("aliases")}>${region.aliases.join(", ")}<//>` : null}
      ${region.source ? html`<${Fact} name=${t("source")}>${region.source}${region.licence ? `, ${region.licence}` : ""}<//>` : null}</dl>
    ${region.repairs.map((what) => html`<p class="note small">${t("mended", { what })}</p>`)}</section>`;
}

/** The regions that one lies in, the nearest first. */
async function above(region, signal) {
  const chain = [];
  for (let code = region.parent; code; code = chain[chain.length - 1].parent) chain.push(await get(`/v1/regions/${code}?geometry=none`, { signal }));
  return chain;
}

function NewRegion({ shape, onDone, onBack }) {
  const [name, setName] = useState("");
  const [code, setCode] = useState("");
  const [error, fail] = useState(null);
  const [busy, work] = useState(false);
  const [fault, tell] = useState("");
  const own = code || bareCode(name);
  const draw = async (event) => {
    event.preventDefault();
    work(true);
    try {
      const { regions } = await get(`/v1/regions?q=${encodeURIComponent(own)}`);
      const taken = regions.find((one) => one.code === own);
      if (taken) { tell(t("code-taken", { name: nameOf(taken) })); work(false); return; }
      const { body } = await ask("PUT", `/v1/regions/${encodeURIComponent(own)}`, { body: { name, geometry: shape }, headers: { "If-None-Match": "*" } });
      onDone(body);
    } catch (problem) {
      if (problem.status === 412) tell(t("code-taken-now")); else fail(problem);
      work(false);
    }
  };
  return html`<form class="new-region" onSubmit=${draw}><h2>${t("region-new")}</h2>
    <p class="${shape ? "changed" : "muted"}">${t(shape ? "region-outlined" : "region-outline")}</p>
    <${Field} label=${t("region-name")} value=${name} onChange=${setName} required />
    <${Field} label=${t("code")} value=${own} onChange=${(text) => { tell(""); setCode(text); }} error=${fault} required hint=${t("code-says")} />
    <${Refused} error=${error} />
    <div class="actions"><${Button} onClick=${onBack}>${t("back")}<//><button class="button primary" disabled=${!shape || !name.trim() || busy}><span>${t("region-save")}</span></button></div></form>`;
}

const multi = (polygons) => (polygons.length === 1 ? polygons[0] : { type: "MultiPolygon", coordinates: polygons.map((one) => one.coordinates) });
const shapeOf = (pieces) => {
  const polygons = pieces.flatMap((one) => (one.type === "file" ? polygonsOf(one.id) : one.geometry ? [one.geometry] : []));
  return polygons.length ? multi(polygons) : null;
};

const IMPORT = "alertd regions import districts.gpkg --kind county --code-field id --name-field name --parent-field region --dry-run";

/** A whole library comes in on the server, where its report can be read before anything is written. */
const Import = () => html`<details class="other-ways"><summary>${t("import-open")}</summary>
  <div class="stack import-says"><p>${t("import-says")}</p><code class="secret" dir="ltr">${IMPORT}</code><p class="muted small">${t("import-report")}</p></div></details>`;

export function RegionsScreen({ me }) {
  const [drawable, canDraw] = useState(hasWebGl);
  const [shown, show] = useState(null);
  const [chain, setChain] = useState([]);
  const [drawing, draw] = useState(false);
  const [shape, setShape] = useState(null);
  const reading = useReading((pieces) => setShape(shapeOf(pieces)));
  const read = async (signal, code) => {
    const region = await get(`/v1/regions/${encodeURIComponent(code)}`, { signal });
    show(region); setChain([]); setChain(await above(region, signal));
  };
  const { error, run } = useAct(async (signal, find) => { const code = await find(signal); if (code) await read(signal, code); }, true);
  const open = (code) => run(() => code);
  const picked = (lon, lat, zoom) => run(async (signal) => {
    const { regions } = await get(`/v1/regions?at=${lon},${lat}`, { signal });
    const region = regions[Math.max(0, regions.length - 1 - (zoom < 5 ? 0 : zoom < 8 ? 1 : regions.length - 1))];
    return region && region.code;
  });
  const made = (region) => { draw(false); setShape(null); show(region); setChain([]); open(region.code); };
  const ground = drawing ? shape : shown && shown.geometry;
  const label = shown ? nameOf(shown) : t("regions");
  return html`<div class="regions-screen area-step"><div class="area-side"><h1>${t("regions")}</h1>
      ${drawing ? html`<${NewRegion} shape=${shape} onDone=${made} onBack=${() => { draw(false); setShape(null); }} />
          <${OtherWays} onAdd=${(pieces) => setShape(shapeOf(pieces))} reading=${reading} open=${!drawable} shapesOnly />`
        : html`<${Search} onFound=${(region) => open(region.code)} /><${Refused} error=${error} />
          ${shown ? html`<${Facts} region=${{ repairs: [], ...shown }} chain=${chain} onShow=${open} />` : html`<p class="muted">${t("regions-say")}</p>`}
          ${may(me, "regions:write") ? html`<div class="actions"><${Button} icon="polygon" onClick=${() => { draw(true); show(null); }}>${t("region-new")}<//></div><${Import} />` : null}`}</div>
    <div class="map-box ${drawable ? "" : "no-map"}">${drawable
      ? html`<${RegionMap} geometry=${ground} drawing=${drawing} onNoMap=${() => canDraw(false)} told=${{ picked, drawn: (piece) => setShape(piece.geometry || null) }} />`
      : html`<p class="note">${t("no-map")}</p><${Sketch} geometry=${ground} label=${label} />`}</div></div>`;
}
