// Files that are made here and kept by whoever asked for them.

/** By when a browser has taken what it was given. */
const TAKEN_MS = 60_000;

/** Hands the browser a document as a file of that name. */
export function saveFile(name, document_) {
  const url = URL.createObjectURL(new Blob([JSON.stringify(document_, null, 2)], { type: "application/json" }));
  Object.assign(document.createElement("a"), { href: url, download: name }).click();
  setTimeout(() => URL.revokeObjectURL(url), TAKEN_MS);
}
