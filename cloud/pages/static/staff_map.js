/** Staff's map: every vehicle where it is, coloured by its state, live. */

import { addStreets, addZoom, createMap } from "./map.js";
import { follow } from "./feed.js";

const drawn = JSON.parse(document.getElementById("drawn").textContent);
const buttons = [...document.querySelectorAll("[data-state]")].filter((one) => one.matches("button"));
const chosen = document.getElementById("chosen");
const fleet = new Map(drawn.pins.map((pin) => [pin.id, pin]));
const states = new Map(); // of every vehicle that was heard of, also of those without a place
let scheduled = false;
let picked = null;

const map = createMap(document.getElementById("map"), drawn, { onPin: pick, widthM: 4_000 });
addZoom(map);

const wanted = () => buttons.filter((one) => one.getAttribute("aria-pressed") === "true").map((one) => one.dataset.state);

function paint() {
  scheduled = false;
  const only = wanted();
  const shown = [...fleet.values()].filter((pin) => only.length === 0 || only.includes(pin.state));
  map.setPins(shown);
  document.getElementById("placed").textContent = String(fleet.size);
  count();
  tell();
}

/** Until the first news comes, what the server counted stands. */
function count() {
  if (states.size === 0) return;
  const counts = new Map();
  for (const state of states.values()) counts.set(state, (counts.get(state) ?? 0) + 1);
  for (const button of buttons) {
    button.querySelector("b").textContent = String(counts.get(button.dataset.state) ?? 0);
  }
}

function later() {
  if (!scheduled) {
    scheduled = true;
    requestAnimationFrame(paint);
  }
}

function tell() {
  const pin = fleet.get(picked);
  chosen.hidden = !pin;
  if (!pin) return;
  const [name, more, link] = chosen.children;
  const label = buttons.find((one) => one.dataset.state === pin.state)?.textContent.trim() ?? pin.state;
  const words = [label.replace(/\s+\d+$/, ""), pin.soc === null ? null : `${Math.round(pin.soc)} % charge`];
  const text = [...words, pin.connected ? "connected" : "offline"].filter(Boolean).join(", ");
  name.textContent = pin.name;
  if (more.textContent !== text) more.textContent = text;
  link.href = `/vehicles/${encodeURIComponent(pin.id)}`;
}

function pick(id) {
  picked = id;
  map.choose(id);
  tell();
}

for (const button of buttons) {
  button.addEventListener("click", () => {
    button.setAttribute("aria-pressed", String(button.getAttribute("aria-pressed") !== "true"));
    paint();
  });
}

follow((news) => {
  const vehicle = news.raw;
  states.set(vehicle.id, vehicle.state);
  const { [drawn.signals.lat]: lat, [drawn.signals.lon]: lon } = vehicle.values;
  if (lat !== undefined && lon !== undefined) {
    const { id, name, state, connected, soc_pct: soc } = vehicle;
    fleet.set(id, { id, name, state, lat, lon, soc, connected });
  }
  later();
});

map.setAreas(drawn.areas);
paint();
map.fit(drawn.pins.length > 0 ? drawn.pins : drawn.areas.filter((one) => "lat" in one));
addStreets(map, `/staff/map/streets?lat=${drawn.lat}&lon=${drawn.lon}`, document.getElementById("credit"));
