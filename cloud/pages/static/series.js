/** Rules of the charts: where the axis begins and where a line breaks. Pure; seconds since 1970. */

const SHORTEST_AXIS_S = 120;
const SHORTEST_BREAK_S = 15;
const LONE_BREAK_S = 90; // two readings alone tell no pace, so what is stale breaks
const MISSED = 5;
const AROUND = 5;

/** Begin at the first reading when the range holds less, a little before it. */
export function axisStart(firstS, nowS, rangeS) {
  const span = firstS === undefined ? rangeS : Math.max(SHORTEST_AXIS_S, (nowS - firstS) * 1.02);
  return nowS - Math.min(rangeS, span);
}

/**
 * Put a row of nulls into each stretch without readings, so that no line is drawn over an outage.
 *
 * The pace is that of the steps around, for a vehicle reads every second while it rides and every
 * minute while it is parked.
 */
export function withBreaks(times, columns) {
  const steps = times.slice(1).map((time, i) => time - times[i]);
  const brokenTimes = [];
  const broken = columns.map(() => []);
  times.forEach((time, i) => {
    if (i > 0 && isBreak(steps, i - 1)) {
      brokenTimes.push((times[i - 1] + time) / 2);
      for (const column of broken) column.push(null);
    }
    brokenTimes.push(time);
    columns.forEach((column, c) => broken[c].push(column[i]));
  });
  return [brokenTimes, ...broken];
}

/** Where a value stands alone between nulls: no line shows it, so it wants a point. */
export function lonely(column) {
  const none = (i) => column[i] === null || column[i] === undefined;
  return column.flatMap((_, i) => (!none(i) && none(i - 1) && none(i + 1) ? [i] : []));
}

function isBreak(steps, i) {
  if (steps[i] <= SHORTEST_BREAK_S) return false;
  const paces = [steps.slice(Math.max(0, i - AROUND), i), steps.slice(i + 1, i + 1 + AROUND)]
    .filter((around) => around.length)
    .map(median);
  return steps[i] > (paces.length ? Math.max(SHORTEST_BREAK_S, MISSED * Math.max(...paces)) : LONE_BREAK_S);
}

function median(numbers) {
  const sorted = [...numbers].sort((a, b) => a - b);
  return sorted[Math.floor((sorted.length - 1) / 2)];
}
