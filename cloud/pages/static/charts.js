/** Charts of what was lately, drawn by uPlot; colours come from the sheet, so dark mode is one redraw. */

import { tick } from "./format.js";
import { lonely, withBreaks } from "./series.js";
import { clock, exact } from "./times.js";
import uPlot from "./vendor/uplot/dist/uPlot.esm.js";

const FONT = "12px system-ui, sans-serif";
const STEPS_S = [5, 10, 15, 30, 60, 120, 300, 600, 900, 1800];
const sync = uPlot.sync("vehicle");

const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();

/** Room around the data: at least `span` high, so that noise does not look like drama. */
function roomy(span, zero) {
  return (_, low, high) => {
    if (low === null || high === null) return [0, span];
    const [a, b] = zero ? [Math.min(low, 0), Math.max(high, 0)] : [low, high];
    const missing = Math.max(0, span - (b - a)) / 2;
    const pad = Math.max(missing, (b - a) * 0.08);
    return [a - pad, b + pad];
  };
}

export class TimeChart {
  /**
   * @param {HTMLElement} figure holds `.plot`, where the chart goes, and `.at`, for the value under the pointer.
   * @param {{keys: string[], colours: string[], say: (value: number) => string,
   *   limits?: [number, number], span?: number, zero?: boolean}} options `say` gives a value its unit;
   *   the axis is `limits`, or at least `span` high and with zero when `zero`.
   */
  constructor(figure, options) {
    this.options = options;
    this.holder = figure.querySelector(".plot");
    this.holder.replaceChildren();
    new ResizeObserver(([{ contentRect: { width, height } }]) => {
      if (width > 0) this.plot?.setSize({ width, height });
    }).observe(this.holder);
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => this.plot?.redraw());
    this.at = figure.querySelector(".at");
    this.data = [[], ...options.keys.map(() => [])];
    this.shown = this.data;
    this.dirty = true;
    this.plot = null;
    this.tell("Loading…");
  }

  /** Take rows [at in seconds, value of each key …], ascending; null is unknown. */
  load(rows) {
    const newer = this.data;
    this.dirty = true;
    this.data = [[], ...this.options.keys.map(() => [])];
    for (const [at, ...values] of rows) this.#push(at, values);
    newer[0].forEach((at, i) => this.#push(at, newer.slice(1).map((column) => column[i])));
  }

  /** Add one sample; an older one than the newest is left out. */
  append(atS, values) {
    this.#push(atS, this.options.keys.map((key) => values[key] ?? null));
  }

  /** Forget what is older, and return the time of the first reading left, undefined if none. */
  forget(beforeS) {
    const old = this.data[0].findLastIndex((at) => at < beforeS) + 1;
    if (old > 0) {
      for (const column of this.data) column.splice(0, old);
      this.dirty = true;
    }
    const first = this.data[0].findIndex((_, i) => this.data.some((c, n) => n > 0 && c[i] !== null));
    return this.data[0][first];
  }

  /** Draw what there is between the two. */
  draw(startS, endS) {
    this.plot ??= this.#create();
    if (this.dirty) this.shown = withBreaks(this.data[0], this.data.slice(1));
    this.plot.batch(() => {
      if (this.dirty) this.plot.setData(this.shown, false);
      this.plot.setScale("x", { min: startS, max: endS });
    });
    this.dirty = false;
    this.holder.querySelector(".message")?.remove();
  }

  #push(at, values) {
    const times = this.data[0];
    if (times.length && at <= times.at(-1)) return;
    times.push(at);
    values.forEach((value, i) => this.data[i + 1].push(value ?? null));
    this.dirty = true;
  }

  /** Say something in place of the lines. */
  tell(text) {
    let message = this.holder.querySelector(".message");
    if (!message) {
      message = Object.assign(document.createElement("p"), { className: "message" });
      this.holder.append(message);
    }
    if (message.textContent !== text) message.textContent = text;
    if (this.plot === null) return;
    this.plot.destroy();
    this.plot = null;
    this.dirty = true;
  }

  #create() {
    const { clientWidth, clientHeight } = this.holder;
    return new uPlot(this.#uplotOptions(clientWidth, clientHeight), this.shown, this.holder);
  }

  #uplotOptions(width, height) {
    const { limits, span, zero, colours } = this.options;
    const axis = {
      stroke: () => colour("--muted"),
      font: FONT,
      grid: { stroke: () => colour("--grid"), width: 1 },
      ticks: { show: false },
    };
    return {
      width,
      height,
      legend: { show: false },
      cursor: { sync: { key: sync.key }, drag: { x: false, y: false }, points: { size: 7 } },
      scales: { x: { time: true }, y: { range: limits ?? roomy(span, zero) } },
      axes: [
        { ...axis, size: 26, space: 76, incrs: STEPS_S, values: (...of) => this.#times(...of) },
        { ...axis, size: 44, gap: 6, values: (_, values, i, space, step) => values.map((v) => tick(v, step)) },
      ],
      series: [
        {},
        ...colours.map((name) => ({
          stroke: () => colour(name),
          fill: colours.length === 1 && limits ? () => `${colour(name)}1f` : undefined,
          width: 1.75,
          points: { show: false, size: 5, fill: () => colour(name), filter: (u, i) => lonely(u.data[i]) },
        })),
      ],
      hooks: { setCursor: [(plot) => this.#pointAt(plot.cursor.idx)] },
    };
  }

  #times(_, times, i, space, step) {
    const words = step < 60 ? exact : clock;
    return times.map((time) => words.format(time * 1000));
  }

  #pointAt(index) {
    const at = index === null || index === undefined ? undefined : this.shown[0][index];
    if (at === undefined) {
      this.at.textContent = "";
      return;
    }
    const values = this.shown.slice(1).map((column) => column[index]);
    const texts = values.filter((value) => value !== null).map(this.options.say);
    this.at.textContent = `${exact.format(at * 1000)} · ${texts.join(" · ") || "–"}`;
  }
}
