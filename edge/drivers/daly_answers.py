"""What a Daly board has answered so far, on whatever line, and the reading that it makes."""

from collections.abc import Mapping
from typing import Any, Final, Literal

from edge.drivers import daly_frames as wire
from edge.drivers.base import BatteryReading, Frame

CurrentSign = Literal["learn", "discharge_positive", "charge_positive"]
CyclesAt = Literal["learn", "d5", "d6"]

# Answers that so many newer ones to 90 have outlived are of another time.
_OUTLIVED: Final = 30
_CELLS_END: Final = 1 + 2 * wire.CELLS_A_FRAME
_CLEAR_A: Final = 2.0
_VOTES: Final = 3
_LISTED: Final = {
    wire.CELL_RANGE: ("max_cell_v", "max_cell_no", "min_cell_v", "min_cell_no"),
    wire.TEMPERATURE_RANGE: ("max_temp_c", "max_temp_sensor", "min_temp_c", "min_temp_sensor"),
    wire.SWITCHES: ("mode", "life_counter"),
    wire.STATUS: (
        "cell_count",
        "temp_sensor_count",
        "charger_connected",
        "load_connected",
        "dio_bits",
    ),
    wire.ALARMS: ("fault_code",),
    wire.RATED: ("rated_capacity_ah", "nominal_cell_v"),
    wire.MADE: ("battery_type", "production_date"),
}
_NAMEPLATE: Final = (wire.RATED, wire.MADE, wire.CODE)


class Series:
    """Puts an answer of several numbered frames together; numbers begin with 1 or with 0."""

    def __init__(self) -> None:
        self._parts: dict[int, bytes] = {}
        self._newest = -1

    def add(self, data: bytes, count: int) -> bytes | None:
        """Take a frame; return all of the answer's bytes once none of its `count` is missing."""
        number = data[0]
        if number <= self._newest:
            self._parts.clear()
        self._newest = number
        self._parts[number] = data[1:]
        first = 0 if 0 in self._parts else 1
        numbers = range(first, first + count)
        if number != numbers[-1] or any(one not in self._parts for one in numbers):
            return None
        return b"".join(self._parts[one] for one in numbers)


class SignJudge:
    """Finds boards that send the current the other way round, by the mode that 93 tells.

    Three clear contradictions in a row turn the sign; until then, `doubtful` says that the newest
    current contradicts. A clear current has 2 A or more; one agreement clears the doubts.
    """

    def __init__(self, sign: CurrentSign) -> None:
        self._learns = sign == "learn"
        self.turned = sign == "charge_positive"
        self.doubtful = False
        self._votes = 0

    def judge(self, charging_a: float | None, mode: int) -> None:
        """Compare a current, positive while charging on most boards, with the mode beside it."""
        clear = charging_a is not None and abs(charging_a) >= _CLEAR_A
        if not self._learns or not clear or mode not in (wire.CHARGING, wire.DISCHARGING):
            self.doubtful = False
            return
        charges = (charging_a or 0.0) > 0
        agrees = (charges != self.turned) == (mode == wire.CHARGING)
        self._votes = 0 if agrees else self._votes + 1
        self.doubtful = not agrees
        if self._votes >= _VOTES:
            self.turned = not self.turned
            self.doubtful = False
            self._votes = 0


class CycleCounter:
    """Finds where in 94 a board has its cycle count: in D5..D6, or in D6..D7.

    `learn` takes D6..D7 for good once D5..D6 were zero and D7 was neither zero nor the byte that
    the frame before had left there. A count above 255 on a board that was never seen below it
    needs `d6`. A left-over tells nothing: the count is None.
    """

    def __init__(self, at: CyclesAt) -> None:
        self._learns = at == "learn"
        self._late = at == "d6"
        self.count: int | None = None

    def see(self, data: bytes, byte_before: int | None) -> None:
        """Take an answer to 94, and the last byte of the frame before it."""
        if self._late:
            self.count = int.from_bytes(data[6:8], "big")
            return
        early = int.from_bytes(data[5:7], "big")
        self.count = wire.cycles(data) if self._learns else early
        if self.count != early:
            left_over = data[7] == byte_before
            self._late = not left_over
            self.count = None if left_over else self.count


class Answers:
    """The newest answer of each kind. Nothing here knows the time or the line."""

    def __init__(self, current_sign: CurrentSign, cycles_at: CyclesAt) -> None:
        self._current_sign: CurrentSign = current_sign
        self._cycles_at: CyclesAt = cycles_at
        self._learn_anew()
        self._last_byte: int | None = None
        self._pack: bytes | None = None
        self._packs = 0
        self._pack_is_new = False
        self._heard = False
        self._details: dict[int, tuple[int, bytes]] = {}
        self._nameplate: dict[int, bytes] = {}
        self._series = {command: Series() for command in (wire.CELLS, wire.TEMPERATURES, wire.CODE)}

    @property
    def about(self) -> Mapping[str, Any]:
        """What is known beside readings; `hardware` is the board's battery code."""
        found: dict[str, Any] = {}
        known = {command: data for command, (_, data) in self._details.items()} | self._nameplate
        for command, names in _LISTED.items():
            if command in known:
                fields = wire.describe(Frame(command, known[command]))
                found |= {name: fields[name] for name in names}
        if code := wire.text(self._nameplate.get(wire.CODE, b"")):
            found["hardware"] = code
        if self._sign.turned:
            found["current_sign"] = "charge_positive"
        return found

    def keep(self, command: int, data: bytes) -> bool:
        """Take a plausible answer; whether it is whole now."""
        byte_before, self._last_byte = self._last_byte, data[-1]
        if command in self._series:
            return self._keep_part(command, data)
        if command == wire.PACK:
            self._pack = data
            self._packs += 1
            self._pack_is_new = self._heard = True
        elif command in _NAMEPLATE:
            self._nameplate[command] = data
        else:
            self._notice(command, data, byte_before)
            self._details[command] = self._packs, data
        return True

    def forget(self, command: int | None = None) -> None:
        """Forget all but the newest answer to 90, or with `command` that answer alone.

        Without one since the last time, another board may be there: what was learnt goes too.
        """
        if command is not None:
            self._details.pop(command, None)
            return
        self._details.clear()
        if not self._heard:
            self._nameplate.clear()
            self._learn_anew()
        self._heard = False

    def reading(self) -> BatteryReading | None:
        """The newest answer to 90 with the newest others; None before the first."""
        if self._pack is None:
            return None
        volts, amps, soc = wire.pack_values(self._pack)
        switches, status = self._detail(wire.SWITCHES), self._detail(wire.STATUS)
        alarms, rated = self._detail(wire.ALARMS), self._nameplate.get(wire.RATED)
        return BatteryReading(
            voltage_v=volts,
            current_a=self._signed(amps),
            soc_pct=soc,
            remaining_ah=wire.remaining_ah(switches) if switches else None,
            full_ah=wire.rated_ah(rated) if rated else None,
            temperatures_c=self._temperatures(),
            cells_v=self._cells(),
            cycles=self._cycles.count if status else None,
            charge_fet=bool(switches[1]) if switches else None,
            discharge_fet=bool(switches[2]) if switches else None,
            alarms=wire.alarm_names(alarms) if alarms else None,
            protection_bits=wire.protection_bits(alarms) if alarms else None,
            balancing_bits=self._balancing(),
        )

    def _learn_anew(self) -> None:
        self._sign = SignJudge(self._current_sign)
        self._cycles = CycleCounter(self._cycles_at)

    def _keep_part(self, command: int, data: bytes) -> bool:
        count = self._frames_of(command)
        if count is None:
            return True
        used = data[:_CELLS_END] if command == wire.CELLS else data
        whole = self._series[command].add(used, count)
        if whole is None:
            return False
        if command == wire.CODE:
            self._nameplate[command] = whole
        else:
            self._details[command] = self._packs, whole
        return True

    def _frames_of(self, command: int) -> int | None:
        """How many frames answer a command; None when the board has not told its cells yet."""
        if command == wire.CODE:
            return wire.CODE_FRAMES
        status = self._detail(wire.STATUS)
        if status is None:
            return None
        if command == wire.CELLS:
            return -(-status[0] // wire.CELLS_A_FRAME)
        return max(-(-status[1] // wire.SENSORS_A_FRAME), 1)

    def _notice(self, command: int, data: bytes, byte_before: int | None) -> None:
        if command == wire.STATUS:
            before = self._detail(wire.STATUS)
            if before is not None and before[:2] != data[:2]:
                self._details.clear()
                self._learn_anew()
            self._cycles.see(data, byte_before)
        elif command == wire.SWITCHES and self._pack is not None and self._pack_is_new:
            self._pack_is_new = False
            self._sign.judge(wire.pack_values(self._pack)[1], data[0])

    def _signed(self, amps: float | None) -> float | None:
        if amps is None or self._sign.doubtful:
            return None
        return 0.0 - amps if self._sign.turned else amps

    def _detail(self, command: int) -> bytes | None:
        at, data = self._details.get(command, (0, None))
        return data if self._packs - at <= _OUTLIVED else None

    def _cells(self) -> tuple[float, ...] | None:
        status, raws = self._detail(wire.STATUS), self._detail(wire.CELLS)
        if status is None or raws is None:
            return None
        return wire.cell_volts(raws[: 2 * status[0]])

    def _temperatures(self) -> tuple[float | None, ...] | None:
        status, raws = self._detail(wire.STATUS), self._detail(wire.TEMPERATURES)
        if status is None or raws is None or not status[1]:
            return None
        return tuple(wire.celsius(raw) for raw in raws[: status[1]])

    def _balancing(self) -> int | None:
        """The bits of the cells there are; behind them may be left-overs."""
        status, data = self._detail(wire.STATUS), self._detail(wire.BALANCE)
        if status is None or data is None:
            return None
        return wire.balance_bits(data) & (1 << min(status[0], 32)) - 1
