"""What is inside a segment: signals by column, facts by row.

A signal body is msgpack `[times, columns]`. `times` holds the second differences of the readings'
times, from t0 on: with a steady clock nearly all zeros. `columns` maps a signal id to the first
wire value and then differences; null where a reading has none, and the next difference counts from
the last value there was. A fact body is a msgpack list of `[kind, v, dt_ms, mono_ms, fields]`.
"""

import math
import operator
import re
from collections.abc import Mapping, Sequence
from itertools import accumulate
from typing import Final, TypeVar, cast

import msgspec

from protocol.signals import RAW_RANGE

MAX_READINGS = 4096
MAX_COLUMNS = 512
MAX_VALUES = 131_072
MAX_FIELDS = 64
MAX_SEQ = 2**62 - 1
REASONS: Final = ("size", "header", "crc", "compression", "body", "count", "range", "time")

_KIND = re.compile(r"[a-z0-9_.]{1,64}")
_UNKNOWN_RANGE = (-(2**53), 2**53)
_TIME_LIMIT_MS = 2**47

_T = TypeVar("_T")
FieldValue = str | int | float | bool | None


class SegmentError(ValueError):
    """A segment that is refused. `reason` is one of REASONS; keep its bytes and go on."""

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(f"{reason}: {detail}")
        self.reason = reason


class Fact(msgspec.Struct, frozen=True, array_like=True):
    """Something that happened.

    Attributes:
        kind: what, such as "battery.offline".
        v: version of its fields.
        dt_ms: milliseconds after the segment's t0, device clock.
        mono_ms: milliseconds on the monotonic clock of the header's boot.
        fields: what else there is to know.
    """

    kind: str
    v: int
    dt_ms: int
    mono_ms: int
    fields: dict[str, FieldValue]


class SignalBlock(msgspec.Struct):
    """Readings by column.

    Attributes:
        times_ms: Unix milliseconds of the device's clock, uncorrected.
        columns: wire values by signal id; `columns[id][i]` belongs to `times_ms[i]`.
    """

    times_ms: list[int]
    columns: dict[int, list[int | None]]


class _SignalBody(msgspec.Struct, array_like=True):
    times: list[int]
    columns: dict[int, list[int | None]]


_encoder = msgspec.msgpack.Encoder()
_signal_decoder = msgspec.msgpack.Decoder(_SignalBody)
_fact_decoder = msgspec.msgpack.Decoder(list[Fact])


def encode_signals(times_ms: Sequence[int], columns: Mapping[int, Sequence[int | None]]) -> bytes:
    """Return the body for readings at `times_ms`.

    Raises:
        ValueError: a column's length differs, or there are more values than a reader accepts.
    """
    packed: dict[int, list[int | None]] = {}
    for signal_id in sorted(columns):
        column = columns[signal_id]
        if len(column) != len(times_ms):
            raise ValueError(f"signal {signal_id}: {len(column)} values, {len(times_ms)} times")
        differences = _differences(column)
        if differences is not None:
            packed[signal_id] = differences
    if len(packed) > MAX_COLUMNS or len(packed) * len(times_ms) > MAX_VALUES:
        raise ValueError(
            f"{len(times_ms)} readings of {len(packed)} signals:"
            f" a segment holds {MAX_VALUES} values of {MAX_COLUMNS} signals"
        )
    steps = list(map(operator.sub, times_ms[1:], times_ms[:-1]))
    second = list(map(operator.sub, steps, [0, *steps[:-1]])) if steps else []
    return _encoder.encode(_SignalBody(second, packed))


def decode_signals(body: bytes, n: int, t0_ms: int) -> SignalBlock:
    """Return the `n` readings of a body.

    Raises:
        SegmentError: "body", "count", "range" or "time".
    """
    packed = _parse(_signal_decoder, body)
    if len(packed.times) != n - 1 or len(packed.columns) > MAX_COLUMNS:
        raise SegmentError("count", f"{len(packed.times) + 1} times for {n} readings")
    if n * len(packed.columns) > MAX_VALUES:
        raise SegmentError("count", f"{n} readings of {len(packed.columns)} signals")
    times = list(accumulate(accumulate(packed.times), initial=t0_ms))
    if max(times) >= _TIME_LIMIT_MS or min(times) < -_TIME_LIMIT_MS:
        raise SegmentError("time", "a reading's time is out of range")
    columns = {}
    for signal_id, differences in packed.columns.items():
        if len(differences) != n:
            raise SegmentError("count", f"signal {signal_id}: {len(differences)} values for {n}")
        columns[signal_id] = _column(signal_id, differences)
    return SignalBlock(times, columns)


def encode_facts(facts: Sequence[Fact]) -> bytes:
    """Return the body for `facts`; ValueError for one that a reader would refuse."""
    for fact in facts:
        problem = _fact_problem(fact)
        if problem is not None:
            raise ValueError(problem)
    return _encoder.encode(list(facts))


def decode_facts(body: bytes, n: int) -> list[Fact]:
    """Return the `n` facts of a body.

    Raises:
        SegmentError: "body", "count" or "range".
    """
    facts = _parse(_fact_decoder, body)
    if len(facts) != n:
        raise SegmentError("count", f"{len(facts)} facts for {n}")
    for fact in facts:
        problem = _fact_problem(fact)
        if problem is not None:
            raise SegmentError("range", problem)
    return facts


def _parse(decoder: "msgspec.msgpack.Decoder[_T]", body: bytes) -> _T:
    try:
        return decoder.decode(body)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError, MemoryError) as trouble:
        raise SegmentError("body", str(trouble)) from trouble


def _fact_problem(fact: Fact) -> str | None:
    if not _KIND.fullmatch(fact.kind):
        return f"{fact.kind[:80]!r} is not a kind of fact"
    if not (0 <= fact.v < 2**16 and abs(fact.dt_ms) < _TIME_LIMIT_MS):
        return f"{fact.kind}: version or time out of range"
    if not 0 <= fact.mono_ms < _TIME_LIMIT_MS or len(fact.fields) > MAX_FIELDS:
        return f"{fact.kind}: monotonic time or number of fields out of range"
    if any(isinstance(value, float) and not math.isfinite(value) for value in fact.fields.values()):
        return f"{fact.kind}: a field is not a finite number"
    return None


def _differences(column: Sequence[int | None]) -> list[int | None] | None:
    """Return first value and differences, or None for a column without any value."""
    if None not in column:
        whole = cast("Sequence[int]", column)
        return [*whole[:1], *map(operator.sub, whole[1:], whole[:-1])]
    out: list[int | None] = []
    last = 0
    for value in column:
        if value is None:
            out.append(None)
        else:
            out.append(value - last)
            last = value
    return None if column.count(None) == len(column) else out


def _column(signal_id: int, differences: list[int | None]) -> list[int | None]:
    low, high = RAW_RANGE.get(signal_id, _UNKNOWN_RANGE)
    if not 0 < signal_id < 2**16:
        raise SegmentError("range", f"signal id {signal_id}")
    if None in differences:
        return _column_with_nulls(signal_id, differences, low, high)
    values = list(accumulate(cast("list[int]", differences)))
    if min(values) < low or max(values) > high:
        raise SegmentError("range", f"signal {signal_id} is outside {low} to {high}")
    return cast("list[int | None]", values)


def _column_with_nulls(
    signal_id: int, differences: list[int | None], low: int, high: int
) -> list[int | None]:
    out: list[int | None] = []
    last = 0
    for difference in differences:
        if difference is None:
            out.append(None)
            continue
        last += difference
        if not low <= last <= high:
            raise SegmentError("range", f"signal {signal_id} is outside {low} to {high}")
        out.append(last)
    return out
