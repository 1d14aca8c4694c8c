"""The laws that hold for every decoder in the registry."""

from itertools import pairwise
from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.drivers.base import BatteryReading, Decoder, Frame, FrameError, Reason
from edge.drivers.registry import DRIVERS, UnknownProtocolError, driver
from protocol.controllers import CONTROLLERS
from tests.edge.drivers import daly_vectors as daly
from tests.edge.drivers import dock_vectors as dock
from tests.edge.drivers import jk_vectors as jk
from tests.edge.drivers import m365_vectors as m365
from tests.edge.drivers import vesc_vectors as vesc
from tests.edge.drivers.vectors import DISCHARGE_OFF, FET_WRITTEN, NEW_BOARD, READ_BASIC, RIDING

SAMPLES = {
    "daly_uart": (daly.RESTING, daly.SWITCHES, daly.STATUS, *daly.CELLS, daly.READ_PACK),
    "dock_unit": (dock.CHARGING, dock.FREE, dock.FAULT, dock.ABOUT, dock.READ, dock.NAK_UNKNOWN),
    "jbd_uart": (RIDING, NEW_BOARD, READ_BASIC, DISCHARGE_OFF, FET_WRITTEN),
    "m365_serial": (m365.MAIN, m365.CELLS, m365.READ_MAIN, m365.ESC_BLOCK, m365.NINEBOT_MAIN),
    "ninebot_serial": (m365.NINEBOT_MAIN, m365.CELLS, m365.NINEBOT_READ_MAIN, m365.THROTTLE),
    "jk_rs485": (jk.CHARGING, jk.RESTING, jk.READ_ALL, jk.DISCHARGE_OFF, jk.DISCHARGE_WRITTEN),
    "vesc": (vesc.RIDING, vesc.BENCH_VALUES, vesc.GET_VALUES, vesc.CAN_ID_TEXT, vesc.COMMAND_84),
}
LONGEST_FRAME = {
    "daly_uart": 13,
    "dock_unit": 71,
    "jbd_uart": 262,
    "jk_rs485": 1024,
    "vesc": 1031,
    "m365_serial": 264,
    "ninebot_serial": 264,
}

SERIAL_DECODERS = {
    name: found.serial for name in DRIVERS if (found := driver(name)).serial is not None
}
every_decoder = pytest.mark.parametrize("name", sorted(SERIAL_DECODERS))


def fed(name: str, pieces: list[bytes]) -> tuple[list[Frame], BatteryReading | None, Decoder]:
    decoder = SERIAL_DECODERS[name]()
    frames = [frame for piece in pieces for frame in decoder.feed(piece)]
    return frames, decoder.reading(), decoder


def cut(stream: bytes, cuts: list[int]) -> list[bytes]:
    at = sorted({0, len(stream), *(place % (len(stream) + 1) for place in cuts)})
    return [stream[low:high] for low, high in pairwise(at)]


@every_decoder
@given(data=st.data())
def test_slicing_never_changes_frames_readings_or_counters(name: str, data: st.DataObject) -> None:
    parts = data.draw(st.lists(st.sampled_from(SAMPLES[name]) | st.binary(max_size=24)))
    stream = b"".join(parts)
    cuts = data.draw(st.lists(st.integers(min_value=0)))
    frames, reading, decoder = fed(name, [stream])
    cut_frames, cut_reading, cut_decoder = fed(name, cut(stream, cuts))
    assert (cut_frames, cut_reading) == (frames, reading)
    assert cut_decoder.counters == decoder.counters


@every_decoder
@given(noise=st.binary(max_size=512))
def test_noise_is_survived_and_forgotten(name: str, noise: bytes) -> None:
    sample = SAMPLES[name][0]
    _, clean, _ = fed(name, [sample])
    decoder = SERIAL_DECODERS[name]()
    decoder.feed(noise)
    decoder.line_quiet()
    frames = decoder.feed(sample)
    assert len(frames) == 1
    assert decoder.reading() == clean


@every_decoder
@given(noise=st.binary(max_size=64))
def test_a_frame_right_behind_noise_is_found_once_the_line_is_quiet(
    name: str, noise: bytes
) -> None:
    sample = SAMPLES[name][0]
    decoder = SERIAL_DECODERS[name]()
    frames = decoder.feed(noise + sample) + decoder.line_quiet()
    (expected,) = SERIAL_DECODERS[name]().feed(sample)
    assert expected in frames or noise_swallowed_it(name, noise, sample)


def noise_swallowed_it(name: str, noise: bytes, sample: bytes) -> bool:
    """Noise can itself be the head of a valid frame that reaches into the sample."""
    stream = noise + sample
    return any(outcome(name, stream[at:]) == "frame" for at in range(len(noise)))


@every_decoder
@given(data=st.data())
def test_a_broken_off_frame_costs_none_of_the_whole_ones_behind_it(
    name: str, data: st.DataObject
) -> None:
    sample = SAMPLES[name][0]
    head = sample[: data.draw(st.integers(0, len(sample) - 1))]
    decoder = SERIAL_DECODERS[name]()
    frames = decoder.feed(head + sample * 2) + decoder.line_quiet()
    assert frames == SERIAL_DECODERS[name]().feed(sample) * 2


@every_decoder
@given(flips=st.dictionaries(st.integers(0, 1000), st.integers(1, 255), min_size=1, max_size=3))
def test_a_damaged_frame_never_changes_the_reading(name: str, flips: dict[int, int]) -> None:
    sample = SAMPLES[name][0]
    damaged = bytearray(SAMPLES[name][1])
    for place, flip in flips.items():
        damaged[place % len(damaged)] ^= flip
    decoder = SERIAL_DECODERS[name]()
    decoder.feed(sample)
    before = decoder.reading()
    frames = decoder.feed(bytes(damaged)) + decoder.line_quiet()
    assert frames != [] or decoder.reading() == before
    if outcome(name, bytes(damaged)) == "frame":
        return
    assert decoder.counters.bad or decoder.counters.skipped_bytes


@every_decoder
@given(pieces=st.lists(st.binary(max_size=300), max_size=20))
def test_the_buffer_stays_within_one_frame(name: str, pieces: list[bytes]) -> None:
    _, _, decoder = fed(name, pieces)
    lost = decoder.counters.skipped_bytes
    decoder.line_quiet()
    assert decoder.counters.skipped_bytes - lost <= LONGEST_FRAME[name]


@every_decoder
@given(junk=st.binary(max_size=300))
def test_explain_refuses_with_a_reason_and_never_otherwise(name: str, junk: bytes) -> None:
    assert outcome(name, junk) in {"frame", *get_args(Reason)}


def outcome(name: str, stream: bytes) -> str:
    try:
        SERIAL_DECODERS[name].explain(stream)
    except FrameError as trouble:
        return str(trouble).partition(":")[0]
    return "frame"


@every_decoder
def test_every_decoder_is_a_controller_of_the_protocol(name: str) -> None:
    assert CONTROLLERS[name].baud == SERIAL_DECODERS[name].policy.baud


def test_an_unknown_protocol_is_refused_with_the_known_ones() -> None:
    with pytest.raises(UnknownProtocolError, match="jbd_uart"):
        driver("vela")
