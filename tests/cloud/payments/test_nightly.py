"""Every provider's books are compared, whichever of them does not answer."""

import logging
from datetime import timedelta
from uuid import uuid4

import pytest

from cloud.kit.ports.payment import PaymentProvider, SandboxPayments
from cloud.payments.api import reconcile_all
from tests.cloud.payments.parts import KEY, SECRET, Till


def booked_there_alone(till: Till) -> str:
    """A transaction of the provider that we know nothing of; its id."""
    till.clock.advance(timedelta(days=3))  # away from what other tests booked
    name = f"txn_{uuid4()}"
    till.sandbox.bank.transactions.append(
        {
            "id": name,
            "kind": "capture",
            "payment": "p",
            "key": str(uuid4()),
            "reference": "r",
            "amount_minor": 77,
            "currency": "EUR",
            "at": till.clock.now().isoformat(),
        }
    )
    till.clock.advance(timedelta(hours=4))
    return name


def findings(till: Till, subject: str) -> list[tuple[str, str]]:
    with till.pool.connection() as db:
        return db.execute(
            "SELECT provider, kind FROM payments.finding WHERE subject = %s", [subject]
        ).fetchall()


def test_a_difference_is_kept_and_told_in_the_log(
    till: Till, caplog: pytest.LogCaptureFixture
) -> None:
    stranger = booked_there_alone(till)
    with caplog.at_level(logging.WARNING, "cloud.payments"):
        reconcile_all(till.pool, {"sandbox": till.provider}, till.clock)
    assert findings(till, stranger) == [("sandbox", "missing_here")]
    assert f"sandbox: missing_here {stranger}" in caplog.messages


def test_one_provider_that_does_not_answer_does_not_keep_the_others_from_it(
    till: Till, caplog: pytest.LogCaptureFixture
) -> None:
    stranger = booked_there_alone(till)
    nowhere = SandboxPayments("http://127.0.0.1:9", KEY, SECRET, timeout_s=0.2)
    both: dict[str, PaymentProvider] = {"down": nowhere, "sandbox": till.provider}
    with caplog.at_level(logging.WARNING, "cloud.payments"):
        reconcile_all(till.pool, both, till.clock)
    nowhere.close()
    assert findings(till, stranger) == [("sandbox", "missing_here")]
    assert any("are not compared" in message for message in caplog.messages)
