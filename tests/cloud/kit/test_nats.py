"""The embedded NATS: a pipe with two sides, permissions, and nothing worth keeping."""

import asyncio
import contextlib
import json
import re
import socket
import ssl
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import ClassVar

import aiomqtt
import nats as nats_py
import pytest
from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.errors import Error

from cloud.kit.engine import EngineError
from cloud.kit.nats import PARTITIONS, EmbeddedNats, MqttDoor
from protocol.topics import MAX_PAYLOAD_BYTES
from tests.broker import Identity, OpenNats, Register, a_door, an_identity
from tests.stories.one_vehicle import choose_ports


@pytest.fixture
def register() -> Register:
    """Who may connect."""
    return Register()


@pytest.fixture
async def known(
    nats: OpenNats, register: Register, tmp_path: Path
) -> AsyncIterator[Callable[[str], Identity]]:
    """Return a function that makes a device known; the door is open to those meanwhile."""
    async with a_door(nats, register):
        yield lambda device_id: register.enrol(nats, device_id, tmp_path)


@pytest.fixture
async def cloud(nats: OpenNats) -> AsyncIterator[Client]:
    async with cloud_at(nats) as client:
        yield client


@contextlib.asynccontextmanager
async def cloud_at(server: OpenNats) -> AsyncIterator[Client]:
    client = await nats_py.connect(server.url, reconnect_time_wait=0.05, error_cb=ignore)
    try:
        yield client
    finally:
        await client.close()


async def ignore(_: Exception) -> None:
    """A lost connection is what these tests are about."""


def device(server: EmbeddedNats, who: Identity) -> aiomqtt.Client:
    return aiomqtt.Client(
        server.mqtt_host,
        server.mqtt_port,
        identifier=who.device_id,
        tls_context=who.tls,
        timeout=5,
    )


@pytest.fixture
def own(tmp_path: Path) -> Iterator[OpenNats]:
    """A server that a test may kill, on ports that nobody takes while it is dead."""
    choose_ports(tmp_path / "data")
    with OpenNats(tmp_path / "data") as server:
        yield server


async def everything(client: Client, subject: str, pause_s: float = 0.3) -> list[Msg]:
    """Return what arrives on a subject until nothing came for a while."""
    subscription = await client.subscribe(subject)
    found = []
    with contextlib.suppress(TimeoutError, Error):
        while True:
            found.append(await subscription.next_msg(timeout=pause_s))
    return found


async def until(condition: Callable[[], bool]) -> None:
    for _ in range(500):
        if condition():
            return
        await asyncio.sleep(0.02)
    pytest.fail("it did not happen within 10 s")


Known = Callable[[str], Identity]


@pytest.mark.parametrize(("leaf", "family"), [("up", "s"), ("fact", "f")])
async def test_what_a_device_sends_arrives_on_its_partition(
    nats: OpenNats, cloud: Client, known: Known, leaf: str, family: str
) -> None:
    arriving = asyncio.create_task(everything(cloud, f"{family}.*.bike-7"))
    async with device(nats, known("bike-7")) as mqtt:
        for payload in (b"one", b"two"):
            await mqtt.publish(f"mc/1/bike-7/{leaf}", payload)
    messages = await arriving
    assert [message.data for message in messages] == [b"one", b"two"]
    assert len({message.subject for message in messages}) == 1


async def test_devices_spread_over_all_partitions(cloud: Client) -> None:
    arriving = asyncio.create_task(everything(cloud, "s.*.*"))
    await asyncio.sleep(0)
    for number in range(300):
        await cloud.publish(f"mc.1.scooter-{number}.up", b"x")
    partitions = {message.subject.split(".")[1] for message in await arriving}
    assert partitions == {str(number) for number in range(PARTITIONS)}


async def test_status_goes_up_and_acks_come_down(
    nats: OpenNats, cloud: Client, known: Known
) -> None:
    arriving = asyncio.create_task(everything(cloud, "mc.1.bike-7.status"))
    async with device(nats, known("bike-7")) as mqtt:
        for leaf in ("ack", "cmd", "twin"):
            assert list(await mqtt.subscribe(f"mc/1/bike-7/{leaf}")) == [0]
        await mqtt.publish("mc/1/bike-7/status", b"hello")
        assert [message.data for message in await arriving] == [b"hello"]
        await cloud.publish("mc.1.bike-7.ack", b"thanks")
        async with asyncio.timeout(5):
            message = await anext(aiter(mqtt.messages))
    assert (str(message.topic), message.payload) == ("mc/1/bike-7/ack", b"thanks")


@pytest.mark.parametrize(
    ("topic", "refused"),
    [
        ("mc/1/bike-7/cmd", "mc.1.bike-7.cmd"),
        ("mc/1/bike-7/ack", "mc.1.bike-7.ack"),
        ("mc/1/bike-8/up", "s.*.bike-8"),
        ("mc/1/bike-8/fact", "f.*.bike-8"),
        ("mc/1/bike-8/status", "mc.1.bike-8.status"),
        ("s/3/bike-8", "s.3.bike-8"),
        ("other/thing", "other.thing"),
        ("$JS/API/INFO", "$JS.API.INFO"),
        ("$SYS/REQ/USER/AUTH", "$SYS.REQ.USER.AUTH"),
    ],
)
async def test_a_device_publishes_on_no_topic_but_its_own(
    nats: OpenNats, cloud: Client, known: Known, topic: str, refused: str
) -> None:
    told_before = len(nats.log_path.read_text())
    arriving = asyncio.create_task(everything(cloud, refused))
    async with device(nats, known("bike-7")) as mqtt:
        await mqtt.publish(topic, b"forged")
    assert await arriving == []
    line = f'"bike-7" - Publish Violation - Subject "{refused}"'
    pattern = re.escape(line).replace(r"\*", "[0-9]+")
    assert re.search(pattern, nats.log_path.read_text()[told_before:])


@pytest.mark.parametrize(
    "topic",
    ["s/#", "s/+/+", "f/+/+", "mc/1/bike-7/up", "#", "mc/1/bike-8/cmd", "mc/1/+/cmd", "$SYS/#"],
)
async def test_a_device_listens_to_no_topic_but_its_own(
    nats: OpenNats, known: Known, topic: str
) -> None:
    async with device(nats, known("bike-7")) as mqtt:
        codes = await mqtt.subscribe(topic)
    assert list(codes) == [128]


class Impatient(OpenNats):
    handshake_timeout_s: ClassVar[int] = 1


@pytest.mark.slow
async def test_nobody_connects_when_no_gate_answers(register: Register, tmp_path: Path) -> None:
    with Impatient(tmp_path / "data") as server:
        who = register.enrol(server, "bike-7", tmp_path)
        with pytest.raises(aiomqtt.MqttError):
            async with device(server, who):
                pass
        async with a_door(server, register), device(server, who):
            pass


async def test_a_new_certificate_is_taken_by_the_running_server(
    own: OpenNats, register: Register, tmp_path: Path
) -> None:
    who, pid = register.enrol(own, "bike-7", tmp_path), own.pid
    assert not own.renew_certificate()
    async with a_door(own, register), cloud_at(own) as cloud:
        before = await asyncio.to_thread(shown_by, own, who)
        (own.folder.path / "pki" / "broker.pem").unlink()
        assert own.renew_certificate()
        for _ in range(100):
            if await asyncio.to_thread(shown_by, own, who) != before:
                break
            await asyncio.sleep(0.02)
        else:
            pytest.fail("the old certificate is still shown")
        async with device(own, who):
            assert (own.pid, cloud.stats["reconnects"]) == (pid, 0)


def shown_by(server: EmbeddedNats, who: Identity) -> bytes | None:
    plain = socket.create_connection((server.mqtt_host, server.mqtt_port), 5)
    with who.tls.wrap_socket(plain, server_hostname=server.mqtt_host) as link:
        return link.getpeercert(binary_form=True)


async def test_without_a_certificate_nobody_gets_as_far_as_mqtt(nats: OpenNats) -> None:
    context = ssl.create_default_context(cafile=str(nats.ca_file))
    with pytest.raises((ssl.SSLError, OSError)):
        await asyncio.to_thread(_first_answer, nats, context)


def _first_answer(server: EmbeddedNats, context: ssl.SSLContext) -> bytes:
    plain = socket.create_connection((server.mqtt_host, server.mqtt_port), 5)
    with context.wrap_socket(plain, server_hostname=server.mqtt_host) as link:
        return link.recv(1)


async def test_a_stranger_finds_no_door_on_the_nats_side(nats: OpenNats, known: Known) -> None:
    known("bike-7")
    for url in (
        f"nats://127.0.0.1:{nats.ports['port']}",
        f"nats://ingest:wrong@127.0.0.1:{nats.ports['port']}",
    ):
        client = Client()
        with pytest.raises(Error):
            await client.connect(url, allow_reconnect=False, error_cb=ignore)
        await client.close()


@pytest.mark.parametrize(
    ("user", "may", "may_not"),
    [
        ("ingest", "mc.1.bike-7.ack", "mc.1.bike-7.cmd"),
        ("commands", "mc.1.bike-7.cmd", "mc.1.bike-7.ack"),
        ("commands", "mc.1.bike-7.twin", "mc.1.bike-7.up"),
    ],
)
async def test_a_cloud_user_publishes_what_is_its_business(
    nats: OpenNats, cloud: Client, user: str, may: str, may_not: str
) -> None:
    arriving = asyncio.create_task(everything(cloud, ">"))
    client = await nats_py.connect(nats.url_of(user), error_cb=ignore)
    await client.publish(may_not, b"no")
    await client.publish(may, b"yes")
    await client.flush()
    ours = [message for message in await arriving if message.data in (b"yes", b"no")]
    await client.close()
    assert [(message.subject, message.data) for message in ours] == [(may, b"yes")]


@pytest.mark.parametrize(
    ("user", "subject", "hears"),
    [
        ("ingest", "s.*.*", True),
        ("ingest", "mc.1.*.status", True),
        ("ingest", "mc.1.*.cmd", False),
        ("ingest", ">", False),
        ("commands", "mc.1.*.cmd", False),
        ("gate", "s.*.*", False),
        ("gate", "$SYS.>", False),
    ],
)
async def test_a_cloud_user_hears_what_is_its_business(
    nats: OpenNats, user: str, subject: str, hears: bool
) -> None:
    troubles: list[Exception] = []

    async def note(trouble: Exception) -> None:
        troubles.append(trouble)

    client = await nats_py.connect(nats.url_of(user), error_cb=note)
    await client.subscribe(subject)
    await client.flush()
    await asyncio.sleep(0.05)
    await client.close()
    assert bool(troubles) is not hears


async def test_the_largest_payload_passes_and_a_larger_one_is_refused(
    nats: OpenNats, cloud: Client, known: Known
) -> None:
    who = known("bike-8")
    arriving = asyncio.create_task(everything(cloud, "s.*.bike-8"))
    async with device(nats, who) as mqtt:
        await mqtt.publish("mc/1/bike-8/up", b"x" * MAX_PAYLOAD_BYTES)
    with contextlib.suppress(aiomqtt.MqttError):
        async with device(nats, who) as mqtt:
            await mqtt.publish("mc/1/bike-8/up", b"x" * (MAX_PAYLOAD_BYTES + 2_000))
    assert [len(message.data) for message in await arriving] == [MAX_PAYLOAD_BYTES]


async def test_the_longest_device_id_leaves_room_for_the_largest_payload(
    nats: OpenNats, cloud: Client, known: Known
) -> None:
    name = "d" * 36
    arriving = asyncio.create_task(everything(cloud, f"f.*.{name}"))
    async with device(nats, known(name)) as mqtt:
        await mqtt.publish(f"mc/1/{name}/fact", b"x" * MAX_PAYLOAD_BYTES)
    assert [len(message.data) for message in await arriving] == [MAX_PAYLOAD_BYTES]


async def test_both_sides_come_back_after_a_kill_with_the_store_wiped(
    own: OpenNats, register: Register, tmp_path: Path
) -> None:
    who = register.enrol(own, "bike-7", tmp_path)
    async with a_door(own, register) as door, cloud_at(own) as cloud:
        subscription = await cloud.subscribe("s.*.bike-7")
        async with device(own, who) as mqtt:
            await mqtt.publish("mc/1/bike-7/up", b"before")
            assert (await subscription.next_msg(timeout=5)).data == b"before"
            ports, pid = own.ports, own.pid
            await asyncio.to_thread(own.wipe_store)
            with pytest.raises(aiomqtt.MqttError):
                await asyncio.wait_for(anext(aiter(mqtt.messages)), timeout=10)
        assert (own.ports, own.pid != pid) == (ports, True)
        await until(lambda: cloud.is_connected and door.client.is_connected)
        await asyncio.gather(cloud.flush(), door.client.flush())
        async with device(own, who) as mqtt:
            await mqtt.publish("mc/1/bike-7/up", b"after")
            assert (await subscription.next_msg(timeout=5)).data == b"after"


async def test_a_killed_server_is_watched_back_to_life_on_its_ports(own: OpenNats) -> None:
    own.watch()
    ports, pid = own.ports, own.pid
    own.kill()
    await until(lambda: own.pid not in (None, pid) and own.serves())
    assert own.ports == ports


async def test_a_second_launcher_adopts_the_running_server(own: OpenNats) -> None:
    second = OpenNats(own.folder.path)
    second.start()
    assert (second.pid, second.url) == (own.pid, own.url)
    second.stop()
    await until(lambda: own.pid is None)


async def shakes_hands(server: EmbeddedNats, called: str, who: Identity) -> bool:
    """Whether a device finds this name in the certificate of the MQTT side."""
    try:
        _, writer = await asyncio.open_connection(
            "127.0.0.1", server.mqtt_port, ssl=who.tls, server_hostname=called
        )
    except ssl.SSLCertVerificationError:
        return False
    writer.close()
    with contextlib.suppress(OSError):
        await writer.wait_closed()
    return True


async def test_vehicles_elsewhere_find_the_names_they_call_it_in_the_certificate(
    tmp_path: Path,
) -> None:
    data, names = tmp_path / "data", ("broker.example", "192.0.2.7")
    with EmbeddedNats(data, door=MqttDoor("0.0.0.0", free_port(), names)) as server:
        who = an_identity(server, "bike-7", tmp_path)
        for name in (*names, "127.0.0.1", "localhost"):
            assert await shakes_hands(server, name, who)
        assert not await shakes_hands(server, "other.example", who)
        told = server.broker
        assert (told.mqtt_host, told.mqtt_port) == ("broker.example", server.door.port)
        beside = EmbeddedNats(data)
        assert (beside.serves(), beside.broker) == (True, told)


async def test_a_new_name_is_taken_by_the_running_server(own: OpenNats, tmp_path: Path) -> None:
    who = an_identity(own, "bike-7", tmp_path)
    assert not await shakes_hands(own, "broker.example", who)
    renamed = OpenNats(own.folder.path, door=MqttDoor(names=("broker.example",)))
    renamed.start()
    assert renamed.pid == own.pid
    for _ in range(200):
        if await shakes_hands(renamed, "broker.example", who):
            return
        await asyncio.sleep(0.05)
    pytest.fail("the name did not come")


def test_a_port_for_vehicles_that_is_taken_is_told_and_not_stepped_around(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        door = MqttDoor(port=taken.getsockname()[1])
        with pytest.raises(EngineError, match="choose another with --mqtt HOST:PORT"):
            EmbeddedNats(tmp_path / "data", door=door).start()
    with EmbeddedNats(tmp_path / "data", door=door) as server:
        assert server.mqtt_port == door.port


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as found:
        return int(found.getsockname()[1])


def test_a_server_left_by_an_older_configuration_is_replaced(
    own: OpenNats, monkeypatch: pytest.MonkeyPatch
) -> None:
    newer = OpenNats(own.folder.path)
    monkeypatch.setattr(newer, "_config", lambda: OpenNats._config(newer) + "\n")
    newer.start()
    assert own.pid is None
    assert newer.pid is not None
    newer.stop()


def test_any_folder_name_will_do(tmp_path: Path) -> None:
    odd = tmp_path / 'dü "x" \\ ü\t$HOME #; {}'
    with EmbeddedNats(odd) as server:
        assert server.serves()
        assert server.store.is_dir()
    (config,) = (odd / "nats").glob("*.conf")
    assert json.loads(config.read_text())["jetstream"]


def test_a_stranger_on_our_ports_is_not_taken_for_our_server(own: OpenNats, tmp_path: Path) -> None:
    own.kill()
    stranger = EmbeddedNats(tmp_path / "stranger")
    stranger.folder.choose_ports(stranger.name, own.ports)
    with stranger:
        assert stranger.ports == own.ports
        assert (stranger.serves(), own._is_ready()) == (True, False)
        with pytest.raises(EngineError, match="NATS stopped while starting"):
            own._relaunch()


async def test_a_death_and_a_new_start_are_one_calm_line(
    own: OpenNats, caplog: pytest.LogCaptureFixture
) -> None:
    pid = own.pid
    own.watch()
    own.kill()
    await until(lambda: own.pid not in (None, pid) and own.serves() and bool(caplog.records))
    told = [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]
    assert [re.sub(r"[0-9.]+ s$", "N s", line) for line in told] == [
        "NATS ended (killed by signal 9); started again on the same ports in N s"
    ]


async def test_a_server_that_does_not_come_back_is_one_line_an_attempt(
    own: OpenNats, caplog: pytest.LogCaptureFixture
) -> None:
    own.kill()
    with socket.create_server(("127.0.0.1", own.ports["port"])):
        own.watch()
        await until(lambda: bool(caplog.records))
    told = caplog.records[0]
    assert told.getMessage().startswith(
        "NATS ended (killed by signal 9) and does not start again (NATS stopped while starting"
    )
    assert told.exc_info is None
    await until(own.serves)
