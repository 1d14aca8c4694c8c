"""What segments and answers become as spans: only what was told, once, when it is committed."""

from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path
from uuid import UUID

import pytest
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from cloud.devices import api
from cloud.devices.api import Wish
from cloud.devices.batch import ReceivedSegment
from cloud.devices.model import ToldClock
from cloud.devices.opening import Candidate, read
from cloud.devices.traces import BatchTrace, Times, tell_segment
from cloud.kit import tracing
from cloud.kit.clock import ManualClock, SystemClock
from cloud.kit.db import Db
from cloud.kit.ports.signing import FileSigner
from cloud.kit.scope import DEMO
from protocol.bodies import Fact, FieldValue
from protocol.segment import seal_facts, seal_signals
from tests.broker import OpenNats
from tests.cloud.devices.commanded import ASKER, an_able_device, obedient, relaying
from tests.cloud.devices.conftest import Connect, eventually, workers
from tests.cloud.sealed import EPOCH, NOON, NOON_MS, arrival

TRACE_ID, PARENT_ID = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
TRACE = f"00-{TRACE_ID}-{PARENT_ID}-01"
COMMAND = UUID("01890000-0000-7000-8000-000000000001")


@pytest.fixture
def spans() -> Iterator[InMemorySpanExporter]:
    """What is kept; complete after `hand_over`."""
    exporter = InMemorySpanExporter()
    with tracing.recording(exporter):
        yield exporter


def hand_over(exporter: InMemorySpanExporter) -> dict[str, ReadableSpan]:
    """The spans by name, once all were handed over."""
    recorder = tracing._process.recorder
    assert recorder is not None
    recorder._provider.force_flush()  # type: ignore[attr-defined]
    return {span.name: span for span in exporter.get_finished_spans()}


def after(milliseconds: float) -> datetime:
    return NOON + timedelta(milliseconds=milliseconds)


def interval(span: ReadableSpan) -> tuple[float, float]:
    """Begin and end in milliseconds after noon."""
    assert span.start_time is not None
    assert span.end_time is not None
    noon_ns = NOON_MS * 1_000_000
    return (span.start_time - noon_ns) / 1e6, (span.end_time - noon_ns) / 1e6


def parent_of(span: ReadableSpan, among: dict[str, ReadableSpan]) -> str:
    """The parent's name, or its id when it is none of these."""
    assert span.parent is not None
    names = {one.context.span_id: one.name for one in among.values() if one.context is not None}
    return names.get(span.parent.span_id, f"{span.parent.span_id:016x}")


def steps() -> dict[str, Times]:
    return {
        "ingest.decode": (after(10), after(12)),
        "ingest.commit": (after(12), after(18)),
        "ack": (after(18), after(19)),
    }


def readings(times_ms: list[int], traceparent: str | None = TRACE, first: int = 1) -> bytes:
    """A sealed segment of readings."""
    return seal_signals(
        epoch=EPOCH,
        first_seq=first,
        floor_seq=1,
        boot_id=7,
        clock_offset_ms=0,
        times_ms=times_ms,
        columns={1: [3_600] * len(times_ms)},
        traceparent=traceparent,
    )


def a_fact(kind: str, fields: dict[str, FieldValue], at_ms: int = NOON_MS) -> bytes:
    return seal_facts(
        epoch=EPOCH,
        first_seq=1,
        floor_seq=1,
        boot_id=7,
        clock_offset_ms=0,
        t0_ms=at_ms,
        facts=[Fact(kind, 1, 0, 1_000, fields)],
        traceparent=TRACE,
    )


def received(payload: bytes, at_ms: float = 8.0) -> ReceivedSegment:
    """The segment as it is kept; at noon plus `at_ms` it came off the link."""
    candidate = read(arrival(payload, at=after(at_ms)))
    assert isinstance(candidate, Candidate)
    candidate.open()
    return candidate.received(DEMO, ToldClock())


def test_readings_become_the_time_in_the_journal_the_way_and_the_steps_of_ingest(
    spans: InMemorySpanExporter,
) -> None:
    tell_segment(received(readings([NOON_MS - 900, NOON_MS - 2])), steps())
    found = hand_over(spans)
    assert {name: interval(span) for name, span in found.items()} == {
        "segment": (-900, 19),
        "vehicle.journal": (-900, -2),
        "uplink": (-2, 8),
        "ingest.decode": (10, 12),
        "ingest.commit": (12, 18),
        "ack": (18, 19),
    }
    whole = found.pop("segment")
    assert whole.context is not None
    assert (f"{whole.context.trace_id:032x}", whole.parent) == (TRACE_ID, None)
    assert f"{whole.context.span_id:016x}" == PARENT_ID
    among = {**found, "segment": whole}
    assert {parent_of(span, among) for span in found.values()} == {"segment"}


def test_a_clock_that_is_ahead_makes_no_way_up(spans: InMemorySpanExporter) -> None:
    tell_segment(received(readings([NOON_MS - 900, NOON_MS + 500])), steps())
    found = hand_over(spans)
    assert "uplink" not in found
    assert interval(found["segment"]) == (-900, 19)


def test_times_that_are_not_believed_make_no_spans(spans: InMemorySpanExporter) -> None:
    tell_segment(received(readings([1_000, 2_000])), steps())
    found = hand_over(spans)
    assert found.keys() == {"segment", "ingest.decode", "ingest.commit", "ack"}
    assert interval(found["segment"]) == (8, 19)


def test_quarantine_is_said(spans: InMemorySpanExporter) -> None:
    kept = replace(received(readings([NOON_MS])), segment=None, quarantine="decoder", times_ms=[])
    tell_segment(kept, steps())
    attributes = hand_over(spans)["segment"].attributes
    assert attributes is not None
    assert attributes["segment.quarantine"] == "decoder"


def test_an_answer_becomes_what_the_vehicle_did_and_the_answers_way(
    spans: InMemorySpanExporter,
) -> None:
    fields: dict[str, FieldValue] = {"id": str(COMMAND), "kind": "lock", "state": "done"}
    fields |= {"reason": "", "accepted_ago_ms": 30, "executing_ago_ms": 20}
    tell_segment(received(a_fact("command.result", fields)), steps())
    found = hand_over(spans)
    assert {name: interval(span) for name, span in found.items()} == {
        "vehicle.command": (-30, 0),
        "command.accepted": (-30, -20),
        "actuate": (-20, 0),
        "command.answer": (0, 19),
        "uplink": (0, 8),
        "ingest.decode": (10, 12),
        "ingest.commit": (12, 18),
        "ack": (18, 19),
    }
    assert {name: parent_of(span, found) for name, span in found.items()} == {
        "vehicle.command": PARENT_ID,
        "command.accepted": "vehicle.command",
        "actuate": "vehicle.command",
        "command.answer": "vehicle.command",
        "uplink": "command.answer",
        "ingest.decode": "command.answer",
        "ingest.commit": "command.answer",
        "ack": "command.answer",
    }


@pytest.mark.parametrize(
    "more",
    [
        {"state": "refused", "reason": "moving"},
        {"state": "done", "accepted_ago_ms": 30, "executing_ago_ms": 20, "repeat": True},
    ],
    ids=["never accepted", "repeated"],
)
def test_an_answer_that_tells_no_times_makes_no_spans_of_the_vehicle(
    spans: InMemorySpanExporter, more: dict[str, FieldValue]
) -> None:
    fields: dict[str, FieldValue] = {"id": str(COMMAND), "kind": "lock", "reason": "", **more}
    tell_segment(received(a_fact("command.result", fields)), steps())
    found = hand_over(spans)
    assert found.keys() == {"command.answer", "uplink", "ingest.decode", "ingest.commit", "ack"}
    answer = found["command.answer"]
    assert parent_of(answer, found) == PARENT_ID
    assert answer.attributes is not None
    assert answer.attributes["command.state"] == more["state"]


def test_another_fact_in_a_trace_is_a_segment_of_it(spans: InMemorySpanExporter) -> None:
    tell_segment(received(a_fact("lock.tampered", {})), steps())
    found = hand_over(spans)
    assert parent_of(found["segment"], found) == PARENT_ID


def test_of_a_batch_only_so_many_are_told_and_facts_first(spans: InMemorySpanExporter) -> None:
    trace = BatchTrace(ManualClock(NOON))
    trace.opened()
    trace.committing()
    floods = [received(readings([NOON_MS]))] * 100
    trace.committed([*floods, received(a_fact("lock.tampered", {}))])
    trace.tell()
    hand_over(spans)
    told = [span for span in spans.get_finished_spans() if span.name == "segment"]
    lanes = [(span.attributes or {})["segment.lane"] for span in told]
    assert lanes == ["fact"] + ["signal"] * 15


async def test_a_repeat_is_not_told_again_and_what_has_no_trace_not_at_all(
    dsn: str, nats: OpenNats, device: Connect, spans: InMemorySpanExporter
) -> None:
    async with workers(dsn, nats), device("traced-001") as sender:
        for payload in (readings([NOON_MS]), readings([NOON_MS]), readings([NOON_MS], None, 2)):
            await sender.send("up", payload)
            await sender.ack()
    hand_over(spans)
    names = sorted(span.name for span in spans.get_finished_spans())
    of_vehicle = ["segment", "uplink", "vehicle.journal"]
    assert names == ["ack", "ingest.commit", "ingest.decode", *of_vehicle]


def test_a_request_belongs_to_its_caller_and_is_shown_with_its_trace(
    db: Db, spans: InMemorySpanExporter
) -> None:
    device_id = an_able_device(db, "traced-002")
    wish = Wish(device_id, device_id, "lock", {}, "a test wants it", TRACE)
    row = api.request_command(db, ASKER, wish, NOON)
    found = hand_over(spans)["command.request"]
    assert parent_of(found, {}) == PARENT_ID
    assert found.context is not None
    kept = api.command(db, DEMO, row.id)
    assert kept is not None
    assert kept.traceparent == f"00-{TRACE_ID}-{found.context.span_id:016x}-01"
    assert kept.trace_id == TRACE_ID


def test_while_off_the_callers_trace_is_kept_as_it_came(db: Db) -> None:
    device_id = an_able_device(db, "traced-003")
    wish = Wish(device_id, device_id, "lock", {}, "a test wants it", TRACE)
    assert api.request_command(db, ASKER, wish, NOON).traceparent == TRACE


async def test_each_sending_is_a_span_and_the_device_gets_its_name(
    dsn: str,
    nats: OpenNats,
    row: Db,
    tmp_path: Path,
    spans: InMemorySpanExporter,
) -> None:
    clock = SystemClock()
    signer = FileSigner(tmp_path, clock)
    device_id = an_able_device(row, "traced-004")
    async with (
        obedient(nats, signer, device_id, answers=False) as heard,
        relaying(dsn, nats, signer, clock),
    ):
        wish = Wish(device_id, device_id, "lock", {}, "a test wants it", TRACE)
        api.request_command(row, ASKER, wish, clock.now())
        await eventually(lambda: bool(heard.commands))
        await eventually(lambda: "command.relay" in hand_over(spans))
    found = hand_over(spans)
    relay = found["command.relay"]
    assert parent_of(relay, found) == "command.request"
    assert relay.context is not None
    sent = f"00-{TRACE_ID}-{relay.context.span_id:016x}-01"
    assert heard.commands[0].traceparent == sent
