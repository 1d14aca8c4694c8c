/** A rental's page: looks again and again how it stands, ticks the clock, returns the vehicle. */

import { part, poll } from "./poll.js";
import { ask, freshKey, say, show, troubleOf, words } from "./forms.js";

const page = document.getElementById("rental");
const state = document.getElementById("state");
const returning = document.getElementById("return");
const trouble = document.getElementById("end-trouble");
const fee = document.getElementById("fee");
const photo = document.getElementById("photo");
const lost = document.getElementById("lost");
const api = `/api/v1/rentals/${page.dataset.id}`;
const MOST_BYTES = 8 * 1024 * 1024;

let painted = performance.now();
let heard = new Date();
let decided = false;
let asked = false; // a person wants one more photo, after the ride

const now = () => document.getElementById("now");

function clock(seconds) {
  const [h, m, s] = [Math.floor(seconds / 3600), Math.floor(seconds / 60) % 60, Math.floor(seconds) % 60];
  const two = (n) => String(n).padStart(2, "0");
  return h ? `${h}:${two(m)}:${two(s)}` : `${m}:${two(s)}`;
}

function tick() {
  if (now().dataset.ticks !== "yes") return;
  const seconds = Number(now().dataset.rideS) + (performance.now() - painted) / 1000;
  const text = clock(seconds);
  const element = document.getElementById("clock");
  if (element.textContent !== text) element.textContent = text;
}

function adopt() {
  painted = performance.now();
  const { state: stands } = now().dataset;
  const toReturn = asked || (["riding", "paused", "ending", "locked"].includes(stands) && !decided);
  if (returning.hidden === toReturn) returning.hidden = !toReturn;
  for (const part of returning.querySelectorAll("[data-while]")) {
    const wanted = part.dataset.while.split(" ").includes(stands);
    if (part.hidden === wanted) part.hidden = !wanted;
  }
}

/** After the end was asked for: whether a photo is still wanted, or somebody has to look. */
async function lookAtReturn() {
  if (!["ending", "locked", "ended"].includes(now().dataset.state)) return;
  const { ok, told } = await ask("GET", `${api}/return`);
  if (ok) tellReturn(told);
}

function tellReturn(told) {
  const answer = document.getElementById("photo-answer");
  decided = ["accepted", "pending", "rejected"].includes(told.state);
  asked = decided && told.needs.includes("photo");
  let text = null;
  if (told.state === "pending") text = asked ? say("photo_asked", told) : say("return_pending");
  if (told.state === "rejected") text = say("return_rejected", told);
  if (told.state === "photo_needed") text = faultsOf(told.reasons) || say("needs_photo");
  if (text !== null && answer.textContent !== text) answer.textContent = text;
  if (decided) show(document.getElementById("pending"), text ?? "");
  adopt();
}

function faultsOf(faults) {
  const known = faults.map((fault) => `fault_${fault}`).filter((name) => name in words);
  return known.length ? say("photo_faults", { faults: known.map((name) => say(name)).join(", ") }) : "";
}

/** What is typed or said in a form stays until it is answered; only another state replaces it. */
function put(text) {
  const fresh = new DOMParser().parseFromString(text, "text/html").getElementById("now");
  if (fresh === null) return;
  const same = fresh.dataset.state === now().dataset.state;
  if (same && fresh.dataset.ticks === "yes") {
    Object.assign(now().dataset, fresh.dataset);
    document.getElementById("cost").textContent = fresh.querySelector("#cost").textContent;
    return;
  }
  const said = state.querySelector(".trouble:not([hidden])");
  if (same && (said || fresh.innerHTML === now().innerHTML)) return;
  const focused = state.contains(document.activeElement);
  now().replaceWith(fresh);
  if (focused) state.querySelector("button, a")?.focus();
}

/** Say that nobody has heard of the ride since when; the clock ticks on, the price is as it was. */
function lose() {
  const at = heard.toLocaleTimeString(document.documentElement.lang);
  const text = say("lost_net", { at });
  if (lost.textContent !== text) show(lost, text);
  page.classList.add("stale");
}

async function look() {
  const text = await part(`/ride/rentals/${page.dataset.id}/state`);
  if (text === null) {
    lose();
    return false;
  }
  heard = new Date();
  show(lost, "");
  page.classList.remove("stale");
  put(text);
  adopt();
  await lookAtReturn();
  return true;
}

/** Where the phone is, null when it does not say; the vehicle's own position goes before it. */
function position() {
  return new Promise((resolve) => {
    if (!navigator.geolocation) resolve(null);
    navigator.geolocation.getCurrentPosition(
      ({ coords }) =>
        resolve({ lat: coords.latitude, lon: coords.longitude, accuracy_m: coords.accuracy }),
      () => resolve(null),
      { enableHighAccuracy: true, timeout: 5_000, maximumAge: 10_000 },
    );
  });
}

function money(amount) {
  const format = new Intl.NumberFormat(document.documentElement.lang, {
    style: "currency",
    currency: amount.currency,
  });
  return format.format(amount.amount_minor / 10 ** format.resolvedOptions().maximumFractionDigits);
}

/** Where a place is kept for whoever came to a full bay; nothing where none is. */
function keptWords(told) {
  const kept = told.alternatives?.find((bay) => bay.id === told.kept_bay_id);
  if (!kept) return "";
  const { name: bay, distance_m } = kept;
  return say("bay_full_kept", { bay, distance_m, minutes: Math.floor(told.grace_s / 60) });
}

function bayWords(bay) {
  if (!bay) return "";
  const distance_m = Math.round(bay.distance_m ?? 0);
  return say("nearest", { bay: bay.name, distance_m });
}

function verdict(told) {
  const bay = told.bay?.name ?? "";
  const other = bayWords(told.alternatives[0]);
  const photo = told.needs.includes("photo") ? say("needs_photo") : "";
  const words = {
    end: () => [bay ? say("can_end_yes", { bay }) : say("can_end_yes_free"), photo],
    review: () => [say("can_end_review"), photo],
    bay_full: () => [say("can_end_full", { bay }), other],
    move_or_accept: () => [say("can_end_no", { price: told.fee ? money(told.fee) : "0" }), other],
  }[told.outcome];
  return (words?.() ?? []).filter(Boolean).join(" ");
}

document.getElementById("end-check").addEventListener("click", async () => {
  const answer = document.getElementById("end-answer");
  answer.textContent = say("wait");
  const place = await position();
  const query = place ? `?${new URLSearchParams(place)}` : "";
  const { ok, told } = await ask("GET", `${api}/end-check${query}`);
  answer.textContent = ok ? verdict(told) : troubleOf(told);
});

photo.addEventListener("change", async () => {
  const [file] = photo.files;
  const answer = document.getElementById("photo-answer");
  if (!file) return;
  if (file.size > MOST_BYTES) {
    answer.textContent = troubleOf({ type: "/problems/photo-too-large" });
    return;
  }
  answer.textContent = say("wait");
  const { ok, told } = await ask("POST", `${api}/photos`, { body: file, key: freshKey(), type: file.type });
  photo.value = "";
  if (!ok) {
    answer.textContent = troubleOf(told);
    return;
  }
  answer.textContent = faultsOf(told.photo.faults) || say("photo_sent");
  refresh();
});

const refresh = poll(look, () => Number(now().dataset.poll));
state.addEventListener("answered", refresh);
window.addEventListener("offline", lose);

async function end(more = {}) {
  show(trouble, "");
  fee.hidden = true;
  const button = document.getElementById("end");
  button.disabled = true;
  const place = (await position()) ?? {};
  // A second end of a ride changes nothing, so a try after no answer may tell another place.
  const { ok, told } = await ask("POST", `${api}/end`, { body: { ...place, ...more }, key: freshKey() });
  button.disabled = false;
  if (ok) {
    refresh();
  } else if ((told.type ?? "").endsWith("/move-or-accept")) {
    offer(told);
  } else {
    show(trouble, keptWords(told) || [troubleOf(told), bayWords(told.alternatives?.[0])].filter(Boolean).join(" "));
  }
}

function offer(told) {
  const price = money(told);
  const other = bayWords(told.alternatives?.[0]);
  document.getElementById("fee-text").textContent = `${say("move_or_accept", { price })} ${other}`.trim();
  document.getElementById("accept-fee").textContent = say("end_fee", { price });
  fee.hidden = false;
  document.getElementById("move").focus();
}

document.getElementById("end").addEventListener("click", () => end());
document.getElementById("accept-fee").addEventListener("click", () => end({ accept_fee: true }));
document.getElementById("move").addEventListener("click", () => {
  fee.hidden = true;
  document.getElementById("end").focus();
});

setInterval(tick, 250);
adopt();
// A person may have decided since, or ask for one more photo.
if (now().dataset.state === "ended") lookAtReturn();
