// Organisations, read and written.

import { ask } from "./api.js";

const pathOf = (id) => `/v1/organisations/${encodeURIComponent(id)}`;

export async function read(id, signal) {
  const { body, etag } = await ask("GET", pathOf(id), { signal });
  return { ...body, etag };
}

export const write = (id, organisation, etag) => ask("PUT", pathOf(id), { body: organisation, headers: { "If-Match": etag } });
