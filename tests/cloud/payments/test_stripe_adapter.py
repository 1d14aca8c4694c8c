"""What the Stripe adapter asks for and makes of answers, where no stand-in of Stripe can serve.

A recording server gives the answers that Stripe documents; requests are those of Stripe's SDK.
"""

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import AsyncExitStack
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from cloud.app import Promise, Running
from cloud.kit.clock import SystemClock
from cloud.kit.ports.payment import Ask, ProviderUnknownError, SignatureError, sign_webhook
from cloud.kit.settings import CloudSettings
from cloud.payments.stripe_adapter import StripePayments
from tests.cloud.payments.parts import NOON
from tests.cloud.payments.providers import STRIPE_KEY, STRIPE_SECRET, Relay, a_relay

HOLD = Ask("authorise", "key-1", 500, "EUR", "ref-1", method="pm_1", customer="account-1")
MORE = Ask("increment", "key-2", 900, "EUR", "ref-1", "pi_1", "pm_1", "account-1")
OTHER = Ask("replace", "key-2", 900, "EUR", "ref-1", "pi_1", "pm_2", "account-1")
CAPTURE = Ask("capture", "key-3", 350, "EUR", "ref-1", "pi_1")


@pytest.fixture
def stripe() -> Iterator[Relay]:
    with a_relay() as relay:
        yield relay


@pytest.fixture
def provider(stripe: Relay) -> Iterator[StripePayments]:
    made = StripePayments(STRIPE_KEY, STRIPE_SECRET, stripe.url)
    yield made
    made.close()


def an_intent(status: str = "requires_capture", grows: str = "unavailable", **more: Any) -> Any:
    card = {
        "last4": "4242",
        "capture_before": int(NOON.timestamp()),
        "incremental_authorization": {"status": grows},
    }
    charge = {"object": "charge", "id": "ch_1", "payment_method_details": {"card": card}}
    intent = {"object": "payment_intent", "id": "pi_1", "amount": 500, "currency": "eur"}
    return intent | {"status": status, "latest_charge": charge, "metadata": {}} | more


def an_error(**told: Any) -> dict[str, Any]:
    return {"error": {"type": "invalid_request_error", "message": "No."} | told}


def a_method(owner: str | None = "account-1") -> tuple[int, dict[str, Any]]:
    """A card as it is told; `owner` is the account that its customer is, None for no customer."""
    metadata = {"mobility_account": owner}
    customer = {"object": "customer", "id": "cus_1", "metadata": metadata}
    return 200, {"object": "payment_method", "id": "pm_1", "customer": owner and customer}


def lines(stripe: Relay) -> list[str]:
    return [asked.line for asked in stripe.asked]


def test_a_hold_is_one_request_with_the_key_and_captured_by_hand(
    stripe: Relay, provider: StripePayments
) -> None:
    stripe.answers = [a_method(), (200, an_intent())] * 2
    first, again = provider.perform(HOLD), provider.perform(HOLD)
    assert first == again
    assert (first.payment, first.amount_minor, first.last4) == ("pi_1", 500, "4242")
    assert first.capture_before == NOON
    assert lines(stripe) == ["GET /v1/payment_methods/pm_1", "POST /v1/payment_intents"] * 2
    asked = stripe.asked[1::2]
    assert [each.headers["idempotency-key"] for each in asked] == ["key-1", "key-1"]
    assert asked[0].form == asked[1].form
    assert asked[0].form == {
        "amount": "500",
        "currency": "eur",
        "customer": "cus_1",
        "payment_method": "pm_1",
        "payment_method_types[0]": "card",
        "payment_method_options[card][request_incremental_authorization]": "if_available",
        "capture_method": "manual",
        "confirm": "true",
        "off_session": "true",
        "metadata[mobility_key]": "key-1",
        "metadata[mobility_reference]": "ref-1",
        "expand[0]": "latest_charge",
    }


def test_the_bank_s_own_word_is_why_a_card_was_declined(
    stripe: Relay, provider: StripePayments
) -> None:
    no = {"type": "card_error", "code": "card_declined", "decline_code": "insufficient_funds"}
    stripe.answers = [
        a_method(),
        (402, an_error(**no, payment_intent=an_intent("requires_payment_method"))),
    ]
    outcome = provider.perform(HOLD)
    assert (outcome.done, outcome.payment, outcome.code) == (False, "pi_1", "insufficient_funds")


def test_a_card_that_wants_its_owner_is_declined(stripe: Relay, provider: StripePayments) -> None:
    stripe.answers = [a_method(), (200, an_intent("requires_action"))]
    assert provider.perform(HOLD).code == "authentication_required"


def test_a_lost_hold_is_searched_by_its_key(stripe: Relay, provider: StripePayments) -> None:
    found = {"object": "search_result", "has_more": False, "data": [an_intent()]}
    stripe.answers = [(200, found), (200, found | {"data": []})]
    outcome = provider.find(HOLD)
    assert outcome is not None
    assert (outcome.done, outcome.amount_minor) == (True, 500)
    assert provider.find(HOLD) is None
    assert lines(stripe)[0] == "GET /v1/payment_intents/search"
    assert stripe.asked[0].form["query"] == "metadata['mobility_key']:'key-1'"


def test_a_card_that_allows_it_is_raised_in_place(stripe: Relay, provider: StripePayments) -> None:
    raised = an_intent(amount=900, metadata={"mobility_increment": "key-2"})
    stripe.answers = [(200, an_intent(grows="available")), (200, raised), (200, raised)]
    outcome = provider.perform(MORE)
    assert (outcome.done, outcome.payment, outcome.amount_minor) == (True, "pi_1", 900)
    asked = stripe.asked[1]
    assert asked.line == "POST /v1/payment_intents/pi_1/increment_authorization"
    assert (asked.form["amount"], asked.headers["idempotency-key"]) == ("900", "key-2")
    assert asked.form["metadata[mobility_increment]"] == "key-2"
    assert provider.find(MORE) == outcome


def test_a_card_that_cannot_grow_is_held_anew_before_the_old_hold_goes(
    stripe: Relay, provider: StripePayments
) -> None:
    stripe.answers = [
        (200, an_intent()),
        a_method(),
        (200, an_intent(id="pi_2", amount=900)),
        (200, an_intent("canceled")),
    ]
    assert provider.perform(MORE).payment == "pi_2"
    assert lines(stripe) == [
        "GET /v1/payment_intents/pi_1",
        "GET /v1/payment_methods/pm_1",
        "POST /v1/payment_intents",
        "POST /v1/payment_intents/pi_1/cancel",
    ]


def test_a_declined_top_up_leaves_the_old_hold(stripe: Relay, provider: StripePayments) -> None:
    no = an_error(type="card_error", code="card_declined")
    stripe.answers = [(200, an_intent()), a_method(), (402, no)]
    assert provider.perform(MORE).code == "card_declined"
    assert not any("cancel" in line for line in lines(stripe))


def test_a_new_hold_whose_answer_was_lost_is_found_and_the_old_one_goes(
    stripe: Relay, provider: StripePayments
) -> None:
    found = {"object": "search_result", "data": [an_intent(id="pi_2", amount=900)]}
    gone = an_error(code="payment_intent_unexpected_state")
    stripe.answers = [(200, an_intent()), (200, found), (400, gone), (200, an_intent("canceled"))]
    outcome = provider.find(MORE)
    assert outcome is not None
    assert outcome.payment == "pi_2"
    stripe.answers = [(200, an_intent()), (200, found), (400, gone), (200, an_intent())]
    with pytest.raises(ProviderUnknownError, match="still there"):
        provider.find(MORE)


def test_a_capture_is_named_before_it_is_done(stripe: Relay, provider: StripePayments) -> None:
    stripe.answers = [(200, an_intent()), (200, an_intent("succeeded", amount_received=350))]
    assert provider.perform(CAPTURE).amount_minor == 350
    assert lines(stripe) == [
        "POST /v1/payment_intents/pi_1",
        "POST /v1/payment_intents/pi_1/capture",
    ]
    name, capture = stripe.asked
    assert name.form == {"metadata[mobility_capture]": "key-3"}
    assert capture.form == {"amount_to_capture": "350"}
    assert capture.headers["idempotency-key"] == "key-3"


def test_a_hold_that_has_ended_is_not_captured(stripe: Relay, provider: StripePayments) -> None:
    no = an_error(code="payment_intent_unexpected_state")
    stripe.answers = [(200, an_intent("canceled")), (400, no)]
    outcome = provider.perform(CAPTURE)
    assert (outcome.done, outcome.code) == (False, "payment_intent_unexpected_state")


@pytest.mark.parametrize("status", [401, 403, 404, 409, 429, 500, 503])
def test_trouble_is_not_a_no_and_tells_no_key(
    stripe: Relay, provider: StripePayments, status: int, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("DEBUG")
    stripe.answers = [(status, an_error(message=f"Invalid key {STRIPE_KEY}"))]
    with pytest.raises(ProviderUnknownError) as told:
        provider.perform(CAPTURE)
    assert f"status {status}" in str(told.value)
    assert STRIPE_KEY not in str(told.value) + caplog.text
    assert len(stripe.asked) == 1


def test_nobody_there_is_unknown() -> None:
    provider = StripePayments(STRIPE_KEY, STRIPE_SECRET, "http://127.0.0.1:1", timeout_s=1)
    with pytest.raises(ProviderUnknownError):
        provider.perform(HOLD)


@pytest.mark.parametrize(
    ("currency", "minor", "told"), [("JPY", 500, "500"), ("ISK", 500, "50000"), ("BHD", 50, "50")]
)
def test_an_amount_is_counted_as_stripe_counts(
    stripe: Relay, provider: StripePayments, currency: str, minor: int, told: str
) -> None:
    stripe.answers = [a_method(), (200, an_intent(amount=int(told)))]
    outcome = provider.perform(replace(HOLD, amount_minor=minor, currency=currency))
    assert outcome.amount_minor == minor
    assert stripe.asked[1].form["amount"] == told


def test_a_new_card_gets_a_customer_that_is_our_account(
    stripe: Relay, provider: StripePayments
) -> None:
    customer = {"object": "customer", "id": "cus_9", "metadata": {}}
    stripe.answers = [a_method(None), (200, customer), (200, an_intent())]
    assert provider.perform(HOLD).done
    made, hold = stripe.asked[1:]
    assert made.line == "POST /v1/customers"
    assert made.form == {"payment_method": "pm_1", "metadata[mobility_account]": "account-1"}
    assert made.headers["idempotency-key"] == "account-1-pm_1"
    assert (hold.form["customer"], hold.form["payment_method"]) == ("cus_9", "pm_1")


@pytest.mark.parametrize("ask", [HOLD, OTHER], ids=lambda ask: ask.kind)
@pytest.mark.parametrize("owner", ["account-2", ""])
def test_a_card_of_somebody_else_s_customer_holds_nothing(
    stripe: Relay, provider: StripePayments, ask: Ask, owner: str
) -> None:
    told = a_method("account-2")
    told[1]["customer"]["metadata"]["mobility_account"] = owner
    stripe.answers = [told]
    assert provider.perform(ask).code == "card_of_another"
    assert len(stripe.asked) == 1


@pytest.mark.parametrize("method", ["cus_1:pm_1", "cus_1", "card_1", "src_1", "../pm_1", ""])
def test_a_sender_does_not_say_whose_customer_a_card_is(
    stripe: Relay, provider: StripePayments, method: str
) -> None:
    assert provider.perform(replace(HOLD, method=method)).code == "method_unknown"
    assert provider.perform(replace(HOLD, customer="")).code == "method_unknown"
    assert stripe.asked == []


def test_a_card_that_stripe_does_not_know_is_declined(
    stripe: Relay, provider: StripePayments
) -> None:
    stripe.answers = [(404, an_error(code="resource_missing"))]
    assert provider.perform(OTHER).code == "method_unknown"


def test_another_card_is_held_for_the_whole_before_the_old_hold_goes(
    stripe: Relay, provider: StripePayments
) -> None:
    new = an_intent(id="pi_2", amount=900)
    gone = (200, an_intent("canceled"))
    stripe.answers = [a_method(), (200, new), gone]
    outcome = provider.perform(OTHER)
    assert (outcome.done, outcome.payment, outcome.amount_minor) == (True, "pi_2", 900)
    assert lines(stripe) == [
        "GET /v1/payment_methods/pm_2",
        "POST /v1/payment_intents",
        "POST /v1/payment_intents/pi_1/cancel",
    ]
    stripe.answers = [(200, {"object": "search_result", "data": [new]}), gone]
    assert provider.find(OTHER) == outcome
    stripe.answers = [(200, {"object": "search_result", "data": []})]
    assert provider.find(OTHER) is None


def test_money_that_moved_is_read_page_by_page(stripe: Relay, provider: StripePayments) -> None:
    intent = an_intent(metadata={"mobility_capture": "key-3", "mobility_reference": "ref-1"})
    source = {"currency": "eur", "payment_intent": intent}
    charge = source | {"object": "charge", "id": "ch_1", "amount": 500, "amount_captured": 350}
    refund = source | {"object": "refund", "id": "re_1", "amount": 100}
    refund["metadata"] = {"mobility_key": "key-4"}

    def a_page(*entries: tuple[str, str, Any], more: bool = False) -> tuple[int, Any]:
        data = [
            {"object": "balance_transaction", "id": name, "type": kind, "source": about}
            | {"created": int(NOON.timestamp()), "amount": 1, "currency": "usd"}
            for name, kind, about in entries
        ]
        url = "/v1/balance_transactions"
        return 200, {"object": "list", "data": data, "has_more": more, "url": url}

    strange = charge | {"payment_intent": None}
    stripe.answers = [
        a_page(("txn_1", "charge", charge), more=True),
        a_page(("txn_2", "charge", strange)),
        a_page(("txn_3", "refund", refund)),
        a_page(("txn_4", "refund_failure", refund)),
    ]
    until = NOON + timedelta(days=1)
    moved = list(provider.transactions(NOON, until))
    assert [(each.id, each.kind, each.key, each.amount_minor) for each in moved] == [
        ("txn_1", "capture", "key-3", 350),
        ("txn_2", "capture", "", 350),
        ("txn_3", "refund", "key-4", 100),
        ("txn_4", "refund_failure", "key-4", 100),
    ]
    assert {(each.currency, each.at) for each in moved} == {("EUR", NOON)}
    assert [moved[0].payment, moved[0].reference] == ["pi_1", "ref-1"]
    asked = [each.form for each in stripe.asked]
    assert [form["type"] for form in asked] == ["charge", "charge", "refund", "refund_failure"]
    assert asked[1]["starting_after"] == "txn_1"
    assert asked[0]["created[gte]"] == str(int(NOON.timestamp()))
    assert asked[0]["created[lt]"] == str(int(until.timestamp()))


@pytest.mark.parametrize(
    ("kind", "key"),
    [
        ("payment_intent.succeeded", "captured"),
        ("payment_intent.amount_capturable_updated", "raised"),
        ("payment_intent.payment_failed", "held"),
        ("payment_intent.canceled", "held"),
    ],
)
def test_a_webhook_names_the_operation_it_is_about(
    provider: StripePayments, kind: str, key: str
) -> None:
    named = {"key": "held", "increment": "raised", "capture": "captured", "reference": "ref-1"}
    metadata = {f"mobility_{name}": value for name, value in named.items()}
    intent = an_intent(metadata=metadata, client_secret="pi_1_secret_x")
    body = json.dumps({"id": "evt_1", "type": kind, "data": {"object": intent}}).encode()
    headers = {"stripe-signature": sign_webhook(STRIPE_SECRET, body, NOON)}
    notice = provider.read_webhook(headers, body, NOON)
    assert (notice.payment, notice.key, notice.reference) == ("pi_1", key, "ref-1")
    assert notice.body["status"] == "requires_capture"
    assert "secret" not in json.dumps(notice.body)  # nor who the customer is: it is kept


def test_while_a_secret_is_changed_either_signature_does(provider: StripePayments) -> None:
    refund = {"object": "refund", "payment_intent": "pi_1", "metadata": {"mobility_key": "k"}}
    told = {"id": "evt_1", "type": "refund.updated", "data": {"object": refund}}
    body = json.dumps(told).encode()
    ours = sign_webhook(STRIPE_SECRET, body, NOON)
    other = sign_webhook("whsec_old", body, NOON)
    both = {"stripe-signature": ours + "," + other.partition(",")[2]}
    notice = provider.read_webhook(both, body, NOON)
    assert (notice.payment, notice.key) == ("pi_1", "k")
    with pytest.raises(SignatureError):
        provider.read_webhook({"stripe-signature": other}, body, NOON)


@pytest.mark.parametrize("body", [b"[]", b"{}", b"x", b"\xff", b'{"data": {"object": 1}}'])
def test_what_is_signed_and_cannot_be_read_is_refused(
    provider: StripePayments, body: bytes
) -> None:
    headers = {"stripe-signature": sign_webhook(STRIPE_SECRET, body, datetime.now(UTC))}
    with pytest.raises(SignatureError):
        provider.read_webhook(headers, body, datetime.now(UTC))


@pytest.mark.parametrize(
    ("chosen", "names"),
    [
        ({"MOBILITY_PAYMENT_PROVIDER": "stripe"}, ["stripe"]),
        ({"MOBILITY_PAYMENT_URL": "http://127.0.0.1:1"}, ["sandbox"]),
        ({}, []),
    ],
)
def test_the_provider_is_chosen_by_a_setting(chosen: dict[str, str], names: list[str]) -> None:
    secrets = {"MOBILITY_PAYMENT_KEY": STRIPE_KEY, "MOBILITY_PAYMENT_WEBHOOK_SECRET": "s"}
    settings = CloudSettings.from_env(chosen | secrets)
    running = Running(settings, ("payments",), SystemClock(), Promise(), print)
    providers = running._payment_providers(AsyncExitStack())
    assert list(providers) == names


def test_the_sdk_is_loaded_by_those_who_chose_it_only() -> None:
    ask = "import sys, cloud.app; print('stripe' in sys.modules)"
    told = subprocess.run([sys.executable, "-c", ask], capture_output=True, check=True)
    assert told.stdout.strip() == b"False"


def test_stripe_without_its_secrets_does_not_start() -> None:
    chosen = {"MOBILITY_PAYMENT_PROVIDER": "stripe", "MOBILITY_PAYMENT_KEY": STRIPE_KEY}
    with pytest.raises(ValueError, match="MOBILITY_PAYMENT_WEBHOOK_SECRET") as told:
        CloudSettings.from_env(chosen).check_payments()
    assert STRIPE_KEY not in str(told.value)
    whole = CloudSettings.from_env(chosen | {"MOBILITY_PAYMENT_WEBHOOK_SECRET": STRIPE_SECRET})
    whole.check_payments()
    assert STRIPE_KEY not in repr(whole)
    assert STRIPE_SECRET not in repr(whole)
