"""The broker's log as a witness: attacks on a real broker, each refused, told once, counted."""

import asyncio
import contextlib
import socket
import ssl
from collections.abc import AsyncIterator, Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import ClassVar

import aiomqtt
import pytest
from prometheus_client import REGISTRY

from cloud.devices.broker_log import BrokerLog, Refused, read_line
from cloud.devices.refusals import Refusals
from protocol.topics import MAX_PAYLOAD_BYTES
from tests.broker import Identity, OpenNats, Register, a_door, an_identity, connect_packet
from tests.certificates import TestAuthority, client_context
from tests.cloud.devices.conftest import eventually


class HastyNats(OpenNats):
    handshake_timeout_s: ClassVar[int] = 2


@pytest.fixture(scope="module")
def hasty(tmp_path_factory: pytest.TempPathFactory) -> Iterator[OpenNats]:
    """A broker that waits for two seconds only."""
    with HastyNats(tmp_path_factory.mktemp("hasty")) as server:
        yield server


@pytest.fixture
def register() -> Register:
    return Register()


@contextlib.asynccontextmanager
async def watching(server: OpenNats, register: Register) -> AsyncIterator[None]:
    """The door open to who is in the register, the log followed."""
    async with a_door(server, register):
        log = BrokerLog(server.log_path, Refusals())
        work = asyncio.create_task(log.run())
        yield
        work.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await work


@pytest.fixture
async def watched(hasty: OpenNats, register: Register) -> AsyncIterator[None]:
    async with watching(hasty, register):
        yield


@pytest.fixture
async def watched_calmly(nats: OpenNats, register: Register) -> AsyncIterator[None]:
    """As `watched`, on the broker that waits as long as a real one."""
    async with watching(nats, register):
        yield


def counted(what: str, reason: str) -> float:
    return (
        REGISTRY.get_sample_value("mobility_refused_total", {"what": what, "reason": reason}) or 0
    )


def total() -> float:
    found = [
        sample.value
        for metric in REGISTRY.collect()
        if metric.name == "mobility_refused"
        for sample in metric.samples
        if sample.name == "mobility_refused_total"
    ]
    return sum(found)


def talk(server: OpenNats, tls: ssl.SSLContext | None, say: bytes = b"") -> bytes:
    """Say something and hear until the broker hangs up."""
    with contextlib.ExitStack() as stack:
        link: socket.socket = stack.enter_context(
            socket.create_connection((server.mqtt_host, server.mqtt_port), 10)
        )
        heard = b""
        with contextlib.suppress(OSError):
            if tls is not None:
                link = stack.enter_context(tls.wrap_socket(link, server_hostname="127.0.0.1"))
            if say:
                link.sendall(say)
            while more := link.recv(1_024):
                heard += more
        return heard


def no_certificate(server: OpenNats, _: Identity, __: Path) -> bytes:
    return talk(server, client_context(server.ca_file), connect_packet("bike-7"))


def wrong_authority(server: OpenNats, _: Identity, folder: Path) -> bytes:
    shown = TestAuthority(folder / "other").device("bike-7")
    return talk(server, client_context(server.ca_file, shown), connect_packet("bike-7"))


def expired(server: OpenNats, _: Identity, folder: Path) -> bytes:
    who = an_identity(server, "bike-7", folder, lifetime=timedelta(seconds=1))
    # Its time is over when the broker, which takes whole seconds, says so.
    import time

    time.sleep(2.1)
    return talk(server, who.tls, connect_packet("bike-7"))


def plain_tcp(server: OpenNats, _: Identity, __: Path) -> bytes:
    return talk(server, None, connect_packet("bike-7"))


def silent_before_tls(server: OpenNats, _: Identity, __: Path) -> bytes:
    return talk(server, None)


def half_a_hello(server: OpenNats, _: Identity, __: Path) -> bytes:
    return talk(server, None, b"\x16\x03\x01")


def silent_after_tls(server: OpenNats, who: Identity, __: Path) -> bytes:
    return talk(server, who.tls)


def half_a_connect(server: OpenNats, who: Identity, __: Path) -> bytes:
    return talk(server, who.tls, connect_packet("bike-7")[:5])


def http_inside_tls(server: OpenNats, who: Identity, __: Path) -> bytes:
    return talk(server, who.tls, b"GET / HTTP/1.1\r\n\r\n")


def nonsense_inside_tls(server: OpenNats, who: Identity, __: Path) -> bytes:
    return talk(server, who.tls, b"\x00\xff" * 10)


Attack = Callable[[OpenNats, Identity, Path], bytes]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("attack", "reason"),
    [
        (no_certificate, "no_certificate"),
        (wrong_authority, "unknown_authority"),
        (expired, "expired"),
        (plain_tcp, "no_tls"),
        (silent_before_tls, "too_slow"),
        (half_a_hello, "too_slow"),
        (silent_after_tls, "too_slow"),
        (half_a_connect, "too_slow"),
        (http_inside_tls, "no_mqtt"),
        (nonsense_inside_tls, "no_mqtt"),
    ],
)
async def test_an_attack_is_cut_told_once_and_counted_once(
    hasty: OpenNats,
    register: Register,
    watched: None,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    attack: Attack,
    reason: str,
) -> None:
    who = register.enrol(hasty, "bike-7", tmp_path)
    before, whole = counted("connect", reason), total()
    assert await asyncio.to_thread(attack, hasty, who, tmp_path) in (b"", b"\x20\x02\x00\x05")
    await eventually(lambda: counted("connect", reason) == before + 1)
    await asyncio.sleep(0.4)
    told = [each.getMessage() for each in caplog.records if "refused" in each.getMessage()]
    assert (len(told), total() - whole) == (1, 1), told
    async with aiomqtt.Client(
        hasty.mqtt_host, hasty.mqtt_port, identifier="bike-7", tls_context=who.tls, timeout=5
    ) as mqtt:
        assert list(await mqtt.subscribe("mc/1/bike-7/cmd")) == [0]


@pytest.mark.parametrize(
    ("what", "topic", "size", "reason"),
    [
        ("publish", "mc/1/bike-8/up", 1, "not_its_topic"),
        ("publish", "mc/1/bike-7/cmd", 1, "not_its_topic"),
        ("publish", "mc/1/bike-7/up", MAX_PAYLOAD_BYTES + 2_000, "too_large"),
        ("subscribe", "mc/1/bike-8/cmd", 0, "not_its_topic"),
        ("subscribe", "#", 0, "not_its_topic"),
    ],
)
async def test_what_a_device_may_not_do_is_counted(
    nats: OpenNats,
    register: Register,
    watched_calmly: None,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    what: str,
    topic: str,
    size: int,
    reason: str,
) -> None:
    who = register.enrol(nats, "bike-7", tmp_path)
    before, whole = counted(what, reason), total()
    with contextlib.suppress(aiomqtt.MqttError):
        async with aiomqtt.Client(
            nats.mqtt_host, nats.mqtt_port, identifier="bike-7", tls_context=who.tls, timeout=5
        ) as mqtt:
            if what == "publish":
                await mqtt.publish("mc/1/bike-7/status", b"fine")
                await mqtt.publish(topic, b"x" * size)
                await asyncio.sleep(0.1)
            else:
                assert list(await mqtt.subscribe("mc/1/bike-7/cmd")) == [0]
                assert list(await mqtt.subscribe(topic)) == [128]
    await eventually(lambda: counted(what, reason) == before + 1)
    assert total() == whole + 1
    (told,) = [each.getMessage() for each in caplog.records if "refused" in each.getMessage()]
    assert told.startswith(f"refused {what} of bike-7: {reason.replace('_', ' ')}")


def test_a_line_of_a_cloud_user_or_of_nothing_wrong_says_nothing() -> None:
    for line in (
        "",
        '[1] 2026/11/24 11:18:09.06 [DBG] 127.0.0.1:5 - mid:28 - "bike-7" - Client connected',
        "[1] 2026/11/24 11:18:09.06 [DBG] 127.0.0.1:5 - mid:28 - TLS handshake complete",
        '[1] 2026/11/24 11:18:09.06 [ERR] 127.0.0.1:5 - cid:28 - Publish Violation - Subject "x"',
        "[1] 2026/11/24 11:18:09.06 [INF] Server is ready",
    ):
        assert read_line(line) is None


def test_a_line_names_the_device_else_the_address() -> None:
    begin = "[1] 2026/11/24 11:18:09.06 [ERR] 203.0.113.9:5 - mid:28 - "
    assert read_line(begin + '"bike-7" - Publish Violation - Subject "s.1.bike-8"') == Refused(
        "1:28",
        "publish",
        "not_its_topic",
        "bike-7",
        'Publish Violation - Subject "s.1.bike-8"; from 203.0.113.9',
    )
    assert read_line(begin + "TLS handshake error: tls: client didn't provide a certificate") == (
        Refused(
            "1:28",
            "connect",
            "no_certificate",
            "203.0.113.9",
            "tls: client didn't provide a certificate",
        )
    )


def test_a_gate_that_does_not_answer_is_a_refusal_too() -> None:
    line = (
        "[1] 2026/11/24 11:18:09.06 [DBG]"
        ' Authorization callout response not received in time on account "SYS"'
    )
    found = read_line(line)
    assert found is not None
    assert (found.what, found.reason) == ("connect", "gate_silent")


def test_it_begins_at_the_end_and_follows_a_rotation(tmp_path: Path) -> None:
    path = tmp_path / "nats.log"
    path.write_text("old\n")
    log = BrokerLog(path, Refusals())
    assert list(log.news()) == []
    with path.open("a") as file:
        file.write("one\ntw")
    assert list(log.news()) == ["one"]
    with path.open("a") as file:
        file.write("o\n")
    assert list(log.news()) == ["two"]
    path.rename(tmp_path / "nats.log.1")
    assert list(log.news()) == []
    path.write_text("three\n")
    assert list(log.news()) == ["three"]


def test_a_log_that_is_not_there_yet_is_read_from_its_begin(tmp_path: Path) -> None:
    log = BrokerLog(tmp_path / "nats.log", Refusals())
    assert list(log.news()) == []
    (tmp_path / "nats.log").write_text("one\n")
    assert list(log.news()) == ["one"]
