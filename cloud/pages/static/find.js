/** The find page: keeps list and map up to date, and the one leading to the other. */

import { say, show } from "./forms.js";
import { part, poll } from "./poll.js";
import { addStreets, addZoom, createMap } from "./map.js";

const EVERY_MS = 10_000;
const around = document.getElementById("around");
const svg = document.getElementById("map");
const trouble = document.getElementById("map-trouble");

const drawn = () => JSON.parse(document.getElementById("drawn").textContent);
const point = ({ lat, lon }) => `${lat.toFixed(6)},${lon.toFixed(6)}`;
const first = drawn();
const asked = new URLSearchParams(location.search).get("near");
let near = asked ?? point(first);
let me = asked && first.me ? { lat: first.lat, lon: first.lon } : null;

const map = createMap(svg, first, { onPin: open });
addZoom(map);

function open(id) {
  map.choose(id);
  const item = document.getElementById(`v-${id}`);
  for (const one of around.querySelectorAll(".found > li")) one.classList.toggle("chosen", one === item);
  item?.scrollIntoView({ block: "nearest" });
  item?.querySelector("button")?.focus({ preventScroll: true });
}

function draw() {
  const now = drawn();
  map.setAreas(now.areas);
  map.setPins(now.pins);
  map.setMe(me);
}

/** Put a new list in place; what has the focus keeps it. */
async function refresh() {
  const place = near;
  const text = await part(`/ride/around?near=${encodeURIComponent(place)}`);
  // Meanwhile another place was asked for: that answer is the one to show.
  if (place !== near) return true;
  if (text === null) return false;
  if (around.querySelector("button:disabled, .trouble:not([hidden])")) return true;
  const focused = around.contains(document.activeElement) ? document.activeElement.id : "";
  const chosen = around.querySelector(".chosen")?.id;
  around.innerHTML = text;
  if (chosen) document.getElementById(chosen)?.classList.add("chosen");
  if (focused) document.getElementById(focused)?.focus({ preventScroll: true });
  draw();
  return true;
}

function search(place) {
  near = point(place);
  history.replaceState(null, "", `/ride?near=${near}`);
  return refresh();
}

function locate() {
  show(trouble, "");
  navigator.geolocation.getCurrentPosition(
    async ({ coords }) => {
      me = { lat: coords.latitude, lon: coords.longitude };
      await search(me);
      map.goTo(me);
    },
    () => show(trouble, say("locate_failed")),
    { enableHighAccuracy: true, timeout: 10_000, maximumAge: 30_000 },
  );
}

document.getElementById("locate").addEventListener("click", locate);
document.getElementById("search-here").addEventListener("click", () => search(map.middle()));
around.addEventListener("focusin", ({ target }) => {
  const item = target.closest("[data-id]");
  if (item) map.choose(item.dataset.id);
});
// Whose vehicle was taken meanwhile sees the list anew, beside what is said.
around.addEventListener("answered", ({ detail }) => {
  if (detail.status === 409) setTimeout(refreshAfterTrouble, 4_000);
});
function refreshAfterTrouble() {
  for (const one of around.querySelectorAll(".trouble")) one.hidden = true;
  refresh();
}

draw();
map.fit(first.pins.slice(0, 12));
addStreets(map, `${svg.dataset.streets}?near=${point(first)}`, document.getElementById("credit"));
poll(refresh, () => EVERY_MS);
