"""Builders: sealed segments and arrivals as a device would send them."""

import zlib
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime

import msgspec
import zstandard

from cloud.devices.batch import Arrival
from protocol.segment import Fact, _split, seal_facts, seal_signals

NOON = datetime(2026, 7, 1, 12, 0, tzinfo=UTC)
NOON_MS = int(NOON.timestamp() * 1000)
EPOCH = 0xA1B2C3D4E5F60718
EPOCH_HEX = "a1b2c3d4e5f60718"
DEVICE = "demo-001"


def signals(
    first: int = 1,
    n: int = 10,
    *,
    start_ms: int = NOON_MS - 60_000,
    every_ms: int = 1_000,
    columns: Mapping[int, Sequence[int | None]] | None = None,
    floor: int = 1,
    epoch: int = EPOCH,
    offset_ms: int = 0,
) -> bytes:
    return seal_signals(
        epoch=epoch,
        first_seq=first,
        floor_seq=floor,
        boot_id=7,
        clock_offset_ms=offset_ms,
        times_ms=[start_ms + index * every_ms for index in range(n)],
        columns=columns or {1: [3_600 + first + i for i in range(n)], 3: [800] * n},
    )


def facts(
    first: int = 1,
    kinds: Sequence[str] = ("battery.offline",),
    *,
    epoch: int = EPOCH,
    start_ms: int = NOON_MS - 5_000,
    offset_ms: int = 0,
) -> bytes:
    return seal_facts(
        epoch=epoch,
        first_seq=first,
        floor_seq=1,
        boot_id=7,
        clock_offset_ms=offset_ms,
        t0_ms=start_ms,
        facts=[Fact(kind, 1, index * 10, 1_000, {"n": index}) for index, kind in enumerate(kinds)],
    )


def arrival(payload: bytes, device_id: str = DEVICE, at: datetime = NOON) -> Arrival:
    """Return a payload as it came off the link."""
    return Arrival(device_id, payload, at, 0.0)


def spoiled(payload: bytes) -> bytes:
    """Return the segment with a body that does not decompress, under a checksum that fits."""
    return resealed(payload, payload[-20:], bytes(20))


def bomb() -> bytes:
    """Return a segment of 20 kB whose body says, truly, that it holds 200 MB."""
    payload = signals(1, 10)
    body = zstandard.ZstdCompressor().compress(bytes(200_000_000))
    header_end = _split(payload)[1]
    start = bytes((payload[0], payload[1] | 0b1000, 0)) + payload[3:header_end]
    return resealed(start + body, b"", b"")


def hostile(first: int = 1, *, columns: int = 200) -> bytes:
    """Return a segment of under 1 kB that opens to 4,096 values of each of many unknown signals."""
    body = msgspec.msgpack.encode([[0] * 4095, {i: [0] * 4096 for i in range(900, 900 + columns)}])
    payload = signals(first, 4096, columns={1: [5] * 4096})
    start = bytes((payload[0], payload[1], 0)) + payload[3 : _split(payload)[1]]
    return resealed(start + zstandard.compress(body), b"", b"")


def resealed(payload: bytes, old: bytes, new: bytes) -> bytes:
    """Replace bytes at the end and put the checksum right again."""
    assert payload.endswith(old)
    changed = payload[: len(payload) - len(old)] + new
    crc = zlib.crc32(changed[7:], zlib.crc32(changed[:3]))
    return changed[:3] + crc.to_bytes(4, "big") + changed[7:]
