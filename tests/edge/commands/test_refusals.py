"""Everything a vehicle does not do, each beside its valid twin that it does."""

import asyncio
from pathlib import Path
from typing import Any

import pytest

from edge.clock import ManualClock
from edge.controllers.base import Outcome
from protocol.segment import Lane
from protocol.signing import COMMAND_TYPE, TWIN_TYPE
from tests.edge.commands.parts import NOW_MS, FakeLock, TestSigner, a_vehicle, until
from tests.edge.journal.opening import a_full_disk

SIGNER, STRANGER = TestSigner(), TestSigner()
KEYS = [SIGNER.public]


async def test_a_good_command_is_done_once_and_answered(tmp_path: Path) -> None:
    async with a_vehicle(tmp_path / "j.db", KEYS) as vehicle:
        await vehicle.command(SIGNER.command("unlock"))
        result = await vehicle.result()
        assert vehicle.lock.locked is False
    assert (result["kind"], result["state"], result["reason"]) == ("unlock", "done", "")
    assert result["accepted_ago_ms"] >= result["executing_ago_ms"] >= 0


def flipped(envelope: bytes) -> bytes:
    return envelope[:-5] + (b"A" if envelope[-5:-4] != b"A" else b"B") + envelope[-4:]


def unsigned(envelope: bytes) -> bytes:
    head = b"eyJhbGciOiJub25lIiwia2lkIjoiazEiLCJ0eXAiOiJtYy1jb21tYW5kK2p3cyJ9"
    return head + b"." + envelope.split(b".")[1] + b"."


FORGED: dict[str, tuple[bytes, str]] = {
    "nothing": (b"", "malformed"),
    "noise": (b"\xff\x00.\x01.\x02", "malformed"),
    "plain JSON": (b'{"kind":"unlock"}', "malformed"),
    "algorithm none": (unsigned(SIGNER.command("unlock")), "malformed"),
    "a flipped bit": (flipped(SIGNER.command("unlock")), "bad_signature"),
    "another's key under our id": (STRANGER.command("unlock"), "bad_signature"),
    "a key nobody pinned": (SIGNER.command("unlock", key_id="k9"), "unknown_key"),
    "a twin as a command": (SIGNER.twin(), "wrong_type"),
    "another device": (SIGNER.command("unlock", device_id="demo-002"), "other_device"),
    "signed, but no command": (SIGNER.raw(b"[]", COMMAND_TYPE), "malformed"),
    "signed, of a later version": (SIGNER.raw(b'{"v":2}', COMMAND_TYPE), "malformed"),
}


@pytest.mark.parametrize("name", FORGED)
async def test_what_nobody_signed_for_us_moves_nothing_and_is_told_as_security(
    tmp_path: Path, name: str
) -> None:
    envelope, reason = FORGED[name]
    async with a_vehicle(tmp_path / "j.db", KEYS) as vehicle:
        await vehicle.command(envelope)
        assert await vehicle.facts("security.refused") == [
            {"what": "command", "reason": reason, "times": 1}
        ]
        assert await vehicle.facts("command.result") == []
        assert not vehicle.lock.moved
        await vehicle.command(SIGNER.command("unlock"))
        assert (await vehicle.result())["state"] == "done"


async def test_a_flood_of_forgeries_is_a_fact_a_minute(tmp_path: Path) -> None:
    async with a_vehicle(tmp_path / "j.db", KEYS) as vehicle:
        for _ in range(50):
            await vehicle.command(STRANGER.command())
            await vehicle.command(b"noise")
        told = await vehicle.facts("security.refused")
        assert [(one["reason"], one["times"]) for one in told] == [
            ("bad_signature", 1),
            ("malformed", 1),
        ]
        vehicle.clock.advance(61)
        await vehicle.command(STRANGER.command())
        assert (await vehicle.facts("security.refused"))[2:] == [
            {"what": "command", "reason": "bad_signature", "times": 50}
        ]


REFUSED: dict[str, tuple[dict[str, Any], str]] = {
    "expired": ({"kind": "unlock", "not_after_ms": NOW_MS - 1}, "expired"),
    "of a kind nobody knows": ({"kind": "fly"}, "unsupported"),
    "of a kind this vehicle cannot": (
        {"kind": "charge_enable", "args": {"on": True}},
        "unsupported",
    ),
    "with an argument missing": ({"kind": "immobilise"}, "bad_args"),
    "with an argument too many": ({"kind": "unlock", "args": {"now": True}}, "bad_args"),
    "with an argument out of range": ({"kind": "speed_limit", "args": {"kmh": 99}}, "bad_args"),
}


@pytest.mark.parametrize("name", REFUSED)
async def test_a_signed_command_is_refused_with_the_reason(tmp_path: Path, name: str) -> None:
    fields, reason = REFUSED[name]
    async with a_vehicle(tmp_path / "j.db", KEYS) as vehicle:
        await vehicle.command(SIGNER.command(**fields))
        result = await vehicle.result()
        assert (result["state"], result["reason"]) == ("refused", reason)
        assert "executing_ago_ms" not in result
        assert not vehicle.lock.moved
        assert await vehicle.facts("security.refused") == []


@pytest.mark.parametrize("reason", ["moving", "unsafe"])
async def test_the_interlock_has_the_last_word(tmp_path: Path, reason: str) -> None:
    forbidden: list[str | None] = [reason]
    async with a_vehicle(
        tmp_path / "j.db", KEYS, forbids=lambda _kind, _args: forbidden[0]
    ) as vehicle:
        await vehicle.command(SIGNER.command("lock"))
        result = await vehicle.result()
        assert (result["state"], result["reason"]) == ("refused", reason)
        assert not vehicle.lock.moved
        forbidden[0] = None
        await vehicle.command(SIGNER.command("lock"))
        assert (await vehicle.result())["state"] == "done"


async def test_what_the_lock_says_is_what_is_told(tmp_path: Path) -> None:
    async with a_vehicle(tmp_path / "j.db", KEYS) as vehicle:
        vehicle.lock.answers["lock"] = Outcome("refused", "jammed")
        await vehicle.command(SIGNER.command("lock"))
        result = await vehicle.result()
        assert (result["state"], result["reason"]) == ("refused", "jammed")
        vehicle.lock.answers["lock"] = Outcome("failed", "not_confirmed")
        await vehicle.command(SIGNER.command("lock"))
        result = await vehicle.result()
        assert (result["state"], result["reason"]) == ("failed", "not_confirmed")


async def test_one_moves_eight_wait_and_the_next_is_refused_as_busy(tmp_path: Path) -> None:
    async with a_vehicle(tmp_path / "j.db", KEYS) as vehicle:
        vehicle.lock.gate = asyncio.Event()
        await vehicle.command(SIGNER.command("locate"))
        await until(vehicle.remote.actuators.stations[0].lock.locked)
        for _ in range(8):
            await vehicle.command(SIGNER.command("locate"))
        await vehicle.command(SIGNER.command("locate"))
        await vehicle.command(SIGNER.command("set_intervals", args=INTERVALS))
        await until(lambda: len(vehicle.remote.desk._open) == 9)
        told = [(one["kind"], one["reason"]) for one in await vehicle.facts("command.result")]
        assert told == [("locate", "busy"), ("set_intervals", "")]
        vehicle.lock.gate.set()
        await vehicle.quiet()
        assert vehicle.lock.moved["locate"] == 9


INTERVALS = {"intervals_s": {"poll_parked_s": 5}}


async def test_a_command_that_expires_while_it_waits_is_not_done(tmp_path: Path) -> None:
    async with a_vehicle(tmp_path / "j.db", KEYS) as vehicle:
        vehicle.lock.gate = asyncio.Event()
        await vehicle.command(SIGNER.command("locate"))
        await until(vehicle.remote.actuators.stations[0].lock.locked)
        await vehicle.command(SIGNER.command("unlock"))
        vehicle.clock.advance(61)
        vehicle.lock.gate.set()
        result = await vehicle.result()
        assert (result["kind"], result["reason"]) == ("unlock", "expired")
        assert not vehicle.lock.moved["unlock"]


async def test_turning_the_clock_back_does_not_make_an_old_command_good(tmp_path: Path) -> None:
    clock = ManualClock(NOW_MS)
    old = SIGNER.command("unlock", not_after_ms=NOW_MS + 10)
    async with a_vehicle(tmp_path / "j.db", KEYS, clock=clock) as vehicle:
        await vehicle.command(SIGNER.command("lock", issued_at_ms=NOW_MS + 20_000))
        await vehicle.quiet()
    clock.jump(-86_400)
    lock = FakeLock(clock)
    async with a_vehicle(tmp_path / "j.db", KEYS, clock=clock, lock=lock, boot_id=2) as vehicle:
        await vehicle.command(old)
        assert (await vehicle.result())["reason"] == "expired"
        await vehicle.command(SIGNER.command("unlock"))
        assert (await vehicle.result())["state"] == "done"


async def test_what_cannot_be_written_down_is_not_done(tmp_path: Path) -> None:
    unlock = SIGNER.command("unlock")
    async with a_vehicle(tmp_path / "j.db", KEYS) as vehicle:
        with a_full_disk():
            await vehicle.command(unlock)
            await vehicle.quiet()
            await vehicle.command(unlock)
        await vehicle.journal.flush()
        await vehicle.command(unlock)
        told = await vehicle.facts("command.result")
        assert [(one["state"], one["reason"]) for one in told] == [("failed", "error")]
        assert not vehicle.lock.moved
        await vehicle.command(SIGNER.command("unlock"))
        assert (await vehicle.result())["state"] == "done"


async def test_what_takes_long_is_told_in_between(tmp_path: Path) -> None:
    async with a_vehicle(tmp_path / "j.db", KEYS) as vehicle:
        vehicle.lock.gate = asyncio.Event()
        first = SIGNER.command("locate")
        await vehicle.command(first)
        await vehicle.command(SIGNER.command("unlock"))
        await until(lambda: vehicle.journal.lane(Lane.FACT).last_seq >= 2)
        told = [one["state"] for one in await vehicle.facts("command.progress")]
        assert told == ["executing", "accepted"]
        vehicle.lock.gate.set()
        await vehicle.quiet()
        assert len(await vehicle.facts("command.result")) == 2


async def test_what_is_quick_is_told_once(tmp_path: Path) -> None:
    async with a_vehicle(tmp_path / "j.db", KEYS) as vehicle:
        await vehicle.command(SIGNER.command("unlock"))
        await vehicle.quiet()
        assert await vehicle.facts("command.progress") == []


async def test_a_command_that_comes_on_the_twin_topic_is_no_twin(tmp_path: Path) -> None:
    async with a_vehicle(tmp_path / "j.db", KEYS) as vehicle:
        await vehicle.twin(SIGNER.command("unlock"))
        await vehicle.twin(SIGNER.raw(b"{}", TWIN_TYPE))
        assert [one["reason"] for one in await vehicle.facts("security.refused")] == ["wrong_type"]
        assert [one["reason"] for one in await vehicle.facts("twin.refused")] == ["bad_document"]
        await vehicle.twin(SIGNER.twin())
        assert await vehicle.facts("twin.applied") == [{"version": 1}]
