/** The list of devices: looks again when one comes or goes. The words are the server's. */

import { follow } from "./feed.js";

const NOT_SOONER_MS = 1_000;

const connected = new Map();
let timer = 0;

/** Many come and go together: one look has to do for them. */
function later() {
  timer ||= setTimeout(() => {
    timer = 0;
    htmx.trigger("#devices", "refresh");
  }, NOT_SOONER_MS);
}

follow(
  (news) => {
    const before = connected.get(news.id);
    connected.set(news.id, news.connected);
    if (before !== undefined && before !== news.connected) later();
  },
  "",
  { onOpen: later },
);
