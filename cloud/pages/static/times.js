/** Moments in the reader's own time; which one that is, is said once on the page. */

const ZONE = Intl.DateTimeFormat().resolvedOptions().timeZone;
const day = new Intl.DateTimeFormat("sv", { dateStyle: "short", timeStyle: "short" });
const offset = new Intl.DateTimeFormat("en", { timeZoneName: "shortOffset" });

export const clock = new Intl.DateTimeFormat([], { hour: "2-digit", minute: "2-digit", hourCycle: "h23" });
export const exact = new Intl.DateTimeFormat([], { timeStyle: "medium", hourCycle: "h23" });

/** `local time, Asia/Tokyo (UTC+9)`. */
export function zone(atMs) {
  const part = offset.formatToParts(atMs).find(({ type }) => type === "timeZoneName");
  const away = part.value.replace("GMT", "UTC");
  return ZONE === "UTC" ? "local time, UTC" : `local time, ${ZONE.replaceAll("_", " ")} (${away})`;
}

/** Tell each `<time>` below in local time; its title keeps UTC. */
export function localise(root) {
  for (const element of root.querySelectorAll("time[datetime]")) {
    element.textContent = day.format(Date.parse(element.dateTime));
  }
}
