// The form's name for a place in a document, and its step on the form.

import { get } from "./api.js";
import { TABLES } from "../tables.js";
import { known, language, t } from "./words.js";

const NAMES = { alt: "photo-alt", valid_until: "expires", seen_at: "seen-at", companions: "sought", children: "child", last_seen: "seen", at: "seen-at", verification: "checks", best_interests: "interests", publication_risk: "risk", custody_checked: "custody", protected_identity_checked: "identity", height_cm: "height", photos: "photo", target: "step-area", channels: "by-channels", vehicles: "vehicle", persons_sought: "sought", legal_basis: "legal-basis", dial: "number", time_zone: "zone", exclude: "minus", circles: null, rings: null, polygons: null, case: null, policy: null, pace_per_min: "pace-alert", years: null, public: null, cap_sender: "cap-sender", unattended: "unattended", levels: "unattended-levels", alerts_per_hour: "unattended-hourly", break_glass: "glass-title", after_min: "glass-minutes", steps: null, people: "oncall-person", addresses: null, hours: "oncall-hours", days: null, times: "oncall-times", hold_min: "oncall-hold", subject: "oncall-subject", mailbox: "by-mail", token: "by-push", all_of: "asks-always", any_of: "asks-several", at_least: "asks-least", authorities: "asks-authorities", text: "contact-text", url: "contact-address", role: "contact-for", enabled: "distributor-enabled", acknowledges: "distributor-acks", statuses: "distributor-statuses", profile: "distributor-profile", authorization: "distributor-secret" };

/** Top-level names that differ from the same name deeper in a document. */
const ALONE = { name: "person-name", languages: "languages", verification: "org-verification", contact: "org-contact", url: "distributor-url", levels: "distributor-levels" };

/** A path within a document in the form's words: "The child · Age". */
export const withinOf = (path) => path.filter((part) => !/^(\d+$|#)/.test(part) && NAMES[part] !== null)
  .map((part) => NAMES[part] || part).map((key) => (known(key) ? t(key) : key.replaceAll("_", " "))).join(" · ");

/** A path from the top of a document, in words. */
export const nameOf = ([first, ...rest]) => (ALONE[first] ? [t(ALONE[first]), withinOf(rest)].filter(Boolean).join(" · ") : withinOf([first, ...rest]));

/** The step of the form with the pointer's field; undefined if the form has none. */
const STEPS = { case: "case", level: "case", status: "case", target: "area", channels: "send", policy: "send", expires: "send", starts: "send" };
export const stepOf = (pointer) => STEPS[pointer.split("/")[1]];

/** A name in the characters of codes and ids: no accents, hyphens for all else. */
export const bareName = (name) => name.normalize("NFD").replace(/[\u0300-\u036f]/g, "").replace(/[^A-Za-z0-9]+/g, "-").replace(/^-+|-+$/g, "");

/** A region from the library. One that is missing there, or unreadable for the user, is named by its code; `unread` marks the latter. */
export const lookUp = (code, geometry, signal) => get(`/v1/regions/${encodeURIComponent(code)}?geometry=${geometry}`, { signal }).catch((error) => {
  if (![403, 404].includes(error.status)) throw error;
  return { code, name: code, names: {}, geometry: null, unread: error.status === 403 };
});
export const regionName = (one) => one.names[language] || one.name;

/** A criterion in words, or its code. */
export const criterion = (code) => (TABLES.criterion[language] || {})[code] || code;
