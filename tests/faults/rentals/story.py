"""Riders ride while everything is killed in turn; then the accounts are compared."""

import asyncio
import math
import os
import random
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import httpx

from tests.faults.rentals.books import gather, moving, unlocks
from tests.faults.rentals.house import VICTIMS, House, Victim, dead_for_s
from tests.faults.rentals.riders import Told, ride_on
from tests.faults.rentals.verdict import Verdict, judge

_RECOVERY_S: Final = 120.0
_REST_S: Final = 240.0
_LOOK_S: Final = 0.1
_OPERATIONS: Final = ("authorise", "capture", "cancel")
_PERCENT: Final = 95


@dataclass(frozen=True, slots=True)
class Plan:
    """What is to happen.

    Attributes:
        rentals: how many begin, at least.
        riders: how many ride at once.
        vehicles: for them to choose from.
        rounds: how often each victim is killed.
        trouble_every_s: between two things that go wrong at the bank.
        hang_s: how long the bank does not answer when it is to hang; ours wait 10 s.
    """

    rentals: int
    riders: int
    vehicles: int
    rounds: int
    trouble_every_s: float
    hang_s: float


@dataclass(frozen=True, slots=True)
class Strike:
    """One kill -9.

    Attributes:
        victim: who was killed.
        at_s: when, on the monotonic clock.
        wall_s: when, seconds since 1970.
        begun: rentals that had begun before.
        riding: riders who had a rental at that moment.
    """

    victim: Victim
    at_s: float
    wall_s: float
    begun: int
    riding: int


@dataclass(slots=True)
class Report:
    """How it went.

    Attributes:
        seed: makes the same riders and faults.
        plan: what was to happen.
        load_s: from the first request until every rider was done.
        rest_s: from then until nothing moved any more.
        strikes: every kill.
        troubles: what went wrong at the bank on purpose, how often.
        told: what riders were told.
        unlocks: when vehicles opened for riders, seconds since 1970.
        moving: what never came to rest.
        verdict: what came of it all.
    """

    seed: int
    plan: Plan
    load_s: float = 0.0
    rest_s: float = 0.0
    strikes: list[Strike] = field(default_factory=list)
    troubles: int = 0
    told: Told = field(default_factory=lambda: Told(0))
    unlocks: Sequence[float] = ()
    moving: dict[str, int] = field(default_factory=dict)
    verdict: Verdict | None = None

    def answered_after_s(self, strike: Strike) -> list[float]:
        """Return how long after a kill each rider's next request had succeeded, seconds."""
        after: dict[int, float] = {}
        for request in self.told.requests:
            gap_s = request.ended_s - strike.at_s
            if request.began_s > strike.at_s:
                after[request.rider] = min(gap_s, after.get(request.rider, math.inf))
        return sorted(after.values())

    def unlocked_after_s(self, strike: Strike) -> float | None:
        """Return how long after a kill a vehicle next opened for anybody, seconds."""
        later = [at - strike.wall_s for at in self.unlocks if at > strike.wall_s]
        return min(later, default=None)

    def p95_s(self, victims: Iterable[Victim] = VICTIMS) -> float:
        """Return what 95 of 100 riders waited at most for their next success after a kill."""
        wanted = set(victims)
        waits = [
            wait_s
            for strike in self.strikes
            if strike.victim in wanted
            for wait_s in self.answered_after_s(strike)
        ]
        return percentile(waits, _PERCENT)

    def __str__(self) -> str:
        kills = ", ".join(f"{strike.victim} with {strike.riding} riding" for strike in self.strikes)
        head = (
            f"seed {self.seed}: {len(self.told.started)} rentals in {self.load_s:.0f} s, at rest"
            f" {self.rest_s:.0f} s later; killed {kills}; {self.troubles} troubles at the bank;"
            f" p95 back after {self.p95_s():.1f} s; outcomes {dict(self.told.outcomes)}"
        )
        lines = [
            head,
            *(f"  {trouble}" for trouble in self.told.troubles),
            f"still moving: {self.moving or 'nothing'}",
            str(self.verdict),
        ]
        return "\n".join(lines)


def chosen_seed() -> int:
    """Return the seed of this telling, printed so that it can be told again."""
    seed = int(os.environ.get("RENTALS_SEED") or random.SystemRandom().randrange(2**32))
    print(f"RENTALS_SEED={seed}")
    return seed


def percentile(found: Iterable[float], percent: int) -> float:
    """Return the value that so many of a hundred do not exceed; 0 of nothing."""
    values = sorted(found)
    return values[math.ceil(len(values) * percent / 100) - 1] if values else 0.0


def tell(folder: Path, plan: Plan, seed: int, **more: Any) -> Report:
    """Let riders ride and kill everything in turn, then wait for rest and judge.

    Raises:
        TimeoutError: something did not come back; the message says what.
        RuntimeError: a process ended that nobody killed.
        ExceptionGroup: a rider's rental does not end.
    """
    report = Report(seed, plan, told=Told(plan.rentals))
    with House(folder, vehicles=plan.vehicles, seed=seed, **more) as house:
        asyncio.run(_load(house, report))
        began_s = time.monotonic()
        report.moving = _rest(house)
        report.rest_s = time.monotonic() - began_s
        report.unlocks = unlocks(house.dsn)
        report.verdict = judge(gather(house), report.told.started, report.told.billed)
    return report


async def _load(house: House, report: Report) -> None:
    plan, told = report.plan, report.told
    began_s = time.monotonic()
    async with asyncio.TaskGroup() as tasks:
        riders = [
            tasks.create_task(ride_on(house, number, told, report.seed), name=f"rider-{number}")
            for number in range(plan.riders)
        ]
        bank = tasks.create_task(_trouble_the_bank(house, report), name="bank")
        await _kill_in_turn(house, report)
        await asyncio.gather(*riders)
        bank.cancel()
    report.load_s = time.monotonic() - began_s


async def _kill_in_turn(house: House, report: Report) -> None:
    """Spread the kills over the rentals, each while somebody rides."""
    chance = random.Random(f"{report.seed}/kills")
    victims = VICTIMS * report.plan.rounds
    told = report.told
    for number, victim in enumerate(victims, 1):
        begun = math.ceil(number * told.wanted / (len(victims) + 1))
        while len(told.started) < begun or not told.riding:  # noqa: ASYNC110 - riders count
            await asyncio.sleep(_LOOK_S)
        strike = Strike(victim, time.monotonic(), time.time(), len(told.started), len(told.riding))
        await asyncio.to_thread(house.kill, victim)
        report.strikes.append(strike)
        await asyncio.sleep(dead_for_s(chance))
        await asyncio.to_thread(house.revive, victim)
        async with asyncio.timeout(_RECOVERY_S):
            while not await asyncio.to_thread(house.everyone_is_ready):  # noqa: ASYNC110
                await asyncio.sleep(_LOOK_S)


async def _trouble_the_bank(house: House, report: Report) -> None:
    """Let the bank forget keys, repeat and turn its webhooks, and now and then hang or fail."""
    chance = random.Random(f"{report.seed}/bank")
    await asyncio.to_thread(house.trouble, idempotency=False, hang_s=report.plan.hang_s)
    while True:
        fault = {
            "on": chance.choice(_OPERATIONS),
            "what": chance.choice(("error_before", "error_after", "timeout_before", "timeout")),
        }
        webhooks = chance.choice(("duplicate", "reordered", "off", "normal"))
        try:
            await asyncio.to_thread(house.trouble, faults=[fault], webhooks=webhooks)
            report.troubles += 1
        except httpx.TransportError:
            pass  # It is busy; another time.
        await asyncio.sleep(report.plan.trouble_every_s)


def _rest(house: House) -> dict[str, int]:
    """Wait until nothing moves any more; return what never came to rest."""
    house.trouble(faults=[])
    ends_s = time.monotonic() + _REST_S
    while (left := moving(house.dsn)) and time.monotonic() < ends_s:
        time.sleep(1.0)
    return left
