// What the author has filled in so far, kept in this tab, and the alert that the API is sent for it.

import { letGo, polygonsOf } from "./shapes.js";
import { TABLES } from "./tables.js";
import { language } from "./words.js";

const KEPT = "alertd.draft";
const ZONE = Intl.DateTimeFormat().resolvedOptions().timeZone || "UTC";
export const ZONES = Intl.supportedValuesOf ? [...new Set([ZONE, "UTC", ...Intl.supportedValuesOf("timeZone")])] : [ZONE, "UTC"];
const HOURS = 12;

const two = (n) => String(n).padStart(2, "0");
const local = (date) =>
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
  seen: { at: "", zone: ZONE, place: {} }, clothing: {},
  languages: [...new Set([language, "en"])], contacts: [{ way: "dial", value: "", countries: "" }], pieces: [], view: null,
});

export function kept() {
  try {
    const draft = { ...blank(), ...JSON.parse(sessionStorage.getItem(KEPT)) };
    return { ...draft, pieces: draft.pieces.filter((one) => one.type !== "file" || polygonsOf(one.id).length) };
  } catch { return blank(); }
}
export const keep = (draft) => sessionStorage.setItem(KEPT, JSON.stringify(draft));
export function forget() {
  sessionStorage.removeItem(KEPT);
  letGo();
}

const iso = (text) => (text ? new Date(text).toISOString() : undefined);
const filled = (texts, languages) => Object.fromEntries(languages.filter((tag) => texts[tag] && texts[tag].trim()).map((tag) => [tag, texts[tag].trim()]));
const whole = (text) => (/^\d+$/.test(String(text).trim()) ? Number(text) : undefined);
const unset = (object) => Object.fromEntries(Object.entries(object).filter(([, value]) => value !== undefined && value !== ""));

function childOf({ child, clothing, languages }) {
  const years = whole(child.age);
  const heights = [whole(child.from), whole(child.to) ?? whole(child.from)];
  return unset({
    id: "c1",
    name: child.name.trim() ? { public: child.name.trim() } : undefined,
    age: years === undefined ? undefined : { years },
    sex: child.sex, hair: child.hair, eyes: child.eyes,
    height_cm: heights[0] === undefined ? undefined : heights,
    clothing: filled(clothing, languages),
    photos: child.photo ? [{ media: child.photo }] : [],
  });
}

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
    children: [childOf(draft)],
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
