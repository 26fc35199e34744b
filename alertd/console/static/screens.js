// The screens: the code of each is fetched when somebody goes there, and of those where they may go next while nothing else is to be done.

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

/** Files that only a page that comes anew has: one that does not fit, as alertd was brought up to date since, or one that did not come. */
export const wantsReload = (error) => error instanceof SyntaxError || error instanceof Missing;

/** Not every browser says when it has nothing to do. */
const idle = window.requestIdleCallback || ((then) => setTimeout(then, 1000));

/**
 * Fetches what they will need next, one after the other: an alert to be read, and whoever may write one its form and the map. Where
 * a line is dear or was cut, it is fetched when it is needed.
 */
export function fetchAhead(me) {
  if (navigator.connection && navigator.connection.saveData) return;
  const writes = mayDo(me, "alert.create");
  const next = [() => fetchScreen("alert"), ...(writes ? [() => fetchScreen("new"), ...(hasWebGl() ? [ready] : [])] : [])];
  const go = () => { if (next.length) idle(() => next.shift()().then(go, () => {})); };
  go();
}
