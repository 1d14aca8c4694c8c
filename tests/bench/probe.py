"""A real agent process under observation: what it made durable, what it sent, what came back."""

import asyncio
import contextlib
import os
import signal
import time
from asyncio.subprocess import Process
from collections import Counter
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import nats
from nats.aio.msg import Msg

from protocol.messages import LaneAck, decode_ack
from tests.bench.house import Cloud, command
from tests.bench.processes import ROOT, last_words

_PATIENCE_S = 30.0
_READ_BYTES = 1 << 20


@dataclass(slots=True)
class Probe:
    """What has been seen of one agent; moments are seconds of the monotonic clock.

    Attributes:
        log: what it said.
        started_s: just before it was started.
        durable: records by lane, as it reported them after their fsync.
        first: the first moment of each kind of thing seen: "durable signal", "sent status", …
        on_segment: called with each signal or fact segment on its way to the cloud.
        on_ack: called with each lane of each ack on its way to the agent.
    """

    log: Path
    started_s: float = 0.0
    durable: Counter[str] = field(default_factory=Counter)
    first: dict[str, float] = field(default_factory=dict)
    on_segment: Callable[[bytes], None] = lambda _payload: None
    on_ack: Callable[[LaneAck], None] = lambda _lane: None
    _partial: bytes = b""
    _agent: Process | None = None

    @property
    def pid(self) -> int:
        """The agent's process id."""
        assert self._agent is not None
        return self._agent.pid

    async def start(self, config: Path, accept_fd: int, environ: Mapping[str, str]) -> None:
        """Start the agent and the watch."""
        with self.log.open("ab") as output:
            self.started_s = time.monotonic()
            self._agent = await asyncio.create_subprocess_exec(
                *(command("mobility-edge"), "run", "--config", str(config)),
                stdout=output,
                stderr=output,
                cwd=ROOT,
                pass_fds=(accept_fd,),
                env={**os.environ, **environ, "MOBILITY_ACCEPT_FD": str(accept_fd)},
            )

    async def stop(self) -> None:
        """Ask the agent to close in good order."""
        if self._agent is None:
            return
        if self._agent.returncode is None:
            self._agent.send_signal(signal.SIGTERM)
        await self._agent.wait()

    def ms_to(self, what: str) -> float:
        """Return milliseconds from the start to the first `what`."""
        return (self.first[what] - self.started_s) * 1000

    async def until(
        self, seen: Callable[[], bool], what: str, *, timeout_s: float = _PATIENCE_S
    ) -> None:
        """Wait for `seen()`; RuntimeError when the agent ends or it takes too long."""
        deadline = time.monotonic() + timeout_s
        while not seen():
            if self._ended or time.monotonic() > deadline:
                raise RuntimeError(f"no {what} from the agent; it said: {last_words(self.log)}")
            await asyncio.sleep(0.005)

    @property
    def _ended(self) -> bool:
        return self._agent is not None and self._agent.returncode is not None

    def note(self, what: str) -> None:
        """Remember the moment when it is the first of its kind."""
        self.first.setdefault(what, time.monotonic())

    def accepted(self, data: bytes) -> None:
        """Take what came on MOBILITY_ACCEPT_FD."""
        *lines, self._partial = (self._partial + data).split(b"\n")
        for line in lines:
            lane = line.split(b" ", 1)[0].decode()
            self.note(f"durable {lane}")
            self.durable[lane] += 1

    async def sent(self, message: Msg) -> None:
        """Take what the agent publishes."""
        leaf = {"s": "signal", "f": "fact"}.get(message.subject[0], "status")
        self.note(f"sent {leaf}")
        if leaf != "status":
            self.note("sent segment")
            self.on_segment(message.data)

    async def acked(self, message: Msg) -> None:
        """Take what the cloud answers."""
        for lane in decode_ack(message.data).lanes:
            self.on_ack(lane)


@contextlib.asynccontextmanager
async def observed(
    cloud: Cloud, config: Path, device_id: str, environ: Mapping[str, str] | None = None
) -> AsyncIterator[Probe]:
    """Run `mobility-edge run` on `config` and watch it; stopped by SIGTERM at the end."""
    client = await nats.connect(cloud.nats_url)
    reading, writing = os.pipe()
    probe = Probe(config.with_suffix(".log"))
    for subjects in (f"s.*.{device_id}", f"f.*.{device_id}", f"mc.1.{device_id}.status"):
        await client.subscribe(subjects, cb=probe.sent)
    await client.subscribe(f"mc.1.{device_id}.ack", cb=probe.acked)
    await client.flush()
    loop = asyncio.get_running_loop()
    loop.add_reader(reading, lambda: probe.accepted(os.read(reading, _READ_BYTES)))
    try:
        await probe.start(config, writing, environ or {})
        yield probe
    finally:
        await probe.stop()
        loop.remove_reader(reading)
        os.close(reading)
        os.close(writing)
        await client.close()
