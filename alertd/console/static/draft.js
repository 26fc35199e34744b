// What the author has filled in so far, kept in this tab, and the alert that the API is sent for it.

import { letGo, polygonsOf } from "./shapes.js";
import { TABLES } from "./tables.js";
import { uuid } from "./ways.js";
import { regionPiece } from "./pieces.js";
import { language } from "./words.js";

const KEPT = "alertd.draft";
const ZONE = Intl.DateTimeFormat().resolvedOptions().timeZone || "UTC";
export const ZONES = Intl.supportedValuesOf ? [...new Set([ZONE, "UTC", ...Intl.supportedValuesOf("timeZone")])] : [ZONE, "UTC"];
const HOURS = 12;

const two = (n) => String(n).padStart(2, "0");
export const local = (date) =>
  `${date.getFullYear()}-${two(date.getMonth() + 1)}-${two(date.getDate())}T${two(date.getHours())}:${two(date.getMinutes())}`;

function soon() {
  const end = new Date(Date.now() + HOURS * 3600e3);
  end.setMinutes(0, 0, 0);
  return local(end);
}

export const blank = () => ({
  status: "Actual", level: "child-alert", expires: soon(), channels: ["push", "sms", "mail"], number: "",
  checks: { authority: "", reference: "", criteria: [], custody: false, identity: false, risk: "", riskAt: 0, interests: "", interestsAt: 0 },
  child: { name: "", age: "", sex: "", hair: "", eyes: "", from: "", to: "", photo: null },
  seen: { at: "", zone: ZONE, place: {} }, clothing: {}, marks: {}, protection: [], sought: [], vehicles: [],
  languages: [...new Set([language, "en"])], contacts: [{ way: "dial", value: "", countries: "" }], pieces: [], view: null,
});

export function kept() {
  try {
    const draft = { ...blank(), ...JSON.parse(sessionStorage.getItem(KEPT)) };
    return { ...draft, pieces: draft.pieces.filter((one) => one.type !== "file" || polygonsOf(one.id).length) };
  } catch { return blank(); }
}
export const keep = (draft) => sessionStorage.setItem(KEPT, JSON.stringify(draft));
export function forget(id) {
  sessionStorage.removeItem(id ? `${KEPT}.${id}` : KEPT);
  if (!id) letGo();
}

const iso = (text) => (text ? new Date(text).toISOString() : undefined);
const filled = (texts, languages) => Object.fromEntries(languages.filter((tag) => texts[tag] && texts[tag].trim()).map((tag) => [tag, texts[tag].trim()]));
const whole = (text) => (/^\d+$/.test(String(text).trim()) ? Number(text) : undefined);
const unset = (object) => Object.fromEntries(Object.entries(object).filter(([, value]) => value !== undefined && value !== ""));

function childOf({ child, clothing, marks, protection, languages }) {
  const years = whole(child.age);
  const heights = [whole(child.from), whole(child.to) ?? whole(child.from)];
  const told = { id: "c1", age: years === undefined ? undefined : { years }, sex: child.sex };
  if (protection.length) return unset(told);
  return unset({
    ...told,
    name: child.name.trim() ? { public: child.name.trim() } : undefined,
    hair: child.hair, eyes: child.eyes,
    height_cm: heights[0] === undefined ? undefined : heights,
    clothing: filled(clothing, languages), marks: filled(marks, languages),
    photos: child.photo ? [{ media: child.photo }] : [],
  });
}

const ground = ({ description, basis }, languages) => ({ description: filled(description, languages), legal_basis: basis.trim() });
const soughtOf = (one, languages) => unset({ name: one.name.trim() ? { public: one.name.trim() } : undefined, sex: one.sex, ...ground(one, languages) });
const vehicleOf = (one, languages) => unset({ plate: one.plate.trim(), country: one.country.trim().toUpperCase(), ...ground(one, languages) });

/** Whom and what the child may be with; of a child under protection nothing is said. */
const besideOf = ({ protection, sought, vehicles, languages }) => (protection.length
  ? { protection } : { persons_sought: sought.map((one) => soughtOf(one, languages)), vehicles: vehicles.map((one) => vehicleOf(one, languages)) });

function contactOf({ way, value, countries }) {
  const said = way === "text" ? `sms:${value.trim().replace(/^sms:/, "")}` : value.trim();
  const where = countries.toUpperCase().split(/[\s,;]+/).filter(Boolean);
  return way === "url" ? { url: said } : { [way]: said, countries: where };
}

/** Who weighed and decided did so by when the author said so. */
const decided = (by, at) => (by.trim() ? { by: by.trim(), at: new Date(at).toISOString() } : undefined);

function caseOf(draft) {
  const { checks, seen, languages } = draft;
  return unset({
    number: draft.number.trim(),
    verification: unset({
      authority: checks.authority.trim(), reference: checks.reference.trim(), criteria: checks.criteria,
      custody_checked: checks.custody, protected_identity_checked: checks.identity, publication_risk: decided(checks.risk, checks.riskAt),
    }),
    best_interests: decided(checks.interests, checks.interestsAt),
    children: [childOf(draft)], ...besideOf(draft),
    last_seen: seen.at ? { at: iso(seen.at), time_zone: seen.zone, place: filled(seen.place, languages) } : undefined,
    contact: draft.contacts.filter((one) => one.value.trim()).map(contactOf),
  });
}

const shapes = (pieces) => ({
  regions: pieces.filter((one) => one.type === "region").map((one) => one.code),
  polygons: pieces.flatMap((one) => (one.type === "file" ? polygonsOf(one.id) : one.type === "polygon" ? [one.geometry] : [])),
  circles: pieces.filter((one) => one.type === "circle").map(({ center, radius_km }) => ({ center, radius_km })),
});

const rings = (pieces) => pieces.filter((one) => one.type === "ring").map(({ center, radius_km, loudness, delay_min }) => unset({ center, radius_km, loudness, delay_min }));

/** The target, or null where nothing is chosen to reach. */
export function targetOf({ pieces }) {
  const wanted = pieces.filter((one) => !one.minus);
  return wanted.length ? { ...shapes(wanted), rings: rings(wanted), exclude: shapes(pieces.filter((one) => one.minus)) } : null;
}

export function documentOf(draft) {
  return {
    kind: "missing-child", level: draft.level, status: draft.status, expires: iso(draft.expires), case: caseOf(draft),
    target: targetOf(draft) || undefined, channels: draft.channels,
  };
}

/** What the words are previewed with: they depend on no area, and a case has no number before it is given one. */
export function previewOf(draft) {
  const document = documentOf(draft);
  if (!document.case.contact.length) return null;
  document.case.number ||= "-";
  document.target = { circles: [{ center: [0, 0], radius_km: 1 }] };
  return document;
}

/** What an Actual alert still lacks, one entry a check. */
export function checksLeft({ status, level, checks }) {
  if (status !== "Actual") return 0;
  const needed = level === TABLES.gravest ? TABLES.criteria.length : 1;
  const done = [checks.authority.trim(), checks.reference.trim(), checks.criteria.length >= needed, checks.custody, checks.identity, checks.risk.trim(), checks.interests.trim()];
  return done.filter((one) => !one).length;
}

const toPieces = ({ regions = [], polygons = [], circles = [], rings = [] }, names, minus) => [
  ...regions.map((code) => regionPiece(names[code] || { code, names: {}, name: code }, minus)),
  ...polygons.map((geometry) => ({ id: uuid(), type: "polygon", geometry, minus })),
  ...circles.map((one) => ({ id: uuid(), type: "circle", ...one, minus })),
  ...rings.map((one) => ({ id: uuid(), type: "ring", minus, ...one })),
];
const time = (iso_) => (iso_ ? local(new Date(iso_)) : "");
const ms = (iso_) => (iso_ ? new Date(iso_).getTime() : 0);
const contactFrom = (one) => {
  const way = ["dial", "text", "url"].find((each) => one[each]);
  return { way, value: String(one[way]).replace(/^sms:/, ""), countries: (one.countries || []).join(", ") };
};

const besideFrom = ({ protection = [], persons_sought = [], vehicles = [] }) => ({
  protection,
  sought: persons_sought.map((one) => ({ name: (one.name || {}).public || "", sex: one.sex || "", description: one.description || {}, basis: one.legal_basis || "" })),
  vehicles: vehicles.map((one) => ({ plate: one.plate || "", country: one.country || "", description: one.description || {}, basis: one.legal_basis || "" })),
});

/** The form's draft of an alert that there is; `names` has the regions of its target. What the form has no field for is not in it. */
export function draftOf(document, names) {
  const { verification = {}, best_interests, children = [], last_seen, contact = [], number } = document.case;
  const [child = {}] = children;
  const [from, to] = child.height_cm || ["", ""];
  const { publication_risk } = verification || {};
  const texts = [(last_seen && last_seen.place) || {}, child.clothing || {}, child.marks || {}];
  return {
    ...blank(), status: document.status, level: document.level, expires: time(document.expires), channels: document.channels, number: number || "",
    checks: {
      authority: verification.authority || "", reference: verification.reference || "", criteria: verification.criteria || [], custody: Boolean(verification.custody_checked),
      identity: Boolean(verification.protected_identity_checked), risk: (publication_risk || {}).by || "", riskAt: ms((publication_risk || {}).at),
      interests: (best_interests || {}).by || "", interestsAt: ms((best_interests || {}).at),
    },
    child: { name: (child.name || {}).public || "", age: String((child.age || {}).years ?? ""), sex: child.sex || "", hair: child.hair || "", eyes: child.eyes || "", from: String(from), to: String(to), photo: ((child.photos || [])[0] || {}).media || null },
    seen: { at: time((last_seen || {}).at), zone: (last_seen || {}).time_zone || ZONE, place: texts[0] }, clothing: texts[1], marks: texts[2], ...besideFrom(document.case),
    languages: [...new Set([...texts.flatMap((one) => Object.keys(one)), language])], contacts: contact.length ? contact.map(contactFrom) : blank().contacts,
    pieces: document.target ? [...toPieces(document.target, names, false), ...toPieces(document.target.exclude || {}, names, true)] : [],
  };
}

/** What is typed into an alert that there is, beside the draft of a new one. */
export const keepEdit = (id, edit) => sessionStorage.setItem(`${KEPT}.${id}`, JSON.stringify(edit));
export const keptEdit = (id) => JSON.parse(sessionStorage.getItem(`${KEPT}.${id}`) || "null");
