"""One connection over TLS: whom it lets in, whom it believes, and in which words it fails."""

import asyncio
import secrets
import socket
import ssl
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from aiomqtt import MqttCodeError
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.reasoncodes import ReasonCode

from edge.clock import ClockOffset, SystemClock
from edge.identity.keys import FileKeyStore
from edge.journal import Journal
from edge.settings import Mqtt
from edge.uplink.link import (
    CertificateRefusedError,
    ClosedByBrokerError,
    LinkLostError,
)
from edge.uplink.mqtt import connect, knock, lost
from edge.uplink.session import About
from edge.uplink.uplink import Uplink
from tests.certificates import Certificate, TestAuthority
from tests.edge.broker import TlsBroker
from tests.edge.identity.stores import enrolled, holding


@pytest.fixture
def device_id() -> str:
    return f"tls-{secrets.token_hex(4)}"


@pytest.fixture
def keys(tmp_path: Path, broker: TlsBroker, device_id: str) -> FileKeyStore:
    return enrolled(tmp_path / "identity", broker.authority, device_id)


async def refusal(mqtt: Mqtt, keys: FileKeyStore, device_id: str) -> LinkLostError:
    with pytest.raises(LinkLostError) as caught:
        async with connect(mqtt, device_id, b"", keys):
            pass
    return caught.value


async def test_our_certificate_lets_us_in_without_a_delay_in_the_socket(
    broker: TlsBroker, keys: FileKeyStore, device_id: str
) -> None:
    async with connect(broker.mqtt, device_id, b"", keys) as link:
        open_socket = link._client._client.socket()
        assert isinstance(open_socket, ssl.SSLSocket)
        assert open_socket.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
    await knock(broker.mqtt, keys)


Bad = Callable[[TestAuthority, TestAuthority], Certificate]
BAD: dict[str, tuple[Bad, str]] = {
    "expired": (lambda ours, _other: ours.expired("demo-001"), "it has expired"),
    "not-yet": (
        lambda ours, _other: ours.device(
            "demo-001", not_before=datetime.now(UTC) + timedelta(hours=1)
        ),
        "it ",
    ),
    "stranger": (lambda _ours, other: other.device("demo-001"), "it is of another authority"),
    "server": (lambda ours, _other: ours.server(), "it is not made for this"),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", BAD)
async def test_a_certificate_that_is_refused_is_told_with_the_reason(
    tmp_path: Path, broker: TlsBroker, name: str
) -> None:
    make, says = BAD[name]
    shown = make(broker.authority, TestAuthority(tmp_path / "other", "another CA"))
    keys = holding(tmp_path / "identity", shown, broker.authority.ca_pem)
    error = await refusal(broker.mqtt, keys, "demo-001")
    assert isinstance(error, CertificateRefusedError)
    assert says in str(error)
    with pytest.raises(CertificateRefusedError) as knocked:
        await knock(broker.mqtt, keys)
    assert str(knocked.value) == str(error)


async def test_a_broker_of_another_authority_is_not_believed(
    tmp_path: Path, broker: TlsBroker, device_id: str
) -> None:
    other = TestAuthority(tmp_path / "other", "another CA")
    keys = enrolled(tmp_path / "identity", other, device_id)
    assert "we do not trust its certificate" in str(await refusal(broker.mqtt, keys, device_id))
    with pytest.raises(LinkLostError, match="we do not trust its certificate"):
        await knock(broker.mqtt, keys)


@pytest.mark.slow
async def test_a_broker_of_another_name_is_not_believed(tmp_path: Path, device_id: str) -> None:
    server = TlsBroker(tmp_path / "broker")
    server.shown = server.authority.server(("broker.example",))
    keys = enrolled(tmp_path / "identity", server.authority, device_id)
    server.start()
    try:
        error = await refusal(server.mqtt, keys, device_id)
        assert "we do not trust its certificate (IP address mismatch" in str(error)
        server.present(server.authority.server())
        async with connect(server.mqtt, device_id, b"", keys):
            pass
    finally:
        server.kill()


async def test_without_a_certificate_nothing_is_sent(
    tmp_path: Path, broker: TlsBroker, device_id: str
) -> None:
    error = await refusal(broker.mqtt, FileKeyStore(tmp_path / "none"), device_id)
    assert "the vehicle has to enrol" in str(error)


async def test_a_key_that_others_may_read_is_not_used(
    broker: TlsBroker, keys: FileKeyStore, device_id: str
) -> None:
    (keys.folder / "key.pem").chmod(0o640)
    assert "may be read by others" in str(await refusal(broker.mqtt, keys, device_id))


async def test_a_broker_that_is_not_there_is_a_lost_link(
    keys: FileKeyStore, device_id: str
) -> None:
    assert "nothing listens there" in str(await refusal(Mqtt("127.0.0.1", 1), keys, device_id))


async def test_a_server_without_tls_is_a_lost_link(
    broker: TlsBroker, keys: FileKeyStore, device_id: str
) -> None:
    error = await refusal(Mqtt("127.0.0.1", broker.port), keys, device_id)
    assert "no TLS with it (wrong version number)" in str(error)


async def test_a_refused_subscription_is_noticed(broker: TlsBroker, keys: FileKeyStore) -> None:
    error = await refusal(broker.mqtt, keys, "not/a/device")
    assert "refused the subscription" in str(error)


async def test_another_client_with_our_id_is_a_connection_that_the_broker_closed(
    broker: TlsBroker, keys: FileKeyStore, device_id: str
) -> None:
    async with (
        connect(broker.mqtt, device_id, b"", keys) as first,
        connect(broker.mqtt, device_id, b"", keys),
    ):
        with pytest.raises(ClosedByBrokerError, match="the broker closed the connection"):
            await asyncio.wait_for(first.receive(), 10)


@pytest.mark.parametrize(
    ("code", "kind", "says"),
    [
        (135, CertificateRefusedError, "it is revoked or not this device's, or the cloud cannot"),
        (128, ClosedByBrokerError, "the broker closed the connection"),
        (136, LinkLostError, "the broker refuses us (server unavailable)"),
    ],
)
def test_a_code_of_the_broker_has_its_words(
    code: int, kind: type[LinkLostError], says: str
) -> None:
    told = lost(MqttCodeError(ReasonCode(PacketTypes.CONNACK, identifier=code)))
    assert type(told) is kind
    assert says in str(told)


@pytest.mark.slow
async def test_the_agent_says_once_that_its_certificate_is_refused_and_what_to_do(
    tmp_path: Path, broker: TlsBroker, caplog: pytest.LogCaptureFixture
) -> None:
    shown = broker.authority.expired("demo-001")
    keys = holding(tmp_path / "identity", shown, broker.authority.ca_pem)
    clock = SystemClock()
    journal = await Journal.open(tmp_path / "j.db", clock, boot_id=7)
    about, offset = About("demo-001", "jbd_uart"), ClockOffset(clock)
    uplink = Uplink(broker.mqtt, about, keys=keys, journal=journal, clock=clock, offset=offset)
    work = asyncio.create_task(uplink.run())
    async with asyncio.timeout(15):
        while not any("refuses" in each.getMessage() for each in caplog.records):  # noqa: ASYNC110
            await asyncio.sleep(0.05)
    work.cancel()
    await asyncio.wait({work})
    await journal.close()
    until = shown.not_after.strftime("%Y-%m-%d %H:%M:%S UTC")
    (line,) = [each.getMessage() for each in caplog.records if "refuses" in each.getMessage()]
    assert f"it refuses our certificate (good until {until}): it has expired;" in line
    assert "mobility-cloud devices claim demo-001" in line
