"""The settings in `deploy/nats` make a server that works as the embedded one does."""

import asyncio
import contextlib
import os
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import aiomqtt
import nats as nats_py
import pytest
from nats.aio.client import Client
from nats.errors import Error

from cloud.kit.nats import Broker, EmbeddedNats, binary
from cloud.kit.nats_own import main, settings_for
from cloud.kit.settings import CloudSettings
from tests.broker import Register, a_door, an_identity

CONFIG = Path(__file__).parents[3] / "deploy" / "nats" / "nats.conf"


class Own:
    """A server started with the file, as an operator would."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.told = settings_for(folder / "data", ["127.0.0.1"])
        with socket.socket() as one, socket.socket() as other:
            one.bind(("127.0.0.1", 0))
            other.bind(("127.0.0.1", 0))
            self.port, self.mqtt = one.getsockname()[1], other.getsockname()[1]

    @property
    def broker(self) -> Broker:
        environ = {
            "NATS_URL": self._url("ingest"),
            "NATS_COMMANDS_URL": self._url("commands"),
            "NATS_GATE_URL": self._url("gate"),
            "NATS_ISSUER_SEED": self.told["NATS_ISSUER_SEED"],
            "MOBILITY_MQTT_PORT": str(self.mqtt),
        }
        broker = CloudSettings.from_env(environ).external_broker()
        assert broker is not None
        return broker

    def _url(self, user: str) -> str:
        return f"nats://{user}:{self.told[f'NATS_{user.upper()}_PASSWORD']}@127.0.0.1:{self.port}"

    @contextlib.contextmanager
    def running(self) -> Iterator[None]:
        text = CONFIG.read_text("utf-8")
        for path, ours in (
            ("port: 4222 ", f"port: {self.port} "),
            ("port: 8883", f"port: {self.mqtt}"),
            ("/etc/nats/ca.pem", self.told["CA_FILE"]),
            ("/etc/nats/broker.pem", self.told["CERT_FILE"]),
            ("/etc/nats/broker.key", self.told["KEY_FILE"]),
            ("/var/log/nats", str(self.folder)),
            ("/var/lib/nats", str(self.folder / "store")),
        ):
            assert path in text
            text = text.replace(path, ours)
        config = self.folder / "nats.conf"
        config.write_text(text, "utf-8")
        child = subprocess.Popen([binary(), "--config", config], env={**os.environ, **self.told})
        try:
            self._await()
            yield
        finally:
            child.terminate()
            child.wait()

    def _await(self) -> None:
        for _ in range(500):
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self.port)):
                return
            time.sleep(0.02)
        pytest.fail("the server is not there after 10 s")


@pytest.fixture
def own(tmp_path: Path) -> Iterator[Own]:
    server = Own(tmp_path)
    with server.running():
        yield server


async def test_a_device_and_the_clouds_users_work_with_the_file(own: Own, tmp_path: Path) -> None:
    register, broker = Register(), own.broker
    who = an_identity(EmbeddedNats(own.folder / "data"), "bike-7", tmp_path)
    register.add(who)
    ingest = await nats_py.connect(broker.ingest_url)
    commands = await nats_py.connect(broker.commands_url)
    heard = await ingest.subscribe("s.*.bike-7")
    await ingest.flush()
    client = aiomqtt.Client(
        broker.mqtt_host,
        broker.mqtt_port,
        identifier="bike-7",
        tls_context=who.tls,
        timeout=5,
    )
    async with a_door(own, register) as door, client as mqtt:
        assert list(await mqtt.subscribe("mc/1/bike-7/cmd")) == [0]
        assert list(await mqtt.subscribe("mc/1/bike-8/cmd")) == [128]
        await mqtt.publish("mc/1/bike-7/up", b"here")
        assert (await heard.next_msg(timeout=5)).data == b"here"
        await commands.publish("mc.1.bike-7.cmd", b"unlock")
        async with asyncio.timeout(5):
            assert (await anext(aiter(mqtt.messages))).payload == b"unlock"
        answer = await door.client.request("$SYS.REQ.SERVER.PING.CONNZ", b"{}", timeout=5)
        assert b"connections" in answer.data
    await ingest.close()
    await commands.close()


async def test_nobody_else_gets_in_by_the_file(own: Own, tmp_path: Path) -> None:
    who = an_identity(EmbeddedNats(own.folder / "data"), "bike-7", tmp_path)
    async with a_door(own, Register()):
        with pytest.raises(aiomqtt.MqttError):
            async with aiomqtt.Client(
                "127.0.0.1", own.mqtt, identifier="bike-7", tls_context=who.tls, timeout=5
            ):
                pass
        for sign_in in ("", "ingest:wrong@"):
            client = Client()
            with pytest.raises(Error):
                await client.connect(
                    f"nats://{sign_in}127.0.0.1:{own.port}", allow_reconnect=False, error_cb=_ignore
                )
            await client.close()


async def _ignore(_: Exception) -> None:
    """It is refused: that is the point."""


def test_the_file_gives_users_the_rights_of_the_embedded_server(tmp_path: Path) -> None:
    text = "".join(CONFIG.read_text("utf-8").split())
    for rights in EmbeddedNats(tmp_path / "embedded").users.values():
        for side in ("publish", "subscribe"):
            for verb, subjects in rights[side].items():
                listed = ",".join(f'"{subject}"' for subject in subjects)
                assert f"{side}{{{verb}:[{listed}]}}" in text


def test_the_command_prints_the_same_lines_each_time(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = [str(tmp_path / "data"), "broker.example"]
    assert main(arguments) == 0
    first = capsys.readouterr().out
    assert main(arguments) == 0
    assert capsys.readouterr().out == first
    assert first.count("\n") == 8
    assert "NATS_ISSUER=A" in first
