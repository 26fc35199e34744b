// Keys made on the store's machine, without another key: every administrator sees them until they are revoked.

import { get } from "../parts/api.js";
import { Icon, html, usePolled } from "../parts/parts.js";
import { moment, t } from "../parts/words.js";

/** Poll interval: how long a new one may go unseen on a screen. */
const AGAIN_MS = 60_000;

/** Shown on every screen: such a key is needed only to make other keys. */
export function Recovered() {
  const { data } = usePolled((signal) => get("/v1/keys", { signal }), AGAIN_MS);
  const found = data ? data.keys.filter((one) => one.recovered) : [];
  return found.length ? html`<div class="stops"><section class="stopped" role="alert"><${Icon} name="warn" />
    <div>${found.map((one) => html`<h2 key=${one.key}>${t("key-recovered", { time: moment(one.recovered), who: one.subject })} <code dir="ltr">${one.key}</code></h2>`)}
      <p>${t("key-recovered-says")} <a href="#/keys">${t("keys")}</a></p></div></section></div>` : null;
}
