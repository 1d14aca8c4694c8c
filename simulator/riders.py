"""The demo's customers: a few accounts that ride all day, each in a way of its own."""

import asyncio
import contextlib
import json
import logging
import random
import secrets
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from cloud.kit.clock import Clock
from cloud.kit.folder import write_private
from simulator.customer import Account, Customer, RefusedError, RideError
from simulator.ride import Done, Kind, Plan, Ride, card_for
from simulator.streets import StreetMap
from simulator.vehicles import CITY, NoCloudError, served

_log = logging.getLogger(__name__)

MOST_RIDERS: Final = 6
_NAMES: Final = ("Ada", "Ben", "Cem", "Dana", "Emil", "Fay", "Gus", "Hana", "Ivo", "Jule")
_KINDS: Final[dict[Kind, int]] = {
    "plain": 60,
    "late": 10,
    "misparked": 10,
    "cancelled": 8,
    "called_off": 6,
    "declined": 6,
}
_FIRST_WAIT_S: Final = (0.0, 15.0)
_WAIT_S: Final = (8.0, 40.0)
_AFTER_TROUBLE_S: Final = 10.0
_GIVE_BACK_S: Final = 60.0
_MINUTES: Final = (0.7, 3.0)


# An answer that looks otherwise than it should is no reason to end the demo.
_TROUBLES: Final = (RideError, NoCloudError, OSError, LookupError, TypeError)


@dataclass(slots=True)
class Tally:
    """What the demo's customers have come to since it began.

    Attributes:
        done: rides by how they ended: ended, hold_cancelled, called_off, declined …
        paid_minor: charged by now, by currency.
        troubles: rides that a step of failed.
    """

    done: Counter[str] = field(default_factory=Counter)
    paid_minor: Counter[str] = field(default_factory=Counter)
    troubles: int = 0

    def add(self, done: Done) -> None:
        """Count a ride."""
        self.done[done.outcome] += 1
        if done.paid is not None:
            self.paid_minor[done.paid["currency"]] += done.paid["amount_minor"]

    def __str__(self) -> str:
        money = " + ".join(f"{m / 100:.2f} {currency}" for currency, m in self.paid_minor.items())
        others = self.done.total() - self.done["ended"]
        return (
            f"{self.done['ended']} rides done · {others} cancelled or declined"
            f" · {money or '0.00 EUR'} captured"
            + (f" · {self.troubles} failed" if self.troubles else "")
        )


def served_at(data_dir: Path) -> str:
    """Return the address of the cloud that serves a folder; raises NoCloudError."""
    return str(served(data_dir, start="make demo DATA_DIR=")["api_url"])


def new_account() -> Account:
    """Return an e-mail address that nobody has, and a password for it."""
    return Account(f"rider-{secrets.token_hex(5)}@example.org", secrets.token_urlsafe(16))


def kind_of_ride(chance: random.Random) -> Kind:
    """Return what becomes of the next ride."""
    return chance.choices(list(_KINDS), list(_KINDS.values()))[0]


class Riders:
    """Lets a few customers ride until cancelled.

    Their accounts are kept in `riders.json` of the data folder, and go on with the next run.

    Args:
        data_dir: of the demo.
        count: how many ride at once.
        seed: of who does what.
        clock: of their phones.
    """

    def __init__(self, data_dir: Path, count: int, seed: int, clock: Clock) -> None:
        self.tally = Tally()
        self.accounts = [new_account() for _ in range(count)]
        self._data_dir = data_dir
        self._seed = seed
        self._clock = clock
        self._town: StreetMap | None = None
        self._file = data_dir / "riders.json"
        with contextlib.suppress(OSError, ValueError, TypeError, LookupError):
            known = [Account(**each) for each in json.loads(self._file.read_text("utf-8"))]
            self.accounts[: len(known)] = known[:count]

    async def run(self) -> None:
        """Ride, each customer for themselves, until cancelled.

        Raises:
            ValueError: there is a file of a city that cannot be read.
        """
        self._keep()
        self._town = await asyncio.to_thread(StreetMap.read, self._data_dir / CITY)
        async with asyncio.TaskGroup() as tasks:
            for number in range(len(self.accounts)):
                tasks.create_task(self._live(number), name=f"rider-{number}")

    def _keep(self) -> None:
        kept = [{"email": each.email, "password": each.password} for each in self.accounts]
        write_private(self._file, json.dumps(kept))

    async def _live(self, number: int) -> None:
        """Be one customer after the other: who has a rental that does not end cannot ride on."""
        chance = random.Random(f"{self._seed}/rider/{number}")
        await asyncio.sleep(chance.uniform(*_FIRST_WAIT_S) if number else 0)
        while True:
            try:
                await self._be(number, chance)
            except _TROUBLES as trouble:
                self.tally.troubles += 1
                _log.warning("%s: %r", self.accounts[number].email, trouble)
                await asyncio.sleep(_AFTER_TROUBLE_S)

    async def _be(self, number: int, chance: random.Random) -> None:
        api_url, outbox = served_at(self._data_dir), self._data_dir / "outbox"
        async with Customer(api_url, outbox, self.accounts[number]) as customer:
            ride = Ride(customer, self._town, self._data_dir / "vehicles", chance, self._clock)
            free = await self._arrive(customer, number, ride)
            while free and served_at(self._data_dir) == api_url:
                self.tally.add(await self._ride(customer, ride, chance))
                await asyncio.sleep(chance.uniform(*_WAIT_S))
        if not free:
            self.accounts[number] = new_account()
            self._keep()

    async def _arrive(self, customer: Customer, number: int, ride: Ride) -> bool:
        """Sign in, or up first; give back what was left open, and tell whether that worked."""
        try:
            await customer.sign_in()
        except RefusedError:
            await customer.join(_NAMES[number % len(_NAMES)], time_zone="Europe/Berlin")
        try:
            for rental in await customer.open_rentals():
                await ride.give_back(rental)
                await customer.until(rental["id"], frozenset(), _GIVE_BACK_S)
        except RideError as trouble:
            _log.warning("%s has a rental that does not end: %s", customer.account.email, trouble)
            return False
        return True

    async def _ride(self, customer: Customer, ride: Ride, chance: random.Random) -> Done:
        """Take one ride, with the card that suits it as the only one."""
        kind = kind_of_ride(chance)
        await customer.use_only(card_for(kind))
        return await ride.take(Plan(kind, chance.uniform(*_MINUTES)))
