"""Booking under random crashes: whatever happens between the steps, nothing overlaps or is lost."""

import random
from collections.abc import Callable, Iterator
from datetime import timedelta
from uuid import UUID

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from cloud.booking import holds, problems, service
from cloud.booking.model import FINAL, Place
from cloud.booking.ports import Policy
from cloud.kit.clock import ManualClock
from cloud.kit.db import connect
from cloud.kit.events import register
from cloud.kit.http import Problem
from tests.cloud.booking.parts import CENTRE, World, a_customer, a_vehicle, fake_parts
from tests.cloud.sealed import NOON

VEHICLES = ("story-001", "story-002")
CUSTOMERS = (1, 2, 3)
POINTS = (
    "before authorise",
    "after authorise",
    "before release",
    "after release",
    "before capture",
    "after capture",
    "before ask",
    "after ask",
    "before commit",
)
FAR = Place(CENTRE[0] + 0.01, CENTRE[1])
DSN: dict[str, str] = {}


class CrashError(Exception):
    """The process died here."""


class BookingStory(RuleBasedStateMachine):
    """Riders, vehicles, a provider, timers and a process that dies at named points.

    `open` is what is true of the latches; whoever watches from outside would see just that.
    """

    def __init__(self) -> None:
        super().__init__()
        self.dies_at: str | None = None
        self.open: dict[str, bool] = dict.fromkeys(VEHICLES, False)
        self.silent: set[UUID] = set()
        self.connection = connect(DSN["story"])
        self.transaction = self.connection.transaction(force_rollback=True)
        self.transaction.__enter__()
        clock = ManualClock(NOON)
        self.world = World(
            self.connection, clock, fake_parts(clock, self.point, Policy(lock_attempts=3))
        )

    @initialize()
    def begin(self) -> None:
        register(self.connection, ["booking"], self.world.subscribers)
        for vehicle_id in VEHICLES:
            a_vehicle(self.connection, vehicle_id, at=NOON)

    def teardown(self) -> None:
        try:
            self.quiet_down()
        finally:
            self.transaction.__exit__(None, None, None)
            self.connection.close()

    def point(self, name: str) -> None:
        if self.dies_at == name:
            self.dies_at = None
            raise CrashError(name)

    def trying(self, act: Callable[[], object]) -> None:
        """Do it in one transaction; it may be refused, and the process may die within."""
        try:
            with self.connection.transaction():
                act()
                self.point("before commit")
        except (CrashError, Problem):
            pass

    @rule(point=st.sampled_from(POINTS))
    def the_process_will_die(self, point: str) -> None:
        self.dies_at = point

    @rule(vehicle=st.sampled_from(VEHICLES), customer=st.sampled_from(CUSTOMERS))
    def hold(self, vehicle: str, customer: int) -> None:
        self.trying(lambda: self.world.hold(vehicle, customer, minutes=1))

    @rule(vehicle=st.sampled_from(VEHICLES), customer=st.sampled_from(CUSTOMERS))
    def set_out(self, vehicle: str, customer: int) -> None:
        """Hold, start and pay at one go, as most riders do; the process may still die between."""
        made: list[UUID] = []
        self.trying(lambda: made.append(self.world.hold(vehicle, customer).id))
        if made and self.has("booking.calendar", made[-1]):
            self.trying(lambda: made.append(self.world.start(made[0], customer).id))
            if self.has("booking.rental", made[-1]):
                self.trying(lambda: self.world.pay(made[-1]))

    @rule(data=st.data())
    def let_go(self, data: st.DataObject) -> None:
        if found := self.some(data, "SELECT id, customer_id FROM booking.calendar"):
            customer = a_customer(UUID(found[1]).int - 1_000)
            self.trying(
                lambda: holds.cancel_hold(self.connection, customer, found[0], self.world.now)
            )

    @rule(data=st.data())
    def start(self, data: st.DataObject) -> None:
        query = "SELECT id, customer_id FROM booking.calendar WHERE state = 'held'"
        if found := self.some(data, query):
            customer = UUID(found[1]).int - 1_000
            self.trying(lambda: self.world.start(found[0], customer))

    @rule(data=st.data(), declined=st.booleans())
    def the_provider_answers(self, data: st.DataObject, declined: bool) -> None:
        query = "SELECT rental_id, state FROM fake.payment WHERE state = 'asked'"
        if found := self.some(data, query):
            self.trying(lambda: self.world.pay(found[0], declined=declined))

    @rule(data=st.data(), says=st.sampled_from(["done", "refused", "expired", "failed"]))
    def a_vehicle_is_heard(self, data: st.DataObject, says: str) -> None:
        """It obeys and says so; or refuses; or obeys and is heard too late, or wrongly."""
        query = "SELECT id, vehicle_id, kind FROM fake.command WHERE state = 'pending'"
        if found := self.some(data, query + " ORDER BY number", first_of_vehicle=True):
            command, vehicle, kind = found
            if says in ("done", "failed"):
                self.open[vehicle] = kind == "unlock"
            self.hear(command, vehicle, says)

    @rule(data=st.data())
    def a_vehicle_is_heard_late(self, data: st.DataObject) -> None:
        """A command that was thought expired was done, and nothing was asked since."""
        query = (
            "SELECT id, vehicle_id, kind FROM fake.command c WHERE state = 'expired' AND number ="
            " (SELECT max(number) FROM fake.command d WHERE d.vehicle_id = c.vehicle_id)"
        )
        if found := self.some(data, query):
            command, vehicle, kind = found
            self.open[vehicle] = kind == "unlock"
            self.hear(command, vehicle, "done")

    def hear(self, command: UUID, vehicle: str, says: str) -> None:
        """Deliver an answer; what a crash undid is delivered again."""
        for _ in range(2):
            died = self.dies_at
            try:
                with self.connection.transaction():
                    self.world.answer(says, command=command, vehicle_id=vehicle)
                    self.point("before commit")
            except CrashError:
                continue
            assert died == self.dies_at or self.dies_at is None
            return

    @rule(data=st.data(), what=st.sampled_from(["pause", "resume", "call_off", "end", "accept"]))
    def a_rider_wants(self, data: st.DataObject, what: str) -> None:
        query = "SELECT id, customer_id FROM booking.rental WHERE NOT state IN ('ended')"
        found = self.some(data, query)
        if not found:
            return
        db, parts, now = self.connection, self.world.parts, self.world.now
        customer = a_customer(UUID(found[1]).int - 1_000)
        acts: dict[str, Callable[[], object]] = {
            "pause": lambda: service.pause(db, parts, customer, found[0], now),
            "resume": lambda: service.resume(db, parts, customer, found[0], now),
            "call_off": lambda: service.call_off(db, parts, customer, found[0], now),
            "end": lambda: service.end_requested(db, parts, found[0], now, FAR),
            "accept": lambda: service.confirm_end(db, parts, found[0], now),
        }
        self.trying(acts[what])

    @rule(seconds=st.sampled_from([1, 10, 45, 60, 300]))
    def time_passes(self, seconds: int) -> None:
        self.world.clock.advance(timedelta(seconds=seconds))
        self.trying(self.world.deliver)

    @invariant()
    def no_two_uses_overlap(self) -> None:
        found = self.connection.execute(
            "SELECT count(*) FROM booking.calendar a JOIN booking.calendar b"
            " ON a.vehicle_id = b.vehicle_id AND a.id < b.id AND a.during && b.during"
            " WHERE a.state IN ('held', 'confirmed', 'active', 'blocked')"
            " AND b.state IN ('held', 'confirmed', 'active', 'blocked')"
        ).fetchone()
        assert found == (0,)

    @invariant()
    def a_rental_has_its_vehicle_for_as_long_as_it_lasts(self) -> None:
        rows = self.connection.execute(
            "SELECT r.state, c.state FROM booking.rental r JOIN booking.calendar c"
            " ON c.id = r.calendar_id"
        ).fetchall()
        for rental, calendar in rows:
            assert (calendar == "active") == (rental not in FINAL)

    @invariant()
    def nobody_pays_twice_or_for_nothing(self) -> None:
        rows = self.connection.execute(
            "SELECT r.state, r.called_off, r.end_requested_at, p.state, p.captures"
            " FROM booking.rental r JOIN fake.payment p ON p.rental_id = r.id"
        ).fetchall()
        for state, called_off, ended, money, captures in rows:
            is_charged = not called_off and ended is not None and state in ("accepted", "ended")
            assert captures == (1 if is_charged else 0)
            if state == "cancelled":
                assert money in ("released", "declined")
            elif captures:
                assert money == "captured"

    @invariant()
    def no_open_vehicle_is_free(self) -> None:
        """Whoever could take a vehicle finds it locked; but for an answer that is still to come."""
        if not hasattr(self, "open"):
            return
        for vehicle_id, is_open in self.open.items():
            if is_open and self.none_pending(vehicle_id) and self.none_late(vehicle_id):
                assert self.world.live(vehicle_id) != []

    def none_pending(self, vehicle_id: str) -> bool:
        return all(state != "pending" for _, _, state in self.world.commands(vehicle_id))

    def none_late(self, vehicle_id: str) -> bool:
        """Nobody waits to look again at a vehicle that somebody else had asked for."""
        row = self.connection.execute(
            "SELECT count(*) FROM booking.command WHERE vehicle_id = %s AND state = 'deferred'",
            [vehicle_id],
        ).fetchone()
        return row == (0,)

    def quiet_down(self) -> None:
        """Everybody answers and everything ends: then each vehicle is free and locked."""
        self.dies_at = None
        db, parts = self.connection, self.world.parts
        for _ in range(12):
            for (rental_id,) in db.execute(
                "SELECT rental_id FROM fake.payment WHERE state = 'asked'"
            ).fetchall():
                self.world.pay(rental_id)
            for command, vehicle, kind in db.execute(
                "SELECT id, vehicle_id, kind FROM fake.command WHERE state = 'pending'"
                " ORDER BY number"
            ).fetchall():
                self.open[vehicle] = kind == "unlock"
                self.hear(command, vehicle, "done")
            for rental_id, state in db.execute(
                "SELECT id, state FROM booking.rental WHERE state NOT IN ('ended', 'cancelled')"
            ).fetchall():
                if state in ("ending", "locked"):
                    service.confirm_end(db, parts, rental_id, self.world.now)
                elif state not in ("authorising", "unlocking", "accepted"):
                    service.end_requested(db, parts, rental_id, self.world.now, FAR)
            self.world.clock.advance(timedelta(minutes=2))
            self.world.deliver()
        left_open = set(self.world.told()) & {"vehicle_left_open"}
        states = db.execute("SELECT DISTINCT state FROM booking.rental").fetchall()
        if not left_open:
            assert {state for (state,) in states} <= FINAL
            assert {vehicle: self.world.live(vehicle) for vehicle in VEHICLES} == {
                vehicle: [] for vehicle in VEHICLES
            }
            assert not any(self.open.values())

    def has(self, table: str, row_id: UUID) -> bool:
        """Whether a row is there: a crash may have undone it."""
        query = f"SELECT count(*) FROM {table} WHERE id = %s"
        return self.connection.execute(query.encode(), [row_id]).fetchone() == (1,)

    def some(
        self, data: st.DataObject, query: str, *, first_of_vehicle: bool = False
    ) -> tuple[UUID, str, str] | None:
        """One of the rows a query finds; of each vehicle only the first, if need be."""
        rows = self.connection.execute(query.encode()).fetchall()
        rows = [row for row in rows if row[1] is not None]
        if first_of_vehicle:
            rows = list({row[1]: row for row in reversed(rows)}.values())
        return data.draw(st.sampled_from(rows)) if rows else None


@pytest.fixture
def story(dsn: str) -> Iterator[None]:
    DSN["story"] = dsn
    yield
    DSN.clear()


@pytest.mark.slow
@pytest.mark.usefixtures("story")
def test_no_crash_between_steps_leaves_an_overlap_a_double_charge_or_a_lost_vehicle() -> None:
    from hypothesis.stateful import run_state_machine_as_test

    run_state_machine_as_test(
        BookingStory,
        settings=settings(
            deadline=None,
            phases=[Phase.generate],  # making a story shorter takes minutes
            max_examples=40,
            stateful_step_count=50,
            suppress_health_check=list(HealthCheck),
        ),
    )


@pytest.mark.slow
def test_a_random_day_without_a_guide_ends_with_every_vehicle_free(world: World) -> None:
    """A longer run than the state machine makes, by a seeded die."""
    dice = random.Random(4)
    a_vehicle(world.db, "booked-002", at=world.now)
    for _ in range(60):
        vehicle, customer = dice.choice(["booked-001", "booked-002"]), dice.choice(CUSTOMERS)
        try:
            rental = world.riding(vehicle, customer)
        except problems.TakenError:
            continue
        world.clock.advance(timedelta(minutes=dice.randint(1, 40)))
        ending = service.end_requested(world.db, world.parts, rental.id, world.now, FAR)
        world.answer(command=ending.command_id, vehicle_id=vehicle)
        service.confirm_end(world.db, world.parts, rental.id, world.now)
        assert world.live(vehicle) == []
        world.clock.advance(timedelta(minutes=1))
    charged = world.db.execute("SELECT count(*), min(captures), max(captures) FROM fake.payment")
    count, least, most = charged.fetchone() or (0, 0, 0)
    assert count == 60
    assert (least, most) == (1, 1)
