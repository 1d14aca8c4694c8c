/** Forms of the customer's pages: each one is a request to the API, its troubles said in words. */

export const words = JSON.parse(document.getElementById("words").textContent);
const csrf = document.querySelector('meta[name="csrf-token"]')?.content;

/** A word with its placeholders filled. */
export function say(key, values = {}) {
  return words[key].replace(/\{(\w+)\}/g, (all, name) => values[name] ?? all);
}

export function freshKey() {
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
}

/** What a problem document says, in the page's language where we have words for it. */
export function troubleOf(problem) {
  const kind = (problem.type ?? "").split("/").pop();
  return words.problems[kind] ?? [problem.title, problem.detail].filter(Boolean).join(". ");
}

/**
 * Ask the API.
 *
 * @returns {Promise<{ok: boolean, status: number, told: object}>} status 0: no answer came.
 */
export async function ask(method, url, { body = null, key = null, type = "application/json" } = {}) {
  const headers = {};
  if (csrf) headers["X-CSRF-Token"] = csrf;
  if (key) headers["Idempotency-Key"] = key;
  if (body !== null) headers["Content-Type"] = type;
  try {
    const answer = await fetch(url, {
      method,
      headers,
      body: body === null || type !== "application/json" ? body : JSON.stringify(body),
    });
    if (answer.status === 401 && csrf) location.reload();
    const told = answer.status === 204 ? {} : await answer.json().catch(() => ({}));
    return { ok: answer.ok, status: answer.status, told };
  } catch {
    return { ok: false, status: 0, told: { title: words.no_answer } };
  }
}

export function show(element, text) {
  element.textContent = text;
  element.hidden = text === "";
}

function bodyOf(form) {
  const body = {};
  for (const field of form.elements) {
    if (!field.name || field.name === "idempotency_key") continue;
    body[field.name] = "number" in field.dataset ? Number(field.value) : field.value;
  }
  const documents = [...form.querySelectorAll("[data-document]")];
  if (form.id === "sign-up") {
    body.consents = documents
      .filter((box) => box.checked)
      .map((box) => ({ document: box.dataset.document, version: box.dataset.version }));
  }
  return body;
}

async function submit(form) {
  const button = form.querySelector("button");
  const trouble = form.querySelector(".trouble");
  const keyField = form.elements.idempotency_key;
  show(trouble, "");
  button.disabled = true;
  const body = bodyOf(form);
  const { ok, status, told } = await ask(form.dataset.method ?? "POST", form.dataset.api, {
    body: Object.keys(body).length > 0 ? body : null,
    key: keyField?.value,
  });
  // Without an answer the same key goes again: it may have been done.
  if (keyField && status !== 0) keyField.value = freshKey();
  if (ok && form.dataset.then) {
    location.assign(form.dataset.then.replace("{id}", encodeURIComponent(told.id ?? "")));
    return;
  }
  button.disabled = false;
  const said = form.querySelector("[data-said]");
  if (said) show(said, ok ? said.dataset.said : "");
  if (!ok) {
    show(trouble, troubleOf(told));
    // What helps when a link is of no use any more.
    const help = status >= 400 && status !== 422 && document.getElementById(form.dataset.reveal ?? "");
    if (help) help.open = true;
    button.focus();
  }
  form.dispatchEvent(new CustomEvent("answered", { bubbles: true, detail: { ok, status, told } }));
}

document.addEventListener("submit", (event) => {
  const form = event.target;
  if (!form.dataset.api) return;
  event.preventDefault();
  submit(form);
});

const zone = document.querySelector("[data-time-zone]");
if (zone) zone.value = Intl.DateTimeFormat().resolvedOptions().timeZone ?? "UTC";

const token = document.querySelector("[data-token]");
if (token) {
  token.value = new URLSearchParams(location.hash.slice(1)).get("token") ?? "";
  if (token.value === "") {
    show(token.form.querySelector(".trouble"), words.verify_nothing);
    for (const help of document.querySelectorAll("#resend")) help.open = true;
    token.form.querySelector("button").disabled = true;
  }
}
