// What the approver checks besides the messages: the verification, its authority, and the changes of an update.

import { get } from "../parts/api.js";
import { Differs } from "./edit.js";
import { changes } from "../parts/merge.js";
import { criterion } from "../parts/names.js";
import { Refused, html, usePolled } from "../parts/parts.js";
import { list, moment, t } from "../parts/words.js";

/** The person who decided, and when. */
const decision = (one) => (one && one.by ? html`<bdi>${one.by}</bdi>${one.at ? ` · ${moment(one.at)}` : ""}` : null);
const grounds = (all) => list((all || []).map((one) => one.legal_basis).filter(Boolean));

/** Each check by its name, with the case's entry; empty if the check was not made. */
function checksOf({ verification, best_interests, persons_sought, vehicles }) {
  const { authority, reference, criteria = [], custody_checked, protected_identity_checked, publication_risk } = verification || {};
  const beside = [["basis-sought", grounds(persons_sought)], ["basis-vehicle", grounds(vehicles)]].filter(([, basis]) => basis);
  return [
    ["authority", authority], ["reference", reference], ["criteria", list(criteria.map(criterion))],
    ["custody", custody_checked && t("yes")], ["identity", protected_identity_checked && t("yes")],
    ["risk", decision(publication_risk)], ["interests", decision(best_interests)],
    ...beside,
  ];
}

/** The checks that the author states. Practice alerts need none, so only existing entries are shown. */
export function Verified({ alert }) {
  const checks = checksOf(alert.alert.case || {}).filter(([, is]) => is || alert.status === "Actual");
  if (!checks.length || alert.alert.kind !== "missing-child") return null;
  return html`<section class="panel verified"><header><h2>${t("verified")}</h2></header>
    <dl>${checks.map(([key, is]) => html`<div><dt>${t(key)}</dt><dd>${is || html`<strong class="fault">${t("left-empty")}</strong>`}</dd></div>`)}</dl></section>`;
}

/** The differences between an update and the present alert. */
export function Differences({ alert }) {
  const { data, error } = usePolled((signal) => get(`/v1/alerts/${alert.update.of}`, { signal }), 0, `${alert.id} ${alert.rev}`);
  const [from, to] = [data && data.alert && said(data.alert), said(alert.alert)];
  return html`<section class="panel differences"><header><h2>${t("update-changes")}</h2></header><${Refused} error=${error} />
    ${from ? changes(from, to).length ? html`<${Differs} from=${from} to=${to} />` : html`<p class="note">${t("update-same")}</p>` : null}</section>`;
}

/** The author and external id are not shown. */
const said = ({ author, external_id, notify, ...rest }) => rest;
