// The alert's public page: its link, and the effect of a decision on it.

import { html } from "../parts/parts.js";
import { t } from "../parts/words.js";

/** `act`: the decision, such as `approve` or `stand-down`. */
export const PublicPage = ({ alert: { page }, act }) => (page ? html`<div class="public-page">
    <p><strong>${t("public-page")}</strong> <a class="link" href=${page} target="_blank" rel="noopener" dir="ltr">${page}</a></p><p>${t(`page-${act}`)}</p></div>`
  : html`<p class="public-page">${t("page-none")}</p>`);
