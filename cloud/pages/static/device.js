/** One device's page: asks its vehicle, and shows what came of it. The words are the server's. */

import { follow } from "./feed.js";
import { localise } from "./times.js";

const page = document.getElementById("device");
const commands = document.getElementById("commands");
const state = document.getElementById("state");
const outcome = document.getElementById("outcome");
const dialog = document.getElementById("ask");
const form = dialog.querySelector("form");
const wrong = document.getElementById("ask-wrong");
const sure = document.getElementById("ask-sure");
const send = document.getElementById("ask-send");
const csrf = document.querySelector('meta[name="csrf-token"]').content;

const TOO_SHORT = "Say why, in at least three characters.";

let asked = null; // the button whose form is open
let followed = null; // id of the command whose end is told
let sent = { text: "", key: "" };

function refresh(element) {
  if (element) htmx.trigger(element, "refresh");
}

function tell(text) {
  if (outcome.textContent !== text) outcome.textContent = text;
}

/** Browsers look at minlength only after typing, and count blanks. */
const isReason = (text) => text.trim().length >= 3;

/** A name for the request: the same one when it is sent again because no answer came. */
function keyOf(text) {
  if (sent.text !== text) {
    const bytes = crypto.getRandomValues(new Uint8Array(16));
    sent = { text, key: Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("") };
  }
  return sent.key;
}

/** Returns what went wrong in words, and the answer's body when nothing did. */
async function post(url, body) {
  const text = body === null ? null : JSON.stringify(body);
  const headers = { "Idempotency-Key": keyOf(`${url} ${text}`), "X-CSRF-Token": csrf };
  if (text !== null) headers["Content-Type"] = "application/json";
  try {
    const answer = await fetch(url, { method: "POST", headers, body: text });
    const told = await answer.json();
    if (answer.status === 401) location.reload();
    sent = { text: "", key: "" };
    return answer.ok ? { told } : { trouble: `${told.title}. ${told.detail}.` };
  } catch {
    return { trouble: "The cloud did not answer. Look at your network and send it again." };
  }
}

function args() {
  const { mode, kmh, name, seconds } = form.elements;
  const given = {
    mode: () => ({ mode: mode.value }),
    kmh: () => ({ kmh: kmh.value === "" ? null : Number(kmh.value) }),
    interval: () => ({ intervals_s: { [name.value]: Number(seconds.value) } }),
  }[asked.dataset.field];
  return given ? given() : JSON.parse(asked.dataset.args);
}

function complain(text) {
  wrong.textContent = text;
  wrong.hidden = text === "";
}

/** Ask again, or go back to the form. */
function doubt(on) {
  sure.hidden = !on;
  sure.textContent = on ? asked.dataset.sure : "";
  document.getElementById("ask-fields").hidden = on;
  if (on) document.getElementById("ask-cancel").focus();
  send.textContent = on ? `Yes: ${asked.textContent}` : asked.textContent;
}

function open(button) {
  asked = button;
  form.reset();
  complain("");
  document.getElementById("ask-title").textContent = button.textContent;
  for (const label of form.querySelectorAll("label[data-field]")) {
    label.hidden = label.dataset.field !== button.dataset.field;
  }
  doubt(false);
  dialog.showModal();
  form.querySelector("label:not([hidden]) :is(input, select)").focus();
}

async function submit() {
  for (const field of form.querySelectorAll("label:not([hidden]) :is(input, select)")) {
    if (field.name === "reason") field.setCustomValidity(isReason(field.value) ? "" : TOO_SHORT);
    if (!field.reportValidity()) return;
  }
  if (asked.dataset.sure && sure.hidden) {
    complain("");
    doubt(true);
    return;
  }
  const { kind } = asked.dataset;
  const body = { reason: form.elements.reason.value.trim() };
  send.disabled = true;
  const { told, trouble } = await post(asked.dataset.post, kind ? { kind, args: args(), ...body } : body);
  send.disabled = false;
  if (trouble) {
    doubt(false);
    complain(trouble);
    form.elements.reason.focus();
    return;
  }
  dialog.close();
  followed = kind ? told.id : null;
  tell(kind ? `${asked.textContent}: asked.` : `${asked.textContent}: done.`);
  refresh(kind ? commands : state);
}

async function approve(button) {
  button.disabled = true;
  const { told, trouble } = await post(button.dataset.approve, null);
  button.disabled = false;
  followed = told?.id ?? null;
  tell(trouble ?? "Approved.");
  refresh(commands);
}

/** Say how the command stands that was asked for here. */
function tellFollowed() {
  const item = followed && commands?.querySelector(`[data-id="${followed}"]`);
  if (item) tell(item.dataset.said);
}

page.addEventListener("click", ({ target }) => {
  const button = target.closest("button");
  if (button?.dataset.approve) approve(button);
  else if (button?.dataset.post) open(button);
});
form.addEventListener("submit", (event) => {
  event.preventDefault();
  submit();
});
document.getElementById("ask-cancel").addEventListener("click", () => dialog.close());
document.addEventListener("htmx:afterSwap", () => {
  localise(document);
  tellFollowed();
});
localise(document);

let connected = null;
function onNews(news) {
  if (connected !== null && news.connected !== connected) refresh(state);
  connected = news.connected;
}

if (page.dataset.vehicle) {
  follow(onNews, `?vehicle=${encodeURIComponent(page.dataset.vehicle)}`, {
    onCommand: () => refresh(commands),
    onOpen: () => {
      refresh(commands);
      refresh(state);
    },
  });
}
