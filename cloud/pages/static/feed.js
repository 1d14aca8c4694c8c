/** The live feed: one EventSource for the page, its state shown in the head. */

import { CELL_KEYS, TEMPERATURE_KEYS } from "./format.js";
import { exact } from "./times.js";

const RETRY_MS = [1000, 2000, 5000, 10_000];
const SILENCE_MS = 25_000; // a tick comes every ten seconds
const BMS = "Vehicle.Sharing.Bms.";
const KEYS = { [`${BMS}RemainingCapacity`]: "remaining_ah", [`${BMS}FullCapacity`]: "full_ah" };
TEMPERATURE_KEYS.forEach((key, i) => { KEYS[`${BMS}Temperature${i + 1}`] = key; });
CELL_KEYS.forEach((key, i) => { KEYS[`${BMS}CellVoltage${i + 1}`] = key; });

/** The API's vehicle in the pages' terms: `at` in milliseconds since 1970, values by catalogue key. */
function read(vehicle) {
  const values = { soc_pct: vehicle.soc_pct, voltage_v: vehicle.voltage_v, current_a: vehicle.current_a };
  for (const [name, value] of Object.entries(vehicle.values ?? {})) {
    if (name in KEYS) values[KEYS[name]] = value;
  }
  const at = vehicle.last_signal_at === null ? null : Date.parse(vehicle.last_signal_at);
  return { id: vehicle.id, name: vehicle.name, connected: vehicle.connected, at, values, raw: vehicle };
}

/** Shows whether what is on the page is the present. */
function createSign() {
  const pill = document.getElementById("feed");
  const banner = document.getElementById("lost");
  const words = { live: "Live", lost: "Reconnecting…" };
  return (state, at) => {
    if (pill.dataset.state === state) return;
    pill.dataset.state = state;
    document.body.dataset.feed = state;
    pill.lastElementChild.textContent = words[state];
    banner.hidden = state === "live";
    if (state === "lost") document.getElementById("lost-at").textContent = exact.format(at);
  };
}

/**
 * Follow the feed for as long as the page lives.
 *
 * @param {(news: {id: string, name: string, connected: boolean, at: number | null, values: object,
 *   raw: object})
 *   => void} onNews called for each vehicle that changed.
 * @param {string} query e.g. `?vehicle=demo-001` to hear of one vehicle only.
 * @param {{onCommand?: (command: object) => void, onOpen?: () => void}} more called for each
 *   command that changed, as the API shows it; and whenever the feed (again) begins.
 * @returns {{now: () => number}} the server's clock as far as we know it, milliseconds since 1970.
 */
export function follow(onNews, query = "", { onCommand, onOpen } = {}) {
  const ahead = Number(document.body.dataset.now) - Date.now();
  const show = createSign();
  let attempts = 0;
  let timer = 0;
  let source = null;

  function later(then, afterMs) {
    clearTimeout(timer);
    timer = setTimeout(then, afterMs);
  }

  /** When it was lost because we are signed out, the page's own address leads to the form. */
  async function askWhether() {
    const answer = await fetch(location.href, { method: "HEAD" }).catch(() => null);
    if (answer?.redirected) location.assign(answer.url);
  }

  function lose() {
    source.close();
    askWhether();
    show("lost", Date.now());
    later(open, RETRY_MS[Math.min(attempts, RETRY_MS.length - 1)]);
    attempts += 1;
  }

  function hear() {
    attempts = 0;
    show("live");
    later(lose, SILENCE_MS);
  }

  function open() {
    source = new EventSource(`/api/v1/live${query}`);
    later(lose, SILENCE_MS);
    source.addEventListener("open", () => {
      hear();
      onOpen?.();
    });
    source.addEventListener("tick", hear);
    source.addEventListener("error", lose);
    source.addEventListener("vehicle", (event) => {
      hear();
      onNews(read(JSON.parse(event.data)));
    });
    source.addEventListener("command", (event) => {
      hear();
      onCommand?.(JSON.parse(event.data));
    });
  }

  open();
  return { now: () => Date.now() + ahead };
}
