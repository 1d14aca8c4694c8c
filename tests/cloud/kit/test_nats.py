"""The embedded NATS: a pipe with two sides, permissions, and nothing worth keeping."""

import asyncio
import contextlib
import json
import re
import socket
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import aiomqtt
import nats as nats_py
import pytest
from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.errors import Error

from cloud.kit.engine import EngineError
from cloud.kit.nats import PARTITIONS, EmbeddedNats
from protocol.topics import MAX_PAYLOAD_BYTES


@pytest.fixture
async def cloud(nats: EmbeddedNats) -> AsyncIterator[Client]:
    async with cloud_at(nats) as client:
        yield client


@contextlib.asynccontextmanager
async def cloud_at(server: EmbeddedNats) -> AsyncIterator[Client]:
    client = await nats_py.connect(server.url, reconnect_time_wait=0.05, error_cb=ignore)
    try:
        yield client
    finally:
        await client.close()


async def ignore(_: Exception) -> None:
    """A lost connection is what these tests are about."""


def device(server: EmbeddedNats) -> aiomqtt.Client:
    return aiomqtt.Client(
        server.mqtt_host,
        server.mqtt_port,
        username=server.device_username,
        password=server.device_password,
        timeout=5,
    )


@pytest.fixture
def own(tmp_path: Path) -> Iterator[EmbeddedNats]:
    """A server that a test may kill."""
    with EmbeddedNats(tmp_path / "data") as server:
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


@pytest.mark.parametrize(("leaf", "family"), [("up", "s"), ("fact", "f")])
async def test_what_a_device_sends_arrives_on_its_partition(
    nats: EmbeddedNats, cloud: Client, leaf: str, family: str
) -> None:
    arriving = asyncio.create_task(everything(cloud, f"{family}.*.bike-7"))
    async with device(nats) as mqtt:
        for payload in (b"one", b"two"):
            await mqtt.publish(f"mc/1/bike-7/{leaf}", payload)
    messages = await arriving
    assert [message.data for message in messages] == [b"one", b"two"]
    assert len({message.subject for message in messages}) == 1


async def test_devices_spread_over_all_partitions(nats: EmbeddedNats, cloud: Client) -> None:
    arriving = asyncio.create_task(everything(cloud, "s.*.*"))
    async with device(nats) as mqtt:
        for number in range(300):
            await mqtt.publish(f"mc/1/scooter-{number}/up", b"x")
    partitions = {message.subject.split(".")[1] for message in await arriving}
    assert partitions == {str(number) for number in range(PARTITIONS)}


async def test_status_goes_up_and_acks_come_down(nats: EmbeddedNats, cloud: Client) -> None:
    arriving = asyncio.create_task(everything(cloud, "mc.1.bike-7.status"))
    async with device(nats) as mqtt:
        await mqtt.subscribe("mc/1/bike-7/ack")
        await mqtt.publish("mc/1/bike-7/status", b"hello")
        assert [message.data for message in await arriving] == [b"hello"]
        await cloud.publish("mc.1.bike-7.ack", b"thanks")
        async with asyncio.timeout(5):
            message = await anext(aiter(mqtt.messages))
    assert (str(message.topic), message.payload) == ("mc/1/bike-7/ack", b"thanks")


@pytest.mark.parametrize("topic", ["mc/1/bike-7/cmd", "mc/1/bike-7/ack", "other/thing"])
async def test_a_device_cannot_publish_what_only_the_cloud_may(
    nats: EmbeddedNats, cloud: Client, topic: str
) -> None:
    arriving = asyncio.create_task(everything(cloud, topic.replace("/", ".")))
    async with device(nats) as mqtt:
        await mqtt.publish(topic, b"forged")
    assert await arriving == []
    subject = topic.replace("/", ".")
    assert f'Publish Violation - Subject "{subject}"' in nats.log_path.read_text()


@pytest.mark.parametrize("topic", ["s/#", "s/+/+", "f/+/+", "mc/1/bike-7/up", "#"])
async def test_a_device_cannot_listen_to_what_others_send(nats: EmbeddedNats, topic: str) -> None:
    async with device(nats) as mqtt:
        codes = await mqtt.subscribe(topic)
    assert list(codes) == [128]


async def test_a_device_must_know_the_password(nats: EmbeddedNats) -> None:
    with pytest.raises(aiomqtt.MqttError):
        async with aiomqtt.Client(
            nats.mqtt_host, nats.mqtt_port, username="device", password="wrong", timeout=5
        ):
            pass


async def test_the_devices_account_is_for_mqtt_alone(nats: EmbeddedNats) -> None:
    url = nats.url.replace(
        nats.url.split("@")[0], f"nats://{nats.device_username}:{nats.device_password}"
    )
    client = Client()
    with pytest.raises(Error):
        await client.connect(url, allow_reconnect=False, error_cb=ignore)
    await client.close()


async def test_the_largest_payload_passes_and_a_larger_one_is_refused(
    nats: EmbeddedNats, cloud: Client
) -> None:
    arriving = asyncio.create_task(everything(cloud, "s.*.bike-8"))
    async with device(nats) as mqtt:
        await mqtt.publish(f"mc/1/{'bike-8'}/up", b"x" * MAX_PAYLOAD_BYTES)
    with contextlib.suppress(aiomqtt.MqttError):
        async with device(nats) as mqtt:
            await mqtt.publish("mc/1/bike-8/up", b"x" * (MAX_PAYLOAD_BYTES + 2_000))
    assert [len(message.data) for message in await arriving] == [MAX_PAYLOAD_BYTES]


async def test_the_longest_device_id_leaves_room_for_the_largest_payload(
    nats: EmbeddedNats, cloud: Client
) -> None:
    name = "d" * 36
    arriving = asyncio.create_task(everything(cloud, f"f.*.{name}"))
    async with device(nats) as mqtt:
        await mqtt.publish(f"mc/1/{name}/fact", b"x" * MAX_PAYLOAD_BYTES)
    assert [len(message.data) for message in await arriving] == [MAX_PAYLOAD_BYTES]


async def test_both_sides_come_back_after_a_kill_with_the_store_wiped(own: EmbeddedNats) -> None:
    async with cloud_at(own) as cloud:
        subscription = await cloud.subscribe("s.*.bike-7")
        async with device(own) as mqtt:
            await mqtt.publish("mc/1/bike-7/up", b"before")
            assert (await subscription.next_msg(timeout=5)).data == b"before"
            ports, pid = own.ports, own.pid
            await asyncio.to_thread(own.wipe_store)
            with pytest.raises(aiomqtt.MqttError):
                await asyncio.wait_for(anext(aiter(mqtt.messages)), timeout=10)
        assert (own.ports, own.pid != pid) == (ports, True)
        async with device(own) as mqtt:
            await until(lambda: cloud.is_connected)
            await cloud.flush()
            await mqtt.publish("mc/1/bike-7/up", b"after")
            assert (await subscription.next_msg(timeout=5)).data == b"after"


async def test_a_killed_server_is_watched_back_to_life_on_its_ports(own: EmbeddedNats) -> None:
    own.watch()
    ports, pid = own.ports, own.pid
    own.kill()
    await until(lambda: own.pid not in (None, pid) and own.serves())
    assert own.ports == ports


async def test_a_second_launcher_adopts_the_running_server(own: EmbeddedNats) -> None:
    second = EmbeddedNats(own.folder.path)
    second.start()
    assert (second.pid, second.url) == (own.pid, own.url)
    second.stop()
    await until(lambda: own.pid is None)


def test_a_server_left_by_an_older_configuration_is_replaced(
    own: EmbeddedNats, monkeypatch: pytest.MonkeyPatch
) -> None:
    newer = EmbeddedNats(own.folder.path)
    monkeypatch.setattr(newer, "_config", lambda: EmbeddedNats._config(newer) + "\n")
    newer.start()
    assert own.pid is None
    assert newer.pid is not None
    newer.stop()


def test_any_folder_name_will_do(tmp_path: Path) -> None:
    odd = tmp_path / 'dü "x" \\ ü\t$HOME #; {}'
    with EmbeddedNats(odd) as server:
        assert server.serves()
        assert server.store.is_dir()
    assert json.loads((odd / "nats" / "nats.conf").read_text())["jetstream"]


def test_a_stranger_on_our_ports_is_not_taken_for_our_server(
    own: EmbeddedNats, tmp_path: Path
) -> None:
    own.kill()
    stranger = EmbeddedNats(tmp_path / "stranger")
    stranger.folder.choose_ports(stranger.name, own.ports)
    with stranger:
        assert stranger.ports == own.ports
        assert (stranger.serves(), own._is_ready()) == (True, False)
        with pytest.raises(EngineError, match="NATS stopped while starting"):
            own._relaunch()


async def test_a_death_and_a_new_start_are_one_calm_line(
    own: EmbeddedNats, caplog: pytest.LogCaptureFixture
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
    own: EmbeddedNats, caplog: pytest.LogCaptureFixture
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
