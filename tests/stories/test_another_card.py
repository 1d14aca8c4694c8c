"""A card that allows no more in the middle of a ride, and another one that pays for all of it."""

from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest

from cloud.app import all_subscribers, build
from cloud.kit.settings import CloudSettings
from tests.cloud.payments.parts import NOON
from tests.stories.rentals import checks
from tests.stories.rentals.bank import PostBag, a_bank
from tests.stories.rentals.city import build_city
from tests.stories.rentals.fuse import TickingClock
from tests.stories.rentals.world import Platform, World

RIDER, VEHICLE = "customer-2", "any-001"  # whose card holds once and no more


@pytest.fixture
def world(tmp_path_factory: pytest.TempPathFactory, dsn: str) -> Iterator[World]:
    """The application as a process puts it together, a city, and a bank as a server."""
    clock = TickingClock(NOON)
    contexts = ("identity", "fleet", "payments", "booking", "returns")
    wanted = CloudSettings(data_dir=tmp_path_factory.mktemp("card"), contexts=contexts)
    bag = PostBag(clock)
    app, subscribers = build(wanted, clock=clock), all_subscribers(wanted, clock)
    build_city(dsn, subscribers, clock)
    with a_bank(clock, bag) as sandbox:
        made = World(Platform(app, subscribers, clock, sandbox, bag), dsn)
        try:
            yield made
        finally:
            made.close()


def works(world: World) -> None:
    """Let workers, bank and vehicles do what there is to do."""
    for _ in range(3):
        world.settle(5)
        world.deliver_all()
        world.street.calm()
        world.deliver_all()


def sends(world: World, path: str, body: dict[str, Any] | None = None) -> Any:
    answer = world.phone(RIDER, path, body)
    assert answer is not None
    return answer


def cards(world: World) -> list[tuple[str, str, int]]:
    return [
        (each.method, each.status, each.captured_minor)
        for each in world.sandbox.bank.payments.values()
    ]


def test_a_rider_whose_card_allows_no_more_rides_on_with_another_that_pays_once(
    world: World,
) -> None:
    world.street.stands(VEHICLE, "centre")
    world.follower.look(world.pool)
    hold = sends(world, "/holds", {"vehicle_id": VEHICLE}).json()
    rental = sends(world, "/rentals", {"hold_id": hold["id"]}).json()["id"]
    works(world)
    world.clock.advance(timedelta(minutes=9))
    world.meters.look(world.pool)
    works(world)
    assert sends(world, f"/rentals/{rental}/pause").status_code == 202
    works(world)
    refused = sends(world, f"/rentals/{rental}/resume")
    assert (refused.status_code, refused.json()["type"]) == (409, "/problems/payment-needed")
    assert cards(world) == [("tok_no_top_up", "authorised", 0)]

    def adds(token: str) -> None:
        card = {"provider": "sandbox", "token": token, "last4": "1881", "brand": "Visa"}
        assert sends(world, "/me/payment-methods", card).status_code == 201

    def resumes() -> str:
        assert sends(world, f"/rentals/{rental}/resume").json()["state"] == "resuming"
        works(world)
        row = world.db.execute("SELECT state FROM booking.rental WHERE id = %s", [rental])
        found = row.fetchone()
        assert found is not None
        return str(found[0])

    adds("tok_declined")
    assert resumes() == "paused"
    adds("tok_ok_1881")
    assert resumes() == "riding"
    held = [each for each in cards(world) if each[1] != "declined"]
    assert held == [("tok_no_top_up", "cancelled", 0), ("tok_ok_1881", "authorised", 0)]
    world.clock.advance(timedelta(minutes=3))
    world.street.stands(VEHICLE, "centre")
    assert sends(world, f"/rentals/{rental}/end").status_code == 202
    works(world)
    world.clock.advance(timedelta(minutes=11))
    works(world)
    (taken,) = [each for each in cards(world) if each[2]]
    assert taken[:2] == ("tok_ok_1881", "captured")
    invoice = world.db.execute("SELECT total_minor FROM payments.document").fetchall()
    assert invoice == [(taken[2],)]
    checks.nobody_is_charged_twice(world)
