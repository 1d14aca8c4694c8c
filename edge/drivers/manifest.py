"""A decoder manifest made ready: which frames to take, when to doubt one, what to read of it."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final, NamedTuple

from edge.drivers.dbc import DbcError, DbcMessage, DbcSignal, RawOf, load_dbc, raw_of
from protocol.decoders import DecoderManifest, MessageRule, SignalRule

Value = float | bool | None
_DIGITS: Final = 9
_NEEDED: Final = frozenset({"voltage_v", "current_a", "soc_pct"})
_FLAGS: Final = frozenset({"charge_fet", "discharge_fet"})
_MANY: Final = frozenset({"about", "alarm", "temperature", None})
_CRC_TOP: Final = 0x80


class BadDecoderError(ValueError):
    """This manifest cannot be used; the text says what of it. Keep to the one before."""


class Field(NamedTuple):
    """One value of a message: `read` takes a frame's bytes and returns it, None is unknown."""

    rule: SignalRule
    read: Callable[[bytes], Value]
    only_for: frozenset[int]

    def is_doubtful(self, value: Value) -> bool:
        """Whether the value is one that cannot be on the right bus."""
        low, high = self.rule.low, self.rule.high
        if value is None or (low is None and high is None):
            return False
        return (low is not None and value < low) or (high is not None and value > high)


@dataclass(frozen=True, slots=True, kw_only=True)
class Listening:
    """What to do with the frames of one identifier.

    `crc` is the table of its CRC-8; `count` and `select` read the counter, which turns over at
    `turns`, and what says which signals the frame has; `selections` are those of interest.
    """

    name: str
    size: int
    stale_s: float
    crc: bytes | None
    count: RawOf | None
    turns: int
    select: RawOf | None
    selections: frozenset[int]
    fields: tuple[Field, ...]
    guards: tuple[Field, ...]

    def fields_in(self, data: bytes) -> list[Field]:
        """Return what a frame of `size` bytes has."""
        if self.select is None:
            return list(self.fields)
        chosen = self.select(data)
        return [field for field in self.fields if not field.only_for or chosen in field.only_for]


@dataclass(frozen=True, slots=True, kw_only=True)
class Ready:
    """A manifest that can be used: what to hear by (identifier, extended)."""

    name: str
    version: int
    main: tuple[int, bool]
    listens: Mapping[tuple[int, bool], Listening]
    alarms: tuple[str, ...]
    temperatures: int


def prepare(manifest: DecoderManifest) -> Ready:
    """Return the manifest ready for use. Raises BadDecoderError. Takes up to a second: no IO."""
    rules = manifest.map.messages
    _check_rules(rules, manifest.map.main)
    try:
        messages = load_dbc(manifest.dbc, {rule.message for rule in rules})
    except DbcError as trouble:
        raise BadDecoderError(f"DBC: {trouble}") from trouble
    listens = {}
    for rule in rules:
        message = messages.get(rule.message)
        if message is None:
            raise BadDecoderError(f"the DBC has no message {rule.message}")
        listens[message.can_id, message.extended] = _listening(rule, message)
    main = messages[manifest.map.main]
    signals = [signal for rule in rules for signal in rule.signals]
    numbers = [signal.number for signal in signals if signal.member == "temperature"]
    return Ready(
        name=manifest.name,
        version=manifest.version,
        main=(main.can_id, main.extended),
        listens=listens,
        alarms=tuple(signal.name for signal in signals if signal.member == "alarm"),
        temperatures=max(numbers, default=0),
    )


def _check_rules(rules: list[MessageRule], main: str) -> None:
    """Whatever can be said of the map without the DBC."""
    names = [rule.message for rule in rules]
    if len(set(names)) < len(names):
        raise BadDecoderError("the map has two rules for one message")
    if main not in names:
        raise BadDecoderError(f"the map has no rule for its main message {main}")
    signals = [signal for rule in rules for signal in rule.signals]
    members = [signal.member for signal in signals]
    if not _NEEDED & set(members):
        raise BadDecoderError("the map gives neither a voltage, nor a current, nor a charge")
    single = [member for member in members if member not in _MANY]
    if len(set(single)) < len(single):
        raise BadDecoderError("the map gives a member of the reading twice")
    numbers = [signal.number for signal in signals if signal.member == "temperature"]
    if len(set(numbers)) < len(numbers):
        raise BadDecoderError("the map gives a temperature twice")


def _listening(rule: MessageRule, message: DbcMessage) -> Listening:
    counter = _find(message, rule.counter) if rule.counter is not None else None
    fields = tuple(_field(signal, message) for signal in rule.signals)
    selectors = {
        selector
        for signal in rule.signals
        if (selector := _find(message, signal.signal).selector) is not None
    }
    if len(selectors) > 1:
        raise BadDecoderError(f"{message.name} has two signals that choose others")
    select = None
    for name in selectors:
        select = raw_of(_find(message, name), message.size, unsigned=True)
    names = [signal.name for signal in rule.signals if signal.decoded]
    if len(set(names)) < len(names):
        raise BadDecoderError(f"{message.name} has one name for two signals")
    return Listening(
        name=message.name,
        size=message.size,
        stale_s=rule.stale_s,
        crc=crc8_table(rule.crc8_poly) if rule.crc8_poly is not None else None,
        count=raw_of(counter, message.size, unsigned=True) if counter is not None else None,
        turns=1 << counter.bits if counter is not None else 1,
        select=select,
        selections=frozenset().union(*(field.only_for for field in fields)),
        fields=fields,
        guards=tuple(f for f in fields if (f.rule.low, f.rule.high) != (None, None)),
    )


def _find(message: DbcMessage, name: str) -> DbcSignal:
    signal = message.signals.get(name)
    if signal is None:
        raise BadDecoderError(f"the message {message.name} of the DBC has no signal {name}")
    return signal


def _field(rule: SignalRule, message: DbcMessage) -> Field:
    signal = _find(message, rule.signal)
    plus = _find(message, rule.plus) if rule.plus is not None else None
    if plus is not None and plus.selector is not None:
        raise BadDecoderError(
            f"{message.name}.{plus.name} is not in every frame: it cannot be added"
        )
    if rule.unknown_raw is not None and rule.unknown_raw >> signal.bits:
        raise BadDecoderError(f"{message.name}.{signal.name} cannot be {rule.unknown_raw}")
    if (rule.member in _FLAGS) != rule.flag and rule.member not in {"about", None}:
        raise BadDecoderError(f"{rule.member} and `flag` of {rule.name} do not go together")
    return Field(rule, _reader(rule, signal, plus, message.size), signal.selected_by)


def _reader(
    rule: SignalRule, signal: DbcSignal, plus: DbcSignal | None, size: int
) -> Callable[[bytes], Value]:
    """Return what reads a signal; whole numbers stay whole when no scale makes them others."""
    raw, bits = raw_of(signal, size), raw_of(signal, size, unsigned=True)
    more = raw_of(plus, size) if plus is not None else None
    scale, offset = signal.scale * rule.scale, signal.offset * rule.scale + rule.offset
    more_scale = plus.scale * rule.scale if plus is not None else 0
    offset += plus.offset * rule.scale if plus is not None else 0
    scale, offset, more_scale = _whole(scale), _whole(offset), _whole(more_scale)

    def read(data: bytes) -> Value:
        if bits(data) == rule.unknown_raw:
            return None
        value = raw(data) * scale + offset
        if more is not None:
            value += more(data) * more_scale
        return value != 0 if rule.flag else round(value, _DIGITS)

    return read


def _whole(number: float) -> float:
    return int(number) if number == int(number) else number


def crc8_table(poly: int) -> bytes:
    """Return the table of a CRC-8 that is not reflected."""
    table = bytearray()
    for value in range(256):
        crc = value
        for _ in range(8):
            crc = (crc << 1 ^ (poly if crc & _CRC_TOP else 0)) & 0xFF
        table.append(crc)
    return bytes(table)


def crc8(table: bytes, data: bytes) -> int:
    """Return the CRC-8 of the bytes, from 0 on."""
    crc = 0
    for byte in data:
        crc = table[crc ^ byte]
    return crc
