// Signs up the browser that shows this page. The page's form holds what the script needs as data attributes.
import { subscribe } from "/subscribe.js";

const form = document.querySelector("form[data-key]");
const say = (name) => {
  for (const text of document.querySelectorAll("[data-says]")) text.hidden = text.dataset.says !== name;
};

/** Posts JSON and returns the status and, of a success, the answer. */
async function post(path, content) {
  const body = JSON.stringify(content);
  const answer = await fetch(path, { method: "POST", body, credentials: "omit", headers: { "Content-Type": "application/json" } });
  return { status: answer.status, reply: answer.ok ? await answer.json() : {} };
}

/** Hands the subscription in, and opens the page that the server answers with. */
async function hand(subscription) {
  const { status, reply } = await post(form.dataset.to, subscription);
  if (!reply.next) throw new Error(`status ${status}`);
  location.assign(reply.next);
}

form.hidden = false;
say("");
form.addEventListener("submit", async (event) => {
  event.preventDefault();
  const button = form.querySelector("button");
  button.disabled = true;
  say("");
  try {
    say(await subscribe({ worker: form.dataset.worker, key: form.dataset.key, hand }));
  } catch {
    say("failed");
  }
  button.disabled = false;
});
