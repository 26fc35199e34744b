// Two people change one alert: the changes of each, the conflicts, and a patch that keeps both.

import { TABLES } from "../tables.js";

const isObject = (value) => value !== null && typeof value === "object" && !Array.isArray(value);
const isList = (value) => Array.isArray(value) && value.length > 0 && value.every(isObject);
const same = (a, b) => JSON.stringify(sorted(a)) === JSON.stringify(sorted(b));

/** Values of several numbers change as one. */
const WHOLE = new Set(["target", "contact", "jurisdiction", "unattended", "break_glass", ...TABLES.everyLevel]);

function sorted(value) {
  if (Array.isArray(value)) return value.map(sorted);
  return isObject(value) ? Object.fromEntries(Object.keys(value).sort().map((key) => [key, sorted(value[key])])) : value;
}

/** Entries with ids are matched by id: an added or removed entry does not shift the others. */
const hasIds = (value) => isList(value) && value.every((one) => one.id);
const keyOf = (id) => `#${id}`;
const partOf = (value, name) => (Array.isArray(value) && name.startsWith("#") ? value.find((one) => keyOf(one.id) === name) : value[name]);
const namesIn = (value) => (hasIds(value) ? value.map((one) => keyOf(one.id)) : Object.keys(value));

const goesInto = (a, b, name) => !WHOLE.has(name) && ((isObject(a) && isObject(b)) || (hasIds(a) && hasIds(b)) || (isList(a) && isList(b) && a.length === b.length));

/** Each changed value: `{path, was, is}`, undefined for a missing one. */
export function changes(before, after, path = []) {
  if (same(before, after)) return [];
  if (!goesInto(before, after, path[path.length - 1])) return [{ path, was: before, is: after }];
  const byId = hasIds(before) && hasIds(after);
  const names = [...new Set([before, after].flatMap(byId || isObject(before) ? namesIn : Object.keys))];
  return names.flatMap((name) => changes(partOf(before, name), partOf(after, name), [...path, name]));
}

const startsWith = (path, start) => start.every((name, i) => path[i] === name);
const meet = (a, b) => startsWith(a.path, b.path) || startsWith(b.path, a.path);

/** The values that both changed differently, and the values that only the other person changed. */
export function compared(base, mine, theirs) {
  const [ours, others] = [changes(base, mine), changes(base, theirs)];
  const pairs = ours.map((one) => [one, others.find((other) => meet(one, other))]).filter(([one, other]) => other && !(same(one.path, other.path) && same(one.is, other.is)));
  const paths = new Map(pairs.map(([one, other]) => (one.path.length <= other.path.length ? one.path : other.path)).map((path) => [path.join("/"), path]));
  const both = [...paths.values()].map((path) => ({ path, mine: at(mine, path), theirs: at(theirs, path) }));
  return { both, others: others.filter((other) => !ours.some((one) => meet(one, other))) };
}

export const at = (document, path) => path.reduce((value, name) => (value === undefined || value === null ? undefined : partOf(value, name)), document);

/** The document with some values set; undefined removes one. Other content stays. */
export function withValues(document, values) {
  const copy = structuredClone(document);
  for (const { path, is } of values) {
    const last = path[path.length - 1];
    let holder = copy;
    for (const name of path.slice(0, -1)) {
      if (partOf(holder, name) === undefined || partOf(holder, name) === null) holder[name] = {};
      holder = partOf(holder, name);
    }
    put(holder, last, is);
  }
  return copy;
}

function put(holder, name, is) {
  const at_ = Array.isArray(holder) && name.startsWith("#") ? holder.findIndex((one) => keyOf(one.id) === name) : name;
  if (at_ === -1 && is !== undefined) holder.push(is);
  else if (is !== undefined) holder[at_] = is;
  else if (Array.isArray(holder)) holder.splice(at_, at_ === -1 ? 0 : 1);
  else delete holder[at_];
}

/** Joins the other person's changes and mine; for conflicts, takes the choice, "mine" or "theirs", in order. */
export function joined(base, mine, theirs, choices, onto = theirs) {
  const { both } = compared(base, mine, theirs);
  const kept = changes(base, mine).filter((one) => !both.some((other) => startsWith(one.path, other.path)));
  const chosen = both.filter((_, i) => choices[i] === "mine").map(({ path, mine: is }) => ({ path, is }));
  return withValues(onto, [...kept, ...chosen]);
}

/** The patch from one document to another (JSON merge patch, RFC 7396). */
export function patch(from, to) {
  const names = [...new Set([...Object.keys(from), ...Object.keys(to)])].filter((name) => !same(from[name], to[name]));
  const one = (name) => (to[name] === undefined ? null : isObject(from[name]) && isObject(to[name]) ? patch(from[name], to[name]) : to[name]);
  return Object.fromEntries(names.map((name) => [name, one(name)]));
}
