"""Who moves the money: a payment provider, asked over HTTP.

Every request carries a key of ours. A provider does what a key asks for once, however often it is
asked; where one does not keep that promise, `find` says what became of a key before it is asked
again. `SandboxPayments` is the default and speaks to the sandbox server; a real provider's adapter
takes its place (`cloud/payments/stripe_adapter.py`).

An answer is an `Outcome`, also when it is no. Whoever gets a `ProviderUnknownError` does not know
whether it was done, and has to ask again by the same key.
"""

import hashlib
import hmac
import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from http import HTTPStatus
from typing import Any, Literal, Protocol

import httpx

from cloud.kit.clock import rfc3339

OperationKind = Literal["authorise", "increment", "replace", "capture", "cancel", "refund"]

SIGNATURE_HEADER = "sandbox-signature"
KEY_HEADER = "Idempotency-Key"
_TOLERANCE = timedelta(minutes=5)
_PAGE = 100
_PASSES = frozenset({408, 409, 425, 429})


class ProviderUnknownError(Exception):
    """Nobody knows whether it was done: ask again by the same key."""


class SignatureError(ValueError):
    """A webhook that the provider did not sign, or long ago: refuse it."""


@dataclass(frozen=True, slots=True)
class Ask:
    """What a provider is to do.

    Attributes:
        kind: the operation.
        key: names it; asked again with it, it is done once.
        amount_minor: of an increment, the new total; the old one again renews the hold.
        currency: ISO 4217.
        reference: what we call the payment; the same for all of its operations.
        payment: the provider's name of the payment; empty for authorise.
        method: the provider's token of the card; for authorise, increment and replace, which holds
            the amount on this card, and then lets the old payment go.
        customer: our account whose card it is; a provider that knows whose a card is refuses
            somebody else's.
    """

    kind: OperationKind
    key: str
    amount_minor: int
    currency: str
    reference: str
    payment: str = ""
    method: str = ""
    customer: str = ""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of it.

    Attributes:
        done: False when the provider said no.
        payment: the provider's name of the payment; an increment may give it a new one,
            a replace does.
        amount_minor: what is held, captured or refunded now by this operation.
        code: why not, one word; empty when it was done.
        capture_before: when a hold ends by itself.
        last4: of the card.
    """

    done: bool
    payment: str = ""
    amount_minor: int = 0
    code: str = ""
    capture_before: datetime | None = None
    last4: str = ""


@dataclass(frozen=True, slots=True)
class Transaction:
    """Money that a provider says it moved: a capture or a refund."""

    id: str
    kind: str
    key: str
    payment: str
    reference: str
    amount_minor: int
    currency: str
    at: datetime


@dataclass(frozen=True, slots=True)
class Notice:
    """What a provider told unasked; `key` is the operation's it is about, if any."""

    event_id: str
    type: str
    payment: str
    key: str
    reference: str
    body: Mapping[str, Any]


class PaymentProvider(Protocol):
    """Moves money. Called outside of transactions, in threads; it may take seconds."""

    @property
    def name(self) -> str:
        """As in the address of its webhooks."""
        ...

    def perform(self, ask: Ask) -> Outcome:
        """Do it, once for a key; raises ProviderUnknownError."""
        ...

    def find(self, ask: Ask) -> Outcome | None:
        """Return what came of an ask, None when it never came; raises ProviderUnknownError."""
        ...

    def transactions(self, since: datetime, until: datetime) -> Iterable[Transaction]:
        """Yield the money moved in `[since, until)`; raises ProviderUnknownError."""
        ...

    def read_webhook(self, headers: Mapping[str, str], body: bytes, now: datetime) -> Notice:
        """Read what it told; raises SignatureError."""
        ...


class SandboxPayments:
    """Speaks to our sandbox server.

    Args:
        url: where it is, such as http://127.0.0.1:8090.
        api_key: what it lets in.
        webhook_secret: what it signs webhooks with.
        timeout_s: patience with one request.
    """

    name = "sandbox"

    def __init__(
        self, url: str, api_key: str, webhook_secret: str, *, timeout_s: float = 10
    ) -> None:
        self._secret = webhook_secret
        self._client = httpx.Client(
            base_url=url, headers={"Authorization": f"Bearer {api_key}"}, timeout=timeout_s
        )

    def close(self) -> None:
        """Close its connections."""
        self._client.close()

    def perform(self, ask: Ask) -> Outcome:
        """Do it, once for a key; raises ProviderUnknownError."""
        amount: dict[str, Any] = {"amount_minor": ask.amount_minor, "currency": ask.currency}
        match ask.kind:
            case "authorise" | "replace":
                path = "/v1/payments"
                amount |= {"method": ask.method, "reference": ask.reference}
            case "refund":
                path = f"/v1/payments/{ask.payment}/refunds"
            case _:
                path = f"/v1/payments/{ask.payment}/{ask.kind}"
        answer = self._ask("POST", path, json=amount, headers={KEY_HEADER: ask.key})
        return self._old_let_go(ask, _outcome(answer))

    def find(self, ask: Ask) -> Outcome | None:
        """Return what came of an ask, None when it never came; raises ProviderUnknownError."""
        answer = self._ask("GET", f"/v1/operations/{ask.key}")
        if answer.status_code == HTTPStatus.NOT_FOUND:
            return None
        return self._old_let_go(ask, _outcome(answer))

    def transactions(self, since: datetime, until: datetime) -> Iterator[Transaction]:
        """Yield the money moved in `[since, until)`; raises ProviderUnknownError."""
        after = ""
        while True:
            window = {"since": rfc3339(since), "until": rfc3339(until), "after": after}
            page = _body(self._ask("GET", "/v1/transactions", params=window | {"limit": _PAGE}))
            for told in page["data"]:
                yield Transaction(**{**told, "at": datetime.fromisoformat(told["at"])})
                after = told["id"]
            if not page["has_more"]:
                return

    def read_webhook(self, headers: Mapping[str, str], body: bytes, now: datetime) -> Notice:
        """Read what it told; raises SignatureError."""
        check_signature(self._secret, headers.get(SIGNATURE_HEADER, ""), body, now)
        try:
            told = json.loads(body)
            about = told["data"]
            return Notice(
                event_id=str(told["id"]),
                type=str(told["type"]),
                payment=str(about["payment"]),
                key=str(about["key"]),
                reference=str(about["reference"]),
                body=told,
            )
        except (LookupError, TypeError, ValueError) as wrong:
            raise SignatureError("a signed webhook that cannot be read") from wrong

    def _old_let_go(self, ask: Ask, new: Outcome) -> Outcome:
        """Let go of the hold on the card before, once the new one is there; else change nothing."""
        if ask.kind == "replace" and new.done:
            amount = {"amount_minor": 0, "currency": ask.currency}
            headers = {KEY_HEADER: f"{ask.key}-old"}
            path = f"/v1/payments/{ask.payment}/cancel"
            told = _body(self._ask("POST", path, json=amount, headers=headers))
            if told.get("status") != "cancelled":
                raise ProviderUnknownError("the old hold is still there")
        return new

    def _ask(self, method: str, path: str, **more: Any) -> httpx.Response:  # noqa: ANN401 - httpx's
        try:
            answer = self._client.request(method, path, **more)
        except httpx.HTTPError as trouble:
            raise ProviderUnknownError(f"{method} {path}: {trouble!r}") from trouble
        status = answer.status_code
        passes = status in _PASSES or status >= HTTPStatus.INTERNAL_SERVER_ERROR
        if passes or status in (HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN):
            raise ProviderUnknownError(f"{method} {path} was answered with {status}")
        return answer


def sign_webhook(secret: str, body: bytes, at: datetime) -> str:
    """Return the signature header of a webhook: `t=unix seconds,v1=HMAC-SHA256 in hex`."""
    moment = int(at.timestamp())
    return f"t={moment},v1={_mac(secret, moment, body)}"


def check_signature(secret: str, header: str, body: bytes, now: datetime) -> None:
    """Raise SignatureError unless the header signs this body within five minutes of now."""
    parts = dict(part.partition("=")[::2] for part in header.split(","))
    moment = parts.get("t", "")
    if not (moment.isascii() and moment.isdecimal()):
        raise SignatureError("a webhook without a signature")
    age = abs(now.timestamp() - int(moment))
    if age > _TOLERANCE.total_seconds():
        raise SignatureError("a webhook that was signed too long ago")
    expected = _mac(secret, int(moment), body)
    if not hmac.compare_digest(parts.get("v1", "").encode(), expected.encode()):
        raise SignatureError("a webhook that somebody else signed, or changed")


def _mac(secret: str, moment: int, body: bytes) -> str:
    return hmac.new(secret.encode(), b"%d." % moment + body, hashlib.sha256).hexdigest()


def _body(answer: httpx.Response) -> dict[str, Any]:
    try:
        told = answer.json()
    except ValueError as wrong:
        raise ProviderUnknownError("the provider's answer is not JSON") from wrong
    if not isinstance(told, dict):
        raise ProviderUnknownError("the provider's answer is no JSON object")
    return told


def _outcome(answer: httpx.Response) -> Outcome:
    told = _body(answer)
    if answer.status_code >= HTTPStatus.BAD_REQUEST:
        return Outcome(
            done=False,
            payment=str(told.get("payment", "")),
            code=str(told.get("code") or f"http_{answer.status_code}"),
        )
    before = told.get("capture_before")
    return Outcome(
        done=True,
        payment=str(told["payment"]),
        amount_minor=int(told["amount_minor"]),
        capture_before=None if before is None else datetime.fromisoformat(before),
        last4=str(told.get("last4", "")),
    )
