/** One vehicle's page: current values and the charts of what was lately. */

import { TimeChart } from "./charts.js";
import { follow } from "./feed.js";
import * as say from "./format.js";
import { axisStart } from "./series.js";
import { clock, localise, zone } from "./times.js";

const POINTS = 600;
const BACKLOG_AFTER_MS = 15_000;
const BACKLOG_LOAD_MS = 4_000;
const page = document.getElementById("vehicle");
const { id } = page.dataset;
const part = (selector) => page.querySelector(selector);
const figure = (key) => part(`[data-chart="${key}"]`);
const tile = (key) => ({
  value: part(`#tile-${key} .value`),
  note: part(`#tile-${key} .note`),
});

const TEMPERATURE_COLOURS = [4, 5, 6, 7, 1, 2, 3].map((n) => `--chart-${n}`).concat("--muted");
const celsius = (value) => say.number(value, 1, "°C");

const charts = {
  soc: new TimeChart(figure("soc"), {
    keys: ["soc_pct"], colours: ["--chart-1"], limits: [0, 100], say: say.soc,
  }),
  voltage: new TimeChart(figure("voltage"), {
    keys: ["voltage_v"], colours: ["--chart-2"], span: 2, say: (v) => say.number(v, 2, "V"),
  }),
  current: new TimeChart(figure("current"), {
    keys: ["current_a"], colours: ["--chart-3"], span: 4, zero: true,
    say: (v) => say.number(v, 2, "A", true),
  }),
  temperature: new TimeChart(figure("temperature"), {
    keys: say.TEMPERATURE_KEYS, colours: TEMPERATURE_COLOURS, span: 10, say: celsius,
  }),
};
const tiles = {
  soc: tile("soc"), voltage: tile("voltage"), current: tile("current"), temperature: tile("temperature"),
};
const fill = part("#tile-soc .fill");

const told = new Set(page.dataset.signals.split(" "));

let values = {};
let at = page.dataset.at === "" ? null : Number(page.dataset.at);
const current = page.dataset.current === "" ? null : Number(page.dataset.current);
let connected = page.dataset.connected === "yes";
let scheduled = false;
let loads = 0;
let loaded = false;
let feed = null;

const range = () => part('[name="range"]:checked');
const rangeS = () => Number(range().dataset.seconds);

function setText(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

function update(news) {
  if (news.id !== id) return;
  values = { ...values, ...news.values };
  if (news.connected !== undefined) connected = news.connected;
  if (news.at !== null && news.at >= (at ?? 0)) {
    if (news.at - (at ?? 0) > BACKLOG_AFTER_MS) setTimeout(load, BACKLOG_LOAD_MS);
    at = news.at;
    for (const chart of Object.values(charts)) chart.append(news.at / 1000, news.values);
  }
  if (!scheduled) {
    scheduled = true;
    requestAnimationFrame(paint);
  }
}

function paint() {
  scheduled = false;
  paintValues();
  tick();
}

function paintValues() {
  const { soc_pct: soc, voltage_v: voltage, current_a: current } = values;
  const shown = { soc: "soc_pct", voltage: "voltage_v", current: "current_a" };
  const texts = {
    soc: [say.soc(soc), say.capacity(values)],
    voltage: [say.number(voltage, 2, "V"), say.cellSpread(values)],
    current: [say.number(current, 2, "A", true), say.power(values)],
    temperature: [celsius(say.hottest(values)), say.sensors(values)],
  };
  for (const [key, [value, note]] of Object.entries(texts)) {
    const told = key === "temperature" ? say.hottest(values) !== null : shown[key] in values;
    if (!told) continue;
    setText(tiles[key].value, value);
    setText(tiles[key].note, note);
  }
  if ("soc_pct" in values) {
    fill.setAttribute("width", `${soc ?? 0}%`);
    page.dataset.level = say.level(soc);
  }
  page.dataset.connected = connected ? "yes" : "no";
  setText(part(".word"), connected ? "Connected" : "Offline");
}

/** Once a second: the age, and the charts move on. */
function tick() {
  const now = feed.now();
  const vehicle = { connected, at, current: "current_a" in values ? values.current_a : current };
  setText(part(".age"), say.age(at, now));
  const doing = say.doing(vehicle, now);
  setText(part(".doing"), doing);
  part(".doing").dataset.doing = doing;
  setText(part(".notice"), say.notice(vehicle, now));
  page.toggleAttribute("data-stale", say.isStale(vehicle, now));
  if (loaded && document.visibilityState !== "hidden") draw(now / 1000);
}

/** All charts share one axis, so that what happened together stands together. */
function draw(nowS) {
  const all = Object.values(charts);
  const firsts = all.map((chart) => chart.forget(nowS - rangeS()));
  const known = firsts.filter((first) => first !== undefined);
  const first = known.length ? Math.min(...known) : undefined;
  const start = axisStart(first, nowS, rangeS());
  all.forEach((chart, i) => {
    if (firsts[i] === undefined) chart.tell(`No reading in the last ${range().dataset.words}`);
    else chart.draw(start, nowS);
  });
  const isShort = first !== undefined && start > nowS - rangeS();
  setText(part("#since"), isShort ? `Readings since ${clock.format(first * 1000)} · ` : "");
}

async function past(key, fromMs, toMs) {
  const query = new URLSearchParams({
    signal: key,
    from: new Date(fromMs).toISOString(),
    to: new Date(toMs).toISOString(),
    points: String(POINTS),
  });
  const answer = await fetch(`/api/v1/telemetry/${encodeURIComponent(id)}/range?${query}`);
  if (!answer.ok) return [];
  const body = await answer.json();
  return body.points.map((point) => [Date.parse(point.at) / 1000, point.mean]);
}

/** Bring several signals onto one time axis. */
function together(columns) {
  const rows = new Map();
  columns.forEach((column, i) => {
    for (const [time, value] of column) {
      if (!rows.has(time)) rows.set(time, new Array(columns.length).fill(null));
      rows.get(time)[i] = value;
    }
  });
  return [...rows].sort(([a], [b]) => a - b).map(([time, row]) => [time, ...row]);
}

async function load() {
  loads += 1;
  const mine = loads;
  const toMs = Math.ceil(feed.now() / 1000) * 1000;
  const fromMs = toMs - rangeS() * 1000;
  const rows = await Promise.all(
    Object.values(charts).map(async ({ options }) => {
      const asked = options.keys.map((key) => (told.has(key) ? past(key, fromMs, toMs) : []));
      return together(await Promise.all(asked));
    }),
  );
  if (mine !== loads) return;
  Object.values(charts).forEach((chart, i) => chart.load(rows[i]));
  loaded = true;
  tick();
}

/** Keep the range in the address, so that a reload or a shared link shows the same. */
function remember() {
  const query = new URLSearchParams(location.search);
  query.set("range", range().value);
  if (range().value === range().dataset.usual) query.delete("range");
  history.replaceState(null, "", query.size ? `?${query}` : location.pathname);
}

feed = follow(update, `?vehicle=${encodeURIComponent(id)}`);
load();
part("#range").addEventListener("change", () => {
  remember();
  load();
});
part("#zone").textContent = zone(feed.now());
localise(document);
document.addEventListener("htmx:afterSwap", () => localise(document));
setInterval(tick, 1000);
document.addEventListener("visibilitychange", tick);
