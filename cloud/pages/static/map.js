/** A small map of one's own: streets, areas and pins as SVG. It knows no tiles and no server. */

const NS = "http://www.w3.org/2000/svg";
const METRES_A_DEGREE = 111_195;
const NEAREST_M = 120;
const FARTHEST_M = 12_000;
const ZOOM = 1.5;
const STEP = 0.2; // of the width, for an arrow key
const [LABEL_W, LABEL_H] = [86, 38];
/** Where a label may lie, from its dot: above, below, right, left. */
const LABEL_SPOTS = [[-LABEL_W / 2, -52], [-LABEL_W / 2, 14], [13, -LABEL_H / 2], [-13 - LABEL_W, -LABEL_H / 2]];
const ARROWS = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };

const isChosen = (pin) => pin.classList.contains("chosen");

function make(name, attributes = {}, text = "") {
  const element = document.createElementNS(NS, name);
  for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
  if (text) element.textContent = text;
  return element;
}

/**
 * Draw into an svg element.
 *
 * @param {SVGSVGElement} svg fills its box; one unit of the drawing is a metre.
 * @param {{lat: number, lon: number}} middle where it begins.
 * @param {{onPin?: (id: string) => void, onMove?: () => void, widthM?: number}} options
 */
export function createMap(svg, middle, { onPin, onMove, widthM = 1_400 } = {}) {
  const eastM = METRES_A_DEGREE * Math.cos((middle.lat * Math.PI) / 180);
  const layers = ["streets", "areas", "me", "pins"].map((name) => make("g", { class: name }));
  const [streets, areas, me, pins] = layers;
  svg.replaceChildren(...layers);
  let view = { x: 0, y: 0, width: widthM };
  const pointers = new Map();
  let moved = 0;

  const project = (lon, lat) => [(lon - middle.lon) * eastM, (middle.lat - lat) * METRES_A_DEGREE];
  const size = () => svg.getBoundingClientRect();
  const perPixel = () => view.width / (size().width || 1);

  function paint() {
    const { width, height } = size();
    if (!width) return;
    const down = (view.width * height) / width;
    svg.setAttribute("viewBox", `${view.x - view.width / 2} ${view.y - down / 2} ${view.width} ${down}`);
    const scale = perPixel();
    svg.style.setProperty("--px", scale);
    for (const pin of svg.querySelectorAll(".pin, .dot-me")) {
      pin.setAttribute("transform", `translate(${pin.dataset.x} ${pin.dataset.y}) scale(${scale})`);
    }
    unclutter(scale);
  }

  /**
   * Put each label where it lies on no other one and on no dot, else leave it out: nearest first,
   * as the server ordered, and before them the chosen one.
   */
  function unclutter(scale) {
    if (!pins.querySelector(".tag")) return;
    const dots = [...pins.children].map((pin) => [pin.dataset.x / scale, pin.dataset.y / scale, pin]);
    const { width, height } = size();
    const [west, north] = [view.x / scale - width / 2, view.y / scale - height / 2];
    const isWhole = (x, y) => ([dx, dy]) =>
      x + dx > west && x + dx + LABEL_W < west + width && y + dy > north && y + dy + LABEL_H < north + height;
    const taken = [];
    for (const [x, y, pin] of [...dots].sort((a, b) => isChosen(b[2]) - isChosen(a[2]))) {
      const free = LABEL_SPOTS.filter(([dx, dy]) => {
        const [left, top] = [x + dx, y + dy];
        const covers = dots.some(([ox, oy, other]) => other !== pin && ox > left - 9 && ox < left + LABEL_W + 9 && oy > top - 9 && oy < top + LABEL_H + 9);
        return !covers && !taken.some(([l, t]) => Math.abs(l - left) < LABEL_W + 2 && Math.abs(t - top) < LABEL_H + 2);
      });
      const spot = free.find(isWhole(x, y)) ?? free[0] ?? (isChosen(pin) ? LABEL_SPOTS[0] : null);
      pin.classList.toggle("bare", !spot);
      if (!spot) continue;
      taken.push([x + spot[0], y + spot[1]]);
      pin.querySelector(".tag")?.setAttribute("transform", `translate(${spot[0]} ${spot[1]})`);
    }
  }

  function pathOf(lines) {
    return lines
      .map((line) => `M${line.map(([lon, lat]) => project(lon, lat).map((v) => v.toFixed(1)).join(" ")).join("L")}`)
      .join("");
  }

  function ringsOf(area) {
    return area.type === "MultiPolygon" ? area.coordinates.flat() : area.coordinates;
  }

  /** Casings below, then the least streets first, so that crossings look like crossings. */
  function setStreets(byRank) {
    const drawn = Object.entries(byRank).filter(([, lines]) => lines.length > 0);
    streets.replaceChildren(
      ...["casing", "road"].flatMap((part) =>
        drawn.map(([rank, lines]) => make("path", { d: pathOf(lines), class: `${part} ${rank}` })),
      ),
    );
  }

  function setAreas(found) {
    areas.replaceChildren(
      ...found.map((one) => {
        const shape = make("path", { d: `${pathOf(ringsOf(one.area))}Z`, class: `area ${one.kind}` });
        shape.append(make("title", {}, one.free === undefined ? one.name : `${one.name}: ${one.free}`));
        return shape;
      }),
    );
  }

  function setPins(found) {
    const chosen = pins.querySelector(".chosen")?.dataset.id;
    pins.replaceChildren(
      ...found.map((one) => {
        const [x, y] = project(one.lon, one.lat);
        const pin = make("g", { class: `pin ${one.state ?? ""}` });
        Object.assign(pin.dataset, { id: one.id, x, y });
        pin.classList.toggle("chosen", one.id === chosen);
        pin.append(make("title", {}, one.name), make("circle", { r: 9, class: "spot" }));
        if (one.price || one.walk) {
          const tag = make("g", { class: "tag" });
          tag.append(
            make("rect", { width: LABEL_W, height: LABEL_H, rx: 9, class: "label" }),
            make("text", { x: LABEL_W / 2, y: 16, class: "price" }, one.price ?? "–"),
            make("text", { x: LABEL_W / 2, y: 31, class: "walk" }, one.walk ?? ""),
          );
          pin.append(tag);
        }
        return pin;
      }),
    );
    paint();
  }

  function setMe(place) {
    me.replaceChildren();
    if (place) {
      const dot = make("circle", { r: 7, class: "dot-me" });
      [dot.dataset.x, dot.dataset.y] = project(place.lon, place.lat);
      me.append(dot);
    }
    paint();
  }

  function choose(id) {
    for (const pin of pins.children) pin.classList.toggle("chosen", pin.dataset.id === id);
    paint();
  }

  function goTo(place) {
    [view.x, view.y] = project(place.lon, place.lat);
    paint();
  }

  function zoom(factor, at = null) {
    const width = Math.min(FARTHEST_M, Math.max(NEAREST_M, view.width * factor));
    if (at) {
      const share = 1 - width / view.width;
      view.x += at[0] * perPixel() * share;
      view.y += at[1] * perPixel() * share;
    }
    view.width = width;
    paint();
  }

  /** Move so that all of these are seen. */
  function fit(places) {
    if (places.length === 0) return;
    const spots = places.map((one) => project(one.lon, one.lat));
    const [xs, ys] = [spots.map((s) => s[0]), spots.map((s) => s[1])];
    const [left, right] = [Math.min(...xs), Math.max(...xs)];
    const [top, bottom] = [Math.min(...ys), Math.max(...ys)];
    const { width, height } = size();
    const needed = Math.max(right - left, ((bottom - top) * width) / (height || 1)) * 1.3;
    view = { x: (left + right) / 2, y: (top + bottom) / 2, width: Math.min(FARTHEST_M, Math.max(400, needed)) };
    paint();
  }

  svg.addEventListener("pointerdown", (event) => {
    pointers.set(event.pointerId, [event.clientX, event.clientY]);
    moved = 0;
  });
  svg.addEventListener("pointermove", (event) => {
    const before = pointers.get(event.pointerId);
    if (!before) return;
    const now = [event.clientX, event.clientY];
    const others = [...pointers].filter(([id]) => id !== event.pointerId).map(([, spot]) => spot);
    if (others.length === 1) {
      const gap = (spot) => Math.hypot(spot[0] - others[0][0], spot[1] - others[0][1]);
      zoom(gap(before) / Math.max(1, gap(now)));
    } else {
      view.x -= (now[0] - before[0]) * perPixel();
      view.y -= (now[1] - before[1]) * perPixel();
    }
    moved += Math.hypot(now[0] - before[0], now[1] - before[1]);
    if (moved > 6) svg.setPointerCapture(event.pointerId);
    pointers.set(event.pointerId, now);
    paint();
  });
  for (const name of ["pointerup", "pointercancel"]) {
    svg.addEventListener(name, (event) => {
      if (pointers.delete(event.pointerId) && moved > 6) onMove?.();
    });
  }
  svg.addEventListener("click", (event) => {
    const pin = event.target.closest(".pin");
    if (pin && moved <= 6) onPin?.(pin.dataset.id);
  });
  svg.addEventListener(
    "wheel",
    (event) => {
      event.preventDefault();
      const box = size();
      const at = [event.clientX - box.left - box.width / 2, event.clientY - box.top - box.height / 2];
      zoom(event.deltaY > 0 ? ZOOM : 1 / ZOOM, at);
    },
    { passive: false },
  );
  svg.addEventListener("keydown", (event) => {
    const arrow = ARROWS[event.key];
    if (arrow) {
      view.x += arrow[0] * STEP * view.width;
      view.y += arrow[1] * STEP * view.width;
      paint();
      onMove?.();
    } else if (event.key === "+" || event.key === "=") {
      zoom(1 / ZOOM);
    } else if (event.key === "-") {
      zoom(ZOOM);
    } else {
      return;
    }
    event.preventDefault();
  });
  new ResizeObserver(paint).observe(svg);
  paint();

  return {
    setStreets,
    setAreas,
    setPins,
    setMe,
    choose,
    goTo,
    fit,
    zoomIn: () => zoom(1 / ZOOM),
    zoomOut: () => zoom(ZOOM),
    middle: () => ({ lat: middle.lat - view.y / METRES_A_DEGREE, lon: middle.lon + view.x / eastM }),
  };
}

/** Let the buttons beside a map zoom it. */
export function addZoom(map, root = document) {
  root.querySelector('[data-zoom="in"]').addEventListener("click", map.zoomIn);
  root.querySelector('[data-zoom="out"]').addEventListener("click", map.zoomOut);
}

/** Fetch the streets around and say whose map they are. */
export async function addStreets(map, url, credit) {
  const answer = await fetch(url).catch(() => null);
  if (!answer?.ok) return;
  const told = await answer.json();
  map.setStreets(told.lines);
  if (told.credit_url) {
    const link = document.createElement("a");
    link.href = told.credit_url;
    link.rel = "external noreferrer";
    link.textContent = told.credit;
    credit.replaceChildren(link);
  } else {
    credit.textContent = told.credit;
  }
}
