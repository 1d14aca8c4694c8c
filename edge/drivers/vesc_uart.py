"""VESC motor controller on a serial line, 115200 8N1; the wire is laid out in `vesc_frames`.

The battery is seen at the controller's input. A VESC BMS that the controller hears on its CAN bus
adds cells, temperatures and SOC; it is asked now and then, and old firmware does not know it.
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, ClassVar, Final

from edge.drivers import vesc_frames as wire
from edge.drivers.base import (
    Ask,
    BatteryReading,
    Explained,
    Frame,
    FrameStream,
    PollPolicy,
)
from edge.drivers.vesc_soc import DrawnAh, SocEstimator, with_estimate

BMS_EVERY_S: Final = 10.0
# So many answers of the controller without one of the BMS, and what the BMS said is too old.
BMS_OUTLIVES: Final = 100


def _ask(command: int) -> Ask:
    return Ask(wire.request(command), command)


class VescDecoder(FrameStream[Frame]):
    """Finds VESC frames in a stream and keeps the newest values of controller and BMS.

    Once it knows the pack it estimates the SOC that no BMS tells.
    """

    shortest: ClassVar[int] = wire.SHORTEST
    ordered_bits: ClassVar[int] = 0
    policy: ClassVar[PollPolicy] = PollPolicy(
        baud=115_200,
        main=_ask(wire.VALUES),
        once=(_ask(wire.BMS_VALUES), _ask(wire.FIRMWARE)),
        events=(_ask(wire.BMS_VALUES),),
        events_every_s=BMS_EVERY_S,
        timeout_s=0.1,
    )

    def __init__(self) -> None:
        super().__init__()
        self._values: BatteryReading | None = None
        self._bms: BatteryReading | None = None
        self._since_bms = 0
        self._about: dict[str, Any] = {}
        self._drawn = DrawnAh()
        self._soc: SocEstimator | None = None

    def know_pack(self, *, cells: int, full_ah: float) -> None:
        """Take the number of cells in series, and what the pack holds when full."""
        self._soc = SocEstimator(cells=cells, full_ah=full_ah)

    @property
    def about(self) -> Mapping[str, Any]:
        """`hardware`, `software` and `controller_serial`, once the firmware was asked."""
        return self._about

    def forget_details(self, answer: int | None = None) -> None:
        """Forget what the BMS said: it may be that of a pack that is gone."""
        del answer
        self._bms = None

    def reading(self) -> BatteryReading | None:
        """The controller's newest values with those of the BMS; None before the first."""
        if self._values is None:
            return None
        reading = self._values
        if self._bms is not None:
            reading = replace(
                self._bms,
                voltage_v=reading.voltage_v,
                current_a=reading.current_a,
                alarms=reading.alarms,
                protection_bits=reading.protection_bits,
            )
        return with_estimate(reading, self._soc)

    @staticmethod
    def explain(frame: bytes) -> Explained:
        """Decode one whole frame, request or reply. Raises FrameError."""
        found = wire.parse_frame(frame)
        fields = wire.describe(found)
        reading = None
        if found.key in {wire.VALUES, wire.SETUP_VALUES, wire.SELECTED_VALUES}:
            reading = wire.values_reading(fields)
        elif found.key == wire.BMS_VALUES:
            reading = wire.bms_reading(fields)
        return Explained(fields, reading)

    def _size(self, stream: bytes, at: int) -> int:
        return wire.size_of(stream, at)

    def _read(self, candidate: bytes) -> Frame:
        frame = wire.parse_frame(candidate)
        if frame.op is None:
            self._keep(frame)
        return frame

    def _keep(self, frame: Frame) -> None:
        if frame.key == wire.VALUES:
            self._keep_values(wire.values_of(frame))
        elif frame.key == wire.BMS_VALUES:
            self._bms = wire.bms_reading(wire.bms_of(frame))
            self._since_bms = 0
        elif frame.key == wire.FIRMWARE:
            self._about = _about(wire.firmware_of(frame))

    def _keep_values(self, values: dict[str, Any]) -> None:
        reading = wire.values_reading(values)
        if reading is None:
            return
        self._values = reading
        self._since_bms += 1
        if self._since_bms > BMS_OUTLIVES:
            self._bms = None
        if self._soc is not None and "ah_charged" in values and reading.current_a is not None:
            self._soc.see(
                voltage_v=values["input_voltage_v"],
                current_a=reading.current_a,
                drawn_ah=self._drawn.since_last(values["ah_used"], values["ah_charged"]),
            )


def _about(told: Mapping[str, Any]) -> dict[str, Any]:
    about: dict[str, Any] = {}
    if "minor" in told:
        about["software"] = f"{told['major']}.{told['minor']:02}"
    if told.get("hardware"):
        about["hardware"] = told["hardware"]
    if "serial" in told:
        about["controller_serial"] = told["serial"]
    return about
