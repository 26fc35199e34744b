// The author's draft, kept in this tab, and the alert document made from it.

import { now } from "../parts/api.js";
import { letGo, polygonsOf } from "../area/shapes.js";
import { TABLES } from "../tables.js";
import { uuid } from "../area/ways.js";
import { regionPiece } from "../area/pieces.js";
import { digits, language, t } from "../parts/words.js";

const KEPT = "alertd.draft";
export const ZONE = Intl.DateTimeFormat().resolvedOptions().timeZone || "UTC";
export const ZONES = Intl.supportedValuesOf ? [...new Set([ZONE, "UTC", ...Intl.supportedValuesOf("timeZone")])] : [ZONE, "UTC"];
const HOURS = 12;

const two = (n) => String(n).padStart(2, "0");
export const local = (date) =>
  `${date.getFullYear()}-${two(date.getMonth() + 1)}-${two(date.getDate())}T${two(date.getHours())}:${two(date.getMinutes())}`;

/** The local time of a moment in a zone, in the format of a time field. */
function clockIn(zone, ms) {
  const format = new Intl.DateTimeFormat("en-GB", { timeZone: zone, hourCycle: "h23", year: "numeric", month: "2-digit", day: "2-digit", hour: "2-digit", minute: "2-digit" });
  const part = Object.fromEntries(format.formatToParts(new Date(ms)).map(({ type, value }) => [type, value]));
  return `${part.year.padStart(4, "0")}-${part.month}-${part.day}T${part.hour}:${part.minute}`;
}

/** The moment of a local time in a zone. For an unknown zone the API refuses; this code does not guess. */
function momentIn(zone, clock) {
  const said = new Date(`${clock}Z`).getTime();
  try {
    const ahead = (ms) => new Date(`${clockIn(zone, ms)}Z`).getTime() - ms;
    return new Date(said - ahead(said - ahead(said))).toISOString();  // near a clock change the first guess is an hour off
  } catch { return `${clock}:00Z`; }
}

/** If the clocks where the child was seen differ from this computer's: a hint which clock the end follows. */
export function clockHint(zone) {
  try { return clockIn(zone, now()) === clockIn(ZONE, now()) ? "" : t("clock-of", { zone: ZONE }); } catch { return ""; }
}

/** Twelve hours from now, at a whole hour, computed as a duration: when clocks go back, one local hour occurs twice. */
function soon() {
  const end = new Date(now() + HOURS * 3600e3);
  return new Date(end.getTime() - ((end.getMinutes() * 60 + end.getSeconds()) * 1000 + end.getMilliseconds()));
}

/** The end; by default twelve hours from now, not from the time when the form was opened. */
export const endOf = ({ expires }) => expires ?? local(soon());

export const blank = () => ({
  external_id: uuid(),  // same id for each retry, so that a retry makes no second alert
  status: "Actual", level: "child-alert", expires: null, starts: "", channels: TABLES.usualChannels, pace: "", number: "",
  checks: { authority: "", reference: "", criteria: [], custody: false, identity: false, risk: "", riskAt: 0, interests: "", interestsAt: 0 },
  child: { id: "c1", name: "", age: "", sex: "", hair: "", eyes: "", from: "", to: "", photo: null },
  seen: { at: "", zone: ZONE, place: {} }, clothing: {}, marks: {}, protection: [], sought: [], vehicles: [],
  languages: [...new Set([language, "en"])], contacts: [{ way: "dial", value: "", countries: "" }, { way: "url", value: "", countries: "" }], pieces: [], beyond: {}, view: null,
});

/** Storage key of the draft of this name; without a name, the main draft. */
const placeOf = (name) => (name ? `${KEPT}.${name}` : KEPT);

/** A Test begun to try the carriers, beside the main draft. */
export const TRIAL = "trial";
const begun = (name) => (name === TRIAL ? { ...blank(), status: "Test" } : blank());

export function kept(name) {
  try { return { ...begun(name), ...JSON.parse(sessionStorage.getItem(placeOf(name))) }; } catch { return begun(name); }
}
/** The draft without the fields that every new draft has. */
const typed = ({ external_id, view, ...rest }) => JSON.stringify(rest);
/** Whether this tab holds a draft with content. */
export const draftsLeft = () => Object.keys(sessionStorage).some((key) => key.startsWith(`${KEPT}.`) && key !== placeOf(TRIAL))
  || ["", TRIAL].some((name) => typed(kept(name)) !== typed(begun(name)));
/** Stores a draft; returns whether the tab had room. */
function stored(name, value) {
  try { sessionStorage.setItem(name, JSON.stringify(value)); return true; } catch { return false; }
}
export const keep = (draft, name) => stored(placeOf(name), draft);
export function forget(name) {
  sessionStorage.removeItem(placeOf(name));
  letGo(Object.keys(sessionStorage).filter((key) => key.startsWith(KEPT)).map((key) => sessionStorage.getItem(key)));
}

/** A time for the API; invalid or partial input is left out, and the API asks for it. */
export const iso = (text) => (Number.isNaN(new Date(text || NaN).getTime()) ? undefined : new Date(text).toISOString());
/** The exact moment that a field proposed, unless the user typed another: its text alone may name two moments. */
export const proposedOr = (text, proposed) => iso(text === local(proposed) ? proposed : text);
const filled = (texts, languages) => Object.fromEntries(languages.filter((tag) => texts[tag] && texts[tag].trim()).map((tag) => [tag, texts[tag].trim()]));
/** A number if the input is one; otherwise the input itself, so that the API refuses it with a message. */
const whole = (text) => (/^\d+$/.test(digits(text.trim())) ? Number(digits(text)) : text.trim() || undefined);
/** Whether the input is not the number that its field needs. */
export const isNoNumber = (text) => typeof whole(text) === "string";
const unset = (object) => Object.fromEntries(Object.entries(object).filter(([, value]) => value !== undefined && value !== ""));

function childOf({ child, clothing, marks, protection, languages }) {
  const years = whole(child.age);
  const [from, to] = [whole(child.from), whole(child.to)];
  const told = { id: child.id, age: years === undefined ? undefined : { years }, sex: child.sex };
  if (protection.length) return unset(told);
  return unset({
    ...told,
    name: child.name.trim() ? { public: child.name.trim() } : undefined,
    hair: child.hair, eyes: child.eyes,
    height_cm: (from ?? to) === undefined ? undefined : [from ?? to, to ?? from],
    clothing: filled(clothing, languages), marks: filled(marks, languages),
    photos: child.photo ? [{ media: child.photo }] : [],
  });
}

const ground = ({ description, basis }, languages) => ({ description: filled(description, languages), legal_basis: basis.trim() });
const soughtOf = (one, languages) => unset({ name: one.name.trim() ? { public: one.name.trim() } : undefined, sex: one.sex, ...ground(one, languages) });
const vehicleOf = (one, languages) => unset({ plate: one.plate.trim(), country: one.country.trim().toUpperCase(), ...ground(one, languages) });

/** Whether a row has any content; an empty row counts as absent. */
const isSaid = (one) => Object.values(one).some((value) => (typeof value === "string" ? value.trim() : Object.keys(value).length));

/** People and vehicles beside the child; none for a child under protection. */
const besideOf = ({ protection, sought, vehicles, languages }) => (protection.length
  ? { protection } : { persons_sought: sought.filter(isSaid).map((one) => soughtOf(one, languages)), vehicles: vehicles.filter(isSaid).map((one) => vehicleOf(one, languages)) });

/** Country codes as typed: "es, fr". */
export const listed = (countries) => countries.toUpperCase().split(/[\s,;]+/).filter(Boolean);

function contactOf({ way, value, countries }) {
  const said = way === "text" ? `sms:${value.trim().replace(/^sms:/, "")}` : value.trim();
  const where = listed(countries);
  return way === "url" ? { url: said } : { [way]: said, countries: where };
}

/** A decision and its time, as the author states them. */
const decided = (by, at) => (by.trim() ? { by: by.trim(), at: new Date(at).toISOString() } : undefined);

function caseOf(draft) {
  const { checks, seen, languages } = draft;
  const place = filled(seen.place, languages);
  return unset({
    number: draft.number.trim(),
    verification: unset({
      authority: checks.authority.trim(), reference: checks.reference.trim(), criteria: checks.criteria,
      custody_checked: checks.custody, protected_identity_checked: checks.identity, publication_risk: decided(checks.risk, checks.riskAt),
    }),
    best_interests: decided(checks.interests, checks.interestsAt),
    children: [childOf(draft)], ...besideOf(draft),
    last_seen: seen.at || Object.keys(place).length ? unset({ at: seen.at ? momentIn(seen.zone, seen.at) : undefined, time_zone: seen.zone, place }) : undefined,
    contact: draft.contacts.filter((one) => one.value.trim()).map(contactOf),
  });
}

const shapes = (pieces) => ({
  regions: pieces.filter((one) => one.type === "region").map((one) => one.code),
  polygons: pieces.flatMap((one) => (one.type === "file" ? polygonsOf(one.id) : one.type === "polygon" ? [one.geometry] : [])),
  circles: pieces.filter((one) => one.type === "circle").map(({ center, radius_km }) => ({ center, radius_km })),
});

const rings = (pieces) => pieces.filter((one) => one.type === "ring").map(({ center, radius_km, loudness, delay_min, pace_per_min }) => unset({ center, radius_km, loudness, delay_min, pace_per_min }));

/** Files with outlines that this tab no longer has: without them the area would be a different one. */
export const goneFiles = ({ pieces }) => pieces.filter((one) => one.type === "file" && !polygonsOf(one.id).length);

/** The target, or null if nothing is chosen. */
export function targetOf({ pieces, beyond = {} }) {
  const wanted = pieces.filter((one) => !one.minus);
  return wanted.length || (beyond.groups || []).length ? { ...beyond, ...shapes(wanted), rings: rings(wanted), exclude: shapes(pieces.filter((one) => one.minus)) } : null;
}

/** The kind of alert that this form makes; programs submit the other kinds. */
const KIND = "missing-child";
export const hasForm = ({ kind }) => kind === KIND;

export function documentOf(draft) {
  return {
    external_id: draft.external_id, kind: KIND, level: draft.level, status: draft.status, expires: iso(draft.expires ?? soon()), starts: draft.starts ? iso(draft.starts) : undefined, case: caseOf(draft),
    target: targetOf(draft) || undefined, channels: draft.channels, policy: unset({ pace_per_min: whole(draft.pace || "") }),
  };
}

/** The document for the text preview: without area, and with a case number only if there is one. */
export function previewOf(draft) {
  const document = documentOf(draft);
  if (!document.case.contact.length) return null;
  document.case.number ||= "-";
  if (document.case.last_seen && !document.case.last_seen.at) delete document.case.last_seen;  // the author types a place before its time
  document.target = { circles: [{ center: [0, 0], radius_km: 1 }] };
  return document;
}

/** What a case of this level must meet: all of some criteria, a number of others; `rules` are the organisation's, by level. */
export function askedOf(level, rules) {
  const { all_of = [], any_of = [], at_least = 1, authorities = [], custody_checked = true } = (rules || {})[level] || {};
  return { all: [...new Set([...(level === TABLES.gravest ? TABLES.criteria : []), ...all_of])], any: any_of, least: any_of.length ? at_least : 0, authorities, custody: custody_checked };
}

/** What an Actual alert still lacks, one entry per check. */
export function checksLeft({ status, level, checks }, rules) {
  if (status !== "Actual") return 0;
  const { all, any, least, custody } = askedOf(level, rules);
  const met = (some) => some.filter((one) => checks.criteria.includes(one)).length;
  const enough = checks.criteria.length > 0 && met(all) === all.length && met(any) >= least;
  const done = [checks.authority.trim(), checks.reference.trim(), enough, checks.custody || !custody, checks.identity, checks.risk.trim(), checks.interests.trim()];
  return done.filter((one) => !one).length;
}

/** Parts of a target that the form does not know (buffer, groups). They stay unchanged. */
const beyondOf = ({ regions, polygons, circles, rings: all, exclude, ...beyond }) => beyond;

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

/** The form's draft of an existing alert; `names` maps its region codes to names. Parts unknown to the form are left out. */
export function draftOf(document, names) {
  const { verification: verified, best_interests, children = [], last_seen, contact = [], number } = document.case;
  const [child = {}] = children;
  const [from, to] = child.height_cm || ["", ""];
  const verification = verified || {};
  const { publication_risk } = verification;
  const zone = (last_seen || {}).time_zone || ZONE;
  const texts = [(last_seen && last_seen.place) || {}, child.clothing || {}, child.marks || {}];
  return {
    ...blank(), external_id: document.external_id, status: document.status, level: document.level, expires: time(document.expires), starts: time(document.starts), channels: document.channels, number: number || "",
    pace: String((document.policy || {}).pace_per_min ?? ""),
    checks: {
      authority: verification.authority || "", reference: verification.reference || "", criteria: verification.criteria || [], custody: Boolean(verification.custody_checked),
      identity: Boolean(verification.protected_identity_checked), risk: (publication_risk || {}).by || "", riskAt: ms((publication_risk || {}).at),
      interests: (best_interests || {}).by || "", interestsAt: ms((best_interests || {}).at),
    },
    child: { id: child.id || "c1", name: (child.name || {}).public || "", age: String((child.age || {}).years ?? ""), sex: child.sex || "", hair: child.hair || "", eyes: child.eyes || "", from: String(from), to: String(to), photo: ((child.photos || [])[0] || {}).media || null },
    seen: { at: last_seen ? clockIn(zone, ms(last_seen.at)) : "", zone, place: texts[0] }, clothing: texts[1], marks: texts[2], ...besideFrom(document.case),
    languages: [...new Set([...texts.flatMap((one) => Object.keys(one)), language])], contacts: contact.length ? contact.map(contactFrom) : blank().contacts,
    pieces: document.target ? [...toPieces(document.target, names, false), ...toPieces(document.target.exclude || {}, names, true)] : [],
    beyond: beyondOf(document.target || {}),
  };
}

/** Stores the edit of an existing alert, beside the draft of a new one. */
export const keepEdit = (id, edit) => stored(placeOf(id), edit);
export const keptEdit = (id) => JSON.parse(sessionStorage.getItem(placeOf(id)) || "null");
