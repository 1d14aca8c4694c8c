/** A return's review: a choice, then its reason; by mouse, by touch or by keys. */

import { show } from "./forms.js";

const form = document.getElementById("choose");
const KEYS = { a: "approve", r: "reject", p: "ask" };
const LEAST = 3;

function isReason() {
  return form.elements.reason.value.trim().length >= LEAST;
}

function complain(text) {
  show(form.querySelector(".trouble"), text);
}

function press(choice) {
  form.elements.choice.value = choice;
  for (const button of form.querySelectorAll("[data-choice]")) {
    button.setAttribute("aria-pressed", String(button.dataset.choice === choice));
  }
  complain("");
  // Nothing is sent by a key alone: there is no choice without its reason.
  if (!isReason()) form.elements.reason.focus();
}

function onKey(event) {
  if (event.ctrlKey || event.metaKey || event.altKey) return;
  if (event.key === "Escape") {
    document.getElementById("queue").click();
  } else if (!event.target.matches("input, textarea, select") && event.key.toLowerCase() in KEYS) {
    event.preventDefault();
    press(KEYS[event.key.toLowerCase()]);
  }
}

if (form) {
  document.addEventListener("keydown", onKey);
  for (const button of form.querySelectorAll("[data-choice]")) {
    button.addEventListener("click", () => {
      press(button.dataset.choice);
      if (isReason()) form.requestSubmit();
    });
  }
  // Before forms.js hears of it.
  form.addEventListener("submit", (event) => {
    const text = !form.elements.choice.value
      ? form.dataset.chooseFirst
      : isReason()
        ? ""
        : form.dataset.tooShort;
    if (text === "") return;
    event.preventDefault();
    event.stopPropagation();
    complain(text);
    form.elements.reason.focus();
  });
}

