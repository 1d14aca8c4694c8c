"""The desired twin: whole or not at all, newest word only, in force again after a restart."""

import asyncio
from pathlib import Path
from typing import Any

import pytest

from edge.clock import ManualClock
from edge.commands import twin
from edge.controllers.base import Outcome
from protocol.commands import KINDS, DesiredTwin
from tests.edge.commands.parts import (
    DEVICE,
    NOW_MS,
    Enrolled,
    FakeLock,
    TestSigner,
    Vehicle,
    a_vehicle,
    until,
)
from tests.edge.journal.opening import a_full_disk

SIGNER, NEXT = TestSigner(), TestSigner("k2")
KEYS = [SIGNER.public]


async def refused(vehicle: Vehicle) -> list[tuple[int, str]]:
    return [(one["version"], one["reason"]) for one in await vehicle.facts("twin.refused")]


async def applied(vehicle: Vehicle) -> list[int]:
    return [one["version"] for one in await vehicle.facts("twin.applied")]


def moving(vehicle_lock: FakeLock) -> Any:
    def forbids(kind: str, args: Any) -> str | None:
        moves = vehicle_lock.speed_kmh > 3
        return "moving" if moves and KINDS[kind].standstill(args) else None

    return forbids


async def test_limits_are_set_and_let_go_and_told(tmp_path: Path) -> None:
    async with a_vehicle(tmp_path / "j.db", KEYS) as vehicle:
        await vehicle.twin(SIGNER.twin(1, speed_limit_kmh=20, speed_mode="eco", immobilised=True))
        assert (vehicle.lock.limit_kmh, vehicle.lock.mode) == (20, "eco")
        assert vehicle.lock.immobilised
        await vehicle.twin(SIGNER.twin(2, immobilised=False))
        assert (vehicle.lock.limit_kmh, vehicle.lock.mode) == (0, "normal")
        assert not vehicle.lock.immobilised
        assert await applied(vehicle) == [1, 2]


async def test_a_twin_without_limits_leaves_alone_what_a_command_set(tmp_path: Path) -> None:
    async with a_vehicle(tmp_path / "j.db", KEYS) as vehicle:
        await vehicle.command(SIGNER.command("speed_limit", args={"kmh": 12}))
        await vehicle.quiet()
        await vehicle.twin(SIGNER.twin(1, live_until_ms=NOW_MS + 1000))
        assert vehicle.lock.limit_kmh == 12


async def test_the_same_version_is_answered_again_once_its_answer_has_arrived(
    tmp_path: Path,
) -> None:
    twin = SIGNER.twin(7)
    async with a_vehicle(tmp_path / "j.db", KEYS) as vehicle:
        for _ in range(3):
            await vehicle.twin(twin)
        assert await applied(vehicle) == [7]
        await vehicle.acked()
        for _ in range(3):
            await vehicle.twin(twin)
        assert await applied(vehicle) == [7]


async def test_an_older_version_and_another_document_of_the_same_are_refused(
    tmp_path: Path,
) -> None:
    async with a_vehicle(tmp_path / "j.db", KEYS) as vehicle:
        await vehicle.twin(SIGNER.twin(7, speed_limit_kmh=20))
        for _ in range(3):
            await vehicle.twin(SIGNER.twin(6, speed_limit_kmh=25))
        await vehicle.twin(SIGNER.twin(7, speed_limit_kmh=25))
        assert await refused(vehicle) == [(6, "old_version"), (7, "old_version")]
        assert vehicle.lock.limit_kmh == 20
        await vehicle.twin(SIGNER.twin(8, speed_limit_kmh=25))
        assert vehicle.lock.limit_kmh == 25


async def test_the_next_key_is_announced_a_version_ahead(tmp_path: Path) -> None:
    both = [SIGNER.public, NEXT.public]
    keys = Enrolled(tmp_path, KEYS)
    async with a_vehicle(tmp_path / "j.db", keys=keys) as vehicle:
        await vehicle.twin(NEXT.twin(1, signers=both))
        assert await refused(vehicle) == [(1, "unknown_key")]
        await vehicle.twin(SIGNER.twin(1, signers=both))
        await vehicle.twin(NEXT.twin(2))
        assert await applied(vehicle) == [1, 2]
        await vehicle.twin(SIGNER.twin(3))
        await vehicle.command(SIGNER.command("unlock"))
        assert [one["what"] for one in await vehicle.facts("security.refused")] == [
            "twin",
            "command",
        ]
        await vehicle.command(NEXT.command("unlock"))
        assert (await vehicle.result())["state"] == "done"
    assert keys.handed == [both, [NEXT.public]]


async def test_the_keys_of_a_twin_are_believed_after_a_restart_and_the_first_ones_are_not(
    tmp_path: Path,
) -> None:
    keys = Enrolled(tmp_path, KEYS)
    keys.power_goes = True
    async with a_vehicle(tmp_path / "j.db", keys=keys) as vehicle:
        await vehicle.twin(SIGNER.twin(1, signers=[NEXT.public]))
    async with a_vehicle(tmp_path / "j.db", keys=keys, boot_id=2) as vehicle:
        await vehicle.command(SIGNER.command("unlock"))
        assert not vehicle.lock.moved
        await vehicle.command(NEXT.command("unlock"))
        await vehicle.quiet()
        assert vehicle.lock.moved["unlock"] == 1


async def test_a_later_enrolment_is_the_newest_word_on_keys(tmp_path: Path) -> None:
    keys = Enrolled(tmp_path, KEYS)
    third = TestSigner("k3")
    async with a_vehicle(tmp_path / "j.db", keys=keys) as vehicle:
        await vehicle.twin(SIGNER.twin(1, signers=[NEXT.public]))
        keys.known = [third.public]
        vehicle.remote.trust.refresh()
        await vehicle.command(third.command("unlock"))
        assert (await vehicle.result())["state"] == "done"
    async with a_vehicle(tmp_path / "j.db", keys=keys, boot_id=2) as vehicle:
        await vehicle.twin(NEXT.twin(2))
        assert await applied(vehicle) == [1]
        await vehicle.twin(third.twin(2, signers=[third.public]))
        assert await applied(vehicle) == [1, 2]


async def test_immobilising_above_walking_pace_is_refused_whole(tmp_path: Path) -> None:
    lock = FakeLock(ManualClock(NOW_MS), speed_kmh=12.0)
    async with a_vehicle(tmp_path / "j.db", KEYS, lock=lock, forbids=moving(lock)) as vehicle:
        twin = SIGNER.twin(1, immobilised=True, speed_limit_kmh=10)
        await vehicle.twin(twin)
        assert await refused(vehicle) == [(1, "moving")]
        assert not lock.moved
        lock.speed_kmh = 0.0
        await vehicle.twin(twin)
        assert await applied(vehicle) == [1]
        assert lock.immobilised


async def test_a_twin_that_waits_for_its_turn_is_refused_when_the_vehicle_rolls_by_then(
    tmp_path: Path,
) -> None:
    lock = FakeLock(ManualClock(NOW_MS), gate=asyncio.Event())
    async with a_vehicle(tmp_path / "j.db", KEYS, lock=lock, forbids=moving(lock)) as vehicle:
        await vehicle.command(SIGNER.command("speed_mode", args={"mode": "eco"}))
        await until(lambda: lock.at_gate)
        taking = asyncio.create_task(vehicle.twin(SIGNER.twin(1, immobilised=True)))
        await asyncio.sleep(0.01)
        lock.speed_kmh = 20.0
        assert lock.gate is not None
        lock.gate.set()
        await taking
        assert await refused(vehicle) == [(1, "moving")]
        assert lock.moved == {"speed_mode": 1}
        lock.speed_kmh = 0.0
        await vehicle.twin(SIGNER.twin(1, immobilised=True))
        assert await applied(vehicle) == [1]


async def test_what_an_older_twin_still_wants_is_not_done_behind_a_newer_one(
    tmp_path: Path,
) -> None:
    clock = ManualClock(NOW_MS)
    async with a_vehicle(tmp_path / "j.db", KEYS, clock=clock) as vehicle:
        await vehicle.twin(SIGNER.twin(1, immobilised=True, speed_limit_kmh=20))
    fresh = FakeLock(clock, gate=asyncio.Event())
    async with a_vehicle(tmp_path / "j.db", KEYS, clock=clock, lock=fresh, boot_id=2) as vehicle:
        await until(lambda: fresh.at_gate)
        taking = asyncio.create_task(vehicle.twin(SIGNER.twin(2, immobilised=False)))
        await asyncio.sleep(0.01)
        assert fresh.gate is not None
        fresh.gate.set()
        await taking
        await asyncio.sleep(0.05)
        assert (fresh.immobilised, fresh.limit_kmh) == (False, 0)


async def test_what_the_vehicle_cannot_do_is_refused_whole(tmp_path: Path) -> None:
    lock = FakeLock(ManualClock(NOW_MS), able=frozenset({"lock", "speed_limit"}))
    async with a_vehicle(tmp_path / "j.db", KEYS, lock=lock) as vehicle:
        await vehicle.twin(SIGNER.twin(1, speed_limit_kmh=10, speed_mode="eco"))
        assert await refused(vehicle) == [(1, "unsupported")]
        assert not lock.moved
        await vehicle.twin(SIGNER.twin(1, speed_limit_kmh=10))
        assert await applied(vehicle) == [1]


async def test_a_twin_that_fails_halfway_is_put_back(tmp_path: Path) -> None:
    lock = FakeLock(ManualClock(NOW_MS), limit_kmh=25)
    async with a_vehicle(tmp_path / "j.db", KEYS, lock=lock) as vehicle:
        lock.answers["speed_mode"] = Outcome("failed", "not_confirmed")
        twin = SIGNER.twin(1, immobilised=True, speed_limit_kmh=10, speed_mode="eco")
        await vehicle.twin(twin)
        assert await refused(vehicle) == [(1, "unsafe")]
        assert (lock.immobilised, lock.limit_kmh, lock.mode) == (False, 25, "normal")
        assert lock.moved["speed_limit"] == 2
        del lock.answers["speed_mode"]
        await vehicle.twin(twin)
        assert (lock.immobilised, lock.limit_kmh, lock.mode) == (True, 10, "eco")


async def test_a_disk_that_refuses_leaves_the_old_twin_in_force(tmp_path: Path) -> None:
    async with a_vehicle(tmp_path / "j.db", KEYS) as vehicle:
        await vehicle.twin(SIGNER.twin(1, speed_limit_kmh=25))
        with a_full_disk():
            await vehicle.twin(SIGNER.twin(2, speed_limit_kmh=10))
        assert vehicle.lock.limit_kmh == 25
        await vehicle.journal.flush()
        assert await applied(vehicle) == [1]
        assert await refused(vehicle) == [(2, "unsafe")]
        await vehicle.twin(SIGNER.twin(2, speed_limit_kmh=10))
        assert vehicle.lock.limit_kmh == 10


async def test_bad_documents_are_refused(tmp_path: Path) -> None:
    twice = [SIGNER.public, TestSigner("k1").public]
    async with a_vehicle(tmp_path / "j.db", KEYS) as vehicle:
        await vehicle.twin(SIGNER.twin(1, signers=twice))
        await vehicle.twin(SIGNER.twin(2, signers=[]))
        await vehicle.twin(SIGNER.twin(3, intervals_s={"poll_s": 1.0}))
        await vehicle.twin(SIGNER.twin(4, intervals_s={"poll_parked_s": 1e9}))
        assert await refused(vehicle) == [(number, "bad_document") for number in (1, 2, 3, 4)]
        await vehicle.twin(SIGNER.twin(5, intervals_s={"poll_parked_s": 7.0}))
        assert await applied(vehicle) == [5]


@pytest.mark.parametrize("stays", [True, False])
async def test_intervals_of_a_command_last_until_a_twin_names_them(
    tmp_path: Path, stays: bool
) -> None:
    named = {"seal_parked_s": 9.0} if stays else {"poll_parked_s": 8.0}
    async with a_vehicle(tmp_path / "j.db", KEYS) as vehicle:
        await vehicle.twin(SIGNER.twin(1, intervals_s={"poll_parked_s": 7.0}))
        await vehicle.command(
            SIGNER.command("set_intervals", args={"intervals_s": {"poll_parked_s": 5}})
        )
        await vehicle.quiet()
    async with a_vehicle(tmp_path / "j.db", KEYS, boot_id=2) as vehicle:
        assert vehicle.remote.wishes.intervals == {"poll_parked_s": 5.0}
        await vehicle.twin(SIGNER.twin(2, intervals_s=named))
    async with a_vehicle(tmp_path / "j.db", KEYS, boot_id=3) as vehicle:
        expected = {"poll_parked_s": 5.0, **named} if stays else named
        assert vehicle.remote.wishes.intervals == expected


async def test_watching_ends_by_itself(tmp_path: Path) -> None:
    async with a_vehicle(tmp_path / "j.db", KEYS) as vehicle:
        assert not vehicle.remote.live
        await vehicle.twin(SIGNER.twin(1, live_until_ms=NOW_MS + 60_000))
        assert vehicle.remote.live
        vehicle.clock.advance(61)
        assert not vehicle.remote.live


async def test_a_restart_limits_a_replaced_lock_again_and_never_loosens(tmp_path: Path) -> None:
    clock = ManualClock(NOW_MS)
    async with a_vehicle(tmp_path / "j.db", KEYS, clock=clock) as vehicle:
        await vehicle.twin(SIGNER.twin(1, immobilised=True, speed_limit_kmh=20, speed_mode="eco"))
    fresh = FakeLock(clock)
    async with a_vehicle(tmp_path / "j.db", KEYS, clock=clock, lock=fresh, boot_id=2):
        await until(lambda: (fresh.immobilised, fresh.limit_kmh, fresh.mode) == (True, 20, "eco"))
    strict = FakeLock(clock, immobilised=True, limit_kmh=6, mode="walk")
    async with a_vehicle(tmp_path / "j.db", KEYS, clock=clock, lock=strict, boot_id=3) as vehicle:
        await vehicle.command(SIGNER.command("locate"))
        await vehicle.quiet()
        assert strict.moved == {"locate": 1}


async def test_a_lock_that_comes_back_or_forgets_is_limited_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(twin, "TRY_AGAIN_S", 0.01)
    async with a_vehicle(tmp_path / "j.db", KEYS) as vehicle:
        lock = vehicle.lock
        await vehicle.twin(SIGNER.twin(1, immobilised=True, speed_limit_kmh=20))
        lock.silent = True
        await asyncio.sleep(0.05)
        lock.limit_kmh, lock.immobilised, lock.silent = 0, False, False
        await until(lambda: (lock.immobilised, lock.limit_kmh) == (True, 20))
        await asyncio.sleep(0.1)
        lock.limit_kmh = 0  # its power went for less than a word
        await until(lambda: lock.limit_kmh == 20)
        assert lock.limits == [20, 20, 20]


async def test_what_a_command_loosens_stays_loose_until_the_lock_comes_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(twin, "TRY_AGAIN_S", 0.01)
    async with a_vehicle(tmp_path / "j.db", KEYS) as vehicle:
        lock = vehicle.lock
        await vehicle.twin(SIGNER.twin(1, speed_limit_kmh=20))
        await asyncio.sleep(0.1)
        await vehicle.command(SIGNER.command("speed_limit", args={"kmh": 25}))
        await vehicle.quiet()
        await asyncio.sleep(0.2)
        assert lock.limit_kmh == 25
        lock.silent = True
        await asyncio.sleep(0.05)
        lock.silent = False
        await until(lambda: lock.limit_kmh == 20)


def test_a_sensor_that_lags_behind_a_command_does_not_undo_it() -> None:
    watch, wanted = twin.Loosened(), DesiredTwin(DEVICE, 1, NOW_MS, [])
    left = [twin.Step("speed_limit", {"kmh": 20}, None)]

    def looks(*seen: tuple[list[twin.Step], int]) -> list[bool]:
        return [watch.see(wanted, each, heard=True, turns=turns) for each, turns in seen]

    assert looks(*[([], 0)] * 5) == [False] * 5
    assert looks(([], 2), ([], 2), *[(left, 2)] * 9) == [False] * 11
    assert looks(*[([], 2)] * 5, (left, 2), (left, 2)) == [False] * 5 + [True] * 2


async def test_a_twin_in_force_is_not_told_again_by_a_restart(tmp_path: Path) -> None:
    async with a_vehicle(tmp_path / "j.db", KEYS) as vehicle:
        await vehicle.twin(SIGNER.twin(4, speed_limit_kmh=20))
    async with a_vehicle(tmp_path / "j.db", KEYS, boot_id=2) as vehicle:
        await vehicle.twin(SIGNER.twin(3))
        assert await applied(vehicle) == [4]
        assert await refused(vehicle) == [(3, "old_version")]
