"""The segment codec: what is sealed comes back, what is hostile is refused cheaply."""

import contextlib
import random
import time
import tracemalloc
import zlib

import msgspec
import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from models.segment_dictionary.rides import bench_ride, controller_ride
from protocol import segment as codec
from protocol.bodies import REASONS, Fact, SegmentError, encode_signals
from protocol.segment import (
    MAX_BODY_BYTES,
    MAX_SEQ,
    MAX_VALUES,
    Lane,
    body_size,
    open_segment,
    read_header,
    seal_facts,
    seal_signals,
)
from protocol.signals import CATALOGUE, RAW_RANGE
from protocol.topics import MAX_PAYLOAD_BYTES

T0_MS = 1_764_000_000_000
TIMES = st.integers(-(2**46), 2**46)


def a_segment(
    times_ms: list[int], columns: dict[int, list[int | None]], first_seq: int = 1
) -> bytes:
    return seal_signals(
        epoch=0xFEDC,
        first_seq=first_seq,
        floor_seq=1,
        boot_id=7,
        clock_offset_ms=0,
        times_ms=times_ms,
        columns=columns,
    )


def framed(body: bytes, n: int, flags: int = 1, dictionary_id: int = 0) -> bytes:
    """A segment whose header is right whatever the body is."""
    whole = bytearray(a_segment([T0_MS], {1: [1]}))
    whole[1], whole[2] = flags, dictionary_id
    del whole[26:]
    whole += codec._varint(n) + b"\0\0" + body
    whole[3:7] = zlib.crc32(whole[7:], zlib.crc32(whole[:3])).to_bytes(4, "big")
    return bytes(whole)


def packed(times: object, columns: object) -> bytes:
    return msgspec.msgpack.encode([times, columns])


@st.composite
def blocks(draw: st.DrawFn) -> tuple[list[int], dict[int, list[int | None]]]:
    n = draw(st.integers(1, 40))
    times = draw(st.lists(TIMES, min_size=n, max_size=n))
    ids = draw(st.sets(st.sampled_from(CATALOGUE), max_size=6))
    columns = {}
    for signal in ids:
        value = st.none() | st.integers(*RAW_RANGE[signal.id])
        columns[signal.id] = draw(st.lists(value, min_size=n, max_size=n))
    return times, columns


@given(blocks(), st.integers(1, 2**61), st.integers(-(2**46), 2**46))
def test_sealed_readings_come_back_as_they_were(
    block: tuple[list[int], dict[int, list[int | None]]], first_seq: int, offset_ms: int
) -> None:
    times, columns = block
    payload = seal_signals(
        epoch=2**64 - 1,
        first_seq=first_seq,
        floor_seq=1,
        boot_id=2**32 - 1,
        clock_offset_ms=offset_ms,
        times_ms=times,
        columns=columns,
        traceparent="00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
    )
    opened = open_segment(payload)
    assert opened.header == read_header(payload)
    assert opened.header.lane is Lane.SIGNAL
    assert (opened.header.first_seq, opened.header.floor_seq) == (first_seq, 1)
    assert opened.header.last_seq == first_seq + len(times) - 1
    assert opened.header.clock_offset_ms == offset_ms
    assert opened.header.traceparent == "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
    assert opened.signals is not None
    assert opened.signals.times_ms == times
    with_values = {k: c for k, c in columns.items() if any(v is not None for v in c)}
    assert opened.signals.columns == with_values


FIELDS = st.dictionaries(
    st.text(max_size=10),
    st.none() | st.booleans() | st.integers(-(2**63), 2**63) | st.text(max_size=20)
    | st.floats(allow_nan=False, allow_infinity=False),
    max_size=5,
)  # fmt: skip
FACTS = st.lists(
    st.builds(
        Fact,
        st.from_regex(r"[a-z0-9_.]{1,64}", fullmatch=True),
        st.integers(0, 9),
        TIMES,
        st.integers(0, 2**46),
        FIELDS,
    ),
    min_size=1,
    max_size=8,
)


@given(FACTS)
def test_sealed_facts_come_back_as_they_were(facts: list[Fact]) -> None:
    payload = seal_facts(
        epoch=1,
        first_seq=5,
        floor_seq=5,
        boot_id=0,
        clock_offset_ms=0,
        t0_ms=T0_MS,
        facts=facts,
    )
    assert open_segment(payload).facts == facts


@pytest.mark.parametrize("make", [bench_ride, controller_ride])
@pytest.mark.parametrize("n", [1, 10, 100, 512, 4096])
def test_a_ride_of_any_length_survives(make: object, n: int) -> None:
    assert callable(make)
    ride = make(random.Random(3), n)
    opened = open_segment(a_segment(ride.times_ms, ride.columns)).signals
    assert opened is not None
    assert (opened.times_ms, opened.columns) == (ride.times_ms, ride.columns)


def test_a_lone_fact_is_small() -> None:
    fact = Fact("battery.offline", 1, 0, 3_600_000, {})
    payload = seal_facts(
        epoch=2**64 - 1,
        first_seq=2**20,
        floor_seq=2**20,
        boot_id=2**32 - 1,
        clock_offset_ms=0,
        t0_ms=T0_MS,
        facts=[fact],
    )
    body = len(msgspec.msgpack.encode([fact]))
    assert body <= 30
    assert len(payload) - body <= 32


@given(st.binary(max_size=300))
def test_noise_is_refused_with_a_reason(noise: bytes) -> None:
    with pytest.raises(SegmentError) as refused:
        open_segment(noise)
    assert refused.value.reason in REASONS


@given(st.binary(max_size=300), st.integers(1, 5), st.sampled_from([0, 1, 4, 5, 8, 9]))
def test_noise_behind_a_good_header_raises_nothing_but_a_refusal(
    noise: bytes, n: int, flags: int
) -> None:
    with contextlib.suppress(SegmentError):
        assert open_segment(framed(noise, n, flags)).header.n == n


@given(st.data())
def test_one_wrong_byte_is_noticed(data: st.DataObject) -> None:
    payload = bytearray(
        a_segment([T0_MS + i for i in range(50)], {1: [4000 + i for i in range(50)]})
    )
    at = data.draw(st.integers(0, len(payload) - 1))
    payload[at] ^= data.draw(st.integers(1, 255))
    with pytest.raises(SegmentError):
        read_header(bytes(payload))


@given(st.integers(0, 200))
def test_a_truncated_segment_is_refused(length: int) -> None:
    payload = a_segment([T0_MS + i * i for i in range(99)], {1: [4000 + i % 7 for i in range(99)]})
    with pytest.raises(SegmentError):
        open_segment(payload[: min(length, len(payload) - 1)])


def bomb(size: int, *, says: bool) -> bytes:
    return zstandard.ZstdCompressor(write_content_size=says).compress(b"\x90" * size)


HOSTILE = {
    "a bomb that says its size": (framed(bomb(300_000_000, says=True), 1, 9), "compression"),
    "a bomb that hides its size": (framed(bomb(300_000_000, says=False), 1, 9), "compression"),
    "bytes behind the frame": (framed(bomb(9, says=True) + b"more", 1, 9), "compression"),
    "an array that says 4 billion": (framed(b"\x92\xdd\xff\xff\xff\xff", 1), "body"),
    "a map that says 4 billion": (framed(b"\x92\x90\xdf\xff\xff\xff\xff", 1), "body"),
    "arrays in arrays": (framed(b"\x91" * 200_000, 1), "body"),
    "facts in facts": (framed(b"\x91" * 200_000, 1, 0), "body"),
    "not a number": (framed(packed([], {1: [float("nan")]}), 1), "body"),
    "infinity in a fact": (
        framed(msgspec.msgpack.encode([["a", 1, 0, 0, {"x": float("inf")}]]), 1, 0),
        "range",
    ),
    "a kind that is no kind": (
        framed(msgspec.msgpack.encode([["<script>", 1, 0, 0, {}]]), 1, 0),
        "range",
    ),
    "huge deltas": (framed(packed([0], {1: [4000, 2**63]}), 2), "range"),
    "a value outside the catalogue": (framed(packed([], {1: [100_001]}), 1), "range"),
    "a signal id of nobody": (framed(packed([], {-4: [1]}), 1), "range"),
    "times of many ages": (framed(packed([2**63], {1: [1, 1]}), 2), "time"),
    "fewer values than times": (framed(packed([0], {1: [1]}), 2), "count"),
    "more times than the header says": (framed(packed([0, 0], {1: [1, 0]}), 2), "count"),
    "six hundred columns": (framed(packed([], {i: [1] for i in range(1, 601)}), 1), "count"),
    "too many values": (
        framed(
            zstandard.compress(packed([0] * 4095, {i: [0] * 4096 for i in range(900, 1100)})),
            4096,
            9,
        ),
        "count",
    ),
    "too many records": (framed(packed([0] * 4999, {}), 5000), "header"),
    "no records": (framed(packed([], {}), 0), "header"),
    "more than a payload may have": (b"\x01" * (MAX_PAYLOAD_BYTES + 1), "size"),
    "a flag of the future": (framed(packed([], {}), 1, 0b10001), "header"),
    "a lane of the future": (framed(packed([], {}), 1, 2), "header"),
}


@pytest.mark.parametrize("what", HOSTILE)
def test_a_hostile_segment_is_refused_in_bounded_memory(what: str) -> None:
    payload, reason = HOSTILE[what]
    tracemalloc.start()
    try:
        with pytest.raises(SegmentError) as refused:
            open_segment(payload)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert refused.value.reason == reason
    assert peak < 12 * MAX_BODY_BYTES


def test_the_largest_body_that_is_accepted_costs_bounded_time_and_memory() -> None:
    columns = {i: [0, *[300] * 4095] for i in range(1000, 1000 + MAX_VALUES // 4096)}
    body = zstandard.compress(packed([0] * 4095, columns))
    started = time.process_time()
    tracemalloc.start()
    try:
        open_segment(framed(body, 4096, 9))
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 16 * MAX_BODY_BYTES
    assert time.process_time() - started < 5


@pytest.mark.parametrize(
    ("payload", "size"),
    [
        (framed(zstandard.compress(b"\0" * 5000), 1, 9), 5000),
        (framed(zstandard.compress(b"\0" * 200), 1, 13), 200),
        (framed(b"\0" * 99, 1), 128),
        (framed(bomb(300_000_000, says=True), 1, 9), None),
        (framed(bomb(300_000_000, says=False), 1, 9), None),
        (framed(b"no zstd", 1, 9), None),
        (b"\xff" * 26, None),
        (b"", None),
    ],
)
def test_what_a_body_will_take_is_known_without_opening_it(
    payload: bytes, size: int | None
) -> None:
    if len(payload) > 2 and payload[1] & 0b100:
        payload = payload[:29] + bytes(25) + payload[29:]
    assert body_size(payload) == (len(payload) if size is None else size)


def test_a_ride_s_body_is_as_large_as_said() -> None:
    ride = controller_ride(random.Random(3), 100)
    payload = a_segment(ride.times_ms, ride.columns)
    assert body_size(payload) == len(encode_signals(ride.times_ms, ride.columns)) > len(payload)


def test_no_seq_reaches_what_a_range_cannot_say() -> None:
    assert read_header(a_segment([T0_MS], {1: [1]}, MAX_SEQ)).last_seq == MAX_SEQ
    with pytest.raises(ValueError, match="seq"):
        a_segment([T0_MS, T0_MS], {1: [1, 1]}, MAX_SEQ)


def test_a_segment_that_readers_would_refuse_is_never_sealed() -> None:
    with pytest.raises(ValueError, match="1 to 4096"):
        a_segment([], {})
    with pytest.raises(ValueError, match="2 values, 1 times"):
        a_segment([T0_MS], {1: [1, 2]})
    with pytest.raises(ValueError, match="131072 values"):
        a_segment([T0_MS] * 4096, {i: [0] * 4096 for i in range(1, 34)})
    with pytest.raises(ValueError, match="512 signals"):
        a_segment([T0_MS], {i: [0] for i in range(1, 514)})
    with pytest.raises(ValueError, match="floor"):
        a_segment([T0_MS], {1: [1]}, first_seq=0)
    with pytest.raises(ValueError, match="traceparent"):
        seal_facts(
            epoch=1,
            first_seq=1,
            floor_seq=1,
            boot_id=1,
            clock_offset_ms=0,
            t0_ms=0,
            facts=[Fact("a", 1, 0, 0, {})],
            traceparent="00-xyz",
        )
