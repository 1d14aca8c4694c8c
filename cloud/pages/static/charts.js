/** Charts of a moving hour, drawn by uPlot; colours come from the sheet, so dark mode is one redraw. */

import uPlot from "./vendor/uplot/dist/uPlot.esm.js";

export const WINDOW_S = 3600;
const GAP_S = 120;
const FONT = "12px system-ui, sans-serif";
const clock = new Intl.DateTimeFormat([], { hour: "2-digit", minute: "2-digit", hourCycle: "h23" });
const exact = new Intl.DateTimeFormat([], { timeStyle: "medium", hourCycle: "h23" });
const sync = uPlot.sync("hour");

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

export class HourChart {
  /**
   * @param {HTMLElement} figure holds `.plot`, where the chart goes, and `.at`, for the value under the pointer.
   * @param {{keys: string[], colours: string[], say: (value: number) => string,
   *   limits?: [number, number], span?: number, zero?: boolean}} options `say` gives a value its unit;
   *   the axis is `limits`, or at least `span` high and with zero when `zero`.
   */
  constructor(figure, options) {
    this.options = options;
    this.holder = figure.querySelector(".plot");
    this.at = figure.querySelector(".at");
    this.data = [[], ...options.keys.map(() => [])];
    this.plot = null;
  }

  /** Take rows [at in seconds, value of each key …], ascending; null is unknown. */
  load(rows) {
    const newer = this.data;
    this.data = [[], ...this.options.keys.map(() => [])];
    for (const [at, ...values] of rows) this.#push(at, values);
    newer[0].forEach((at, i) => this.#push(at, newer.slice(1).map((column) => column[i])));
  }

  /** Add one sample; an older one than the newest is left out. */
  append(atS, values) {
    this.#push(atS, this.options.keys.map((key) => values[key] ?? null));
  }

  get empty() {
    return this.data.slice(1).every((column) => column.every((value) => value === null));
  }

  /** Draw what there is of the hour before nowS. */
  draw(nowS) {
    const old = this.data[0].findIndex((at) => at >= nowS - WINDOW_S - GAP_S);
    if (old > 0) for (const column of this.data) column.splice(0, old);
    if (this.empty) {
      this.#tell("Nothing in the last hour");
      return;
    }
    this.plot ??= this.#create();
    this.plot.batch(() => {
      this.plot.setData(this.data, false);
      this.plot.setScale("x", { min: nowS - WINDOW_S, max: nowS });
    });
  }

  #push(at, values) {
    const times = this.data[0];
    const last = times.at(-1);
    if (last !== undefined && at <= last) return;
    if (last !== undefined && at - last > GAP_S) {
      times.push(last + 0.001);
      for (const column of this.data.slice(1)) column.push(null);
    }
    times.push(at);
    values.forEach((value, i) => this.data[i + 1].push(value ?? null));
  }

  #tell(text) {
    let message = this.holder.querySelector(".message");
    if (!message) {
      message = Object.assign(document.createElement("p"), { className: "message" });
      this.holder.append(message);
    }
    if (message.textContent !== text) message.textContent = text;
  }

  #create() {
    this.holder.replaceChildren();
    const { clientWidth, clientHeight } = this.holder;
    const plot = new uPlot(this.#uplotOptions(clientWidth, clientHeight), this.data, this.holder);
    new ResizeObserver(([entry]) => {
      const { width, height } = entry.contentRect;
      if (width > 0) plot.setSize({ width, height });
    }).observe(this.holder);
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => plot.redraw());
    return plot;
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
        { ...axis, size: 26, space: 60, values: (_, times) => times.map((t) => clock.format(t * 1000)) },
        { ...axis, size: 44, gap: 6 },
      ],
      series: [
        {},
        ...colours.map((name) => ({
          stroke: () => colour(name),
          fill: colours.length === 1 && limits ? () => `${colour(name)}1f` : undefined,
          width: 1.75,
          points: { show: false },
        })),
      ],
      hooks: { setCursor: [(plot) => this.#pointAt(plot.cursor.idx)] },
    };
  }

  #pointAt(index) {
    const at = index === null || index === undefined ? undefined : this.data[0][index];
    if (at === undefined) {
      this.at.textContent = "";
      return;
    }
    const values = this.data.slice(1).map((column) => column[index]);
    const texts = values.filter((value) => value !== null).map(this.options.say);
    this.at.textContent = `${exact.format(at * 1000)} · ${texts.join(" · ") || "–"}`;
  }
}
