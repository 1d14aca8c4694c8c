/** A hold's countdown, by the server's clock; what ends it elsewhere is seen here too. */

import "./forms.js";
import { part, poll } from "./poll.js";

const EVERY_MS = 10_000;
const hold = document.getElementById("hold");
if (hold) {
  const ahead = Number(hold.dataset.now) - Date.now();
  const expires = Number(hold.dataset.expires);
  const countdown = document.getElementById("countdown");
  const over = document.getElementById("over");

  const end = () => {
    clearInterval(timer);
    if (hold.hidden) return;
    hold.hidden = true;
    over.hidden = false;
    over.querySelector("h1").focus();
  };
  const tick = () => {
    const left = Math.max(0, Math.ceil((expires - Date.now() - ahead) / 1000));
    countdown.textContent = `${Math.floor(left / 60)}:${String(left % 60).padStart(2, "0")}`;
    hold.classList.toggle("soon", left <= 60);
    if (left === 0) end();
  };
  const timer = setInterval(tick, 250);
  tick();

  const look = async () => {
    const text = await part(location.href);
    if (text === null) return false;
    const fresh = new DOMParser().parseFromString(text, "text/html");
    // Unlocked on another device: the address leads to the ride.
    if (fresh.getElementById("rental")) location.reload();
    else if (!fresh.getElementById("hold")) end();
    return true;
  };
  poll(look, () => (hold.hidden ? 0 : EVERY_MS));
  hold.addEventListener("answered", ({ detail }) => {
    if (detail.status === 404 || (detail.told.type ?? "").endsWith("/hold-gone")) end();
  });
}
