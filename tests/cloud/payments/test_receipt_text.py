"""A German receipt is German, on the page as on paper."""

import datetime as dt
from types import SimpleNamespace
from typing import Any
from zoneinfo import ZoneInfo

import fpdf
import pytest

from cloud.pages.render import templates
from cloud.pages.ride_words import Words
from cloud.payments import api
from cloud.payments.api import ReceiptText
from cloud.returns.service import _FEE_REASONS

LINK = "https://ride.example.org/ride/rentals/1"
GERMAN = ("Roller S-042", "24.11.2026, 20:24 (+01:00)", "19,00 %", "1,66\N{NO-BREAK SPACE}€")
REASON = "Außerhalb einer Parkfläche beendet, wie vereinbart"


def a_receipt(language: str) -> dict[str, Any]:
    money = {"amount_minor": 166, "currency": "EUR"}
    line = {
        "kind": "fee",
        "quantity": 1,
        "parts": [],
        "amount": money,
        "tax_rate_bp": 1900,
        "reason": "Ended outside a bay, as agreed",
        "link": LINK,
    }
    at = "2026-11-24T20:24:45+01:00"
    return {
        "seller": {"legal_name": "Demo", "vat_id": "DE1", "address": "Markt 1"},
        "number": "DEMO-000001",
        "issued_at": at,
        "rental_id": "1",
        "customer": {"name": "Ada"},
        "vehicle": {"type": "scooter", "number": "S-042"},
        "started_at": at,
        "ended_at": at,
        "start_place": "unknown",
        "end_place": "Markt",
        "ride_minutes": 1,
        "pause_minutes": 0,
        "plan": {"name": "Stadt"},
        "prices_include_tax": True,
        "unlock_fee": money,
        "discounts": [],
        "pass_minutes": 0,
        "fees": [line],
        "fines": [],
        "lines": [line],
        "taxes": [{"rate_bp": 1900, "net": money, "tax": money}],
        "total": money,
        "payment": {
            "method_last4": "4242",
            **dict.fromkeys(("held", "paid", "released", "refunded", "open"), money),
        },
        "credit_notes": [],
        "dispute": {"url": "https://demo.example.org/1", "until": at},
        "terms_version": "1",
        "language": language,
    }


def on_paper(receipt: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> str:
    """What the PDF is asked to print."""
    told: list[str] = []
    for name in ("cell", "multi_cell"):
        real = getattr(fpdf.FPDF, name)

        def kept(self: Any, *args: Any, _real: Any = real, **more: Any) -> Any:
            told.append(str(args[2]))
            return _real(self, *args, **more)

        monkeypatch.setattr(fpdf.FPDF, name, kept)
    api.receipt_pdf(receipt)
    return "\n".join(told)


def on_page(receipt: dict[str, Any], language: str) -> str:
    say = ReceiptText(language)
    template = templates.get_template("_receipt.html")
    return template.render(t=Words(language), r=receipt, say=say, told=say.words)


def test_a_german_receipt_is_german_on_paper_and_on_the_page(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    receipt = a_receipt("de")
    for text in (on_paper(receipt, monkeypatch), on_page(receipt, "de")):
        for word in (*GERMAN, REASON, LINK, "unbekannt"):
            assert word in text
        for word in ("scooter", "agreed", "19.00", "EUR", "unknown"):
            assert word not in text


def test_an_english_receipt_says_the_same_in_english(monkeypatch: pytest.MonkeyPatch) -> None:
    receipt = a_receipt("en")
    for text in (on_paper(receipt, monkeypatch), on_page(receipt, "en")):
        for word in ("Scooter S-042", "2026-11-24, 20:24 (+01:00)", "19.00 %", LINK):
            assert word in text


@pytest.mark.parametrize("reason", _FEE_REASONS.values())
def test_every_reason_of_a_fee_has_german_words(reason: str) -> None:
    assert ReceiptText("de-AT").phrase(reason) != reason


def test_what_people_wrote_is_not_touched() -> None:
    assert ReceiptText("de").phrase("Bell broken") == "Bell broken"


def test_ones_rides_are_listed_by_ones_own_clock() -> None:
    at = dt.datetime(2026, 11, 24, 19, 24, 45, tzinfo=dt.UTC)
    rental = SimpleNamespace(id="1", vehicle_id="one", created_at=at, state="ended")
    one = SimpleNamespace(rental=rental, total={"amount_minor": 166, "currency": "EUR"})
    shown = templates.get_template("rides.html").render(
        t=Words("de"),
        who=None,
        csrf="",
        section="rides",
        languages=[],
        rentals=[one],
        names={"one": "S-042"},
        zone=ZoneInfo("Europe/Berlin"),
    )
    assert "24.11.2026, 20:24 (+01:00)" in shown
    assert "UTC" not in shown
