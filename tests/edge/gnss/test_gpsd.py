"""gpsd as the source: its reports, and a small server that speaks as it does."""

import asyncio
import itertools
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.controllers.base import ControllerError
from edge.gnss import Fix, Gnss
from edge.gnss.fix import Believer
from edge.gnss.gpsd import LONGEST_BYTES, Address, GpsdLink, Reports, address_of
from edge.gnss.opening import open_gnss

VERSION = {"class": "VERSION", "release": "3.25", "proto_major": 3, "proto_minor": 15}
DEVICES = {"class": "DEVICES", "devices": [{"class": "DEVICE", "path": "/dev/ttyS2"}]}
SKY = {"class": "SKY", "hdop": 1.1, "pdop": 1.9, "satellites": [{"PRN": 4, "used": True}]}
GST = {"class": "GST", "time": "2026-12-01T12:00:00.000Z", "lat": 3.0, "lon": 4.0, "alt": 6.0}
TPV = {
    "class": "TPV",
    "device": "/dev/ttyS2",
    "mode": 3,
    "time": "2026-12-01T12:00:00.000Z",
    "lat": 52.520008,
    "lon": -13.404954,
    "altHAE": 73.6,
    "speed": 5.0,
    "track": 271.5,
    "eph": 14.0,
}


def lines(*reports: dict[str, Any]) -> bytes:
    return b"".join(json.dumps(report).encode() + b"\r\n" for report in reports)


def judged(*reports: dict[str, Any]) -> tuple[Fix | None, Believer]:
    believer, found = Believer(), None
    for sentence in Reports().feed(lines(*reports)):
        found = believer.take(sentence, 1.0) or found
    return found, believer


def test_a_report_says_what_sentences_say() -> None:
    fix, _ = judged(VERSION, DEVICES, SKY, GST, TPV)
    assert fix is not None
    assert (fix.latitude_deg, fix.longitude_deg) == (52.520008, -13.404954)
    assert (fix.speed_kmh, fix.hdop, fix.accuracy_m) == (18.0, 1.1, 5.0)
    assert (fix.altitude_m, fix.heading_deg) == (73.6, 271.5)


def test_without_gst_the_error_that_gpsd_guesses_counts() -> None:
    fix, _ = judged(SKY, TPV)
    assert fix is not None
    assert fix.accuracy_m == pytest.approx(7.0)


@pytest.mark.parametrize(
    ("changed", "reason"),
    [
        ({"mode": 1}, "no_fix"),
        ({"mode": 0, "lat": None}, "no_fix"),
        ({"time": "2007-04-17T12:00:00.000Z"}, "date"),
        ({"lat": None}, "incomplete"),
        ({"lat": 91}, "incomplete"),
        ({"speed": None}, "incomplete"),
    ],
)
def test_its_word_is_judged_by_the_same_rules(changed: dict[str, Any], reason: str) -> None:
    fix, believer = judged(SKY, TPV | changed)
    assert fix is None
    assert believer.refused[reason] == 1


def test_a_small_sky_is_not_believed_whoever_says_so() -> None:
    fix, believer = judged(SKY | {"hdop": 5.1}, TPV)
    assert fix is None
    assert believer.refused["hdop"] == 1


def test_what_is_no_report_is_counted_and_the_next_one_is_read() -> None:
    reports = Reports()
    assert reports.feed(b'{"class":"TPV","mode":"x"}\nhello\n\xff\n[]\n') == []
    assert reports.bad["fields"] == 4
    assert reports.feed(b"x" * (LONGEST_BYTES + 1)) == []
    assert reports.bad["length"] == 1
    assert len(reports.feed(b"\n" + lines(GST, TPV))) == 3


def test_numbers_and_times_that_nobody_can_use_are_no_fix_and_no_end() -> None:
    huge = int("9" * 400)
    for field in ("lat", "lon", "altHAE", "speed", "track", "eph"):
        fix, _ = judged(SKY, TPV | {field: huge})
        assert fix is None or field in ("altHAE", "track", "eph")
    for time in ("0001-01-01T00:00:00+14:00", "tomorrow", "2026-12-01T12:00:00", 7):
        assert judged(SKY, TPV | {"time": time})[0] is None


@given(cuts=st.lists(st.integers(0, 900), max_size=8))
def test_slicing_changes_nothing(cuts: list[int]) -> None:
    stream = lines(VERSION, SKY, GST, TPV)
    edges = [0, *sorted(min(cut, len(stream)) for cut in cuts), len(stream)]
    reports, whole = Reports(), Reports().feed(stream)
    parts = [stream[a:b] for a, b in itertools.pairwise(edges)]
    assert [one for part in parts for one in reports.feed(part)] == whole


@given(noise=st.binary(max_size=300))
def test_noise_is_survived_and_forgotten(noise: bytes) -> None:
    reports = Reports()
    reports.feed(noise)
    assert len(reports.feed(b"\n" + lines(SKY, TPV))) >= 3


def test_an_address_has_the_usual_port_and_may_name_a_receiver() -> None:
    assert address_of("gpsd://127.0.0.1") == Address("127.0.0.1", 2947, "")
    assert address_of("gpsd://[::1]:3000/dev/ttyS2") == Address("::1", 3000, "/dev/ttyS2")


@pytest.mark.parametrize(
    "wrong", ["gpsd://", "gpsd:host", "gpsd://host:70000", "gpsd://host:x", "gpsd://a?b=c"]
)
def test_a_wrong_address_is_a_sentence_that_says_what_is_wanted(wrong: str) -> None:
    with pytest.raises(ControllerError, match="write gpsd://HOST:PORT"):
        open_gnss(wrong, baud=9600)


class Gpsd:
    """A server that greets, waits for ?WATCH, and then reports once."""

    def __init__(self) -> None:
        self.watched: list[str] = []
        self.writers: list[asyncio.StreamWriter] = []

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(lines(VERSION))
        self.writers.append(writer)
        self.watched.append((await reader.readline()).decode())
        writer.write(lines(DEVICES, SKY, GST, TPV))

    def hang_up(self) -> None:
        for writer in self.writers:
            writer.close()
        self.writers.clear()


@asynccontextmanager
async def listening(port: int) -> AsyncIterator[Gnss]:
    link = GpsdLink(Address("127.0.0.1", port, "/dev/ttyS2"), backoff_s=(0.01, 0.02))
    gnss = Gnss(link, reader=Reports())
    work = asyncio.create_task(gnss.run())
    try:
        yield gnss
    finally:
        work.cancel()
        await asyncio.wait({work})


async def until(true: Callable[[], bool]) -> None:
    async with asyncio.timeout(10):
        while not true():  # noqa: ASYNC110 - what is waited for has no event
            await asyncio.sleep(0.01)


async def test_a_gpsd_is_watched_and_again_after_it_has_hung_up() -> None:
    gpsd = Gpsd()
    server = await asyncio.start_server(gpsd.serve, "127.0.0.1", 0)
    async with server, listening(server.sockets[0].getsockname()[1]) as gnss:
        await until(lambda: gnss.seen() is not None)
        asked = json.loads(gpsd.watched[0].removeprefix("?WATCH=").rstrip(";\n"))
        assert asked == {"enable": True, "json": True, "device": "/dev/ttyS2"}
        gpsd.hang_up()
        await until(lambda: gnss.trouble is not None)
        assert "hung up" in str(gnss.trouble)
        await until(lambda: len(gpsd.watched) == 2)
        await until(lambda: gnss.trouble is None)
        gpsd.hang_up()


async def test_a_gpsd_that_is_not_there_is_told_with_what_to_look_at() -> None:
    server = await asyncio.start_server(lambda _r, w: w.close(), "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    server.close()
    await server.wait_closed()
    async with listening(port) as gnss:
        await until(lambda: gnss.trouble is not None)
        assert "check that gpsd runs" in str(gnss.trouble)
