"""Booking, rental and money on real parts: no crash between any two steps does any harm."""

import os
from collections.abc import Iterator
from dataclasses import replace
from uuid import uuid4

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis.stateful import run_state_machine_as_test

from cloud.app import all_subscribers, build
from cloud.booking.adapters import LedgerPayments
from cloud.kit.db import connect
from cloud.kit.ports.payment import Ask, Outcome, PaymentProvider
from cloud.kit.settings import CloudSettings
from tests.cloud.payments.parts import NOON
from tests.stories.rentals.bank import PostBag, a_bank
from tests.stories.rentals.city import begin_anew, build_city
from tests.stories.rentals.fuse import TickingClock
from tests.stories.rentals.machine import Renting
from tests.stories.rentals.world import Platform, World

STORIES = int(os.environ.get("RENTAL_STORIES", "16"))
"""How many a run tells; more of them by night."""
STEPS = 40


@pytest.fixture(scope="module")
def platform(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Platform]:
    """The application as a process puts it together, and a bank."""
    clock = TickingClock(NOON)
    wanted = CloudSettings(
        data_dir=tmp_path_factory.mktemp("any"),
        contexts=("identity", "fleet", "payments", "booking", "returns"),
    )
    bag = PostBag(clock)
    app = build(wanted, clock=clock)
    with a_bank(clock, bag) as sandbox:
        yield Platform(app, all_subscribers(wanted, clock), clock, sandbox, bag)


@pytest.fixture(scope="module")
def city(platform: Platform, dsn: str) -> str:
    """The address of the module's database, with a city in it."""
    platform.clock.at = NOON
    build_city(dsn, platform.subscribers, platform.clock)
    return dsn


@pytest.fixture
def machine(platform: Platform, city: str) -> type[Renting]:
    """Stories of this platform; each begins in the same city."""

    class Story(Renting):
        def open_world(self) -> World:
            begin_anew(city)
            return World(platform, city)

    return Story


@pytest.mark.slow
@pytest.mark.story
def test_no_crash_between_steps_overlaps_charges_twice_or_loses_anything(
    machine: type[Renting],
) -> None:
    run_state_machine_as_test(
        machine,
        settings=settings(
            deadline=None,
            phases=[Phase.generate],  # making a story shorter takes minutes
            max_examples=STORIES,
            stateful_step_count=STEPS,
            suppress_health_check=list(HealthCheck),
        ),
    )


def a_short_story(story: Renting) -> None:
    """Two who want one vehicle, one who thinks better of it, one who rides while workers die."""
    try:
        story.begin(remembers=False)
        for rider in ("customer-2", "customer-3"):
            story.hold(rider=rider, vehicle="any-001", minutes=15, again=True)
            story.nothing_is_wrong()
        story.start(number=0, again=True)
        story.the_bank_is_asked(times=1)
        story.call_off(number=0, again=True)
        story.set_out(rider="customer-1", vehicle="any-002", spot="street", minutes=12.5, dies=None)
        story.end(number=0, spot="centre", by="vehicle", accepts=False, again=True, dies=None)
        story.send_a_photo(number=0, picture=0, again=True)
        # It is charged when its lock has answered.
        story.world.street.calm()
        story.the_worker_catches_up()
        for steps in range(1, 40):
            story.the_process_will_die(steps=steps)
            story.the_bank_is_asked(times=1)
            story.nothing_is_wrong()
            story.time_passes(seconds=45, looks=False)
    except BaseException:
        story.world.close()
        raise
    story.teardown()


def test_a_short_story_ends_well(machine: type[Renting], platform: Platform) -> None:
    story = machine()
    a_short_story(story)
    assert story.world.fuse.died > 10
    assert [each["kind"] for each in platform.sandbox.bank.transactions] == ["capture"]


def test_what_waited_for_a_worker_may_come_in_any_order(machine: type[Renting]) -> None:
    """Fleet hears that a hold is over before it hears of the hold, a minute after both."""
    story = machine()
    story.begin(remembers=True)
    story.hold(rider="customer-2", vehicle="any-001", minutes=15, again=True)
    story.let_go(number=0)
    story.time_passes(seconds=70, looks=False)
    story.events_are_delivered(order=[1])
    story.teardown()


@pytest.fixture
def two_at_once(city: str) -> Iterator[None]:
    """The calendar as it would be if nothing kept two uses of a vehicle apart."""
    change = (
        "ALTER TABLE booking.calendar DROP CONSTRAINT no_double_booking, ADD CONSTRAINT"
        " no_double_booking EXCLUDE USING gist (vehicle_id WITH =, during WITH &&) WHERE ({})"
    )
    with connect(city) as db:
        db.execute(change.format("false").encode())
        yield
        begin_anew(city)
        live = "state IN ('held', 'confirmed', 'active', 'blocked')"
        db.execute(change.format(live).encode())


@pytest.mark.usefixtures("two_at_once")
def test_a_calendar_without_its_constraint_is_caught(machine: type[Renting]) -> None:
    with pytest.raises(AssertionError, match="two uses overlap"):
        a_short_story(machine())


class Keyless:
    """A provider that is told another key each time, and cannot be asked about any."""

    name = "sandbox"

    def __init__(self, inner: PaymentProvider) -> None:
        self._inner = inner
        self.read_webhook, self.transactions = inner.read_webhook, inner.transactions

    def perform(self, ask: Ask) -> Outcome:
        return self._inner.perform(replace(ask, key=str(uuid4())))

    def find(self, ask: Ask) -> Outcome | None:
        return None


def test_a_capture_without_its_key_is_caught(
    machine: type[Renting], platform: Platform, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(platform, "provider", Keyless)
    with pytest.raises(AssertionError, match="charged twice"):
        a_short_story(machine())


def test_a_hold_that_nobody_lets_go_is_caught(
    machine: type[Renting], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(LedgerPayments, "release", lambda *_args, **_more: None)
    with pytest.raises(AssertionError, match="the hold of"):
        a_short_story(machine())
