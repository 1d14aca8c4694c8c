/** Looks again and again: never while nobody looks at the page, less often while no answer comes. */

const LONGEST_MS = 30_000;
const PATIENCE_MS = 10_000;

/**
 * Fetch a part of a page; signed out, the page's own address leads to the form.
 *
 * @returns {Promise<string | null>} null: no answer came, or no good one.
 */
export async function part(url) {
  const options = { headers: { "HX-Request": "true" }, signal: AbortSignal.timeout(PATIENCE_MS) };
  const answer = await fetch(url, options).catch(() => null);
  if (answer?.status === 401) location.reload();
  return answer?.ok ? answer.text().catch(() => null) : null;
}

/**
 * Begin to look.
 *
 * @param {() => Promise<boolean>} look false: there was no answer.
 * @param {() => number} pauseMs until the next look; 0 for never again.
 * @returns {() => void} looks at once.
 */
export function poll(look, pauseMs) {
  let timer = 0;
  let failed = 0;
  let looking = false;
  let again = false;

  const isSeen = () => document.visibilityState === "visible";

  function later() {
    clearTimeout(timer);
    const pause = pauseMs();
    if (pause > 0 && isSeen()) timer = setTimeout(turn, Math.min(LONGEST_MS, pause * 2 ** failed));
  }

  async function turn() {
    clearTimeout(timer);
    if (looking) {
      again = true;
      return;
    }
    looking = true;
    failed = (await look()) ? 0 : failed + 1;
    looking = false;
    if (again) {
      again = false;
      turn();
    } else {
      later();
    }
  }

  document.addEventListener("visibilitychange", () => (isSeen() ? turn() : clearTimeout(timer)));
  window.addEventListener("online", turn);
  later();
  return turn;
}
