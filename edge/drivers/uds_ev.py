"""Electric cars and vans, asked over ISO-TP: what `uds_ev_cars` says, one question at a time.

A car that sleeps is left alone, for every question keeps its units awake and drains its 12 V
battery. It counts as asleep 60 s after the last answer that showed the high voltage on, and at once
below 12.2 V. Then only its first question is put, once every five minutes (every hour after a low
voltage), until an answer shows it awake; `look` says that somebody unlocked it: the next poll asks.
So does one after two minutes without a poll, unless the voltage was low: who polls so rarely may.
"""

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any, ClassVar, Final, NamedTuple

from edge.drivers.base import BatteryReading, Explained, FrameError, WireCounters
from edge.drivers.can import CanFrame, CanPolicy
from edge.drivers.isotp import Receiver, reassemble
from edge.drivers.lines import BadLineError, Line, from_hex, id_of, number_of
from edge.drivers.uds import (
    CURRENT_DATA,
    FOR_EVER,
    POSITIVE,
    Client,
    Message,
    Outcome,
    parse,
    refusal_text,
)
from edge.drivers.uds_ev_cars import (
    ANY_UNIT,
    BOLT_RAW_SOC,
    CARS,
    DETECTION,
    HYUNDAI_BMS,
    LEAF_BMS,
    MEB_BMS,
    OBD,
    Table,
    cells_of,
)

AWAKE_S: Final = 60.0
LOOK_EVERY_S: Final = 300.0
LOW_LOOK_EVERY_S: Final = 3600.0
LOW_12V: Final = 12.2
SLOW_EVERY_S: Final = 3600.0
CELLS_EVERY_S: Final = 60.0
_HEALTH_LASTS_S: Final = 2 * SLOW_EVERY_S
_PAUSE_S: Final = 120.0
_TRIES: Final = 2
_BITS_29: Final = 1 << 29
_READING_NAMES: Final = tuple(member.name for member in fields(BatteryReading))

_BY_KEY: Final[Mapping[bytes, Table]] = {
    table.key: table
    for table in (*OBD, BOLT_RAW_SOC, *(table for car in CARS.values() for table in car.tables))
}
_OBD_KEYS: Final = frozenset(table.key for table in OBD)
_HYUNDAI_KEYS: Final = frozenset(
    table.key for table in (BOLT_RAW_SOC, *CARS["ioniq5"].tables, *CARS["bolt"].tables)
)
_UNITS: Final = (
    ({HYUNDAI_BMS.request_id}, {HYUNDAI_BMS.response_id}, _HYUNDAI_KEYS | _OBD_KEYS),
    (
        {LEAF_BMS.request_id},
        {LEAF_BMS.response_id},
        frozenset(table.key for table in CARS["leaf"].tables),
    ),
    (
        {MEB_BMS.request_id, 0xFC00},
        {MEB_BMS.response_id, 0xFE007B},
        frozenset(table.key for table in CARS["id4"].tables),
    ),
    ({ANY_UNIT.request_id, *range(0x7E0, 0x7E8)}, set(ANY_UNIT.responses), _OBD_KEYS),
)
"""Request identifiers, response identifiers, how answers begin; the first that fits is taken.

The sources write the VW unit's identifiers short, FC00.FE007B: these are taken too.
"""


class UnknownCarError(ValueError):
    """No table for this car: choose one of those the message lists."""


class _Part(NamedTuple):
    """What one answer gave, and when."""

    reading: BatteryReading
    heard_s: float


@dataclass(slots=True)
class _Wakefulness:
    """When the car last showed its high voltage on, and when it was last looked after."""

    ready_s: float = -math.inf
    looked_s: float = -math.inf
    low_12v: bool = False

    def asleep(self, now_s: float) -> bool:
        return self.low_12v or now_s - self.ready_s > AWAKE_S

    def may_look(self, now_s: float) -> bool:
        every_s = LOW_LOOK_EVERY_S if self.low_12v else LOOK_EVERY_S
        return now_s - self.looked_s >= every_s


class UdsEvDecoder:
    """Polls one car: `car` is a name of `CARS`; without, those of `DETECTION` are tried in turn.

    Before the first poll it listens to what others ask, as when a capture is played.
    """

    ordered_bits: ClassVar[int] = 0
    policy: ClassVar[CanPolicy] = CanPolicy(
        bitrate=500_000,
        listens=frozenset(
            (can_id, address.extended)
            for address in (HYUNDAI_BMS, LEAF_BMS, MEB_BMS, ANY_UNIT)
            for can_id in address.responses
        ),
        stale_s=15.0,
        answers_s=6.0,
    )

    def __init__(self, car: str | None = None) -> None:
        self.counters = WireCounters()
        self._name: str | None = None
        self._trying = DETECTION[0]
        self._candidates: list[str] = []
        self._client = Client(CARS[self._trying].address)
        self._overheard: dict[int, Receiver] = {}
        self._sleep = _Wakefulness()
        self._begun_s = -math.inf
        self._asked_s = -math.inf
        self._parts: dict[bytes, _Part] = {}
        self._cells: dict[bytes, tuple[float, ...] | None] = {}
        self._cells_off = False
        self._cells_with_s = -math.inf
        self._due: dict[bytes, float] = {}
        self._about: dict[str, Any] = {}
        if car is not None:
            self.choose(car)

    def choose(self, car: str) -> None:
        """Ask this car from now on. Raises UnknownCarError."""
        if car not in CARS:
            raise UnknownCarError(f"No car {car!r}; the known ones are: {', '.join(CARS)}.")
        self._is(car)
        self._client.turn_to(CARS[car].address, session=CARS[car].session, tries=_TRIES)

    @property
    def about(self) -> Mapping[str, Any]:
        """`car`, `asleep`, and what the car's tables tell beside readings."""
        return self._about

    @property
    def due_s(self) -> float:
        """When `tick` wants to be called next."""
        return self._client.due_s

    @property
    def waiting(self) -> bool:
        """Whether questions are still to be answered."""
        return self._client.waiting

    def look(self) -> None:
        """Ask at the next poll, asleep or not: somebody has just unlocked the car."""
        self._sleep.looked_s = -math.inf

    def begin(self, now_s: float) -> Sequence[CanFrame]:
        """Begin a poll, unless the one before still runs or the car sleeps."""
        if self._begun_s == -math.inf:
            self._sleep.ready_s = now_s
        elif now_s - self._begun_s > _PAUSE_S and not self._sleep.low_12v:
            self.look()
        self._begun_s = now_s
        asleep = self._about["asleep"] = self._sleep.asleep(now_s)
        if not self.waiting and (not asleep or self._sleep.may_look(now_s)):
            self._sleep.looked_s = self._asked_s = now_s
            self._ask(now_s, only_look=asleep)
        return self.tick(now_s)

    def feed(self, frames: Iterable[CanFrame], now_s: float) -> Sequence[CanFrame]:
        """Take what was heard; return flow control and the next question."""
        sent: list[CanFrame] = []
        for frame in frames:
            if self._begun_s > -math.inf:
                sent += self._client.feed(frame, now_s)
                sent += self._conclude(now_s)
            else:
                self._overhear(frame, now_s)
        return sent

    def tick(self, now_s: float) -> Sequence[CanFrame]:
        """Let time pass: the next question, one again, or the next car to try."""
        return [*self._client.tick(now_s), *self._conclude(now_s)]

    def reading(self, now_s: float) -> BatteryReading | None:
        """The newest answers in one; None before the first, and when the last poll got none."""
        if self._name is None:
            return None
        car = CARS[self._name]
        main = self._parts.get(car.main[0].key)
        if main is None or now_s - main.heard_s > self.policy.stale_s:
            return None
        polls = self.waiting and now_s - self._asked_s < self.policy.answers_s
        if main.heard_s < self._asked_s and not polls:
            return None
        lasting = [(table, AWAKE_S) for table in car.main]
        lasting += [(table, _HEALTH_LASTS_S) for table in car.slow]
        parts = ((self._parts.get(table.key), lasts_s) for table, lasts_s in lasting)
        reading = _merged(
            part.reading
            for part, lasts_s in parts
            if part is not None and now_s - part.heard_s <= lasts_s
        )
        return replace(reading, cells_v=self._cells_of(main.heard_s))

    @staticmethod
    def explain(line: Line) -> Explained:
        """Decode a captured message, or several of one unit. Raises FrameError, BadLineError."""
        return _explain(line)

    def _ask(self, now_s: float, *, only_look: bool) -> None:
        if self._name is None:
            self._candidates = list(DETECTION)
            self._try_next()
            return
        car = CARS[self._name]
        if only_look:
            self._client.ask([car.main[0].request])
            return
        self._client.ask(table.request for table in car.main)
        self._client.ask(
            table.request for table in car.slow if now_s >= self._due.get(table.key, -math.inf)
        )
        if car.cells and not self._cells_off and now_s >= self._due.get(b"cells", -math.inf):
            self._due[b"cells"] = now_s + CELLS_EVERY_S
            self._cells.clear()
            self._client.ask(table.request for table in car.cells)

    def _try_next(self) -> None:
        """Put the first question of the next car that it may be."""
        self._trying = self._candidates.pop(0)
        car = CARS[self._trying]
        self._client.turn_to(car.address, session=car.session, tries=1)
        self._client.ask([car.main[0].request])

    def _is(self, name: str) -> None:
        self._name = self._trying = self._about["car"] = name
        self._client.tries = _TRIES

    def _overhear(self, frame: CanFrame, now_s: float) -> None:
        """Take an answer that somebody else asked for; the car is the first that gives such."""
        if (frame.can_id, frame.extended) not in self.policy.listens:
            return
        receiver = self._overheard.setdefault(frame.can_id, Receiver())
        dropped = receiver.dropped
        payload = receiver.feed(frame.data, now_s).message
        self._count_dropped(receiver.dropped - dropped)
        if payload is None:
            return
        try:
            message = parse(payload)
        except FrameError as trouble:
            self.counters.bad[trouble.reason] += 1
            return
        for name in [self._name] if self._name is not None else DETECTION:
            for table in CARS[name].tables:
                if message.kind == "answer" and table.key == _key_of(message):
                    self._is(name)
                    self._take(Outcome(table.request, message), now_s)
                    return

    def _conclude(self, now_s: float) -> list[CanFrame]:
        """Take what the client has done; return what follows at once."""
        self._count_dropped(self._client.dropped)
        self._client.dropped = 0
        sent: list[CanFrame] = []
        for outcome in self._client.outcomes():
            understood = self._take(outcome, now_s)
            if self._name is not None:
                continue
            if understood:
                self._is(self._trying)
                self._ask(now_s, only_look=False)
            elif self._candidates:
                self._try_next()
            sent += self._client.tick(now_s)
        return sent

    def _count_dropped(self, count: int) -> None:
        if count:
            self.counters.bad["length"] += count

    def _take(self, outcome: Outcome, now_s: float) -> bool:
        """Keep an answer; whether it was one that its table understands."""
        if outcome.nrc is not None:
            self.counters.bad["status"] += 1
            self._refused(outcome, now_s)
        if outcome.answer is None:
            return False
        table = _BY_KEY[_key_of(outcome.answer)]
        data = outcome.answer.data
        try:
            table.describe(data)
            reading = table.reading(data)
        except FrameError as trouble:
            self.counters.bad[trouble.reason] += 1
            return False
        self.counters.frames += 1
        self._keep(table, data, reading, now_s)
        return True

    def _keep(
        self, table: Table, data: bytes, reading: BatteryReading | None, now_s: float
    ) -> None:
        car = CARS[self._trying]
        if table in car.cells:
            self._cells[table.key] = cells_of(data)
            main = self._parts.get(car.main[0].key)
            self._cells_with_s = main.heard_s if main is not None else -math.inf
            return
        if table in car.slow:
            self._due[table.key] = now_s + SLOW_EVERY_S
        if reading is not None:
            self._parts[table.key] = _Part(reading, now_s)
        self._about |= table.about(data)
        aux_v = table.aux_v(data)
        if aux_v is not None:
            self._sleep.low_12v = aux_v < LOW_12V
        if table is car.main[0] and table.ready(data):
            self._sleep.ready_s = now_s
        self._about["asleep"] = self._sleep.asleep(now_s)

    def _refused(self, outcome: Outcome, now_s: float) -> None:
        car = CARS[self._trying]
        if outcome.nrc in FOR_EVER and any(table.request == outcome.request for table in car.cells):
            self._cells_off = True
        for table in car.slow:
            if table.request == outcome.request:
                self._due[table.key] = now_s + SLOW_EVERY_S

    def _cells_of(self, main_s: float) -> tuple[float, ...] | None:
        """All cells, as long as they belong to the voltage beside them."""
        groups = [self._cells.get(table.key) for table in CARS[self._trying].cells]
        if main_s != self._cells_with_s or not groups or None in groups:
            return None
        return tuple(cell_v for group in groups for cell_v in group or ())


def _merged(readings: Iterable[BatteryReading]) -> BatteryReading:
    """Return everything that is known; a later reading overrules an earlier one."""
    known = {
        name: value
        for reading in readings
        for name in _READING_NAMES
        if (value := getattr(reading, name)) is not None
    }
    return BatteryReading(**known)


def _key_of(answer: Message) -> bytes:
    return bytes((answer.service | POSITIVE,)) + answer.ident


def _explain(line: Line) -> Explained:
    keys = _keys_of(line)
    described: dict[str, Any] = {}
    readings: list[BatteryReading] = []
    known = False
    for payload in _payloads(line):
        message = parse(payload)
        if message.kind == "refusal":
            raise FrameError("status", refusal_text(message))
        if message.kind == "question":
            described |= _described_question(message)
            known = True
        for table, data in _tables_in(message, keys):
            described |= table.describe(data)
            reading = table.reading(data)
            readings += [reading] if reading is not None else []
            known = True
    if not known:
        raise FrameError("unsupported", "no table has what this answers")
    return Explained(described, _merged(readings) if readings else None)


def _described_question(message: Message) -> dict[str, Any]:
    asked = {"op": "read", "service": message.service, "identifier": message.ident.hex()}
    return asked | ({"data": message.data.hex()} if message.data else {})


def _tables_in(message: Message, keys: frozenset[bytes]) -> Iterator[tuple[Table, bytes]]:
    """Give the table and the data of each thing an answer tells; OBD tells up to six in a row."""
    if message.kind != "answer":
        return
    key, data = _key_of(message), message.data
    while key in keys:
        table = _BY_KEY[key]
        yield table, data
        if message.service != CURRENT_DATA or len(data) <= table.least:
            return
        key, data = key[:1] + data[table.least : table.least + 1], data[table.least + 1 :]


def _keys_of(line: Line) -> frozenset[bytes]:
    """Return how the answers of the line's unit begin. Raises FrameError and BadLineError."""
    if line.hex is not None:
        number = id_of(line)
        for requests, responses, keys in _UNITS:
            if number in requests | responses:
                return keys
        raise FrameError("unsupported", f"no table for a unit with the identifier {number:X}")
    asked = _identifier(line.request_can_id, "request_can_id")
    answered = _identifier(line.response_can_id, "response_can_id")
    if asked is None and answered is None:
        return frozenset(_BY_KEY)
    for requests, responses, keys in _UNITS:
        if (asked is None or asked in requests) and (answered is None or answered in responses):
            return keys
    known = [asked in unit[0] or answered in unit[1] for unit in _UNITS]
    if asked is not None and answered is not None and any(known):
        raise FrameError("start", "request_can_id and response_can_id are not of one unit")
    raise FrameError("unsupported", "no table for a unit with these identifiers")


def _identifier(text: str | None, name: str) -> int | None:
    if text is None:
        return None
    number = number_of(text, name)
    if not 0 <= number < _BITS_29:
        raise FrameError("start", f"{name} {text[:20]} is not within 29 bits")
    return number


def _payloads(line: Line) -> list[bytes]:
    """Return the line's messages. Raises FrameError and BadLineError."""
    whole = None if line.payload_hex is None else from_hex(line.payload_hex, "payload_hex")
    if line.can_frames is None and line.hex is None:
        if whole is None:
            raise BadLineError('bad_json: expected {"payload_hex": "…"} or {"can_frames": ["…"]}')
        return [whole]
    texts = line.can_frames if line.can_frames is not None else [line.hex or ""]
    messages = list(reassemble(from_hex(text, "can_frames") for text in texts))
    if not messages:
        raise FrameError("length", "can_frames hold no message")
    if whole is not None and whole not in messages:
        raise FrameError("length", "payload_hex and can_frames are not the same message")
    return messages
