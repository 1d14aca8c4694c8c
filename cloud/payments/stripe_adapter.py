"""Stripe as a payment provider, through its SDK: PaymentIntents that are captured by hand.

| ours | Stripe's |
| --- | --- |
| authorise | create and confirm off session, `capture_method=manual`; our names are its metadata |
| increment | `increment_authorization` where the card allows it; else a new hold for the old |
| replace | a new hold on the other card, then the old one is cancelled |
| capture | the operation's name is written first, then one capture; what is left is released |
| cancel, refund | cancel; refund with the operation's name in its metadata |

Incremental authorisation is not to be had where cards ask for strong authentication, so the second
way is the usual one in Europe: for a moment both holds are there, and one of them is captured. A
hold that is asked for again at its old amount is renewed that second way: it lives anew.

Stripe keeps an idempotency key for a day. `find` does without: it reads the payment itself, or
searches for our name (which Stripe indexes within minutes, so that both together leave no gap).

A card's token is a payment method, `pm_…`, and no more: whose it is we do not let its sender say.
The first hold attaches it to a customer of Stripe's that we make, with our account in its
metadata; from then on it pays for that account alone, and one that is attached to anybody else's
customer is declined (`card_of_another`).
"""

import json
import logging
import math
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from http import HTTPStatus
from typing import Any, Final, cast

from cloud.kit.ports.payment import (
    Ask,
    Notice,
    Outcome,
    ProviderUnknownError,
    SignatureError,
    Transaction,
)

_KEY: Final = "mobility_key"
_RAISED_BY: Final = "mobility_increment"
_CAPTURED_BY: Final = "mobility_capture"
_REFERENCE: Final = "mobility_reference"
_ACCOUNT: Final = "mobility_account"
_TOLERANCE: Final = timedelta(minutes=5)
_PAGE: Final = 100
_KEPT: Final = ("object", "status", "amount", "currency", "metadata")
"""Of what a webhook is about: no names, addresses or client secrets."""
_CHARGE: Final = ["latest_charge"]
_MOVES: Final = {"charge": "capture", "refund": "refund", "refund_failure": "refund_failure"}
_TWO_DECIMALS_THERE: Final = frozenset({"ISK", "UGX"})
"""Stripe counts these in hundredths, though they have none."""


class StripePayments:
    """Speaks to Stripe, or to whatever answers like it.

    Args:
        api_key: secret or restricted key of the account; never logged.
        webhook_secret: of the webhook's endpoint, `whsec_…`.
        url: where it is; None for Stripe's own address.
        timeout_s: patience with one request.
    """

    name = "stripe"

    def __init__(
        self, api_key: str, webhook_secret: str, url: str | None = None, *, timeout_s: float = 8
    ) -> None:
        import stripe

        # Its own log tells of every request, and its telemetry tells Stripe of this machine.
        logging.getLogger("stripe").setLevel(logging.WARNING)
        stripe.enable_telemetry = False
        self._stripe = stripe
        self._secret = webhook_secret
        self._http = stripe.RequestsClient(timeout=timeout_s)
        client = stripe.StripeClient(
            api_key,
            base_addresses={} if url is None else {"api": url.rstrip("/")},
            http_client=self._http,
            max_network_retries=0,  # whoever asks again looks first
        )
        # Untyped: its classes for parameters are loaded one by one and say nothing we do not.
        self._api: Any = client.v1

    def close(self) -> None:
        """Close its connections."""
        self._http.close()  # type: ignore[no-untyped-call]

    def perform(self, ask: Ask) -> Outcome:
        """Do it, once for a key; raises ProviderUnknownError."""
        act: dict[str, Callable[[Ask], Outcome]] = {
            "authorise": self._authorise,
            "increment": self._increment,
            "replace": lambda ask: self._replaced(ask, self._authorise(ask)),
            "capture": self._capture,
            "cancel": self._cancel,
            "refund": self._refund,
        }
        with self._unknown_if_broken(ask.kind):
            try:
                return act[ask.kind](ask)
            except (self._stripe.CardError, self._stripe.InvalidRequestError) as no:
                if ask.payment and no.http_status == HTTPStatus.NOT_FOUND:
                    raise  # a payment of ours that is not there: the key is of another account
                return _refused(no)

    def find(self, ask: Ask) -> Outcome | None:
        """Return what came of an ask, None when it never came; raises ProviderUnknownError."""
        look: dict[str, Callable[[Ask], Outcome | None]] = {
            "authorise": self._find_new,
            "increment": self._find_increment,
            "replace": self._find_replaced,
            "capture": self._find_capture,
            "cancel": self._find_cancel,
            "refund": self._find_refund,
        }
        with self._unknown_if_broken(f"look-up of {ask.kind}"):
            return look[ask.kind](ask)

    def transactions(self, since: datetime, until: datetime) -> Iterator[Transaction]:
        """Yield the money moved in `[since, until)`; raises ProviderUnknownError.

        A refund that the bank sent back is one more, of the kind `refund_failure`.
        """
        window = {"gte": _seconds(since), "lt": _seconds(until)}
        for kind in _MOVES:
            params = {
                "type": kind,
                "created": window,
                "limit": _PAGE,
                "expand": ["data.source.payment_intent"],
            }
            with self._unknown_if_broken("balance_transactions"):
                for entry in self._api.balance_transactions.list(params).auto_paging_iter():
                    yield _transaction(entry.to_dict())

    def read_webhook(self, headers: Mapping[str, str], body: bytes, now: datetime) -> Notice:
        """Read what it told; raises SignatureError."""
        header = headers.get("stripe-signature", "")
        verify = self._stripe.WebhookSignature.verify_header
        try:
            verify(body, header, self._secret)
        except (self._stripe.SignatureVerificationError, ValueError) as refused:
            raise SignatureError("a webhook that somebody else signed, or changed") from refused
        moments = [part[2:] for part in header.split(",") if part.startswith("t=")]
        if abs(now.timestamp() - int(moments[0])) > _TOLERANCE.total_seconds():
            raise SignatureError("a webhook that was signed too long ago")
        try:
            return _notice(json.loads(body))
        except (LookupError, TypeError, ValueError, AttributeError) as wrong:
            raise SignatureError("a signed webhook that cannot be read") from wrong

    def _authorise(self, ask: Ask) -> Outcome:
        customer = self._customer(ask)
        if isinstance(customer, Outcome):
            return customer
        params: dict[str, Any] = {
            "amount": _theirs(ask),
            "currency": ask.currency.lower(),
            "customer": customer,
            "payment_method": ask.method,
            "payment_method_types": ["card"],
            "payment_method_options": {
                "card": {"request_incremental_authorization": "if_available"}
            },
            "capture_method": "manual",
            "confirm": True,
            "off_session": True,
            "metadata": {_KEY: ask.key, _REFERENCE: ask.reference},
            "expand": _CHARGE,
        }
        intent = self._api.payment_intents.create(params, _once(ask.key))
        return _held(ask, intent.to_dict())

    def _customer(self, ask: Ask) -> str | Outcome:
        """Return Stripe's customer whose card it is, made when nobody has it yet; or the no."""
        if not (ask.customer and ask.method.startswith("pm_")):
            return Outcome(done=False, code="method_unknown")
        try:
            method = self._api.payment_methods.retrieve(ask.method, {"expand": ["customer"]})
        except self._stripe.InvalidRequestError:
            return Outcome(done=False, code="method_unknown")
        owner = method.to_dict().get("customer")
        if owner is None:
            params = {"payment_method": ask.method, "metadata": {_ACCOUNT: ask.customer}}
            # Whoever is second to attach a card is told no: Stripe gives it to one customer.
            made = self._api.customers.create(params, _once(f"{ask.customer}-{ask.method}"))
            return str(made.id)
        if (owner.get("metadata") or {}).get(_ACCOUNT) != ask.customer:
            return Outcome(done=False, code="card_of_another")
        return str(owner["id"])

    def _increment(self, ask: Ask) -> Outcome:
        intent = self._payment(ask)
        is_more = _theirs(ask) > int(intent["amount"])
        if not (is_more and _can_grow(intent)):
            return self._replaced(ask, self._authorise(ask))
        raised = self._api.payment_intents.increment_authorization(
            ask.payment,
            {
                "amount": _theirs(ask),
                "metadata": {_RAISED_BY: ask.key},
                "expand": _CHARGE,
            },
            _once(ask.key),
        )
        return _held(ask, raised.to_dict())

    def _replaced(self, ask: Ask, new: Outcome) -> Outcome:
        """Let go of the old hold once there is a new one."""
        if new.done and new.payment != ask.payment:
            try:
                self._api.payment_intents.cancel(ask.payment, {}, _once(f"{ask.key}-old"))
            except self._stripe.InvalidRequestError as refused:
                if self._payment(ask)["status"] != "canceled":
                    raise ProviderUnknownError("the old hold is still there") from refused
        return new

    def _capture(self, ask: Ask) -> Outcome:
        # The nightly comparison needs the operation's name: it is there before money moves.
        self._api.payment_intents.update(
            ask.payment, {"metadata": {_CAPTURED_BY: ask.key}}, _once(f"{ask.key}-name")
        )
        intent = self._api.payment_intents.capture(
            ask.payment, {"amount_to_capture": _theirs(ask)}, _once(ask.key)
        )
        return _taken(ask, intent.to_dict())

    def _cancel(self, ask: Ask) -> Outcome:
        self._api.payment_intents.cancel(ask.payment, {}, _once(ask.key))
        return Outcome(done=True, payment=ask.payment)

    def _refund(self, ask: Ask) -> Outcome:
        params = {
            "payment_intent": ask.payment,
            "amount": _theirs(ask),
            "metadata": {_KEY: ask.key, _REFERENCE: ask.reference},
        }
        return _given_back(ask, self._api.refunds.create(params, _once(ask.key)).to_dict())

    def _find_new(self, ask: Ask) -> Outcome | None:
        query = {"query": f"metadata['{_KEY}']:'{ask.key}'", "expand": ["data.latest_charge"]}
        for found in self._api.payment_intents.search(query):
            intent = found.to_dict()
            # Made and not confirmed: asked again by its key, it goes on.
            return None if intent["status"] == "requires_confirmation" else _held(ask, intent)
        return None

    def _find_increment(self, ask: Ask) -> Outcome | None:
        intent = self._payment(ask)
        if (intent.get("metadata") or {}).get(_RAISED_BY) == ask.key:
            return _held(ask, intent)
        if _theirs(ask) > int(intent["amount"]) and _can_grow(intent):
            return None
        return self._find_replaced(ask)

    def _find_replaced(self, ask: Ask) -> Outcome | None:
        found = self._find_new(ask)
        return None if found is None else self._replaced(ask, found)

    def _find_capture(self, ask: Ask) -> Outcome | None:
        intent = self._payment(ask)
        return _taken(ask, intent) if intent["status"] == "succeeded" else None

    def _find_cancel(self, ask: Ask) -> Outcome | None:
        is_gone = self._payment(ask)["status"] == "canceled"
        return Outcome(done=True, payment=ask.payment) if is_gone else None

    def _find_refund(self, ask: Ask) -> Outcome | None:
        listed = self._api.refunds.list({"payment_intent": ask.payment, "limit": _PAGE})
        for each in listed.auto_paging_iter():
            refund = each.to_dict()
            if (refund.get("metadata") or {}).get(_KEY) == ask.key:
                return _given_back(ask, refund)
        return None

    def _payment(self, ask: Ask) -> dict[str, Any]:
        found = self._api.payment_intents.retrieve(ask.payment, {"expand": _CHARGE})
        return cast("dict[str, Any]", found.to_dict())

    @contextmanager
    def _unknown_if_broken(self, what: str) -> Iterator[None]:
        try:
            yield
        except self._stripe.StripeError as trouble:
            # Not its message: that may quote what was sent.
            raise ProviderUnknownError(
                f"{what}: {type(trouble).__name__}, status {trouble.http_status},"
                f" code {trouble.code}, request {trouble.request_id}"
            ) from trouble


def _once(key: str) -> dict[str, str]:
    return {"idempotency_key": key}


def _seconds(moment: datetime) -> int:
    return math.ceil(moment.timestamp())


def _theirs(ask: Ask) -> int:
    """Return the amount as Stripe counts it."""
    return ask.amount_minor * (100 if ask.currency in _TWO_DECIMALS_THERE else 1)


def _ours(amount: int, currency: str) -> int:
    return amount // 100 if currency.upper() in _TWO_DECIMALS_THERE else amount


def _card(intent: Mapping[str, Any]) -> Mapping[str, Any]:
    details = (intent.get("latest_charge") or {}).get("payment_method_details") or {}
    return cast("Mapping[str, Any]", details.get("card") or {})


def _can_grow(intent: Mapping[str, Any]) -> bool:
    return (_card(intent).get("incremental_authorization") or {}).get("status") == "available"


def _held(ask: Ask, intent: Mapping[str, Any]) -> Outcome:
    """Return what came of asking for a hold."""
    payment, status = str(intent["id"]), intent["status"]
    if status == "processing":
        raise ProviderUnknownError(f"{payment} is being processed")
    if status not in ("requires_capture", "succeeded"):
        error = intent.get("last_payment_error") or {}
        usual = "authentication_required" if status == "requires_action" else status
        code = error.get("decline_code") or error.get("code") or usual
        return Outcome(done=False, payment=payment, code=code)
    card = _card(intent)
    before = card.get("capture_before")
    return Outcome(
        done=True,
        payment=payment,
        amount_minor=_ours(int(intent["amount"]), ask.currency),
        capture_before=None if before is None else datetime.fromtimestamp(before, UTC),
        last4=str(card.get("last4") or ""),
    )


def _taken(ask: Ask, intent: Mapping[str, Any]) -> Outcome:
    """Return what came of asking for the money."""
    status = intent["status"]
    if status == "processing":
        raise ProviderUnknownError(f"{ask.payment} is being processed")
    if status != "succeeded":
        return Outcome(done=False, payment=ask.payment, code=status)
    minor = _ours(int(intent.get("amount_received", _theirs(ask))), ask.currency)
    return Outcome(done=True, payment=ask.payment, amount_minor=minor)


def _given_back(ask: Ask, refund: Mapping[str, Any]) -> Outcome:
    if refund["status"] in ("failed", "canceled"):
        code = str(refund.get("failure_reason") or refund["status"])
        return Outcome(done=False, payment=ask.payment, code=code)
    minor = _ours(int(refund["amount"]), ask.currency)
    return Outcome(done=True, payment=ask.payment, amount_minor=minor)


def _refused(no: Any) -> Outcome:  # noqa: ANN401 - an error of a package that is imported late
    """Return the no of an answer: why, in one word, and of which payment."""
    told = (no.json_body or {}).get("error") or {}
    return Outcome(
        done=False,
        payment=str((told.get("payment_intent") or {}).get("id", "")),
        code=str(told.get("decline_code") or told.get("code") or f"http_{no.http_status}"),
    )


def _transaction(entry: Mapping[str, Any]) -> Transaction:
    """Return an entry of its balance as money that moved, in the currency of the payment."""
    source, kind = entry["source"], _MOVES[entry["type"]]
    intent = source.get("payment_intent") or {}
    named = intent.get("metadata") or {}
    is_capture = kind == "capture"
    key = named.get(_CAPTURED_BY) if is_capture else (source.get("metadata") or {}).get(_KEY)
    currency = str(source["currency"]).upper()
    amount = int(source["amount_captured"] if is_capture else source["amount"])
    return Transaction(
        id=str(entry["id"]),
        kind=kind,
        key=str(key or ""),
        payment=str(intent.get("id", "")),
        reference=str(named.get(_REFERENCE, "")),
        amount_minor=_ours(amount, currency),
        currency=currency,
        at=datetime.fromtimestamp(entry["created"], UTC),
    )


def _notice(told: Mapping[str, Any]) -> Notice:
    about = told["data"]["object"]
    named, kind = about.get("metadata") or {}, str(told["type"])
    is_payment = about["object"] == "payment_intent"
    captured = kind == "payment_intent.succeeded"
    raised = kind == "payment_intent.amount_capturable_updated" and named.get(_RAISED_BY)
    key = (named.get(_CAPTURED_BY) if captured else raised) or named.get(_KEY, "")
    return Notice(
        event_id=str(told["id"]),
        type=kind,
        payment=str((about["id"] if is_payment else about.get("payment_intent")) or ""),
        key=str(key),
        reference=str(named.get(_REFERENCE, "")),
        body={"id": told["id"], "type": kind} | {name: about.get(name) for name in _KEPT},
    )
