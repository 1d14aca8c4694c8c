"""What the agent tells whoever watches it: a line for each change, at most one a minute beside."""

import logging
from dataclasses import dataclass

from edge.drivers.base import BatteryReading

_log = logging.getLogger(__name__)

STATE_EVERY_S = 60.0


@dataclass(slots=True)
class Teller:
    """Remembers what it said. `port` is what to call the battery."""

    port: str
    _answers: bool | None = None
    _model: str | None = None
    _said_s: float | None = None
    _reading: BatteryReading | None = None

    def polled(
        self,
        reading: BatteryReading | None,
        *,
        offline: bool,
        trouble: str | None,
        model: str | None,
    ) -> None:
        """Take the result of a poll; `trouble` says what is wrong with the port, if anything."""
        self._reading = reading
        if reading is None:
            if self._answers is None or (self._answers and offline):
                self._answers = False
                _log.warning("battery %s does not answer: %s", self.port, trouble or _SILENT)
            else:
                _log.debug("battery %s did not answer this time", self.port)
            return
        if not self._answers:
            self._answers = True
            _log.info("battery %s answers: %s", self.port, _figures(reading))
        if model and model != self._model:
            self._model = model
            _log.info("battery is a %s", model)

    def state(self, now_s: float, doing: str, *, unacked: int, connected: bool) -> None:
        """Tell how things are, when the last time was a minute ago."""
        if self._said_s is None:
            self._said_s = now_s
        if now_s - self._said_s < STATE_EVERY_S:
            return
        self._said_s = now_s
        battery = "does not answer" if self._reading is None else _figures(self._reading)
        broker = "connected" if connected else "not connected"
        _log.info(
            "%s, battery %s, broker %s, %d records wait for their ack",
            *(doing, battery, broker, unacked),
        )


_SILENT = "it is asked again and again; check that the pack is awake and RX and TX not swapped"


def _figures(reading: BatteryReading) -> str:
    values = ((reading.voltage_v, "V"), (reading.current_a, "A"), (reading.soc_pct, "%"))
    return ", ".join(f"{value:g} {unit}" for value, unit in values if value is not None)
