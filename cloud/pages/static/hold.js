/** A hold's countdown, by the server's clock. */

import "./forms.js";

const hold = document.getElementById("hold");
if (hold) {
  const ahead = Number(hold.dataset.now) - Date.now();
  const expires = Number(hold.dataset.expires);
  const countdown = document.getElementById("countdown");

  const tick = () => {
    const left = Math.max(0, Math.ceil((expires - Date.now() - ahead) / 1000));
    countdown.textContent = `${Math.floor(left / 60)}:${String(left % 60).padStart(2, "0")}`;
    if (left > 0) return;
    clearInterval(timer);
    document.getElementById("over").hidden = false;
    for (const button of hold.querySelectorAll("button")) button.disabled = true;
  };
  const timer = setInterval(tick, 250);
  tick();
}
