// The screens: the code of each is fetched when it opens, and ahead for screens that may come next, while the browser is idle.

import { Later, Missing, fetchPart } from "./parts/later.js";
import { hasWebGl, html, mayDo } from "./parts/parts.js";
import { ready } from "./parts/mount.js";

const SCREENS = {
  alert: async () => (await import("./alert/alert.js")).AlertScreen,
  new: async () => (await import("./alert/compose.js")).ComposeScreen,
  edit: async () => (await import("./alert/compose.js")).EditScreen,
  update: async () => (await import("./alert/compose.js")).UpdateScreen,
  permissions: async () => (await import("./alert/permission.js")).PermissionScreen,
  regions: async () => (await import("./area/regions.js")).RegionsScreen,
  subscribers: async () => (await import("./organisation/subscribers.js")).SubscribersScreen,
  carriers: async () => (await import("./organisation/desk.js")).CarriersScreen,
  organisation: async () => (await import("./organisation/organisation.js")).OrganisationScreen,
  oncall: async () => (await import("./organisation/oncall.js")).OnCallScreen,
  people: async () => (await import("./organisation/people.js")).PeopleScreen,
  keys: async () => (await import("./organisation/desk.js")).KeysScreen,
  audit: async () => (await import("./organisation/desk.js")).AuditScreen,
};
export const isScreen = (name) => Object.hasOwn(SCREENS, name);

const fetchScreen = (name) => fetchPart(SCREENS[name]);
export const Screen = ({ name, ...rest }) => html`<${Later} load=${SCREENS[name]} ...${rest} />`;

/** Errors that only a reload fixes: a file from an upgraded alertd, or a missing file. */
export const wantsReload = (error) => error instanceof SyntaxError || error instanceof Missing;

/** Not every browser reports when it is idle. */
const idle = window.requestIdleCallback || ((then) => setTimeout(then, 1000));

/**
 * Fetches the next screens one after the other: an alert, and for authors the form and the map. On an expensive or lost connection,
 * fetches nothing ahead.
 */
export function fetchAhead(me) {
  if (navigator.connection && navigator.connection.saveData) return;
  const writes = mayDo(me, "alert.create");
  const next = [() => fetchScreen("alert"), ...(writes ? [() => fetchScreen("new"), ...(hasWebGl() ? [ready] : [])] : [])];
  const go = () => { if (next.length) idle(() => next.shift()().then(go, () => {})); };
  go();
}
