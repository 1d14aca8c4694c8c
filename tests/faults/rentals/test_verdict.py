"""The judge of the rentals, judged: each way to break a promise is seen, and a kept one is not."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest

from tests.faults.rentals.verdict import (
    Evidence,
    Hold,
    Invoice,
    Movement,
    Parked,
    Payment,
    Rental,
    Use,
    judge,
)

ENDED, CALLED_OFF = Rental("r1", "v1", "ended"), Rental("r2", "v1", "cancelled", "called_off")
HOLDS = (Hold("h1", "r1", "captured", 122), Hold("h2", "r2", "released", 0))
INVOICES = (Invoice("r1", "DEMO", 1, 122),)
PAYMENTS = (Payment("p1", "h1", "captured"), Payment("p2", "h2", "cancelled"))
CAPTURES = (Movement("h1", "capture", 122),)
USES = (Use("v1", "rental", "done", 0, 60), Use("v1", "rental", "cancelled", 60, 61))
PARKED = (Parked("v1", "available", is_locked=True),)
KEPT = Evidence(
    rentals=(ENDED, CALLED_OFF),
    holds=HOLDS,
    invoices=INVOICES,
    payments=PAYMENTS,
    movements=CAPTURES,
    calendar=USES,
    parked=PARKED,
    at_bank_minor=122,
)
OTHER = Movement("h2", "capture", 100)


def broken(evidence: Evidence, billed: Mapping[str, int] | None = None) -> set[str]:
    return set(judge(evidence, ("r1", "r2"), {"r1": 122} if billed is None else billed).broken)


def test_kept_promises_have_nothing_broken() -> None:
    verdict = judge(KEPT, ("r1", "r2"), {"r1": 122})
    assert (verdict.broken, verdict.captured, verdict.captured_minor) == ({}, 1, 122)
    assert verdict.rentals == {"ended": 1, "cancelled called_off": 1}


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"rentals": (ENDED,)}, "rentals that riders were told of and nobody knows"),
        ({"rentals": (replace(ENDED, state="riding"), CALLED_OFF)}, "rentals that are not over"),
        ({"parked": (replace(PARKED[0], is_locked=False),)}, "vehicles lost"),
        ({"parked": (replace(PARKED[0], state="on_trip"),)}, "vehicles lost"),
        ({"calendar": (replace(USES[0], state="active"), USES[1])}, "vehicles lost"),
        ({"calendar": (USES[0], replace(USES[1], begins_s=59.9))}, "two uses of a vehicle at once"),
        ({"movements": (*CAPTURES, *CAPTURES)}, "charges that are wrong"),
        ({"movements": ()}, "charges that are wrong"),
        ({"movements": (Movement("h1", "capture", 121),)}, "charges that are wrong"),
        ({"movements": (*CAPTURES, OTHER)}, "charges that are wrong"),
        ({"movements": (*CAPTURES, replace(OTHER, reference="h9"))}, "charges that are wrong"),
        ({"invoices": ()}, "charges that are wrong"),
        ({"holds": (HOLDS[0], replace(HOLDS[1], state="releasing"))}, "holds left on cards"),
        (
            {"payments": (PAYMENTS[0], replace(PAYMENTS[1], status="authorised"))},
            "holds left on cards",
        ),
        ({"payments": (*PAYMENTS, replace(PAYMENTS[1], id="p3"))}, "holds left on cards"),
        ({"at_bank_minor": 121}, "books that do not balance"),
        ({"unbalanced": 1}, "books that do not balance"),
        ({"invoices": (replace(INVOICES[0], number=2),)}, "invoice numbers with gaps"),
        ({"undelivered": ("booking.take_money: no",)}, "events that nobody took"),
    ],
)
def test_a_broken_promise_is_named(change: Mapping[str, Any], says: str) -> None:
    assert says in broken(replace(KEPT, **change))


def test_a_receipt_that_says_another_amount_is_named() -> None:
    assert broken(KEPT, {"r1": 100}) == {"receipts that are wrong"}


def test_a_hold_that_nobody_came_back_for_is_no_loss() -> None:
    held = Use("v1", "rental", "held", 70, 370)
    reserved = replace(KEPT, calendar=(*USES, held), parked=(replace(PARKED[0], state="reserved"),))
    assert broken(reserved) == set()
