"""One ride step by step, as a customer takes it: hold, unlock, ride, park, photo, end, receipt."""

import asyncio
import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Literal

from cloud.kit.clock import Clock
from simulator.city import Spot
from simulator.customer import Customer, RefusedError, RideError
from simulator.motion import METRES_A_DEGREE
from simulator.photo import take_photo
from simulator.streets import StreetMap, length_m, metres
from simulator.trip import CRUISE_KMH, ask_trip, trip_file

Kind = Literal["plain", "late", "misparked", "cancelled", "called_off", "declined"]
"""What becomes of it: late pauses on the way and goes on for long, cancelled lets the hold go,
called_off ends before it has moved, declined has a card that does not pay."""

Say = Callable[[str], None]

UNLOCK_PATIENCE_S: Final = 120.0
END_PATIENCE_S: Final = 60.0
_NEAR_M: Final = 5_000.0
_SHORT_OF_BAY_M: Final = 60.0
_PAUSE_S: Final = 8.0
_PARK_S: Final = 3.0
_MEAN_MS: Final = 0.8 * CRUISE_KMH / 3.6
_FASTER_OTHERS: Final = 5
_MOVES: Final = 2
_RETAKES: Final = 2
_STANDS_WITHIN_S: Final = 30
_CARDS: Final[Mapping[bool, str]] = {False: "tok_ok", True: "tok_declined"}


@dataclass(frozen=True, slots=True)
class Plan:
    """What a customer means to do.

    Attributes:
        kind: what becomes of it.
        minutes: how long to ride, about.
        vehicle_id: which one; None for any that is near.
    """

    kind: Kind = "plain"
    minutes: float = 1.0
    vehicle_id: str | None = None


@dataclass(slots=True)
class Done:
    """How a ride went.

    Attributes:
        outcome: ended, hold_cancelled, called_off, declined, or why the rental was cancelled.
        vehicle_id: which one.
        rental_id: once there was one.
        paid: amount_minor and currency, once it was charged.
        receipt: once there was one.
    """

    outcome: str
    vehicle_id: str
    rental_id: str | None = None
    paid: dict[str, Any] | None = None
    receipt: dict[str, Any] | None = None


@dataclass(slots=True)
class Ride:
    """A ride of a customer who is signed in and has a card.

    Attributes:
        customer: who rides.
        town: streets and bays; None where nobody knows them.
        vehicles: folder of the simulated vehicles, which ride along; others stand.
        chance: of routes, photos and a choice of vehicles.
        clock: of the phone.
        say: told each step.
    """

    customer: Customer
    town: StreetMap | None
    vehicles: Path
    chance: random.Random
    clock: Clock
    say: Say = field(default=lambda _text: None)

    async def take(self, plan: Plan) -> Done:
        """Do it all; raises RideError when a step is refused that was not to be."""
        found, hold = await self._hold(plan)
        vehicle_id = str(found["id"])
        self.say(f"held {vehicle_id} until {hold['expires_at']}, {_price(hold.get('price'))}")
        if plan.kind == "cancelled":
            await self.customer.cancel_hold(hold["id"])
            self.say("cancelled the hold; nothing is charged")
            return Done("hold_cancelled", vehicle_id)
        rental_id = await self.customer.start(hold["id"])
        self.say(f"started rental {rental_id}; the card is asked, then the vehicle")
        try:
            return await self._ride(plan, found, Done("ended", vehicle_id, rental_id))
        except BaseException:
            trip_file(self.vehicles / vehicle_id).unlink(missing_ok=True)
            raise

    async def give_back(self, rental: Mapping[str, Any]) -> None:
        """End what an earlier run left open, wherever it stands."""
        rental_id, vehicle_id = str(rental["id"]), str(rental["vehicle_id"])
        trip_file(self.vehicles / vehicle_id).unlink(missing_ok=True)
        if rental["state"] in ("authorising", "unlocking"):
            await self.customer.do(rental_id, "cancel")
        elif rental["state"] not in ("ending", "locked", "accepted"):
            await self._end(rental_id, vehicle_id, _place_of(rental))

    async def _hold(self, plan: Plan) -> tuple[dict[str, Any], dict[str, Any]]:
        """Find a vehicle and hold it; another one where somebody was faster."""
        for _ in range(_FASTER_OTHERS):
            found = await self._find(plan)
            try:
                return found, await self.customer.hold(found["id"])
            except RefusedError as refused:
                if refused.kind != "/problems/vehicle-taken" or plan.vehicle_id is not None:
                    raise
                self.say(f"somebody else was faster with {found['id']}")
        raise RideError("somebody else is always faster; wait until more vehicles are free")

    async def _find(self, plan: Plan) -> dict[str, Any]:
        middle = self.town.middle if self.town is not None and self.town.bays else _MIDDLE
        found = await self.customer.search(middle[1], middle[0], _NEAR_M)
        free = [one for one in found if one.get("price") is not None]
        if plan.vehicle_id is not None:
            free = [one for one in free if one["id"] == plan.vehicle_id]
        if not free:
            raise RideError(
                f"{f'{plan.vehicle_id} is not' if plan.vehicle_id else 'no vehicle is'}"
                " to be had, free and with a price, within"
                f" {_NEAR_M / 1000:.0f} km of {middle[1]:.4f},{middle[0]:.4f}; wait a little, or"
                " look with GET /api/v1/vehicles?near=LAT,LON"
            )
        chosen = self.chance.choice(free[: max(1, len(free) // 2)])
        self.say(f"found {len(found)} free vehicles; {chosen['id']} has {_soc(chosen)}")
        return dict(chosen)

    async def _ride(self, plan: Plan, found: Mapping[str, Any], done: Done) -> Done:
        assert done.rental_id is not None
        rental = await self.customer.until(done.rental_id, frozenset({"riding"}), UNLOCK_PATIENCE_S)
        if rental["state"] != "riding":
            why = str(rental["reason"])
            done.outcome = "declined" if why == "payment_declined" else why
            self.say(f"the rental was cancelled: {why.replace('_', ' ')}; nothing is charged")
            return done
        self.say(f"{done.vehicle_id} is unlocked; the meter runs since {rental['started_at']}")
        here = (float(found["place"]["lon"]), float(found["place"]["lat"]))
        if plan.kind != "called_off":
            here = await self._go(plan, done.rental_id, done.vehicle_id, here)
        told = await self._end(done.rental_id, done.vehicle_id, here)
        self.say(f"the return is {told['state']}")
        if told["state"] == "pending":
            self.say(f"a person will look at it: {', '.join(told['reasons'])}; no fee meanwhile")
        rental = await self.customer.until(done.rental_id, frozenset(), END_PATIENCE_S)
        if rental["state"] == "cancelled":
            done.outcome = str(rental["reason"])
            self.say("it was called off in time; nothing is charged")
            return done
        return await self._pay(done, rental)

    async def _pay(self, done: Done, rental: Mapping[str, Any]) -> Done:
        assert done.rental_id is not None
        used = rental["used"]
        self.say(f"ended after {used['ride_s']:.0f} s, {used['pause_s']:.0f} s of them paused")
        done.receipt = await self.customer.receipt(done.rental_id)
        done.paid = dict(done.receipt["payment"]["paid"])
        total, last4 = _money(done.receipt["total"]), done.receipt["payment"]["method_last4"]
        self.say(
            f"receipt {done.receipt['number']}: {total}; the card ending in {last4} paid"
            f" {_money(done.paid)}"
        )
        return done

    async def _go(self, plan: Plan, rental_id: str, vehicle_id: str, start: Spot) -> Spot:
        """Ride; return where it ended."""
        line, goal = self._line(plan, start)
        way_m = length_m(line)
        self.say(f"riding {way_m:.0f} m to {goal}: about {way_m / _MEAN_MS / 60:.1f} min")
        if plan.kind == "late":
            half = max(1, len(line) // 2)
            await self._along(vehicle_id, line[: half + 1])
            await self._pause(rental_id)
            await self._along(vehicle_id, line[half:])
        else:
            await self._along(vehicle_id, line)
        await asyncio.sleep(_PARK_S)
        return line[-1]

    async def _pause(self, rental_id: str) -> None:
        await asyncio.sleep(_PARK_S)
        await self.customer.do(rental_id, "pause")
        rental = await self.customer.until(rental_id, frozenset({"paused", "riding"}), 60.0)
        self.say(f"{rental['state']} for {_PAUSE_S:.0f} s")
        await asyncio.sleep(_PAUSE_S)
        if rental["state"] == "paused":
            await self.customer.do(rental_id, "resume")
            await self.customer.until(rental_id, frozenset({"riding"}), 60.0)
            self.say("riding on")

    def _line(self, plan: Plan, start: Spot) -> tuple[list[Spot], str]:
        """Return the way, and where it leads in words."""
        wanted_m = plan.minutes * 60 * _MEAN_MS * (1.8 if plan.kind == "late" else 1.0)
        if self.town is None or not self.town.bays:
            half = wanted_m / 2 / METRES_A_DEGREE
            return [start, (start[0], start[1] + half), start], "and back, as no streets are known"
        line, bay = self.town.ride(start, wanted_m, self.chance)
        if plan.kind == "misparked" and length_m(line) > 2 * _SHORT_OF_BAY_M:
            return _cut(line, _SHORT_OF_BAY_M), f"a pavement before {bay.name}"
        return line, f"the bay {bay.name}"

    async def _along(self, vehicle_id: str, line: Sequence[Spot]) -> None:
        """Ride along a line and wait until the vehicle is there."""
        seconds = length_m(line) / _MEAN_MS
        if not (self.vehicles / vehicle_id).is_dir():
            self.say(f"{vehicle_id} is not simulated here: it stands for {seconds:.0f} s")
            await asyncio.sleep(seconds)
            return
        trip = await asyncio.to_thread(ask_trip, self.vehicles / vehicle_id, line)
        try:
            async with asyncio.timeout(60 + 3 * seconds):
                while trip.exists():  # noqa: ASYNC110 - another process takes the file away
                    await asyncio.sleep(0.5)
        except TimeoutError:
            trip.unlink(missing_ok=True)
            self.say(f"{vehicle_id} did not get there in time; is mobility-sim run running?")

    async def _end(self, rental_id: str, vehicle_id: str, here: Spot) -> dict[str, Any]:
        """Park, photograph and end; move on from a full bay, accept what parking outside costs."""
        accepts, told = False, {"state": "none"}
        for _ in range(_MOVES + _RETAKES + 1):
            photo = await asyncio.to_thread(take_photo, self.chance, self.clock.now())
            sent = await self.customer.add_photo(rental_id, photo)
            try:
                if told["state"] == "photo_needed":
                    told = sent["ending"]
                else:
                    where = here[1], here[0]
                    told = await self._ask_to_end(rental_id, *where, accept_fee=accepts)
            except RefusedError as refused:
                if refused.kind == "/problems/bay-full":
                    here = await self._move_on(vehicle_id, here, refused)
                elif refused.kind == "/problems/move-or-accept":
                    self.say(f"rides do not end here; accepting {_money(refused.problem)} for it")
                    accepts = True
                else:
                    raise
            else:
                if told["state"] != "photo_needed":
                    return told
                self.say(f"another photo is wanted: {', '.join(told['reasons'])}")
        raise RideError(f"rental {rental_id} could not be ended here; look at the cloud's log")

    async def _ask_to_end(
        self, rental_id: str, lat: float, lon: float, *, accept_fee: bool
    ) -> dict[str, Any]:
        """End once the cloud has heard that the vehicle stands, a few seconds after it does."""
        for _ in range(_STANDS_WITHIN_S):
            try:
                return await self.customer.end(rental_id, lat, lon, accept_fee=accept_fee)
            except RefusedError as refused:
                if refused.kind != "/problems/vehicle-moving":
                    raise
            await asyncio.sleep(1)
        raise RideError(f"rental {rental_id} cannot end: its vehicle says that it still moves")

    async def _move_on(self, vehicle_id: str, here: Spot, refused: RefusedError) -> Spot:
        others = refused.problem.get("alternatives") or []
        if not others:
            raise refused
        there = (float(others[0]["lon"]), float(others[0]["lat"]))
        self.say(f"the bay is full; {metres(here, there):.0f} m on to {others[0].get('name')}")
        line = self.town.route(here, there) if self.town is not None else [here, there]
        await self._along(vehicle_id, line)
        return there


def card_for(kind: Kind) -> str:
    """Return the sandbox's token of a card that suits a plan."""
    return _CARDS[kind == "declined"]


_MIDDLE: Final[Spot] = (13.405, 52.52)


def _cut(line: Sequence[Spot], short_m: float) -> list[Spot]:
    """Return a line that ends so many metres before its end."""
    cut = list(line)
    while len(cut) > 2 and length_m(line) - length_m(cut) < short_m:  # noqa: PLR2004 - two ends
        cut.pop()
    return cut


def _place_of(rental: Mapping[str, Any]) -> Spot:
    places = [entry["place"] for entry in rental["timeline"] if entry.get("place")]
    return (places[-1]["lon"], places[-1]["lat"]) if places else _MIDDLE


def _price(price: Mapping[str, Any] | None) -> str:
    if price is None:
        return "without a price"
    if not price.get("is_flat", True):
        return f"about {_money(price['for_10_min'])} for 10 minutes"
    return f"{_money(price['unlock'])} and {_money(price['per_minute'])} a minute"


def _money(amount: Mapping[str, Any]) -> str:
    return f"{amount['amount_minor'] / 100:.2f} {amount['currency']}"


def _soc(found: Mapping[str, Any]) -> str:
    soc_pct = found.get("soc_pct")
    return "an unknown charge" if soc_pct is None else f"{soc_pct:.0f} % charge"
