"""Signed commands from the API to the latch and back: every part real."""

import time
from collections.abc import Iterator
from typing import Any
from uuid import uuid4

import httpx
import pytest

from edge.commands.restart import EXIT_CODE
from tests.stories.one_vehicle import GNSS, LOCK, OneVehicle, until

pytestmark = [pytest.mark.story, pytest.mark.slow]

WAIT_S = 30


class Staff:
    """A member of staff at the API, in charge of one vehicle."""

    def __init__(self, house: OneVehicle, role: str) -> None:
        self.http = house.client(role)
        self.vehicle = f"/api/v1/vehicles/{house.device}"

    def ask(self, kind: str, *, key: str = "", **args: Any) -> httpx.Response:
        body = {"kind": kind, "args": args, "reason": "a story about commands"}
        headers = {"Idempotency-Key": key or str(uuid4())}
        return self.http.post(f"{self.vehicle}/commands", json=body, headers=headers)

    def ended(self, asked: httpx.Response) -> dict[str, Any]:
        """Return the command once it has ended."""
        assert asked.status_code == 202, asked.text
        found = self.http.get(asked.headers["Location"], params={"wait_s": WAIT_S}).json()
        assert isinstance(found, dict)
        return found

    def told(self, kind: str, **args: Any) -> tuple[str, str]:
        """Ask, wait and return how it ended and why."""
        found = self.ended(self.ask(kind, **args))
        return found["state"], found["state_reason"]

    def value(self, name: str) -> Any:
        """Return a value of the vehicle as the API has it."""
        return self.http.get(self.vehicle).json()["values"].get(name)

    def twin(self) -> dict[str, Any]:
        found = self.http.get(f"{self.vehicle}/twin").json()
        assert isinstance(found, dict)
        return found

    def wish(self, **change: Any) -> int:
        """Change the twin; return the version that this has made."""
        answer = self.http.patch(
            f"{self.vehicle}/twin",
            json={**change, "reason": "a story about twins"},
            headers={"Idempotency-Key": str(uuid4())},
        )
        assert answer.status_code == 202, answer.text
        return int(answer.json()["version"])


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[OneVehicle]:
    with OneVehicle(tmp_path_factory.mktemp("house")) as house:
        yield house


@pytest.fixture(scope="module")
def operator(house: OneVehicle) -> Iterator[Staff]:
    operator = Staff(house, "operator")
    with operator.http:
        yield operator


@pytest.fixture(scope="module")
def admin(house: OneVehicle) -> Iterator[Staff]:
    admin = Staff(house, "admin")
    with admin.http:
        yield admin


def test_unlock_and_lock_move_the_latch_once_each(house: OneVehicle, operator: Staff) -> None:
    before = house.moves()
    key = str(uuid4())
    asked = operator.ask("unlock", key=key)
    done = operator.ended(asked)
    assert (done["state"], done["actor"]) == ("done", "test-operator")
    assert done["created_at"] <= done["sent_at"] <= done["ended_at"]
    assert house.moves() == [*before, "unlock"]
    again = operator.ask("unlock", key=key)
    assert again.json()["id"] == asked.json()["id"]
    assert again.headers["Idempotency-Replayed"] == "true"
    assert operator.told("lock") == ("done", "")
    assert house.moves() == [*before, "unlock", "lock"]


# The wheel's speed is told before that of the receiver, whose latitude tells which word was heard.
@pytest.mark.parametrize(
    ("source", "signal", "rides", "stands"),
    [
        (LOCK, "Vehicle.Speed", {"speed_kmh": 20}, {"speed_kmh": 0}),
        (
            GNSS,
            "Vehicle.CurrentLocation.Latitude",
            {"latitude_deg": 52.5203, "speed_kmh": 20},
            {"latitude_deg": 52.5206, "speed_kmh": 0},
        ),
    ],
)
def test_a_moving_vehicle_is_not_locked(
    house: OneVehicle,
    operator: Staff,
    source: str,
    signal: str,
    rides: dict[str, float],
    stands: dict[str, float],
) -> None:
    def becomes(values: dict[str, float]) -> None:
        house.set(source, **values)
        wanted = next(iter(values.values()))
        until(f"{signal} is {wanted}", lambda: bool(operator.value(signal) == wanted))

    assert operator.told("unlock") == ("done", "")
    before = house.moves()
    becomes(rides)
    assert operator.told("lock") == ("refused", "moving")
    assert house.moves() == before
    becomes(stands)
    assert operator.told("lock") == ("done", "")
    assert house.moves() == [*before, "lock"]


def test_a_reboot_is_done_when_the_agent_is_back(house: OneVehicle, admin: Staff) -> None:
    before = house.moves()
    asked = admin.ask("reboot")
    until("the agent has ended", lambda: house.ended() is not None)
    assert house.ended() == EXIT_CODE
    house.speak()
    assert admin.ended(asked)["state"] == "done"
    assert admin.told("unlock") == ("done", "")
    assert admin.told("lock") == ("done", "")
    assert house.moves() == [*before, "unlock", "lock"]
    assert house.ended() is None


def test_intervals_are_set_by_a_command(admin: Staff) -> None:
    assert admin.told("set_intervals", intervals_s={"poll_parked_s": 0.25}) == ("done", "")
    refused = admin.ask("set_intervals", intervals_s={"poll_never_s": 1})
    assert (refused.status_code, refused.json()["type"]) == (422, "/problems/args-refused")


def test_a_twin_is_applied_and_the_vehicle_says_so(admin: Staff) -> None:
    version = admin.wish(limits={"speed_limit_kmh": 20}, intervals_s={"poll_parked_s": 0.5})
    until("the twin is applied", lambda: (admin.twin()["reported"] or {}).get("version") == version)
    assert admin.twin()["reported"]["state"] == "applied"
    assert admin.twin()["desired"]["limits"]["speed_limit_kmh"] == 20


def test_an_operator_may_not_restart_a_vehicle(house: OneVehicle, operator: Staff) -> None:
    refused = operator.ask("reboot")
    assert (refused.status_code, refused.json()["type"]) == (403, "/problems/scope-missing")
    time.sleep(0.5)
    assert house.ended() is None
