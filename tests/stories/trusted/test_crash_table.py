"""The crash table: the power goes at every step of a command, told from the API's end.

However it ends, the latch and the API agree, nothing moves twice, and there is one result.
"""

import asyncio
import signal
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import nats as nats_py
import pytest

from edge.commands.points import (
    AFTER_ACTUATION,
    BEFORE_ACTUATION,
    BEFORE_RESULT,
    JOURNALLED,
    RECEIVED,
    RESULT_JOURNALLED,
    VERIFIED,
)
from firmware_shim.lock_unit import LockUnit
from protocol.segment import open_segment
from tests.stories.trusted.cloud import PATIENCE_S, Cloud
from tests.stories.trusted.vehicle import Vehicle, Workbench

pytestmark = [pytest.mark.story, pytest.mark.slow]

RESULT_SENT = "the result is sent, its ack is not there"
DONE, INTERRUPTED = ("done", ""), ("failed", "interrupted")

# Where the power goes → how an unlock or a lock ends, how a beep ends. The latch has a sensor:
# when it moved, the result says so. Nobody can ask a beep whether it was heard.
TABLE: dict[str, tuple[tuple[str, str], tuple[str, str]]] = {
    RECEIVED: (DONE, DONE),
    VERIFIED: (DONE, DONE),
    JOURNALLED: (INTERRUPTED, INTERRUPTED),
    BEFORE_ACTUATION: (INTERRUPTED, INTERRUPTED),
    AFTER_ACTUATION: (DONE, INTERRUPTED),
    BEFORE_RESULT: (DONE, INTERRUPTED),
    RESULT_JOURNALLED: (DONE, DONE),
    RESULT_SENT: (DONE, DONE),
}
ORDERED = {"unlock": False, "lock": True}


@dataclass(frozen=True)
class Seen:
    """What a witness saw of one command.

    Attributes:
        kind: what was asked for.
        end: state and reason, as the API says.
        was_locked: before.
        is_locked: at the end.
        moves: how often the unit drove or sounded.
        results: how many results of it were reported.
        ends: how often the platform was told that it ended.
    """

    kind: str
    end: tuple[str, str]
    was_locked: bool
    is_locked: bool
    moves: int
    results: int
    ends: int


def broken(seen: Seen) -> list[str]:
    """Return which promises were not kept."""
    done, ordered = seen.end[0] == "done", ORDERED.get(seen.kind)
    found = []
    if seen.moves > 1:
        found.append("it moved twice")
    if done and (seen.moves == 0 if ordered is None else seen.is_locked != ordered):
        found.append("it is called done and is not")
    if not done and ordered is not None and seen.is_locked != seen.was_locked:
        found.append("it is not called done and is")
    if (seen.results, seen.ends) != (1, 1):
        found.append(f"it ended {seen.ends} times with {seen.results} results")
    return found


@pytest.fixture(scope="module")
def vehicle(
    cloud: Cloud, bench: Workbench, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Vehicle]:
    """A vehicle that is known to the cloud; its agent does not run."""
    folder = tmp_path_factory.mktemp("crash")
    with Vehicle(cloud, bench, folder, "crash-001", lock=LockUnit()) as vehicle:
        vehicle.start_and_greet()
        vehicle.cut_power()
        yield vehicle


class Drama:
    """One command and one power cut."""

    def __init__(self, vehicle: Vehicle, kind: str) -> None:
        assert isinstance(vehicle.lock, LockUnit)
        self._vehicle, self._lock, self._kind = vehicle, vehicle.lock, kind
        # A beep leaves the latch alone, wherever it is.
        vehicle.turn(locked=kind == "unlock")
        self._before = dict(self._lock.moved)
        self._was_locked = self._lock.sensors.latch == 1
        self.id = ""

    def until_cut(self, point: str) -> None:
        """Ask, and let the power go at `point`."""
        vehicle = self._vehicle
        if point == RESULT_SENT:
            vehicle.start_and_greet()
            asyncio.run(self._until_sent())
            return
        vehicle.start(dies_at=point)
        self.id = vehicle.cloud.ask(vehicle.id, self._kind)
        assert vehicle.wait_for_death() == -signal.SIGKILL

    def end(self) -> Seen:
        """Start the agent again and see how it ends."""
        vehicle = self._vehicle
        vehicle.start()
        end = vehicle.cloud.end(self.id)
        # What else was under way comes in before the command that is asked for now.
        assert vehicle.does("read_now") == DONE
        vehicle.cut_power()
        driven = ("locate",) if self._kind == "locate" else ("lock", "unlock")
        moves = sum(self._lock.moved[one] - self._before.get(one, 0) for one in driven)
        results = [
            one
            for one in vehicle.says("command.result")
            if one["id"] == self.id and not one.get("repeat")
        ]
        return Seen(
            kind=self._kind,
            end=end,
            was_locked=self._was_locked,
            is_locked=self._lock.sensors.latch == 1,
            moves=moves,
            results=len(results),
            ends=vehicle.cloud.ended(vehicle.id).count(self.id),
        )

    async def _until_sent(self) -> None:
        """Cut the power when the broker has the result and the database does not."""
        vehicle, cloud = self._vehicle, self._vehicle.cloud
        sent = asyncio.Event()

        async def hear(message: Any) -> None:
            told = [dict(fact.fields) for fact in open_segment(message.data).facts or ()]
            if message.subject.endswith(f".{vehicle.id}") and any(
                (one.get("id"), "kind" in one) == (self.id, True) for one in told
            ):
                sent.set()

        broker = await nats_py.connect(cloud.broker.url_of("ingest"))
        await broker.subscribe("f.*.*", cb=hear)
        await broker.flush()
        with cloud.committing_nothing():
            self.id = await asyncio.to_thread(cloud.ask, vehicle.id, self._kind)
            async with asyncio.timeout(PATIENCE_S):
                await sent.wait()
            vehicle.cut_power()
        await broker.close()


@pytest.mark.parametrize("kind", ["unlock", "lock", "locate"])
@pytest.mark.parametrize("point", TABLE)
def test_the_latch_and_the_api_agree_wherever_the_power_went(
    vehicle: Vehicle, point: str, kind: str
) -> None:
    drama = Drama(vehicle, kind)
    drama.until_cut(point)
    seen = drama.end()
    assert broken(seen) == [], seen
    assert seen.end == TABLE[point][kind == "locate"], seen


def test_an_agent_that_forgets_what_it_began_is_convicted(vehicle: Vehicle) -> None:
    drama = Drama(vehicle, "locate")
    drama.until_cut(AFTER_ACTUATION)
    vehicle.forget()
    seen = drama.end()
    assert "it moved twice" in broken(seen), seen


def test_a_latch_that_a_hand_turned_back_is_left_there(vehicle: Vehicle) -> None:
    drama = Drama(vehicle, "unlock")
    drama.until_cut(AFTER_ACTUATION)
    vehicle.turn(locked=True)
    seen = drama.end()
    assert (broken(seen), seen.end, seen.moves) == ([], INTERRUPTED, 1), seen


def test_an_agent_that_forgets_and_moves_it_again_is_convicted(vehicle: Vehicle) -> None:
    drama = Drama(vehicle, "unlock")
    drama.until_cut(AFTER_ACTUATION)
    vehicle.turn(locked=True)
    vehicle.forget()
    seen = drama.end()
    assert "it moved twice" in broken(seen), seen


def test_the_verdict_sees_every_kind_of_lie() -> None:
    honest = Seen("unlock", DONE, True, False, 1, 1, 1)
    assert broken(honest) == []
    assert broken(Seen("unlock", DONE, True, True, 1, 1, 1)) == ["it is called done and is not"]
    assert broken(Seen("locate", DONE, True, True, 0, 1, 1)) == ["it is called done and is not"]
    assert broken(Seen("lock", INTERRUPTED, False, True, 1, 1, 1)) == [
        "it is not called done and is"
    ]
    assert broken(Seen("unlock", DONE, True, False, 1, 2, 1)) == ["it ended 1 times with 2 results"]
