"""What the batteries of cars have in common that broadcast: a timetable, a pack and its dials."""

import math
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any, ClassVar, Final

from firmware_shim.can import CanFrame
from firmware_shim.checks import Check
from firmware_shim.dials import Dials
from firmware_shim.faults import Faults
from firmware_shim.pack import Pack, PackDesign, PackSample, Protection

_LATE_S: Final = 1.0


class BroadcastNode:
    """A battery that speaks by its timetable and hears nothing. Pure: the time in, frames out.

    A subclass gives the `timetable`, what says what and how often in seconds, and `own_dials`
    beside the pack's: a check by name. After a pause of a second what was missed is not made up
    for. `asleep` is every such node's: it says nothing.
    """

    bitrate = 500_000
    timetable: ClassVar[Mapping[int, float]]
    own_dials: ClassVar[Mapping[str, Check]]
    design: ClassVar[PackDesign]

    def __init__(self, pack: Pack | None = None, *, faults: Faults | None = None) -> None:
        self.pack = pack or Pack(self.design)
        self.faults = faults or Faults()
        self.due_s = 0.0
        self.wake: Callable[[], None] | None = None
        self.own: dict[str, Any] = {}
        self._dials = Dials(self.pack)
        self._shown: PackSample | None = None
        self._due: dict[int, float] = dict.fromkeys(self.timetable, -math.inf)

    def set(self, values: Mapping[str, Any]) -> None:
        """Pin values, None lets go. Raises ValueError and then changes nothing."""
        own = {name: value for name, value in values.items() if name in self.own_dials}
        checked = {
            name: None if value is None else self.own_dials[name](name, value)
            for name, value in own.items()
        }
        self._dials.set({name: value for name, value in values.items() if name not in own})
        self.own.update(checked)

    def receive(self, _frame: CanFrame, _now_s: float) -> list[CanFrame]:
        """Obey nobody."""
        return []

    def tick(self, now_s: float) -> list[CanFrame]:
        """Return what it says at `now_s`, and move `due_s` on."""
        said: list[CanFrame] = []
        sample: PackSample | None = None
        for can_id, due_s in list(self._due.items()):
            if due_s > now_s:
                continue
            late = now_s - due_s > _LATE_S
            self._due[can_id] = (now_s if late else due_s) + self.timetable[can_id]
            if not self.own.get("asleep"):
                sample = sample or self._sample(now_s)
                said.append(CanFrame(can_id, self.payload(can_id, sample)))
        self.due_s = min(self._due.values())
        return said

    def payload(self, can_id: int, sample: PackSample) -> bytes:
        """Return what one message says now."""
        raise NotImplementedError

    def dial(self, name: str, otherwise: Any) -> Any:  # noqa: ANN401 - any dial's value
        """Return what a dial of its own is turned to."""
        value = self.own.get(name)
        return otherwise if value is None else value

    def _sample(self, now_s: float) -> PackSample:
        self.pack.advance(now_s)
        if self.faults.strikes("protection_trip"):
            self.pack.trip(Protection.DISCHARGE_OVERCURRENT, now_s)
        if self._shown is None or not self.faults.strikes("stuck"):
            self._shown = self._dials.apply(self.pack.sample())
        if self.faults.strikes("sensor_lost"):
            return replace(self._shown, temperatures_c=(None,) * len(self._shown.temperatures_c))
        return self._shown
