"""DBC files: where the signals of a bus's messages are, made into quick extractors.

The files beside this module are ours, written from the tables of the fleet's protocol notes; they
name what we read and nothing else. `cantools` parses, once; no frame ever passes through it.
"""

import re
from collections import Counter
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from cantools.database.can import Message as ParsedMessage
    from cantools.database.can import Signal as ParsedSignal

FRAME_BYTES: Final = 8
_LARGEST: Final = 1e12
# The parser makes room for whatever size a file states.
_STATED: Final = re.compile(r"\bBO_\s+\d+\s+\w+\s*:\s*(\d+)|\bSG_\s[^:]*:\s*(\d+)\s*\|\s*(\d+)")
_LARGEST_STATED: Final = 512
_SPANS: Final = re.compile(r"(\d+)\s*-\s*(\d+)")
_LONGEST_SPAN: Final = 1024
_DIGITS: Final = 10
RawOf = Callable[[bytes], int]


class DbcError(ValueError):
    """The DBC cannot be used; the text says which part of it, and why."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DbcSignal:
    """Where one signal is in its message: physical value = raw · scale + offset.

    `start` counts as in the file. `selector` is the signal whose value, one of `selected_by`, says
    that this one is in the frame; None = always.
    """

    name: str
    start: int
    bits: int
    little_endian: bool
    signed: bool
    scale: float
    offset: float
    selector: str | None = None
    selected_by: frozenset[int] = frozenset()


@dataclass(frozen=True, slots=True, kw_only=True)
class DbcMessage:
    """One message: its identifier, its bytes and its signals by name."""

    name: str
    can_id: int
    extended: bool
    size: int
    signals: Mapping[str, DbcSignal]


def shipped(name: str) -> str:
    """Return the text of a file beside this module."""
    return Path(__file__).with_name(name).read_text("utf-8")


def load_dbc(text: str, wanted: Collection[str] | None = None) -> dict[str, DbcMessage]:
    """Return the messages of a DBC by name, all or those wanted that it has.

    Raises DbcError, whatever the text; what is not wanted only has to be DBC.
    """
    _check_sizes(text)
    parsed = _parsed(text)
    names = Counter(message.name for message in parsed)
    ids = Counter((message.frame_id, message.is_extended_frame) for message in parsed)
    if any(count > 1 for count in names.values()):
        raise DbcError("two messages have one name")
    if any(count > 1 for count in ids.values()):
        raise DbcError("two messages have one identifier")
    chosen = [message for message in parsed if wanted is None or message.name in wanted]
    return {message.name: _message(message) for message in chosen}


def _check_sizes(text: str) -> None:
    stated = (number for found in _STATED.findall(text) for number in found if number)
    if any(len(number) > _DIGITS or int(number) > _LARGEST_STATED for number in stated):
        raise DbcError(f"it states a size or place above {_LARGEST_STATED}")
    _, *spans = text.split("SG_MUL_VAL_")
    for low, high in (span for part in spans for span in _SPANS.findall(part.partition(";")[0])):
        if max(len(low), len(high)) > _DIGITS or int(high) - int(low) > _LONGEST_SPAN:
            raise DbcError(f"it has a range of more than {_LONGEST_SPAN} values")


def _parsed(text: str) -> "list[ParsedMessage]":
    from cantools.database import load_string
    from cantools.database.can import Database

    try:
        parsed = load_string(text, "dbc", strict=False)
    except Exception as trouble:  # the parser raises whatever a strange text makes it stumble over
        said = str(trouble).splitlines() or [type(trouble).__name__]
        raise DbcError(f"it is no DBC file: {said[0]}") from trouble
    if not isinstance(parsed, Database) or not parsed.messages:
        raise DbcError("it has no message")
    return parsed.messages


def raw_of(signal: DbcSignal, size: int, *, unsigned: bool = False) -> RawOf:
    """Return what takes the signal's bits out of a message of `size` bytes.

    A two's complement number unless `unsigned`. The message must have `size` bytes exactly.
    """
    shift, mask = _shift(signal, size), (1 << signal.bits) - 1
    if signal.little_endian:

        def plain(data: bytes) -> int:
            return int.from_bytes(data, "little") >> shift & mask
    else:

        def plain(data: bytes) -> int:
            return int.from_bytes(data, "big") >> shift & mask

    if unsigned or not signal.signed:
        return plain
    sign = 1 << (signal.bits - 1)
    return lambda data: (plain(data) ^ sign) - sign


def _shift(signal: DbcSignal, size: int) -> int:
    """Bits below the signal's last one, in the whole message as one number."""
    if signal.little_endian:
        return signal.start
    from_top = signal.start // 8 * 8 + 7 - signal.start % 8
    return size * 8 - from_top - signal.bits


def _message(message: "ParsedMessage") -> DbcMessage:
    if not 0 < message.length <= FRAME_BYTES:
        raise DbcError(f"{message.name} has {message.length} bytes; a classic frame has 1 to 8")
    signals = [_signal(message.name, one) for one in message.signals]
    by_name = {signal.name: signal for signal in signals}
    if len(by_name) < len(signals):
        raise DbcError(f"{message.name} has two signals of one name")
    for signal in signals:
        end = _shift(signal, message.length)
        if end < 0 or end + signal.bits > message.length * 8:
            raise DbcError(f"{message.name}.{signal.name} does not fit into its message")
        if signal.selector is not None and signal.selector not in by_name:
            raise DbcError(
                f"{message.name}.{signal.name} is chosen by {signal.selector}, not there"
            )
    return DbcMessage(
        name=message.name,
        can_id=message.frame_id,
        extended=message.is_extended_frame,
        size=message.length,
        signals=by_name,
    )


def _signal(message: str, signal: "ParsedSignal") -> DbcSignal:
    conversion = signal.conversion
    if conversion.is_float:
        raise DbcError(f"{message}.{signal.name} is a floating-point number; only whole ones work")
    if signal.is_multiplexer and signal.multiplexer_signal is not None:
        raise DbcError(f"{message}.{signal.name} is chosen and chooses; only one level works")
    scale, offset = getattr(conversion, "scale", 1), getattr(conversion, "offset", 0)
    if not (abs(scale) <= _LARGEST and abs(offset) <= _LARGEST):
        raise DbcError(f"{message}.{signal.name} has a scale or offset beyond {_LARGEST:g}")
    return DbcSignal(
        name=signal.name,
        start=signal.start,
        bits=signal.length,
        little_endian=signal.byte_order == "little_endian",
        signed=signal.is_signed,
        scale=scale,
        offset=offset,
        selector=signal.multiplexer_signal,
        selected_by=frozenset(signal.multiplexer_ids or ()),
    )
