"""Riders who ask again by the same key when nobody answers, and finish what they began."""

import asyncio
import contextlib
import random
import secrets
import time
from collections import Counter
from dataclasses import dataclass, field
from typing import Any, Final

from cloud.kit.clock import SystemClock
from simulator.customer import Account, Customer, RefusedError, RideError
from simulator.ride import Done, Kind, Plan, Ride, card_for
from tests.faults.rentals.house import House

# Long enough for a process to be killed, to start and to be killed again.
_ATTEMPTS: Final = 20
_GIVE_BACK_S: Final = 240.0
_AGAIN_S: Final = 1.0
_METER_EVERY_S: Final = 0.5
# A receipt may come before the bank has answered.
_TOGETHER: Final = ("paid", "open")
_MINUTES: Final = (0.05, 0.2)
_KINDS: Final[dict[Kind, int]] = {
    "plain": 60,
    "late": 12,
    "misparked": 10,
    "called_off": 10,
    "declined": 5,
    "cancelled": 3,
}


@dataclass(frozen=True, slots=True)
class Request:
    """One request that succeeded, however often it was sent; times of the monotonic clock."""

    rider: int
    began_s: float
    ended_s: float


@dataclass(slots=True)
class Told:
    """What the riders were told, which is what the databases have to hold.

    Attributes:
        wanted: how many rentals there are to be.
        started: rentals that the cloud said it had begun.
        billed: by rental, what its receipt says is paid and still open together, minor units.
        outcomes: how rides went.
        troubles: steps that failed for good, in words.
        requests: all that succeeded.
        riding: riders who have a rental right now.
    """

    wanted: int
    started: list[str] = field(default_factory=list)
    billed: dict[str, int] = field(default_factory=dict)
    outcomes: Counter[str] = field(default_factory=Counter)
    troubles: list[str] = field(default_factory=list)
    requests: list[Request] = field(default_factory=list)
    riding: set[int] = field(default_factory=set)

    @property
    def are_enough(self) -> bool:
        """Whether the wanted rentals have begun."""
        return len(self.started) >= self.wanted

    def take_in(self, done: Done) -> None:
        """Remember how a ride went."""
        self.outcomes[done.outcome] += 1
        if done.rental_id is not None and done.receipt is not None:
            money = done.receipt["payment"]
            self.billed[done.rental_id] = sum(money[each]["amount_minor"] for each in _TOGETHER)


class StubbornCustomer(Customer):
    """A customer who tells what succeeded, and when."""

    def __init__(self, house: House, number: int, told: Told) -> None:
        account = Account(f"rider-{number}@example.org", secrets.token_urlsafe(16))
        super().__init__(house.url, house.outbox, account, attempts=_ATTEMPTS)
        self._number = number
        self._told = told

    async def start(self, hold_id: str, method_id: str = "default") -> str:
        """Start to ride, and count it."""
        rental_id = await super().start(hold_id, method_id)
        self._told.started.append(rental_id)
        self._told.riding.add(self._number)
        return rental_id

    async def _ask(self, *args: Any, **kwargs: Any) -> Any:
        began_s = time.monotonic()
        answer = await super()._ask(*args, **kwargs)
        self._told.requests.append(Request(self._number, began_s, time.monotonic()))
        return answer


async def ride_on(house: House, number: int, told: Told, seed: int) -> None:
    """Be one rider until there are rentals enough and one's own are over.

    Raises:
        RideError: a rental of theirs does not end.
    """
    chance = random.Random(f"{seed}/rider/{number}")
    async with StubbornCustomer(house, number, told) as customer:
        await customer.join(f"Rider {number}", time_zone="Europe/Berlin")
        meter = asyncio.create_task(_look_at_the_meter(customer), name=f"meter-{number}")
        ride = Ride(customer, house.town(), house.homes, chance, SystemClock())
        while not told.are_enough:
            kind = chance.choices(list(_KINDS), list(_KINDS.values()))[0]
            try:
                await _one(ride, kind, chance, told)
            except RideError as trouble:
                told.troubles.append(f"rider {number}, {kind}: {trouble}")
                await _come_to_rest(ride)
                await asyncio.sleep(_AGAIN_S)
            told.riding.discard(number)
        meter.cancel()


async def _look_at_the_meter(customer: Customer) -> None:
    """Show the running meter all the time, as the page of a phone does."""
    while True:
        with contextlib.suppress(RideError):
            await customer.open_rentals()
        await asyncio.sleep(_METER_EVERY_S)


async def _one(ride: Ride, kind: Kind, chance: random.Random, told: Told) -> None:
    await ride.customer.use_only(card_for(kind))
    told.take_in(await ride.take(Plan(kind, chance.uniform(*_MINUTES))))


async def _come_to_rest(ride: Ride) -> None:
    """Give back what is open, as somebody would who wants to go on; raises RideError."""
    customer = ride.customer
    async with asyncio.timeout(_GIVE_BACK_S):
        while rentals := await customer.open_rentals():
            for rental in rentals:
                try:
                    await ride.give_back(rental)
                except RefusedError:
                    # It has gone on meanwhile; look again.
                    await asyncio.sleep(_AGAIN_S)
            await asyncio.sleep(_AGAIN_S)
