"""Each command is done at most once and has one final state, whatever comes and goes."""

import asyncio
import shutil
import tempfile
import uuid
from collections import defaultdict
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, precondition, rule

from edge.clock import ManualClock
from edge.commands import desk
from edge.commands.restart import AgentRestart
from tests.edge.commands.parts import NOW_MS, FakeLock, TestSigner, a_vehicle, until

SIGNER = TestSigner()
KEYS = [SIGNER.public]


async def test_a_repeat_is_answered_from_the_journal_and_moves_nothing(tmp_path: Path) -> None:
    unlock = SIGNER.command("unlock")
    async with a_vehicle(tmp_path / "j.db", KEYS) as vehicle:
        for _ in range(3):
            await vehicle.command(unlock)
            await vehicle.quiet()
        assert len(await vehicle.facts("command.result")) == 1
        await vehicle.acked()
    async with a_vehicle(tmp_path / "j.db", KEYS, boot_id=2) as vehicle:
        vehicle.clock.advance(86_400)
        for _ in range(3):
            await vehicle.command(unlock)
        (told,) = await vehicle.facts("command.result")
        assert (told["state"], told["repeat"]) == ("done", True)
        assert not vehicle.lock.moved


async def test_a_repeat_of_what_is_under_way_is_answered_by_its_one_result(tmp_path: Path) -> None:
    locate = SIGNER.command("locate")
    async with a_vehicle(tmp_path / "j.db", KEYS) as vehicle:
        vehicle.lock.gate = asyncio.Event()
        for _ in range(4):
            await vehicle.command(locate)
        vehicle.lock.gate.set()
        await vehicle.quiet()
        assert len(await vehicle.facts("command.result")) == 1
        assert vehicle.lock.moved["locate"] == 1


async def test_however_many_commands_came_a_repeat_is_still_known(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(desk, "_KNOWN", 3)
    first = SIGNER.command("unlock")
    async with a_vehicle(tmp_path / "j.db", KEYS) as vehicle:
        for envelope in (first, *(SIGNER.command("unlock") for _ in range(5))):
            await vehicle.command(envelope)
            await vehicle.quiet()
        await vehicle.acked()
        moved = dict(vehicle.lock.moved)
        await vehicle.command(first)
        (told,) = await vehicle.facts("command.result")
        assert told["repeat"] is True
        assert dict(vehicle.lock.moved) == moved


async def stopped_amid(path: Path, lock: FakeLock, kind: str, **args: Any) -> None:
    """Let an agent end while it performs a command."""
    lock.gate = asyncio.Event()
    async with a_vehicle(path, KEYS, lock=lock, clock=lock.clock) as vehicle:
        await vehicle.command(SIGNER.command(kind, args=args))
        await until(lambda: lock.at_gate)
    lock.gate = None


@pytest.mark.parametrize(
    ("kind", "locked", "silent", "ends"),
    [
        ("unlock", False, False, ("done", "")),
        ("unlock", True, False, ("failed", "interrupted")),
        ("unlock", False, True, ("failed", "interrupted")),
        ("locate", True, False, ("failed", "interrupted")),
        ("open_battery", True, False, ("failed", "interrupted")),
    ],
)
async def test_after_a_restart_the_sensor_says_what_became_of_it(
    tmp_path: Path, kind: str, locked: bool, silent: bool, ends: tuple[str, str]
) -> None:
    lock = FakeLock(ManualClock(NOW_MS))
    await stopped_amid(tmp_path / "j.db", lock, kind)
    lock.locked, lock.silent = locked, silent
    async with a_vehicle(tmp_path / "j.db", KEYS, lock=lock, clock=lock.clock, boot_id=2) as after:
        while after.remote.desk._open:
            lock.clock.advance(0.5)
            await asyncio.sleep(0.01)
        (told,) = await after.facts("command.result")
    assert (told["state"], told["reason"]) == ends
    assert not lock.moved


async def test_a_latch_still_on_its_way_after_a_restart_gets_its_moment(tmp_path: Path) -> None:
    lock = FakeLock(ManualClock(NOW_MS))
    await stopped_amid(tmp_path / "j.db", lock, "unlock")
    lock.locked = None
    async with a_vehicle(tmp_path / "j.db", KEYS, lock=lock, clock=lock.clock, boot_id=2) as after:
        await asyncio.sleep(0.05)
        lock.clock.advance(1.5)
        await asyncio.sleep(0.05)
        assert await after.facts("command.result") == []
        lock.locked = False
        assert (await after.result())["state"] == "done"


async def test_a_reboot_restarts_once_and_is_done_when_the_agent_is_back(tmp_path: Path) -> None:
    reboot = SIGNER.command("reboot")
    async with a_vehicle(tmp_path / "j.db", KEYS) as vehicle:
        await vehicle.command(reboot)
        with pytest.raises(ExceptionGroup) as raised:
            await vehicle.work
    assert raised.group_contains(AgentRestart, depth=2)
    async with a_vehicle(tmp_path / "j.db", KEYS, boot_id=2) as vehicle:
        assert [one["state"] for one in await vehicle.facts("command.progress")] == ["executing"]
        assert (await vehicle.result())["state"] == "done"
        await vehicle.acked()
        await vehicle.command(reboot)
        assert not vehicle.work.done()
        assert (await vehicle.result())["repeat"] is True


class Deliveries(RuleBasedStateMachine):
    """Commands, repeats, acks, slow locks, clocks and restarts in any order."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = Path(tempfile.mkdtemp())
        self.runner = asyncio.Runner()
        self.lock = FakeLock(ManualClock(NOW_MS))
        self.sent: dict[str, bytes] = {}
        self.limits: list[int] = []
        self.told: defaultdict[str, list[dict[str, Any]]] = defaultdict(list)
        self.boots = 0
        self._start()

    def _start(self) -> None:
        self.boots += 1
        self.stack = AsyncExitStack()
        vehicle = a_vehicle(
            self.folder / "j.db", KEYS, lock=self.lock, clock=self.lock.clock, boot_id=self.boots
        )
        self.vehicle = self.runner.run(self.stack.enter_async_context(vehicle))

    @rule(kind=st.sampled_from(["locate", "speed_limit", "unlock"]), lives_s=st.integers(0, 30))
    def a_new_command(self, kind: str, lives_s: int) -> None:
        command_id = str(uuid.uuid4())
        now_ms = self.lock.clock.wall_ms()
        args = {}
        if kind == "speed_limit" and len(self.limits) < 40:
            args = {"kmh": 3 + len(self.limits)}
            self.limits.append(args["kmh"])
        self.sent[command_id] = SIGNER.command(
            kind,
            id=command_id,
            args=args,
            issued_at_ms=now_ms,
            not_after_ms=now_ms + lives_s * 1000,
        )
        self.runner.run(self.vehicle.command(self.sent[command_id]))

    @precondition(lambda self: self.sent)
    @rule(data=st.data())
    def a_repeat(self, data: st.DataObject) -> None:
        self.runner.run(self.vehicle.command(data.draw(st.sampled_from([*self.sent.values()]))))

    @rule(ms=st.integers(0, 30))
    def some_time(self, ms: int) -> None:
        self.runner.run(asyncio.sleep(ms / 1000))

    @rule(seconds=st.integers(1, 40))
    def the_clock(self, seconds: int) -> None:
        self.lock.clock.advance(seconds)

    @rule()
    def a_slow_lock(self) -> None:
        self.lock.gate = self.lock.gate or asyncio.Event()

    @rule()
    def a_quick_lock(self) -> None:
        if self.lock.gate is not None:
            self.runner.run(self._open_gate())

    @rule()
    def the_cloud_acks(self) -> None:
        self.runner.run(self._collect())

    @rule()
    def a_restart(self) -> None:
        self.runner.run(self.stack.aclose())
        self._start()

    async def _open_gate(self) -> None:
        if self.lock.gate is not None:
            self.lock.gate.set()
            self.lock.gate = None
        await asyncio.sleep(0)

    async def _collect(self) -> None:
        for one in await self.vehicle.facts("command.result"):
            self.told[one["id"]].append(one)
        await self.vehicle.acked()

    async def _settle(self) -> None:
        await self._open_gate()
        async with asyncio.timeout(10):
            while self.vehicle.remote.desk._open:
                self.lock.clock.advance(0.5)
                await asyncio.sleep(0.005)
        # What was dropped with a restart before it was written down is sent again by the cloud.
        for envelope in self.sent.values():
            await self.vehicle.command(envelope)
        await self.vehicle.quiet()
        await self._collect()

    def teardown(self) -> None:
        try:
            self.runner.run(self._settle())
            for command_id in self.sent:
                told = self.told[command_id]
                assert len({(one["state"], one["reason"]) for one in told}) == 1, told
                assert len([one for one in told if "repeat" not in one]) == 1, told
            assert len(self.lock.limits) == len(set(self.lock.limits))
            done = [one[0] for one in self.told.values() if one[0]["state"] == "done"]
            located = [one for one in done if one["kind"] == "locate"]
            interrupted = [one[0] for one in self.told.values() if one[0]["state"] == "failed"]
            assert len(located) <= self.lock.moved["locate"] <= len(located) + len(interrupted)
        finally:
            self.runner.run(self.stack.aclose())
            self.runner.close()
            shutil.rmtree(self.folder)


TestDeliveries = Deliveries.TestCase
TestDeliveries.settings = settings(
    max_examples=25,
    stateful_step_count=25,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
)
TestDeliveries = pytest.mark.slow(TestDeliveries)
