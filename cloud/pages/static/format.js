/** What a person reads, made from values: the same words as view.py, so that nothing jumps. */

export const STALE_AFTER_MS = 90_000;
const CHARGING_ABOVE_A = 0.2;
const RIDING_BELOW_A = -0.5;
export const LOW_SOC_PCT = 20;
const EMPTY_SOC_PCT = 10;
const IDLE_BELOW_A = 0.05;
export const TEMPERATURE_KEYS = [1, 2, 3, 4, 5, 6, 7, 8].map((n) => `temperature_${n}_c`);
export const CELL_KEYS = Array.from({ length: 32 }, (_, i) => `cell_${i + 1}_v`);
const UNKNOWN = "–";
const UNITS = [[86_400, "d"], [3_600, "h"], [60, "min"]];

const known = (value) => typeof value === "number" && Number.isFinite(value);

/** `12.30 V`; a real minus sign, `+` too when signed; `–` when not known. */
export function number(value, decimals, unit, signed = false) {
  if (!known(value)) return UNKNOWN;
  const text = Math.abs(value).toFixed(decimals);
  if (Number(text) === 0) return `${text} ${unit}`;
  return `${value < 0 ? "−" : signed ? "+" : ""}${text} ${unit}`;
}

/** A number at an axis, with the decimals that steps of `increment` need. */
export function tick(value, increment) {
  let decimals = 0;
  while (decimals < 3 && Math.abs(increment * 10 ** decimals % 1) > 1e-6) decimals += 1;
  return number(value, decimals, "").trim();
}

/** State of charge, with a decimal only when it has one. */
export function soc(value) {
  return known(value) ? `${value.toFixed(1).replace(/\.0$/, "")} %` : UNKNOWN;
}

export function isLow(socPct) {
  return known(socPct) && socPct <= LOW_SOC_PCT;
}

export function level(socPct) {
  if (!known(socPct)) return "unknown";
  return socPct <= EMPTY_SOC_PCT ? "empty" : isLow(socPct) ? "low" : "fine";
}

/** What the current does, in a word; positive is charging. */
export function flow(currentA) {
  if (!known(currentA)) return "unknown";
  if (Math.abs(currentA) < IDLE_BELOW_A) return "idle";
  return currentA > 0 ? "charging" : "discharging";
}

/** How long ago; both in milliseconds since 1970. */
export function age(atMs, nowMs) {
  if (!known(atMs)) return "never";
  const seconds = Math.max(0, Math.floor((nowMs - atMs) / 1000));
  for (const [size, unit] of UNITS) {
    if (seconds >= size) return `${Math.floor(seconds / size)} ${unit} ago`;
  }
  return `${seconds} s ago`;
}

/** Whether its values are the last known ones; `at` in milliseconds since 1970, null if never. */
export function isStale({ connected, at }, nowMs) {
  return !connected || !known(at) || nowMs - at > STALE_AFTER_MS;
}

/** `riding`, `parked` or `charging` by the sign of its current; `last known` when stale. */
export function doing({ connected, at, current }, nowMs) {
  if (!known(at) || !known(current)) return "";
  if (isStale({ connected, at }, nowMs)) return "last known";
  if (current > CHARGING_ABOVE_A) return "charging";
  return current < RIDING_BELOW_A ? "riding" : "parked";
}

/** What to know before reading its values; empty while they are the present. */
export function notice({ connected, at }, nowMs) {
  if (!known(at)) return "No value has come from this vehicle yet.";
  return isStale({ connected, at }, nowMs) ? "These are the last known values, not the present ones." : "";
}

/** The sensors that are known, in degrees Celsius. */
export function temperatures(values) {
  return TEMPERATURE_KEYS.map((key) => values[key]).filter(known);
}

/** The hottest sensor, null when none is known. */
export function hottest(values) {
  const all = temperatures(values);
  return all.length ? Math.max(...all) : null;
}

/** Charge left of full, `4.98 of 5.00 Ah`; empty when not told. */
export function capacity({ remaining_ah: remaining, full_ah: full }) {
  if (!known(remaining) || !known(full)) return "";
  return `${remaining.toFixed(2)} of ${full.toFixed(2)} Ah`;
}

/** What the current does and how strongly; empty when not told. */
export function power({ voltage_v: volts, current_a: amperes }) {
  if (!known(volts) || !known(amperes)) return "";
  const word = flow(amperes);
  return word === "idle" ? word : `${word}, ${number(Math.abs(volts * amperes), 0, "W")}`;
}

/** What the shown hottest sensor leaves out; empty when there is one only. */
export function sensors(values) {
  const all = temperatures(values);
  return all.length > 1 ? `coldest ${number(Math.min(...all), 1, "°C")}` : "";
}

/** How far apart the cells are; empty when not told. */
export function cellSpread(values) {
  const volts = CELL_KEYS.map((key) => values[key]).filter(known);
  if (!volts.length) return "";
  return `cells within ${number((Math.max(...volts) - Math.min(...volts)) * 1000, 0, "mV")}`;
}
