/** The fleet page: keeps the rows that the server painted up to date, sorted and filtered. */

import { follow } from "./feed.js";
import * as say from "./format.js";

const rows = document.getElementById("rows");
const tools = document.getElementById("tools");
const heads = [...document.querySelectorAll(".fleet thead [data-key]")];
const template = document.getElementById("row");

const NUMBERS = ["soc", "voltage", "current", "temperature"];
const fleet = new Map();
const changed = new Set();
let scheduled = false;
let feed = null;

const num = (text) => (text === undefined || text === "" ? null : Number(text));

function setText(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

function toggle(element, name, on) {
  if (element.hasAttribute(name) !== on) element.toggleAttribute(name, on);
}

/** Read a row that the server painted into a vehicle. */
function adopt(row) {
  const part = (selector) => row.querySelector(selector);
  const vehicle = {
    id: row.dataset.id,
    name: row.dataset.name,
    text: row.dataset.text,
    connected: row.dataset.connected === "yes",
    at: num(row.dataset.at),
    row,
    word: part(".word"),
    fill: part(".fill"),
    ageCell: part(".age"),
    doingCell: part(".doing"),
    cells: Object.fromEntries(NUMBERS.map((key) => [key, part(`.c-${key} .value`)])),
  };
  for (const key of NUMBERS) vehicle[key] = num(row.dataset[key]);
  fleet.set(vehicle.id, vehicle);
  return vehicle;
}

function createRow(id, name) {
  const row = template.content.firstElementChild.cloneNode(true);
  Object.assign(row.dataset, { id, name, text: `${name} ${id}`.toLowerCase() });
  const link = row.querySelector("a");
  link.href = `/vehicles/${encodeURIComponent(id)}`;
  link.textContent = name;
  rows.append(row);
  return adopt(row);
}

/** Take what the feed says of one vehicle; it may hold only some of the values. */
function update(news) {
  const vehicle = fleet.get(news.id) ?? createRow(news.id, news.name ?? news.id);
  const { values } = news;
  if (news.connected !== undefined) vehicle.connected = news.connected;
  if (news.at !== null && news.at >= (vehicle.at ?? 0)) vehicle.at = news.at;
  if ("soc_pct" in values) vehicle.soc = values.soc_pct;
  if ("voltage_v" in values) vehicle.voltage = values.voltage_v;
  if ("current_a" in values) vehicle.current = values.current_a;
  if ("temperature_1_c" in values) vehicle.temperature = say.hottest(values);
  changed.add(vehicle);
  if (!scheduled) {
    scheduled = true;
    requestAnimationFrame(paint);
  }
}

function paint() {
  scheduled = false;
  const now = feed.now();
  for (const vehicle of changed) paintRow(vehicle, now);
  changed.clear();
  paintCounts();
  filter();
}

function paintRow(vehicle, now) {
  const { row, cells } = vehicle;
  setText(cells.soc, say.soc(vehicle.soc));
  setText(cells.voltage, say.number(vehicle.voltage, 2, "V"));
  setText(cells.current, say.number(vehicle.current, 2, "A", true));
  setText(cells.temperature, say.number(vehicle.temperature, 1, "°C"));
  const width = `${vehicle.soc ?? 0}%`;
  if (vehicle.fill.getAttribute("width") !== width) vehicle.fill.setAttribute("width", width);
  const level = say.level(vehicle.soc);
  if (row.dataset.level !== level) row.dataset.level = level;
  const connected = vehicle.connected ? "yes" : "no";
  if (row.dataset.connected !== connected) row.dataset.connected = connected;
  setText(vehicle.word, vehicle.connected ? "Connected" : "Offline");
  paintAge(vehicle, now);
}

function paintAge(vehicle, now) {
  setText(vehicle.ageCell, say.age(vehicle.at, now));
  toggle(vehicle.row, "data-stale", say.isStale(vehicle, now));
  const doing = say.doing(vehicle, now);
  setText(vehicle.doingCell, doing);
  if (vehicle.doingCell.dataset.doing !== doing) vehicle.doingCell.dataset.doing = doing;
}

function paintCounts() {
  const all = [...fleet.values()];
  const connected = all.filter((vehicle) => vehicle.connected).length;
  const low = all.filter((vehicle) => say.isLow(vehicle.soc)).length;
  const totals = { all: all.length, connected, offline: all.length - connected, low };
  for (const [name, total] of Object.entries(totals)) {
    const element = document.querySelector(`[data-count="${name}"]`);
    setText(element, String(total));
    toggle(element, "data-some", total > 0);
  }
  document.getElementById("empty").hidden = all.length > 0;
  document.getElementById("list").hidden = all.length === 0;
}

function filter() {
  const text = tools.q.value.trim().toLowerCase();
  let shown = 0;
  for (const vehicle of fleet.values()) {
    const fits =
      vehicle.text.includes(text) &&
      !(tools.offline.checked && vehicle.connected) &&
      !(tools.low.checked && !say.isLow(vehicle.soc));
    toggle(vehicle.row, "hidden", !fits);
    shown += fits;
  }
  document.getElementById("none").hidden = shown > 0;
  const some = shown < fleet.size ? `${shown} of ${fleet.size} shown` : "";
  setText(document.getElementById("shown"), some);
}

/** Values to sort by; order is only made anew when asked, so that rows do not run about. */
function sort() {
  const key = tools.sort.value.replace("-", "");
  const sign = tools.sort.value.startsWith("-") ? -1 : 1;
  const read = {
    name: () => 0,
    link: (vehicle) => Number(vehicle.connected),
    age: (vehicle) => (vehicle.at === null ? null : -vehicle.at),
  }[key] ?? ((vehicle) => vehicle[key]);
  const byName = (a, b) => a.name.localeCompare(b.name, "en", { numeric: true });
  const list = [...fleet.values()].sort((a, b) => {
    const [x, y] = [read(a), read(b)];
    if (x === null || y === null) return (x === null) - (y === null) || byName(a, b);
    if (key === "name") return sign * byName(a, b);
    return sign * (x - y) || byName(a, b);
  });
  rows.append(...list.map((vehicle) => vehicle.row));
  for (const head of heads) {
    if (head.dataset.key === key) {
      head.setAttribute("aria-sort", sign > 0 ? "ascending" : "descending");
    } else {
      head.removeAttribute("aria-sort");
    }
  }
}

/** Keep the choice in the address, so that a reload or a shared link shows the same. */
function remember() {
  const query = new URLSearchParams();
  if (tools.q.value.trim()) query.set("q", tools.q.value.trim());
  if (tools.offline.checked) query.set("offline", "1");
  if (tools.low.checked) query.set("low", "1");
  if (tools.sort.value !== "name") query.set("sort", tools.sort.value);
  const text = query.toString();
  history.replaceState(null, "", text ? `/?${text}` : "/");
}

document.documentElement.classList.add("js");
for (const row of [...rows.children]) adopt(row);
feed = follow(update);

tools.addEventListener("submit", (event) => event.preventDefault());
tools.addEventListener("input", (event) => {
  if (event.target === tools.sort) sort();
  filter();
  remember();
});
for (const head of heads) {
  head.firstElementChild.addEventListener("click", () => {
    const { key } = head.dataset;
    tools.sort.value = tools.sort.value === key ? `-${key}` : key;
    sort();
    remember();
  });
}
document.getElementById("clear").addEventListener("click", () => {
  tools.q.value = "";
  tools.offline.checked = false;
  tools.low.checked = false;
  filter();
  remember();
  tools.q.focus();
});

function tick() {
  const now = feed.now();
  for (const vehicle of fleet.values()) paintAge(vehicle, now);
}
setInterval(tick, 1000);
document.addEventListener("visibilitychange", tick);
filter();
