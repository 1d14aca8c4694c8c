"""Commands and twins as they come, over a real broker with certificates."""

import asyncio
import secrets
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from edge.commands.restart import EXIT_CODE
from edge.main import opened
from edge.settings import load
from firmware_shim.lock_unit import LockUnit
from firmware_shim.pty import serve
from firmware_shim.registry import build_shim
from protocol.bodies import Fact
from protocol.segment import open_segment
from protocol.topics import subject
from tests.edge.broker import TlsBroker
from tests.edge.commands.parts import TestSigner, until
from tests.edge.identity.stores import enrolled
from tests.edge.uplink.sky import Sky, a_sky

SIGNER = TestSigner()


@pytest.fixture
def device_id() -> str:
    return f"cmd-{secrets.token_hex(4)}"


@pytest.fixture
def config(tmp_path: Path, broker: TlsBroker, device_id: str) -> Path:
    enrolled(tmp_path / "identity", broker.authority, device_id).keep_signers([SIGNER.public])
    path = tmp_path / "agent.toml"
    path.write_text(
        f'[device]\nid = "{device_id}"\n[mqtt]\nhost = "127.0.0.1"\nport = {broker.mqtt.port}\n'
        f'[journal]\npath = "j.db"\n[battery]\nprotocol = "jbd_uart"\nport = "{tmp_path}/battery"\n'
        f'[controller]\nprotocol = "lock_unit"\nport = "{tmp_path}/lock"\n'
    )
    return path


@asynccontextmanager
async def shims(folder: Path) -> AsyncIterator[LockUnit]:
    unit = LockUnit()
    async with (
        serve(build_shim("jbd"), link_path=folder / "battery"),
        serve(unit, link_path=folder / "lock"),
    ):
        yield unit


class Ears:
    """Hears the facts of one device as they arrive."""

    def __init__(self, sky: Sky) -> None:
        self.facts: list[Fact] = []
        self.traces: dict[str, str | None] = {}
        self._sky = sky

    async def listen(self) -> None:
        async def take(message: Any) -> None:
            if message.subject.endswith(self._sky.device_id):
                segment = open_segment(message.data)
                self.facts += segment.facts or ()
                for fact in segment.facts or ():
                    self.traces[fact.kind] = segment.header.traceparent

        await self._sky.client.subscribe("f.*.*", cb=take)
        await self._sky.client.flush()

    def heard(self, kind: str) -> list[dict[str, Any]]:
        return [dict(fact.fields) for fact in self.facts if fact.kind == kind]


def a_command(device_id: str, kind: str, **more: Any) -> bytes:
    now_ms = time.time_ns() // 1_000_000
    fields = {"device_id": device_id, "issued_at_ms": now_ms, "not_after_ms": now_ms + 60_000}
    return SIGNER.command(kind, **fields | more)


async def test_a_command_and_a_twin_come_down_and_their_answers_go_up(
    tmp_path: Path, broker: TlsBroker, config: Path, device_id: str
) -> None:
    trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
    async with shims(tmp_path) as unit, a_sky(broker.url, device_id) as sky:
        ears = Ears(sky)
        await ears.listen()
        async with opened(load(config, {})) as agent:
            work = asyncio.create_task(agent.run())
            await until(lambda: bool(sky.hellos) and agent.senses.seen() is not None)
            assert {"unlock", "reboot"} <= set(sky.hellos[0].capabilities)
            command = a_command(device_id, "unlock", traceparent=trace)
            await sky.client.publish(subject(device_id, "cmd"), command)
            await until(lambda: bool(ears.heard("command.result")))
            assert ears.heard("command.result")[0]["state"] == "done"
            assert ears.traces["command.result"] == trace
            assert unit.moves == 1
            twin = SIGNER.twin(
                1,
                device_id=device_id,
                issued_at_ms=time.time_ns() // 1_000_000,
                speed_limit_kmh=20,
            )
            await sky.client.publish(subject(device_id, "twin"), twin)
            await until(lambda: ears.heard("twin.applied") == [{"version": 1}])
            assert unit.sensors.limit_kmh == 20
            work.cancel()
            await asyncio.wait({work})


@pytest.mark.slow
async def test_a_reboot_ends_the_program_with_the_code_that_asks_for_a_restart(
    tmp_path: Path, broker: TlsBroker, config: Path, device_id: str
) -> None:
    async with shims(tmp_path), a_sky(broker.url, device_id) as sky:
        ears = Ears(sky)
        await ears.listen()
        reboot = a_command(device_id, "reboot")
        child = await start(config)
        await until(lambda: bool(sky.hellos))
        await sky.client.publish(subject(device_id, "cmd"), reboot)
        assert await child.wait() == EXIT_CODE
        assert len(sky.gone) == 1
        assert ears.heard("command.progress")
        child = await start(config)
        await until(lambda: bool(ears.heard("command.result")))
        assert ears.heard("command.result")[0]["state"] == "done"
        await sky.client.publish(subject(device_id, "cmd"), reboot)
        await until(lambda: len(ears.heard("command.result")) > 1)
        assert ears.heard("command.result")[1]["repeat"] is True
        child.terminate()
        assert await child.wait() == 0


async def start(config: Path) -> asyncio.subprocess.Process:
    return await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "edge", "run", "--quiet", "--config", str(config))
    )
