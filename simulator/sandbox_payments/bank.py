"""What the sandbox knows: payments, what came of each key, money moved. No HTTP.

Cards by token: `tok_ok…` pays, `tok_declined` is declined, `tok_insufficient` has no funds,
`tok_no_top_up` holds once and no more, `tok_no_capture` holds and does not pay. They are names of
test cards and belong to nobody: whoever gives one pays with it.
"""

import itertools
import json
import secrets
from collections.abc import Callable
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from http import HTTPStatus
from pathlib import Path
from typing import Any, Literal, TextIO

from cloud.kit.clock import Clock, rfc3339

Operation = Literal["authorise", "increment", "capture", "cancel", "refund"]

HOLD_FOR = timedelta(days=7)
_DECLINED = {"tok_declined": "card_declined", "tok_insufficient": "insufficient_funds"}
_LAST4_DIGITS = 4
_PAST = {
    "authorise": "authorised",
    "increment": "incremented",
    "capture": "captured",
    "cancel": "cancelled",
    "refund": "refunded",
}


@dataclass(slots=True)
class Payment:
    """One payment; amounts in minor units."""

    id: str
    reference: str
    method: str
    currency: str
    status: str
    held_minor: int
    capture_before: str
    captured_minor: int = 0
    refunded_minor: int = 0


@dataclass(frozen=True, slots=True)
class Answer:
    """What a request is answered with, and again when it comes again."""

    status: int
    body: dict[str, Any]


class Bank:
    """Everything the sandbox remembers; in a file of JSON lines too, when it has one.

    Args:
        clock: what time it is.
        file: to remember across restarts; None for not at all.
        tell: called with type and data of each event.
    """

    def __init__(
        self, clock: Clock, file: Path | None, tell: Callable[[str, dict[str, Any]], None]
    ) -> None:
        self.remembers_keys = True
        self.transactions: list[dict[str, Any]] = []
        self.payments: dict[str, Payment] = {}
        self.answers: dict[str, Answer] = {}
        self._clock = clock
        self._tell = tell
        self._ids = itertools.count(1)
        self._moved: list[dict[str, Any]] = []
        self._file: TextIO | None = None
        if file is not None:
            self._replay(file)
            file.parent.mkdir(parents=True, exist_ok=True)
            self._file = file.open("a", encoding="utf-8")

    def close(self) -> None:
        """Close the file."""
        if self._file is not None:
            self._file.close()

    def repeated(self, key: str) -> Answer | None:
        """Return the answer of a key that was seen before, unless it forgets them."""
        return self.answers.get(key) if self.remembers_keys else None

    def authorise(self, key: str, asked: dict[str, Any]) -> Answer:
        """Hold an amount on a card."""
        now = self._clock.now()
        token = str(asked["method"])
        payment = Payment(
            id=f"pay_{secrets.token_hex(8)}",
            reference=str(asked["reference"]),
            method=token,
            currency=str(asked["currency"]),
            status="authorised",
            held_minor=int(asked["amount_minor"]),
            capture_before=rfc3339(now + HOLD_FOR),
        )
        code = _DECLINED.get(token) or ("" if token.startswith("tok_") else "method_unknown")
        if code:
            payment.status, payment.held_minor = "declined", 0
            return self._declined("authorise", key, payment, code)
        return self._done("authorise", key, payment, payment.held_minor)

    def increment(self, key: str, payment: Payment, amount_minor: int) -> Answer:
        """Hold more: `amount_minor` in total. As much as before holds it for longer."""
        if payment.status != "authorised" or amount_minor < payment.held_minor:
            return self._refused("increment", key, payment)
        if payment.method == "tok_no_top_up":
            return self._declined("increment", key, payment, "insufficient_funds")
        if amount_minor == payment.held_minor:
            payment.capture_before = rfc3339(self._clock.now() + HOLD_FOR)
        payment.held_minor = amount_minor
        return self._done("increment", key, payment, amount_minor)

    def capture(self, key: str, payment: Payment, amount_minor: int) -> Answer:
        """Take money that is held. A bank that forgets keys takes it as often as it is asked."""
        again = payment.status == "captured" and not self.remembers_keys
        may = payment.status == "authorised" or again
        if not may or not 0 < amount_minor <= payment.held_minor:
            return self._refused("capture", key, payment)
        if payment.method == "tok_no_capture":
            return self._declined("capture", key, payment, "card_expired")
        payment.status = "captured"
        payment.captured_minor += amount_minor
        self._move("capture", key, payment, amount_minor)
        return self._done("capture", key, payment, amount_minor)

    def cancel(self, key: str, payment: Payment, _: int) -> Answer:
        """Let go of what is held."""
        if payment.status != "authorised":
            return self._refused("cancel", key, payment)
        payment.status = "cancelled"
        return self._done("cancel", key, payment, 0)

    def refund(self, key: str, payment: Payment, amount_minor: int) -> Answer:
        """Give money back."""
        left = payment.captured_minor - payment.refunded_minor
        if not 0 < amount_minor <= left:
            return self._refused("refund", key, payment)
        payment.refunded_minor += amount_minor
        self._move("refund", key, payment, amount_minor)
        return self._done("refund", key, payment, amount_minor)

    def decline(self, operation: Operation, key: str, payment: Payment | None) -> Answer:
        """Say no to whatever it is."""
        nobody = Payment("", "", "", "EUR", "declined", 0, rfc3339(self._clock.now()))
        return self._declined(operation, key, payment or nobody, "card_declined")

    def moved(
        self, since: datetime, until: datetime, after: str, limit: int
    ) -> tuple[list[dict[str, Any]], bool]:
        """Return a page of the money moved in `[since, until)`, and whether there is more."""
        found = [
            told
            for told in self.transactions
            if since <= datetime.fromisoformat(told["at"]) < until
        ]
        if after:
            found = list(itertools.dropwhile(lambda told: told["id"] != after, found))[1:]
        return found[:limit], len(found) > limit

    def _move(self, kind: str, key: str, payment: Payment, amount_minor: int) -> None:
        self._moved = [
            {
                "id": f"txn_{next(self._ids):08d}",
                "kind": kind,
                "key": key,
                "payment": payment.id,
                "reference": payment.reference,
                "amount_minor": amount_minor,
                "currency": payment.currency,
                "at": rfc3339(self._clock.now()),
            }
        ]
        self.transactions += self._moved

    def _done(self, operation: Operation, key: str, payment: Payment, amount_minor: int) -> Answer:
        body = {
            "payment": payment.id,
            "status": payment.status,
            "amount_minor": amount_minor,
            "currency": payment.currency,
            "capture_before": payment.capture_before,
            "last4": payment.method[-_LAST4_DIGITS:].rjust(_LAST4_DIGITS, "0")
            if payment.method[-_LAST4_DIGITS:].isdecimal()
            else "4242",
        }
        return self._keep(f"payment.{_PAST[operation]}", key, payment, Answer(HTTPStatus.OK, body))

    def _declined(self, operation: Operation, key: str, payment: Payment, code: str) -> Answer:
        body = {"payment": payment.id, "status": payment.status, "code": code}
        answer = Answer(HTTPStatus.PAYMENT_REQUIRED, body)
        return self._keep(f"payment.{operation}_declined", key, payment, answer)

    def _refused(self, operation: Operation, key: str, payment: Payment) -> Answer:
        body = {"payment": payment.id, "status": payment.status, "code": f"not_{_PAST[operation]}"}
        answer = Answer(HTTPStatus.UNPROCESSABLE_ENTITY, body)
        return self._keep(f"payment.{operation}_refused", key, payment, answer)

    def _keep(self, event: str, key: str, payment: Payment, answer: Answer) -> Answer:
        if payment.id:
            self.payments[payment.id] = payment
        self.answers[key] = answer
        moved, self._moved = self._moved, []
        if self._file is not None:
            line = {
                "key": key,
                "status": int(answer.status),
                "body": answer.body,
                "payment": asdict(payment),
                "moved": moved,
            }
            self._file.write(json.dumps(line) + "\n")
            self._file.flush()
        about = {"payment": payment.id, "key": key, "reference": payment.reference}
        self._tell(event, about | {"body": answer.body})
        return answer

    def _replay(self, file: Path) -> None:
        if not file.exists():
            return
        for text in file.read_text("utf-8").splitlines():
            line = json.loads(text)
            self.answers[line["key"]] = Answer(line["status"], line["body"])
            payment = Payment(**line["payment"])
            self.payments[payment.id] = payment
            self.transactions += line["moved"]
        self._ids = itertools.count(len(self.transactions) + 1)
