"""The way of segments and commands as spans, told when they are committed and acked.

A vehicle keeps no spans. It gives a trace id to some of its segments, and answers a command in the
command's trace; what it measured lies in the segment, and becomes spans here. A time that nobody
told makes no span: when a segment was sent is not known, so `uplink` begins with its last record.
"""

from collections.abc import Sequence
from datetime import UTC, datetime
from itertools import islice
from typing import Final

from cloud.devices.answers import answers_in
from cloud.devices.batch import ReceivedSegment
from cloud.devices.command_rules import Told, is_final
from cloud.kit import tracing
from cloud.kit.clock import Clock
from protocol.segment import Lane, lane_name

_MOST_OF_A_BATCH: Final = 16
"""Vehicles choose what is traced: one that traces everything must not slow ingest down."""

Times = tuple[datetime, datetime]


class BatchTrace:
    """The steps of one batch, and at its end the spans of what it held."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._began = clock.now()
        self._steps: dict[str, Times] = {}
        self._segments: Sequence[ReceivedSegment] = ()

    def opened(self) -> None:
        """Note that all bodies are open."""
        self._end("ingest.decode")

    def committing(self) -> None:
        """Note that the commit begins."""
        self._began = self._clock.now()

    def committed(self, traced: Sequence[ReceivedSegment]) -> None:
        """Note that it is done, and which of the segments are traced."""
        self._end("ingest.commit")
        self._segments = traced

    def tell(self) -> None:
        """Note that all acks are sent, and keep the spans; nothing when nothing was committed."""
        if not self._segments:
            return
        self._end("ack")
        facts_first = sorted(self._segments, key=lambda one: one.header.lane)
        for segment in islice(facts_first, _MOST_OF_A_BATCH):
            tell_segment(segment, self._steps)

    def _end(self, step: str) -> None:
        now = self._clock.now()
        self._steps[step] = self._began, now
        self._began = now


def tell_segment(received: ReceivedSegment, steps: dict[str, Times]) -> None:
    """Keep the spans of one traced segment that was committed.

    Args:
        received: the segment; its header has a traceparent.
        steps: what its batch went through, the last of them last.
    """
    trace = received.header.traceparent
    ended = max(times[1] for times in steps.values())
    if received.header.lane is Lane.SIGNAL:
        _tell_readings(received, trace, steps, ended)
        return
    told = answers_in(received)
    if not told:
        whole = tracing.record(
            "segment",
            (received.received_at, ended),
            parent=trace,
            kind="consumer",
            attributes=_attributes(received),
        )
        _tell_steps(received, whole, steps, None)
    for answer in told:
        _tell_answer(received, answer, trace, steps, ended)


def _tell_readings(
    received: ReceivedSegment, trace: str | None, steps: dict[str, Times], ended: datetime
) -> None:
    """Tell of readings: the vehicle has named their trace and its first span."""
    first, last = _first_and_last(received)
    whole = tracing.record(
        "segment",
        (min(first or received.received_at, received.received_at), ended),
        own=trace,
        kind="consumer",
        attributes=_attributes(received),
    )
    if first is not None and last is not None:
        tracing.record("vehicle.journal", (first, last), parent=whole)
    _tell_steps(received, whole, steps, last)


def _tell_answer(
    received: ReceivedSegment,
    answer: Told,
    trace: str | None,
    steps: dict[str, Times],
    ended: datetime,
) -> None:
    """Tell what a vehicle did with a command, and how its answer came."""
    attributes = {"command.id": str(answer.id), "command.state": answer.state}
    if answer.reason:
        attributes["command.reason"] = answer.reason
    vehicle = trace
    if is_final(answer.state) and answer.accepted_at is not None:
        vehicle = tracing.record(
            "vehicle.command",
            (answer.accepted_at, answer.at),
            parent=trace,
            kind="consumer",
            attributes=attributes | {"device.id": answer.device_id},
        )
        if answer.executing_at is not None:
            waited = answer.accepted_at, answer.executing_at
            tracing.record("command.accepted", waited, parent=vehicle)
            tracing.record("actuate", (answer.executing_at, answer.at), parent=vehicle)
    whole = tracing.record(
        "command.answer",
        (min(answer.at, received.received_at), ended),
        parent=vehicle,
        kind="consumer",
        attributes=_attributes(received) | attributes,
    )
    _tell_steps(received, whole, steps, answer.at)


def _tell_steps(
    received: ReceivedSegment, whole: str | None, steps: dict[str, Times], last: datetime | None
) -> None:
    if last is not None and not received.retimed and last <= received.received_at:
        tracing.record("uplink", (last, received.received_at), parent=whole)
    for name, times in steps.items():
        tracing.record(name, times, parent=whole)


def _attributes(received: ReceivedSegment) -> dict[str, str | int | float | bool]:
    header = received.header
    told: dict[str, str | int | float | bool] = {
        "device.id": received.device_id,
        "segment.lane": lane_name(header.lane),
        "segment.epoch": received.epoch,
        "segment.first_seq": header.first_seq,
        "segment.n": header.n,
        "segment.clock_offset_ms": received.offset_ms,
    }
    if received.quarantine is not None:
        told["segment.quarantine"] = received.quarantine
    return told


def _first_and_last(received: ReceivedSegment) -> tuple[datetime | None, datetime | None]:
    """Return when the first and the last record were made; nothing when that cannot be believed."""
    if received.retimed or not received.times_ms:
        return None, None
    return _at(min(received.times_ms)), _at(max(received.times_ms))


def _at(unix_ms: int) -> datetime:
    return datetime.fromtimestamp(unix_ms / 1000, UTC)
