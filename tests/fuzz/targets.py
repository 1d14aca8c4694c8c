"""What must hold for any bytes at all, one target for each decoder and each line it reads."""

from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Final

from edge.drivers.base import BatteryReading, Decoder, FrameError, to_json, to_signals
from edge.drivers.can import CanDecoder, CanFrame
from edge.drivers.lines import BadLineError, Line
from edge.drivers.registry import DRIVERS, Driver, driver
from protocol.signals import RAW_RANGE

Target = Callable[[bytes], None]

_MOST_PENDING_BYTES: Final = 70_000
_MOST_ANSWERS: Final = 64
_STEP_S: Final = 0.05


def targets() -> Iterator[tuple[str, Target]]:
    """Yield a name, such as jbd_uart:serial, and what to call with bytes."""
    for name in sorted(DRIVERS):
        found = driver(name)
        if found.serial is not None:
            yield f"{name}:serial", _serial(found, found.serial)
        if found.can is not None:
            yield f"{name}:can", _can(found, found.can)


def _serial(found: Driver, decoder_class: type[Decoder]) -> Target:
    def target(data: bytes) -> None:
        explained(found, Line(hex=data.hex()))
        whole, sliced = decoder_class(), decoder_class()
        frames = whole.feed(data)
        again = [frame for piece in pieces(data) for frame in sliced.feed(piece)]
        assert frames == again, "slicing changed the frames"
        assert whole.reading() == sliced.reading(), "slicing changed the reading"
        lost = whole.counters.skipped_bytes
        whole.line_quiet()
        assert whole.counters.skipped_bytes - lost <= _MOST_PENDING_BYTES, "the buffer grows"
        told(whole.reading())

    return target


def _can(found: Driver, decoder_class: type[CanDecoder]) -> Target:
    listens = sorted(decoder_class.policy.listens) or [(0x7EC, False), (0x18904001, True)]

    def target(data: bytes) -> None:
        decoder, now_s = decoder_class(), 1000.0
        decoder.begin(now_s)
        for frame in frames_of(data, listens):
            explained(
                found,
                Line(hex=frame.data.hex(), can_id=f"{frame.can_id:x}", extended=frame.extended),
            )
            now_s += _STEP_S
            answers = [*decoder.feed([frame], now_s), *decoder.tick(now_s)]
            assert len(answers) <= _MOST_ANSWERS, "it floods the bus"
            told(decoder.reading(now_s))
        explained(
            found,
            Line(payload_hex=data.hex(), request_can_id="7E4", response_can_id="7EC"),
        )

    return target


def explained(found: Driver, line: Line) -> None:
    """Explain a line: an answer or a refusal, and nothing else."""
    with suppress(FrameError, BadLineError):
        told(found.explain(line).reading)


def told(reading: BatteryReading | None) -> None:
    """A reading can be told, and what is journalled of it can be true."""
    if reading is None:
        return
    to_json(reading)
    for number, raw in to_signals(reading).items():
        low, high = RAW_RANGE[number]
        assert low <= raw <= high, f"signal {number} is {raw}"


def pieces(data: bytes) -> Iterator[bytes]:
    """Cut bytes where they themselves say."""
    at = 0
    while at < len(data):
        size = 1 + data[at] % 23
        yield data[at : at + size]
        at += size


def frames_of(data: bytes, listens: list[tuple[int, bool]]) -> Iterator[CanFrame]:
    """Make bus frames of bytes: mostly those that somebody listens to."""
    at = 0
    while at + 1 < len(data):
        head, size = data[at], data[at + 1] % 9
        number, extended = listens[head % len(listens)]
        if head > 250:  # now and then somebody else speaks
            number, extended = head << 2, False
        yield CanFrame(number, data[at + 2 : at + 2 + size], extended)
        at += 2 + size
