// What a place in a document is called on the form, and on which of its steps it is.

import { known, t } from "./words.js";

const NAMES = { children: "child", last_seen: "seen", at: "seen-at", verification: "checks", best_interests: "interests", publication_risk: "risk", custody_checked: "custody", protected_identity_checked: "identity", height_cm: "height", photos: "photo", target: "step-area", channels: "by-channels", vehicles: "vehicle", persons_sought: "sought", legal_basis: "legal-basis", dial: "number", time_zone: "zone", exclude: "minus", circles: null, rings: null, polygons: null, case: null, years: null, public: null, cap_sender: "cap-sender", unattended: "unattended", levels: "unattended-levels", alerts_per_hour: "unattended-hourly", break_glass: "glass-title", after_min: "glass-minutes" };

/** What stands alone has another name than the same word within something. */
const ALONE = { name: "org-name", languages: "org-languages" };

/** A path within a document in the words of the form: "The child · Age". */
export const withinOf = (path) => path.filter((part) => !/^(\d+$|#)/.test(part) && NAMES[part] !== null)
  .map((part) => NAMES[part] || part).map((key) => (known(key) ? t(key) : key.replaceAll("_", " "))).join(" · ");

/** A path of a document from its beginning. */
export const nameOf = (path) => (path.length === 1 && ALONE[path[0]] ? t(ALONE[path[0]]) : withinOf(path));

/** The step of the form on which a pointer's field is; none where it is on no form. */
const STEPS = { case: "case", level: "case", status: "case", target: "area", channels: "send", expires: "send" };
export const stepOf = (pointer) => STEPS[pointer.split("/")[1]];
