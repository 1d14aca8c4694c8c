"""Segments: the immutable unit that a vehicle stores, sends and is acked for, version 1.

A segment is a plain header and a body. The header can be read, and a repeat recognised, without
touching the body. All numbers are big-endian.

| at | size | field |
| --- | --- | --- |
| 0 | 1 | version, 1 |
| 1 | 1 | flags: bits 0-1 lane (0 fact, 1 signal), bit 2 traceparent, bit 3 zstd; others 0 |
| 2 | 1 | dictionary id, 0 = none |
| 3 | 4 | CRC-32 of bytes 0-2 and of everything from byte 7 on |
| 7 | 8 | epoch, random for each journal file and lane |
| 15 | 4 | boot id |
| 19 | 6 | t0, Unix milliseconds of the device's clock, signed |
| 25 | varint | first_seq, from 1 |
|  | varint | n, number of records |
|  | varint | first_seq - floor_seq, where floor_seq is the lowest seq still held at sealing |
|  | varint | clock offset, zigzag: milliseconds to add to the device's times |
|  | 25 | traceparent when its flag is set: trace id, parent id, trace flags |

The body is described in `protocol.bodies`; it is zstd with a content size when that is shorter.
"""

import enum
import re
import struct
import threading
import zlib
from collections.abc import Mapping, Sequence
from importlib import resources

import msgspec
import zstandard

from protocol.bodies import (
    MAX_READINGS,
    MAX_SEQ,
    MAX_VALUES,
    Fact,
    SegmentError,
    SignalBlock,
    decode_facts,
    decode_signals,
    encode_facts,
    encode_signals,
)
from protocol.topics import MAX_PAYLOAD_BYTES

__all__ = [
    "LANES",
    "MAX_BODY_BYTES",
    "MAX_READINGS",
    "MAX_SEQ",
    "MAX_VALUES",
    "Fact",
    "Header",
    "Lane",
    "Segment",
    "SegmentError",
    "SignalBlock",
    "body_size",
    "lane_name",
    "open_segment",
    "read_header",
    "seal_facts",
    "seal_signals",
]

VERSION = 1
MAX_BODY_BYTES = 1_048_576
DICTIONARY_ID = 1
_LEVEL = 3

_TRACED = 0b0100
_ZSTD = 0b1000
_FIXED = struct.Struct(">BBBIQI6s")
_TRACE_BYTES = 25
_MAX_VARINT_BYTES = 9
_VARINTS = 4
_ZSTD_HEADER_BYTES = 18
_SEVEN_BITS = 0x7F
_TRACEPARENT = re.compile(r"00-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})")


class Lane(enum.IntEnum):
    """The two ways up: facts go first and are never dropped, signals may be thinned."""

    FACT = 0
    SIGNAL = 1


LANES: dict[str, Lane] = {"fact": Lane.FACT, "signal": Lane.SIGNAL}


def lane_name(lane: Lane) -> str:
    """Return the lane as JSON names it: "fact" or "signal"."""
    return lane.name.lower()


class Header(msgspec.Struct, frozen=True):
    """The plain part of a segment. Times are Unix milliseconds of the device's clock."""

    lane: Lane
    epoch: int
    first_seq: int
    n: int
    t0_ms: int
    floor_seq: int
    boot_id: int
    clock_offset_ms: int
    dictionary_id: int
    traceparent: str | None

    @property
    def last_seq(self) -> int:
        """Seq of the last record."""
        return self.first_seq + self.n - 1


class Segment(msgspec.Struct):
    """An opened segment; `signals` or `facts` is there, by its lane."""

    header: Header
    signals: SignalBlock | None
    facts: list[Fact] | None


def seal_signals(
    *,
    epoch: int,
    first_seq: int,
    floor_seq: int,
    boot_id: int,
    clock_offset_ms: int,
    times_ms: Sequence[int],
    columns: Mapping[int, Sequence[int | None]],
    traceparent: str | None = None,
) -> bytes:
    """Return a sealed segment of the signal lane.

    Args:
        epoch: the lane's epoch.
        first_seq: seq of the first reading; the others follow without a hole.
        floor_seq: lowest seq the journal still holds.
        boot_id: number of this run of the agent.
        clock_offset_ms: what to add to `times_ms` for true time.
        times_ms: Unix milliseconds of the readings, in the order they were taken.
        columns: wire values by signal id, one for each time; None where there is none.
        traceparent: W3C trace context, or None.

    Raises:
        ValueError: counts that differ, too many readings or values, or numbers that the header
            cannot carry.
    """
    header = Header(
        lane=Lane.SIGNAL,
        epoch=epoch,
        first_seq=first_seq,
        n=len(times_ms),
        t0_ms=times_ms[0] if times_ms else 0,
        floor_seq=floor_seq,
        boot_id=boot_id,
        clock_offset_ms=clock_offset_ms,
        dictionary_id=DICTIONARY_ID,
        traceparent=traceparent,
    )
    return _seal(header, encode_signals(times_ms, columns))


def seal_facts(
    *,
    epoch: int,
    first_seq: int,
    floor_seq: int,
    boot_id: int,
    clock_offset_ms: int,
    t0_ms: int,
    facts: Sequence[Fact],
    traceparent: str | None = None,
) -> bytes:
    """Return a sealed segment of the fact lane; arguments as for `seal_signals`."""
    header = Header(
        lane=Lane.FACT,
        epoch=epoch,
        first_seq=first_seq,
        n=len(facts),
        t0_ms=t0_ms,
        floor_seq=floor_seq,
        boot_id=boot_id,
        clock_offset_ms=clock_offset_ms,
        dictionary_id=DICTIONARY_ID,
        traceparent=traceparent,
    )
    return _seal(header, encode_facts(facts))


def read_header(payload: bytes) -> Header:
    """Return the header of a segment whose bytes are whole, without opening its body.

    Raises:
        SegmentError: "size", "header" or "crc".
    """
    return _split(payload)[0]


def body_size(payload: bytes) -> int:
    """Return how many bytes `open_segment` will make of a payload, without opening or checking it.

    What it would refuse before it decompresses costs no more than its own length.
    """
    if len(payload) <= _FIXED.size or not payload[1] & _ZSTD:
        return len(payload)
    at = _FIXED.size
    try:
        for _ in range(_VARINTS):
            _, at = _read_varint(payload, at)
        at += _TRACE_BYTES if payload[1] & _TRACED else 0
        size = zstandard.frame_content_size(payload[at : at + _ZSTD_HEADER_BYTES])
    except (SegmentError, zstandard.ZstdError):
        return len(payload)
    return max(size, len(payload)) if size <= MAX_BODY_BYTES else len(payload)


def open_segment(payload: bytes) -> Segment:
    """Return the segment with its records, in memory and time bounded by MAX_BODY_BYTES.

    Raises:
        SegmentError: with the reason why it is refused.
    """
    header, at = _split(payload)
    body = payload[at:]
    if payload[1] & _ZSTD:
        body = _decompress(body, header.dictionary_id)
    if header.lane is Lane.FACT:
        return Segment(header, None, decode_facts(body, header.n))
    return Segment(header, decode_signals(body, header.n, header.t0_ms), None)


def _seal(header: Header, body: bytes) -> bytes:
    _check(header)
    compressed = _compressor().compress(body)
    flags = header.lane | (_TRACED if header.traceparent else 0)
    dictionary_id = 0
    if len(compressed) < len(body):
        flags, body, dictionary_id = flags | _ZSTD, compressed, header.dictionary_id
    t0 = header.t0_ms.to_bytes(6, "big", signed=True)
    fixed = _FIXED.pack(VERSION, flags, dictionary_id, 0, header.epoch, header.boot_id, t0)
    rest = b"".join(
        (
            fixed[7:],
            _varint(header.first_seq),
            _varint(header.n),
            _varint(header.first_seq - header.floor_seq),
            _varint(_zigzag(header.clock_offset_ms)),
            _trace_bytes(header.traceparent),
            body,
        )
    )
    payload = fixed[:3] + _crc(fixed, rest).to_bytes(4, "big") + rest
    if len(payload) > MAX_PAYLOAD_BYTES:
        raise ValueError(f"a segment of {len(payload)} bytes is over {MAX_PAYLOAD_BYTES}")
    return payload


def _split(payload: bytes) -> tuple[Header, int]:
    if not _FIXED.size < len(payload) <= MAX_PAYLOAD_BYTES:
        raise SegmentError("size", f"{len(payload)} bytes")
    version, flags, dictionary_id, crc, epoch, boot_id, t0 = _FIXED.unpack_from(payload)
    if version != VERSION or flags & 0b11 > Lane.SIGNAL or flags >> 4:
        raise SegmentError("header", f"version {version}, flags {flags:#04x}")
    if crc != _crc(payload, memoryview(payload)[7:]):
        raise SegmentError("crc", "the bytes are not those that were sealed")
    at = _FIXED.size
    first_seq, at = _read_varint(payload, at)
    n, at = _read_varint(payload, at)
    below, at = _read_varint(payload, at)
    offset, at = _read_varint(payload, at)
    traceparent = None
    if flags & _TRACED:
        traceparent, at = _read_trace(payload, at)
    header = Header(
        lane=Lane(flags & 0b11),
        epoch=epoch,
        first_seq=first_seq,
        n=n,
        t0_ms=int.from_bytes(t0, "big", signed=True),
        floor_seq=first_seq - below,
        boot_id=boot_id,
        clock_offset_ms=(offset >> 1) ^ -(offset & 1),
        dictionary_id=dictionary_id,
        traceparent=traceparent,
    )
    try:
        _check(header)
    except ValueError as trouble:
        raise SegmentError("header", str(trouble)) from trouble
    return header, at


def _check(header: Header) -> None:
    if not 1 <= header.n <= MAX_READINGS:
        raise ValueError(f"{header.n} records: a segment holds 1 to {MAX_READINGS}")
    if not 1 <= header.floor_seq <= header.first_seq or header.last_seq > MAX_SEQ:
        raise ValueError(f"seq {header.first_seq} with floor {header.floor_seq}")
    if not (0 <= header.epoch < 2**64 and 0 <= header.boot_id < 2**32):
        raise ValueError("epoch or boot id out of range")
    if not (-(2**47) <= header.t0_ms < 2**47 and abs(header.clock_offset_ms) < 2**47):
        raise ValueError("time out of range")


def _crc(first: bytes, rest: bytes | memoryview) -> int:
    return zlib.crc32(rest, zlib.crc32(first[:3]))


def _zigzag(value: int) -> int:
    return value << 1 if value >= 0 else (-value << 1) - 1


def _varint(value: int) -> bytes:
    out = bytearray()
    while value > _SEVEN_BITS:
        out.append(value & _SEVEN_BITS | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def _read_varint(payload: bytes, at: int) -> tuple[int, int]:
    value = 0
    for index, byte in enumerate(payload[at : at + _MAX_VARINT_BYTES]):
        value |= (byte & _SEVEN_BITS) << 7 * index
        if byte <= _SEVEN_BITS:
            return value, at + index + 1
    raise SegmentError("header", "a number has no end")


def _trace_bytes(traceparent: str | None) -> bytes:
    if traceparent is None:
        return b""
    match = _TRACEPARENT.fullmatch(traceparent)
    if match is None:
        raise ValueError(f"{traceparent!r} is not a traceparent of version 00")
    return bytes.fromhex(match[1] + match[2] + match[3])


def _read_trace(payload: bytes, at: int) -> tuple[str, int]:
    end = at + _TRACE_BYTES
    if len(payload) < end:
        raise SegmentError("header", "the traceparent is cut off")
    text = payload[at:end].hex()
    return f"00-{text[:32]}-{text[32:48]}-{text[48:]}", end


class _PerThread(threading.local):
    """zstd contexts must not be shared between threads."""

    def __init__(self) -> None:
        self.compressor: zstandard.ZstdCompressor | None = None
        self.decompressors: dict[int, zstandard.ZstdDecompressor] = {}


_contexts = _PerThread()
_dictionaries: dict[int, zstandard.ZstdCompressionDict] = {}


def _dictionary(dictionary_id: int) -> zstandard.ZstdCompressionDict:
    if dictionary_id not in _dictionaries:
        file = resources.files("protocol") / "dictionaries" / f"{dictionary_id}.zdict"
        if not file.is_file():
            raise SegmentError("compression", f"no dictionary {dictionary_id}")
        _dictionaries[dictionary_id] = zstandard.ZstdCompressionDict(file.read_bytes())
    return _dictionaries[dictionary_id]


def _compressor() -> zstandard.ZstdCompressor:
    if _contexts.compressor is None:
        _contexts.compressor = zstandard.ZstdCompressor(
            level=_LEVEL,
            dict_data=_dictionary(DICTIONARY_ID),
            write_checksum=False,
            write_content_size=True,
            write_dict_id=False,
        )
    return _contexts.compressor


def _decompressor(dictionary_id: int) -> zstandard.ZstdDecompressor:
    found = _contexts.decompressors.get(dictionary_id)
    if found is None:
        dictionary = _dictionary(dictionary_id) if dictionary_id else None
        found = zstandard.ZstdDecompressor(dict_data=dictionary, max_window_size=MAX_BODY_BYTES)
        _contexts.decompressors[dictionary_id] = found
    return found


def _decompress(body: bytes, dictionary_id: int) -> bytes:
    try:
        size = zstandard.frame_content_size(body)
        if not 0 <= size <= MAX_BODY_BYTES:
            raise SegmentError("compression", f"a body of {size} bytes is over {MAX_BODY_BYTES}")
        return _decompressor(dictionary_id).decompress(body, allow_extra_data=False)
    except zstandard.ZstdError as trouble:
        raise SegmentError("compression", str(trouble)) from trouble
