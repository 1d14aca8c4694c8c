"""The laws that hold for every decoder of a CAN bus in the registry.

To bring a decoder under them, add to `CAN_SAMPLES` the frames, in the order of the bus, after which
a fresh decoder has a reading; for one that asks, the answers to its questions: a test begins a poll
first, and feeds the frames 1 ms apart. All of them must lie within its `stale_s`. `CHECKED` names
the decoders whose every frame has a checksum: a damaged one may not change their reading at all.
"""

from collections.abc import Sequence
from itertools import pairwise
from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.drivers.base import BatteryReading, FrameError, Reason
from edge.drivers.can import CanDecoder, CanFrame
from edge.drivers.lines import BadLineError, Line
from edge.drivers.registry import DRIVERS, driver
from protocol.controllers import CONTROLLERS


def on_bus(*texts: str) -> tuple[CanFrame, ...]:
    """Return frames written as candump has them, `1DB#EEC0`; 8 digits are a 29-bit identifier."""
    parts = [text.split("#") for text in texts]
    return tuple(CanFrame(int(i, 16), bytes.fromhex(data), len(i) == 8) for i, data in parts)


CAN_SAMPLES: dict[str, tuple[CanFrame, ...]] = {
    "uds_ev": on_bus(
        "7EC#103E620101000000",
        "7EC#21008F0000000000",
        "7EC#22FB2E1C99171313",
        "7EC#2314151617003BCD",
        "7EC#2407CB6300008E00",
        "7EC#2500000000000000",
        "7EC#2600000000000000",
        "7EC#2700000000000000",
        "7EC#2800000000000000",
    ),
    "nissan_leaf_ev_can": on_bus("1DB#FF60B06A370001FD", "55B#74C0AA009D102214"),
    "hyundai_kia_pcan": on_bus(
        "595#0302A7A7C2FFCD0E",
        "594#F212E02E5B910B11",
        "596#138E320019001215",
        "542#930700000000FFFF",
    ),
    "daly_can": on_bus("18904001#0207000077240309", "18934001#0201012C00007968"),
    "vesc": on_bus("00001B0A#00000000019C", "0000100A#013600FA007D0000"),
}
CHECKED = {"nissan_leaf_ev_can"}
NO_SAMPLE = {"dbc_can"}
"""Reads nothing before a twin says how: see `test_dbc_can.py`."""

CAN_DECODERS = {name: found.can for name in DRIVERS if (found := driver(name)).can is not None}
every_can_decoder = pytest.mark.parametrize("name", sorted(CAN_DECODERS))
sampled = pytest.mark.parametrize("name", sorted(CAN_SAMPLES))

STEP_S = 0.001
BEGAN_S = 1000.0

noise = st.builds(CanFrame, st.integers(0, 0x7FF), st.binary(max_size=8)) | st.builds(
    CanFrame, st.integers(0, 2**29 - 1), st.binary(max_size=8), st.just(True)
)


def fresh(name: str) -> CanDecoder:
    decoder = CAN_DECODERS[name]()
    decoder.begin(BEGAN_S)
    return decoder


def fed(
    name: str, pieces: Sequence[Sequence[CanFrame]]
) -> tuple[BatteryReading | None, CanDecoder]:
    """Feed the pieces, each at the time of its last frame, and read at the end."""
    decoder = fresh(name)
    at_s = BEGAN_S
    for piece in pieces:
        at_s += STEP_S * len(piece)
        decoder.feed(piece, at_s)
    return decoder.reading(at_s), decoder


def a_frame_for(name: str) -> st.SearchStrategy[CanFrame]:
    """Noise under the identifiers that the decoder listens to, and any other."""
    listens = sorted(CAN_DECODERS[name].policy.listens)
    if not listens:
        return noise
    data = st.binary(max_size=8)
    return noise | st.builds(
        lambda key, payload: CanFrame(key[0], payload, key[1]), st.sampled_from(listens), data
    )


def test_every_decoder_of_a_bus_has_samples_here() -> None:
    assert set(CAN_SAMPLES) == set(CAN_DECODERS) - NO_SAMPLE


@every_can_decoder
def test_the_protocol_s_table_knows_the_bit_rate(name: str) -> None:
    assert CONTROLLERS[name].bitrate == CAN_DECODERS[name].policy.bitrate
    assert CONTROLLERS[name].transport in {"can", "both"}


@sampled
def test_the_sample_gives_a_reading(name: str) -> None:
    reading, decoder = fed(name, [[frame] for frame in CAN_SAMPLES[name]])
    assert reading is not None
    assert reading != BatteryReading()
    assert decoder.counters.frames
    assert not decoder.counters.bad


@sampled
def test_the_decoder_listens_to_its_sample(name: str) -> None:
    listens = CAN_DECODERS[name].policy.listens
    heard = {(frame.can_id, frame.extended) for frame in CAN_SAMPLES[name]}
    assert not listens or heard <= listens


@sampled
@given(cuts=st.lists(st.integers(min_value=0)))
def test_grouping_never_changes_the_reading_or_the_counters(name: str, cuts: list[int]) -> None:
    frames = CAN_SAMPLES[name]
    at = sorted({0, len(frames), *(place % (len(frames) + 1) for place in cuts)})
    whole, decoder = fed(name, [[frame] for frame in frames])
    grouped, grouped_decoder = fed(name, [frames[low:high] for low, high in pairwise(at)])
    assert grouped == whole
    assert grouped_decoder.counters == decoder.counters


@sampled
@given(data=st.data())
def test_frames_of_others_change_nothing(name: str, data: st.DataObject) -> None:
    listens = CAN_DECODERS[name].policy.listens
    others = noise.filter(lambda frame: (frame.can_id, frame.extended) not in listens)
    if not listens:
        others = st.nothing()
    frames = list(CAN_SAMPLES[name])
    for frame in data.draw(st.lists(others, max_size=8) if listens else st.just([])):
        frames.insert(data.draw(st.integers(0, len(frames))), frame)
    expected, _ = fed(name, [CAN_SAMPLES[name]])
    reading, decoder = fed(name, [frames])
    assert reading == expected
    assert not decoder.counters.bad


@every_can_decoder
@given(data=st.data())
def test_nothing_a_bus_says_raises_and_what_is_read_is_a_reading(
    name: str, data: st.DataObject
) -> None:
    decoder = fresh(name)
    now_s = BEGAN_S
    for frame in data.draw(st.lists(a_frame_for(name), max_size=30)):
        now_s += data.draw(st.sampled_from((0.0, STEP_S, 0.7)))
        decoder.feed([frame], now_s)
        if decoder.due_s <= now_s:
            decoder.tick(now_s)
        assert isinstance(decoder.reading(now_s), BatteryReading | None)
    assert isinstance(decoder.about, dict | type(decoder.about))


@sampled
@given(data=st.data())
def test_after_noise_the_sample_is_read_again(name: str, data: st.DataObject) -> None:
    expected, _ = fed(name, [CAN_SAMPLES[name]])
    assert expected is not None
    decoder = CAN_DECODERS[name]()
    if decoder.begin(BEGAN_S):
        return  # which question it asks next is its own business, and its own tests'
    decoder.feed(data.draw(st.lists(a_frame_for(name), max_size=20)), BEGAN_S)
    later_s = BEGAN_S + 10 * decoder.policy.stale_s
    for _ in range(4):
        for frame in CAN_SAMPLES[name]:
            later_s += STEP_S
            decoder.feed([frame], later_s)
    reading = decoder.reading(later_s)
    assert reading is not None
    assert reading.voltage_v == expected.voltage_v
    assert reading.soc_pct == expected.soc_pct


@sampled
@given(data=st.data())
def test_a_damaged_frame_is_survived_and_a_checksum_keeps_it_out(
    name: str, data: st.DataObject
) -> None:
    frames = list(CAN_SAMPLES[name])
    at = data.draw(st.integers(0, len(frames) - 1))
    payload = bytearray(frames[at].data)
    if payload:
        place = data.draw(st.integers(0, len(payload) - 1))
        payload[place] ^= data.draw(st.integers(1, 255))
    damaged = frames[at]._replace(data=bytes(payload))
    decoder = fresh(name)
    decoder.feed(frames, BEGAN_S)
    before = decoder.reading(BEGAN_S)
    decoder.feed([damaged], BEGAN_S + STEP_S)
    if name in CHECKED and payload:
        assert decoder.reading(BEGAN_S + STEP_S) == before
        assert decoder.counters.bad


@sampled
@given(data=st.data())
def test_a_shortened_frame_is_survived(name: str, data: st.DataObject) -> None:
    frames = [
        frame._replace(data=frame.data[: data.draw(st.integers(0, len(frame.data)))])
        for frame in CAN_SAMPLES[name]
    ]
    fed(name, [frames])


@sampled
def test_a_reading_that_nothing_renews_becomes_none(name: str) -> None:
    reading, decoder = fed(name, [CAN_SAMPLES[name]])
    assert reading is not None
    heard_s = BEGAN_S + STEP_S * len(CAN_SAMPLES[name])
    assert decoder.reading(heard_s + 10 * decoder.policy.stale_s) is None


@every_can_decoder
@given(frame=noise)
def test_explain_refuses_with_a_reason_and_never_otherwise(name: str, frame: CanFrame) -> None:
    line = Line(hex=frame.data.hex(), can_id=f"0x{frame.can_id:X}", extended=frame.extended)
    assert outcome(name, line) in {"frame", "bad_json", *get_args(Reason)}


def outcome(name: str, line: Line) -> str:
    try:
        driver(name).explain(line)
    except (FrameError, BadLineError) as trouble:
        return str(trouble).partition(":")[0]
    return "frame"


@sampled
def test_explain_refuses_an_identifier_that_no_bus_has(name: str) -> None:
    assert outcome(name, Line(hex="00", can_id="0x20000000", extended=True)) != "frame"
