// Channels without a running worker: approved alerts wait, and no one is notified.

import { get } from "./api.js";
import { Icon, html, usePolled } from "./parts.js";
import { list, t } from "./words.js";

/** Poll interval: how long this may go unseen on a screen. */
const AGAIN_MS = 5000;

/** The channels of these carriers that no worker sends on. */
export const silentOf = (carriers) => [...new Set(carriers.filter((one) => one.at_work === false).map((one) => one.channel))];

/** Whether a carrier cannot send. A cause may also say why its state is not known. */
export const isFailing = (one) => Boolean(one.cause) && one.state !== "not_known";

export const silence = (channels) => t("no-worker", { list: list(channels.map((one) => t(one))) });

/** Shown on every screen: an approver must not take the alert for sent. */
export function Silent() {
  const { data } = usePolled((signal) => get("/v1/carriers", { signal }), AGAIN_MS);
  const channels = data ? silentOf(data.carriers) : [];
  return channels.length ? html`<div class="stops"><section class="stopped" role="alert"><${Icon} name="warn" />
    <div><h2>${silence(channels)}</h2><p>${t("no-worker-says")}</p></div></section></div>` : null;
}
