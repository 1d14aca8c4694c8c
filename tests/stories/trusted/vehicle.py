"""A vehicle for the stories of this package: an agent in a process of its own, and its parts.

The parts run in a thread of the test, so that they outlive the agent and a test can look at them.
"""

import asyncio
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Coroutine
from contextlib import AsyncExitStack
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeVar

from cloud.devices import agent_config
from cloud.devices.enrolment import make_claim
from cloud.kit.db import connect
from firmware_shim.gnss import GnssReceiver
from firmware_shim.lock_unit import LockUnit
from firmware_shim.m365 import M365Esc
from firmware_shim.pty import Controller, serve
from firmware_shim.registry import build_shim
from tests.stories.trusted.cloud import PATIENCE_S, ROOT, Cloud, until

PACE = {
    "MOBILITY_INTERVALS_POLL_S": "0.5",
    "MOBILITY_INTERVALS_FLUSH_S": "0.5",
    "MOBILITY_INTERVALS_SEAL_S": "0.5",
}

T = TypeVar("T")


class Workbench:
    """Serves emulated parts on pseudo terminals, in a thread with an event loop."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="workbench")
        self._thread.start()

    def serve(self, parts: dict[Path, Controller]) -> AsyncExitStack:
        """Answer under these links until `leave`."""

        async def enter() -> AsyncExitStack:
            stack = AsyncExitStack()
            for link, part in parts.items():
                await stack.enter_async_context(serve(part, link_path=link))
            return stack

        return self._run(enter())

    def leave(self, stack: AsyncExitStack) -> None:
        """Answer no more."""
        self._run(stack.aclose())

    def call(self, work: Callable[[], T]) -> T:
        """Do something in the parts' own thread."""

        async def do() -> T:
            return work()

        return self._run(do())

    def close(self) -> None:
        """End the thread."""
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(PATIENCE_S)
        self._loop.close()

    def _run(self, work: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(PATIENCE_S)


class Vehicle:
    """One vehicle with a claim: its agent enrols by itself when it is first started.

    Args:
        cloud: where it belongs.
        bench: where its parts are.
        folder: of its agent.
        device: its id.
        lock: what locks it.
        gnss: its receiver, if it has one.
    """

    def __init__(
        self,
        cloud: Cloud,
        bench: Workbench,
        folder: Path,
        device: str,
        *,
        lock: LockUnit | M365Esc,
        gnss: GnssReceiver | None = None,
    ) -> None:
        self.cloud = cloud
        self.id = device
        self.lock = lock
        self.gnss = gnss
        self.home = folder / device
        self.home.mkdir(parents=True)
        self.config = self.home / "agent.toml"
        self.identity = self.home / f"{device}.identity"
        self.journal = self.home / f"{device}.journal.db"
        self._log = self.home / "agent.log"
        self._bench = bench
        self._agent: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        """Connect the parts, register the vehicle and write the agent's configuration."""
        parts: dict[Path, Controller] = {
            self.home / "battery": build_shim("jbd"),
            self.home / "lock": self.lock,
        }
        if self.gnss is not None:
            parts[self.home / "gnss"] = self.gnss
        self._parts = self._bench.serve(parts)
        with connect(self.cloud.dsn) as db:
            claim = make_claim(db, self.id, datetime.now(UTC), battery="jbd_uart").claim
        protocol = "lock_unit" if isinstance(self.lock, LockUnit) else "m365_serial"
        text = agent_config.render(
            self.id,
            battery="jbd_uart",
            battery_port=str(self.home / "battery"),
            mqtt=agent_config.Mqtt(*self.cloud.mqtt),
            identity=agent_config.Identity(
                self.cloud.device_https, claim, self.cloud.ca_file.read_text("utf-8")
            ),
            file_name=self.config.name,
            controller=agent_config.Controller(protocol, str(self.home / "lock")),
            gnss_port=str(self.home / "gnss") if self.gnss is not None else None,
        )
        self.config.write_text(text, "utf-8")
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Cut the power of everything."""
        self.cut_power()
        self._bench.leave(self._parts)

    def start(self, *, dies_at: str = "") -> None:
        """Start the agent; with `dies_at` it kills itself when it gets to that step."""
        with self._log.open("ab") as log:
            self._agent = subprocess.Popen(
                [sys.executable, "-m", "edge", "run", "--config", str(self.config)],
                cwd=ROOT,
                env={**os.environ, **PACE, "MOBILITY_FAULT_POINT": dies_at},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
            )

    def start_and_greet(self) -> None:
        """Start the agent and wait until it and the cloud have heard each other."""
        self.start()
        until(f"{self.id} says what it can do", self._is_known)
        assert self.does("read_now") == ("done", "")

    def wait_for_death(self) -> int:
        """Wait until the agent has ended and return its exit code."""
        assert self._agent is not None
        code, self._agent = self._agent.wait(PATIENCE_S), None
        return code

    def cut_power(self) -> None:
        """Kill the agent with SIGKILL, if it runs."""
        if self._agent is not None:
            self._agent.send_signal(signal.SIGKILL)
            self.wait_for_death()

    def forget(self) -> None:
        """Take the journal away, as no agent of ours would."""
        for file in self.home.glob(f"{self.journal.name}*"):
            file.unlink()

    def turn(self, **dials: Any) -> None:
        """Turn the dials of the lock; it says so at once."""
        self._bench.call(lambda: self.lock.set(dials))

    def turn_gnss(self, **dials: Any) -> None:
        """Turn the dials of the receiver."""
        gnss = self.gnss
        assert gnss is not None
        self._bench.call(lambda: gnss.set(dials))

    def does(self, kind: str, **args: Any) -> tuple[str, str]:
        """Ask for something over HTTP and wait for its end."""
        return self.cloud.end(self.cloud.ask(self.id, kind, args))

    def says(self, kind: str) -> list[dict[str, Any]]:
        """The facts of one kind that the cloud has of it."""
        return self.cloud.facts(self.id, kind)

    def told(self, words: str) -> list[str]:
        """The lines of the agent's log with these words."""
        return [line for line in self._log.read_text("utf-8").splitlines() if words in line]

    def _is_known(self) -> bool:
        if self._agent is None or self._agent.poll() is not None:
            words = self._log.read_text("utf-8")[-3000:]
            raise RuntimeError(f"the agent ended by itself:\n{words}")
        return self.cloud.can(self.id, "read_now")
