// The region library: found by name, click or code; and the organisation's own regions, drawn or from a file.

import { ask, get } from "../parts/api.js";
import { boundsOf } from "./ground.js";
import { useAreaMap } from "../parts/mount.js";
import { Mended } from "./mended.js";
import { Button, Fact, Field, Refused, Sketch, hasWebGl, html, may, mayDo, useAct, useEffect, useLayoutEffect, useState } from "../parts/parts.js";
import { Search } from "./area.js";
import { Later } from "../parts/later.js";
import { bareName } from "../parts/names.js";
import { OtherWays, useReading } from "./ways.js";
import { polygonsOf } from "./shapes.js";
import { language, number, t } from "../parts/words.js";

const nameOf = (region) => region.names[language] || region.name;
const bareCode = (name) => bareName(name).toUpperCase().slice(0, 32);

/** A map for clicking and drawing; `told` receives the gestures. */
export function RegionMap({ geometry, drawing, told, onNoMap, label = t("regions") }) {
  const { box, map } = useAreaMap({ told: { ...told, edited: told.drawn }, onNoMap });
  useEffect(() => { if (map) map.setArea(geometry); if (map && geometry) map.fit(boundsOf(geometry)); }, [map, geometry]);
  useLayoutEffect(() => { if (map) map.setTool(drawing ? "polygon" : "pick", false); }, [map, drawing]);
  useEffect(() => { if (map) map.setPieces([]); }, [map, drawing, geometry]);  // the drawn shape is shown as the area
  return html`<div class="map" ref=${box} role="application" aria-label=${label}></div>`;
}

function Facts({ region, chain, onShow }) {
  return html`<section class="facts" aria-live="polite"><h2>${nameOf(region)}</h2>
    <dl><${Fact} name=${t("code")}><code>${region.code}</code><//>
      <${Fact} name=${t("region-kind")}>${t(`kind-${region.kind}`)}<//>
      <${Fact} name=${t("surface")}>${number(Math.round(region.km2 * 10) / 10)} km²<//>
      ${chain.length ? html`<${Fact} name=${t("lies-in")}>${chain.map((one) => html`<button type="button" class="link" onClick=${() => onShow(one.code)}>${nameOf(one)}</button>`)}<//>` : null}
      ${region.aliases.length ? html`<${Fact} name=${t("aliases")}>${region.aliases.join(", ")}<//>` : null}
      ${region.source ? html`<${Fact} name=${t("source")}>${region.source}${region.licence ? `, ${region.licence}` : ""}<//>` : null}</dl>
    <${Mended} told=${region.mended || []} /></section>`;
}

/** The parent regions, nearest first. */
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

const importPanel = async () => (await import("./import.js")).ImportPanel;
/** Imported regions are shared by all organisations, so only the host organisation imports them. */
const mayImport = (me) => me.host && !me.test && mayDo(me, "region.import");
/** An import that began before a page reload. */
const underWay = () => sessionStorage.getItem("alertd.typed import");

export function RegionsScreen({ me }) {
  const [drawable, canDraw] = useState(hasWebGl);
  const [shown, show] = useState(null);
  const [chain, setChain] = useState([]);
  const [drawing, draw] = useState(false);
  const [shape, setShape] = useState(null);
  const [importing, setImporting] = useState(() => Boolean(underWay()));
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
  const side = importing && mayImport(me) ? "import" : drawing ? "draw" : "search";
  const label = shown ? nameOf(shown) : t("regions");
  return html`<div class="regions-screen area-step"><div class="area-side"><h1>${t("regions")}</h1>
      ${side === "import" ? html`<${Later} load=${importPanel} onDone=${() => show(null)} onBack=${() => setImporting(false)} />` : null}
      ${side === "draw" ? html`<${NewRegion} shape=${shape} onDone=${made} onBack=${() => { draw(false); setShape(null); }} />
          <${OtherWays} onAdd=${(pieces) => setShape(shapeOf(pieces))} reading=${reading} open=${!drawable} shapesOnly />` : null}
      ${side === "search" ? html`<${Search} onFound=${(region) => open(region.code)} /><${Refused} error=${error} />
          ${shown ? html`<${Facts} region=${shown} chain=${chain} onShow=${open} />` : html`<p class="muted">${t("regions-say")}</p>`}
          <div class="actions">${may(me, "regions:write") ? html`<${Button} icon="polygon" onClick=${() => { draw(true); show(null); }}>${t("region-new")}<//>` : null}
            ${mayImport(me) ? html`<${Button} icon="plus" onClick=${() => setImporting(true)}>${t("import-open")}<//>` : null}</div>` : null}</div>
    <div class="map-box ${drawable ? "" : "no-map"}">${drawable
      ? html`<${RegionMap} geometry=${ground} drawing=${drawing} onNoMap=${() => canDraw(false)} told=${{ picked, drawn: (piece) => setShape(piece.geometry || null) }} />`
      : html`<p class="note">${t("no-map")}</p><${Sketch} geometry=${ground} label=${label} />`}</div></div>`;
}
