"""Riders, vehicles, a bank, workers and a process that dies: any of it in any order."""

from datetime import timedelta
from typing import Any
from uuid import UUID

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from tests.cloud.booking.parts import a_customer
from tests.cloud.fleet.city import at_m
from tests.cloud.returns.parts import a_photo
from tests.stories.rentals import checks
from tests.stories.rentals.city import CARDS, SPOTS, VEHICLES
from tests.stories.rentals.world import World

CUSTOMERS = {str(UUID(a_customer(number).id)): f"customer-{number}" for number in CARDS}
RIDERS = tuple(CUSTOMERS.values())
PHOTOS = [a_photo(seed, size=(320, 240)) for seed in range(1, 7)]
DARK = a_photo(99, size=(320, 240), light=0.05)
_METERED = "('riding', 'pausing', 'paused', 'resuming')"
_BUSY = (
    "SELECT customer_id FROM booking.rental WHERE state NOT IN ('accepted', 'ended', 'cancelled')"
)
_TAKEN = (
    "SELECT vehicle_id FROM booking.calendar"
    " WHERE state IN ('held', 'confirmed', 'active', 'blocked')"
)
_NOT_BEGUN = "('authorising', 'unlocking')"

which = st.integers(0, 7)
vehicles = st.sampled_from(VEHICLES)
riders = st.sampled_from(RIDERS)
sometimes = st.sampled_from([True, True, False])
spots = st.sampled_from([*SPOTS])
rides = st.sampled_from([0.1, 3.0, 12.5, 47.0])
deaths = st.integers(-200, 120).map(lambda steps: steps if steps > 0 else None)
"""After how many steps from now the process dies."""


class Renting(RuleBasedStateMachine):
    """Every rule is something that happens outside of the platform, or one of its workers' turns.

    What dies in a request is asked for again, at once or later or never; what dies in a worker is
    still there for the next one.
    """

    world: World

    def open_world(self) -> World:
        """Return a platform of its own; the test says which."""
        raise NotImplementedError

    @initialize(remembers=sometimes)
    def begin(self, remembers: bool) -> None:
        """A bank keeps to its keys, or forgets them and tells what came of one when asked."""
        self.world = self.open_world()
        self.world.control(idempotency=remembers)

    # The process

    @rule(steps=st.integers(1, 45))
    def the_process_will_die(self, steps: int) -> None:
        self.world.fuse.light(steps)

    @rule(seconds=st.sampled_from([1, 5, 20, 45, 70, 300, 1_500]), looks=sometimes)
    def time_passes(self, seconds: int, looks: bool) -> None:
        self.world.clock.advance(timedelta(seconds=seconds))
        if looks:
            self.world.look_around()

    @rule(order=st.lists(which, min_size=1, max_size=8))
    def events_are_delivered(self, order: list[int]) -> None:
        self.world.deliver(order)

    @rule()
    def the_worker_catches_up(self) -> None:
        self.world.survives(self.world.deliver_all)

    @rule(times=st.integers(1, 3))
    def the_bank_is_asked(self, times: int) -> None:
        self.world.settle(times)

    # The bank

    @rule(number=which, times=st.integers(1, 2))
    def a_webhook_comes(self, number: int, times: int) -> None:
        for _ in range(times):
            self.world.bring(number)

    @rule(
        on=st.sampled_from(["authorise", "increment", "capture", "cancel"]),
        what=st.sampled_from(["error_before", "error_after", "decline"]),
    )
    def the_bank_has_trouble(self, on: str, what: str) -> None:
        # A bank that will not let go of a hold has nobody to blame but itself.
        if (on, what) != ("cancel", "decline"):
            self.world.control(faults=[{"on": on, "what": what, "times": 1}])

    # Riders

    @rule(rider=riders, vehicle=vehicles, minutes=st.sampled_from([1, 15]), again=sometimes)
    def hold(self, rider: str, vehicle: str, minutes: int, again: bool) -> None:
        body = {"vehicle_id": vehicle, "minutes": minutes}
        self.world.phone(rider, "/holds", body, again=again)

    @rule(number=which)
    def let_go(self, number: int) -> None:
        query = (
            "SELECT id, customer_id FROM booking.calendar WHERE kind = 'rental' ORDER BY created_at"
        )
        if found := self.one(query, number):
            self.world.let_go(CUSTOMERS[found[1]], found[0])

    @rule(number=which, again=sometimes)
    def start(self, number: int, again: bool) -> None:
        query = (
            "SELECT id, customer_id FROM booking.calendar WHERE state = 'held' ORDER BY created_at"
        )
        if found := self.one(query, number):
            body = {"hold_id": str(found[0])}
            self.world.phone(CUSTOMERS[found[1]], "/rentals", body, again=again)

    @rule(rider=riders, vehicle=vehicles, spot=spots, minutes=rides, dies=deaths)
    def set_out(
        self, rider: str, vehicle: str, spot: str, minutes: float, dies: int | None
    ) -> None:
        """Do at one go what most riders do, one of the first who can; the process may die of it."""
        rider, vehicle = self.free(RIDERS, rider, _BUSY), self.free(VEHICLES, vehicle, _TAKEN)
        if dies is not None:
            self.world.fuse.light(dies)
        self.world.street.stands(vehicle, spot)
        self.world.survives(lambda: self.world.follower.look(self.world.pool))
        held = self.world.phone(rider, "/holds", {"vehicle_id": vehicle})
        if held is None or held.status_code != 201:
            return
        self.world.phone(rider, "/rentals", {"hold_id": held.json()["id"]})
        for _ in range(2):
            died = self.world.fuse.died
            self.world.settle(3)
            self.world.survives(self.world.deliver_all)
            self.world.street.obey(vehicle, 0, "done")
            self.world.street.is_heard(vehicle)
            self.world.survives(self.world.deliver_all)
            if self.world.fuse.died == died:
                break
            # What the dead one had in hand is somebody else's after half a minute.
            self.world.clock.advance(timedelta(seconds=31))
        self.world.clock.advance(timedelta(minutes=minutes))

    @rule(number=which, what=st.sampled_from(["pause", "resume"]), again=sometimes)
    def pause_or_resume(self, number: int, what: str, again: bool) -> None:
        self.ask_of_a_rental(_METERED, number, what, again=again)

    @rule(rider=riders, pays=sometimes, again=sometimes)
    def add_a_card(self, rider: str, pays: bool, again: bool) -> None:
        token = "tok_ok_another" if pays else "tok_declined"
        card = {"provider": "sandbox", "token": token, "last4": "1881", "brand": "Visa"}
        self.world.phone(rider, "/me/payment-methods", card, again=again)

    @rule(number=which, again=sometimes)
    def call_off(self, number: int, again: bool) -> None:
        self.ask_of_a_rental(_NOT_BEGUN, number, "cancel", again=again)

    @rule(
        number=which,
        spot=spots,
        by=st.sampled_from(["vehicle", "phone", "nobody"]),
        accepts=st.booleans(),
        again=sometimes,
        dies=deaths,
    )
    def end(
        self, number: int, spot: str, by: str, accepts: bool, again: bool, dies: int | None
    ) -> None:
        if dies is not None:
            self.world.fuse.light(dies)
        body: dict[str, Any] = {"accept_fee": accepts}
        found = self.rental_in(_METERED, number)
        if found and by == "vehicle":
            self.world.street.stands(found[2], spot)
        if by == "phone":
            point = at_m(*SPOTS[spot])
            body |= {"lat": point.lat, "lon": point.lon, "accuracy_m": 6.0}
        self.ask_of_a_rental(_METERED, number, "end", body, again=again)

    @rule(number=which, picture=st.integers(0, len(PHOTOS)), again=sometimes)
    def send_a_photo(self, number: int, picture: int, again: bool) -> None:
        if found := self.rental_in("('riding', 'ending', 'locked', 'accepted')", number):
            content = [*PHOTOS, DARK][picture]
            path = f"/rentals/{found[0]}/photos"
            self.world.phone(CUSTOMERS[found[1]], path, content=content, again=again)

    @rule(number=which)
    def a_phone_sends_something_again(self, number: int) -> None:
        self.world.repeat(number)

    @rule(number=which)
    def staff_close_a_rental(self, number: int) -> None:
        """They go to the vehicle, shut its latch by hand, and close what is stuck."""
        if found := self.rental_in("('ending', 'accepted', 'paused')", number):
            path, body = f"/rentals/{found[0]}/close", {"reason": "it is stuck"}
            answer = self.world.phone("staff", path, body)
            if answer is not None and answer.status_code == 200:
                self.world.street.open[found[2]] = False

    # Vehicles

    @rule(
        vehicle=vehicles,
        number=st.integers(0, 2),
        says=st.sampled_from(["done", "done", "done", "refused", "failed"]),
        moves=st.booleans(),
        is_heard=sometimes,
    )
    def a_vehicle_does_something(
        self, vehicle: str, number: int, says: str, moves: bool, is_heard: bool
    ) -> None:
        self.world.street.obey(vehicle, number, says, moves=moves)
        if is_heard:
            self.world.street.is_heard(vehicle)

    @rule(vehicle=vehicles, again=st.booleans())
    def a_vehicle_is_heard(self, vehicle: str, again: bool) -> None:
        self.world.street.is_heard(vehicle)
        if again:
            self.world.street.is_heard_again(vehicle)

    # What is true

    @invariant()
    @precondition(lambda self: hasattr(self, "world"))
    def nothing_is_wrong(self) -> None:
        checks.at_any_time(self.world)

    def teardown(self) -> None:
        if hasattr(self, "world"):
            try:
                self.come_to_rest()
                checks.at_rest(self.world)
            finally:
                self.world.close()

    def come_to_rest(self) -> None:
        """Everybody answers, riders end what they have, and time passes until nothing is left."""
        world = self.world
        world.fuse.restart()
        world.control(faults=[])
        for _ in range(12):
            for row in self.rentals_in(_METERED):
                world.phone(CUSTOMERS[row[1]], f"/rentals/{row[0]}/end", {})
            while world.deliver_all():
                world.street.calm()
                world.settle(20)
            world.clock.advance(timedelta(minutes=4))
            world.look_around()
            world.street.calm()
            world.settle(20)

    def free(self, all_of_them: tuple[str, ...], wanted: str, query: str) -> str:
        """Return the wanted rider or vehicle, or another one that is not busy, if there is one."""
        busy = {CUSTOMERS.get(row[0], row[0]) for row in self.world.db.execute(query.encode())}
        others = [one for one in all_of_them if one not in busy]
        return wanted if wanted in others or not others else others[0]

    def one(self, query: str, number: int) -> tuple[Any, ...] | None:
        """Return one of the rows that a query finds."""
        rows = self.world.db.execute(query.encode()).fetchall()
        return rows[number % len(rows)] if rows else None

    def rentals_in(self, states: str) -> list[tuple[UUID, str, str]]:
        """Return rentals in these states: id, customer, vehicle."""
        query = (
            f"SELECT id, customer_id, vehicle_id FROM booking.rental WHERE state IN {states}"
            " ORDER BY created_at"
        )
        return [(row[0], row[1], row[2]) for row in self.world.db.execute(query.encode())]

    def rental_in(self, states: str, number: int) -> tuple[UUID, str, str] | None:
        found = self.rentals_in(states)
        return found[number % len(found)] if found else None

    def ask_of_a_rental(
        self,
        states: str,
        number: int,
        what: str,
        body: dict[str, Any] | None = None,
        *,
        again: bool,
    ) -> None:
        if found := self.rental_in(states, number):
            path = f"/rentals/{found[0]}/{what}"
            self.world.phone(CUSTOMERS[found[1]], path, body, again=again)
