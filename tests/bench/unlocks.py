"""Unlocking as a customer does it: held money, signed command, latch, and the API says riding.

A real cloud with every context, the sandbox provider as a process of its own, one agent with its
lock unit, receiver and battery. Each ride is given back at once, which costs nothing.
"""

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import quantiles
from typing import Any
from uuid import uuid4

import httpx

from tests.bench.rows import Row
from tests.stories.one_vehicle import OneVehicle, until
from tests.stories.riding import PASSWORD, a_house, a_rider, ride_to

RIDES, FEW, WARM_UP = 100, 3, 3
MARKET = (130, 60)
_LOOK_EVERY_S = 0.005
_PATIENCE_S = 30
# An account may ask a vehicle for so much in a minute; a ride is an unlock and a lock.
_RIDES_OF_ONE = 20


@dataclass(slots=True)
class Spent:
    """Seconds by the customer's clock, one for each ride."""

    search: list[float] = field(default_factory=list)
    hold: list[float] = field(default_factory=list)
    start: list[float] = field(default_factory=list)
    unlock: list[float] = field(default_factory=list)


class Rider:
    """A customer with one kept connection."""

    def __init__(self, house: OneVehicle) -> None:
        self._house = house
        self._client = httpx.Client(base_url=f"{house.url}/api/v1", timeout=_PATIENCE_S)
        signed_in = {"user": a_rider(house), "password": PASSWORD}
        token = self._client.post("/auth/token", json=signed_in).raise_for_status().json()
        self._client.headers["Authorization"] = f"Bearer {token['access_token']}"

    def close(self) -> None:
        """Hang up."""
        self._client.close()

    def ride(self, spent: Spent) -> None:
        """Find, hold, unlock and give back; note how long each took."""
        began_s = time.monotonic()
        self._get("/vehicles?near=52.5205,13.4055&radius_m=2000")
        found_s = time.monotonic()
        hold = self._post("/holds", {"vehicle_id": self._house.device, "minutes": 5})
        held_s = time.monotonic()
        rental = self._post("/rentals", {"hold_id": hold["id"], "method_id": "default"})
        promised_s = time.monotonic()
        path = f"/rentals/{rental['id']}"
        self._until(path, "riding")
        riding_s = time.monotonic()
        self._post(f"{path}/end", {"accept_fee": True})
        self._until(path, "cancelled")
        spent.search.append(found_s - began_s)
        spent.hold.append(held_s - found_s)
        spent.start.append(promised_s - held_s)
        spent.unlock.append(riding_s - held_s)

    def _until(self, path: str, state: str) -> None:
        def stands() -> str:
            return str(self._get(path)["state"])

        deadline = time.monotonic() + _PATIENCE_S
        while (now := stands()) != state:
            if time.monotonic() > deadline or now in {"ended", "cancelled"}:
                raise RuntimeError(f"{path} is {now} and not {state}")
            time.sleep(_LOOK_EVERY_S)

    def _get(self, path: str) -> Any:
        return self._client.get(path).raise_for_status().json()

    def _post(self, path: str, body: dict[str, Any]) -> dict[str, Any]:
        key = {"Idempotency-Key": str(uuid4())}
        answer = self._client.post(path, json=body, headers=key)
        if answer.is_error:
            raise RuntimeError(f"POST {path}: {answer.status_code} {answer.text[:300]}")
        return dict(answer.json())


def measure(work: Path, *, quick: bool) -> Iterator[Row]:
    """Yield p50 and p99 of search, hold, the promise to unlock, and the unlock round trip."""
    with a_house(work) as house:
        ride_to(house, *MARKET)
        _some(house, Spent(), WARM_UP)
        spent, rides = Spent(), FEW if quick else RIDES
        for done in range(0, rides, _RIDES_OF_ONE):
            _some(house, spent, min(_RIDES_OF_ONE, rides - done))
    about = f"over HTTP, one customer; {len(spent.unlock)} rides"
    yield from _of("search", spent.search, about)
    yield from _of("hold", spent.hold, about)
    yield from _of("money held, unlocking promised", spent.start, f"{about}; no wait for the bank")
    note = f"{about}; bank, command, latch without motor time, event, GET every 5 ms"
    yield from _of("unlock round trip", spent.unlock, note)


def _some(house: OneVehicle, spent: Spent, rides: int) -> None:
    rider = Rider(house)
    try:
        for _ in range(rides):
            until("it is free", lambda: house.vehicle()["state"] == "available")
            rider.ride(spent)
    finally:
        rider.close()


def _of(name: str, seconds: Sequence[float], note: str) -> Iterator[Row]:
    cuts = quantiles(seconds, n=100, method="inclusive")
    yield Row(f"unlocks: {name}, p50", cuts[49] * 1000, "ms", note=note)
    yield Row(f"unlocks: {name}, p99", cuts[98] * 1000, "ms", note=note)
