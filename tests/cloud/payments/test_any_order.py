"""Whatever happens in whatever order, with crashes in between: money adds up, paid once."""

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from uuid import UUID

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    initialize,
    invariant,
    rule,
    run_state_machine_as_test,
)

from cloud.kit.money import Money
from cloud.kit.ports.payment import Ask, Outcome, ProviderUnknownError
from cloud.kit.scope import DEMO
from cloud.payments import api, outside
from cloud.payments.api import RefundError, Settler
from cloud.payments.store import books
from tests.cloud.payments.parts import Till

CARDS = ["tok_ok", "tok_ok_too", "tok_ok_again", "tok_declined", "tok_no_top_up", "tok_no_capture"]
OPERATIONS = ["authorise", "increment", "capture", "cancel", "refund"]


class CrashError(Exception):
    """The process is gone."""


class Crashing:
    """A provider whose caller dies before or after the call."""

    name = "sandbox"

    def __init__(self, till: Till, *, after: bool) -> None:
        self._till = till
        self._after = after

    def perform(self, ask: Ask) -> Outcome:
        if self._after:
            try:
                self._till.provider.perform(ask)
            except ProviderUnknownError as trouble:
                raise CrashError from trouble
        raise CrashError

    def find(self, ask: Ask) -> Outcome | None:
        return self._till.provider.find(ask)

    def __getattr__(self, name: str) -> object:
        return getattr(self._till.provider, name)


class Rentals(RuleBasedStateMachine):
    """Rentals, their money, a provider with troubles, and processes that die."""

    till: Till
    rentals = Bundle("rentals")

    def __init__(self) -> None:
        super().__init__()
        self.till.sandbox.reset()
        self.till.clock.advance(timedelta(days=3))
        self.begin = self.till.clock.now()
        self.mine: list[UUID] = []

    @initialize(remembers=st.booleans())
    def choose(self, remembers: bool) -> None:
        self.till.sandbox.control(idempotency=remembers)

    @rule(target=rentals, card=st.sampled_from(CARDS), is_settled=st.booleans())
    def hold(self, card: str, is_settled: bool) -> UUID:
        rental_id = self.till.authorise(card)
        self.mine.append(rental_id)
        if is_settled:
            self.till.settler.settle_due()
        return rental_id

    @rule(rental_id=rentals, minor=st.integers(1, 3000))
    def top_up(self, rental_id: UUID, minor: int) -> None:
        with self.till.pool.connection() as db:
            api.top_up(db, DEMO, rental_id, Money(minor, "EUR"), self.till.clock.now())

    @rule(rental_id=rentals, minutes=st.integers(0, 60))
    def end(self, rental_id: UUID, minutes: int) -> None:
        self.till.capture(rental_id, minutes)

    @rule(rental_id=rentals)
    def release(self, rental_id: UUID) -> None:
        with self.till.pool.connection() as db:
            api.release(db, DEMO, rental_id, self.till.clock.now())

    @rule(rental_id=rentals, minor=st.none() | st.integers(1, 1000))
    def refund(self, rental_id: UUID, minor: int | None) -> None:
        amount = None if minor is None else Money(minor, "EUR")
        with self.till.pool.connection() as db, allowing(RefundError):
            api.refund(db, DEMO, rental_id, amount=amount, reason="x", at=self.till.clock.now())

    @rule(on=st.sampled_from(OPERATIONS), what=st.sampled_from(["error_before", "error_after"]))
    def trouble(self, on: str, what: str) -> None:
        self.till.sandbox.control(faults=[{"on": on, "what": what, "times": 2}])

    @rule(seconds=st.sampled_from([0, 1, 40]))
    def settle(self, seconds: int) -> None:
        self.till.clock.advance(timedelta(seconds=seconds))
        self.till.settler.settle_due()

    @rule(after=st.booleans())
    def die(self, after: bool) -> None:
        crashing = Crashing(self.till, after=after)
        settler = Settler(self.till.pool, {"sandbox": crashing}, self.till.clock)  # type: ignore[dict-item]
        with allowing(CrashError):
            settler.settle_one()

    @invariant()
    def nobody_is_charged_twice(self) -> None:
        moved = self.till.sandbox.bank.transactions
        captures = Counter(each["reference"] for each in moved if each["kind"] == "capture")
        assert set(captures.values()) <= {1}

    def teardown(self) -> None:
        self.till.sandbox.control(faults=[])
        for _ in range(12):
            self.till.wait(400)
        for rental_id in self.mine:
            self.check_books(rental_id)
        self.till.clock.advance(timedelta(hours=3))
        theirs = list(self.till.provider.transactions(self.begin, self.till.clock.now()))
        with self.till.pool.connection() as db:
            now = self.till.clock.now()
            assert list(outside.reconcile(db, "sandbox", theirs, self.begin, now, now)) == []

    def check_books(self, rental_id: UUID) -> None:
        """What the ledger, the hold and the provider say of a rental is one and the same."""
        hold = self.till.hold(rental_id)
        assert hold.state in {"authorised", "declined", "captured", "capture_failed", "released"}
        with self.till.pool.connection() as db:
            documents = books.documents(db, DEMO, rental_id)
        billed = sum(document.total_minor for document in documents)
        owed = self.till.balance(f"receivable/{hold.customer_id}")
        assert owed == billed - hold.captured_minor + hold.refunded_minor
        assert owed >= 0
        assert hold.refunded_minor <= hold.captured_minor <= hold.held_minor
        moved = [
            each["amount_minor"] * (1 if each["kind"] == "capture" else -1)
            for each in self.till.sandbox.bank.transactions
            if each["reference"] == str(hold.id)
        ]
        assert sum(moved) == hold.captured_minor - hold.refunded_minor
        payments = self.till.sandbox.bank.payments.values()
        mine = [each.status for each in payments if each.reference == str(hold.id)]
        assert len(mine) <= 1
        is_held = hold.state in {"authorised", "capture_failed"} and hold.held_minor > 0
        assert ("authorised" in mine) == is_held


@contextmanager
def allowing(error: type[Exception]) -> Iterator[None]:
    try:
        yield
    except error:
        return


@pytest.mark.slow
def test_money_adds_up_whatever_happens(till: Till) -> None:
    machine = type("Machine", (Rentals,), {"till": till})
    run_state_machine_as_test(
        machine,
        settings=settings(
            max_examples=12,
            stateful_step_count=25,
            deadline=None,
            suppress_health_check=list(HealthCheck),
        ),
    )
