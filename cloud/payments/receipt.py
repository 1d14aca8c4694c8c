"""The receipt of a rental: a pure function of its documents and its hold.

Every field of rental.md §5; money as `{"amount_minor", "currency"}`, times local with offset.
"""

from collections import defaultdict
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from cloud.payments.documents import Document
from cloud.payments.holds import Authorisation
from cloud.payments.meter import Line, Part

_OVER = frozenset({"captured", "capture_failed", "released", "declined"})


def receipt(documents: Sequence[Document], hold: Authorisation) -> dict[str, Any]:
    """Return the receipt of an invoice (first) and its credit notes."""
    invoice, notes = documents[0], documents[1:]
    facts, seller, plan = invoice.facts, invoice.seller, invoice.price.plan
    zone = ZoneInfo(facts.time_zone)
    currency = invoice.currency

    def money(minor: int) -> dict[str, Any]:
        return {"amount_minor": minor, "currency": currency}

    credited = -sum(note.total_minor for note in notes)
    until = invoice.issued_at + timedelta(days=seller.dispute_days)
    return {
        "seller": {
            "legal_name": seller.legal_name,
            "vat_id": seller.vat_id,
            "address": seller.address,
        },
        "number": invoice.printed_number,
        "issued_at": _local(invoice.issued_at, zone),
        "rental_id": str(invoice.rental_id),
        "customer": {"id": invoice.customer_id, "name": facts.customer_name},
        "vehicle": {"type": facts.vehicle_type, "number": facts.vehicle_number},
        "started_at": _local(facts.started_at, zone),
        "ended_at": _local(facts.ended_at, zone),
        "start_place": facts.start_place,
        "end_place": facts.end_place,
        "ride_minutes": _minutes(invoice.lines, "ride"),
        "pause_minutes": _minutes(invoice.lines, "pause"),
        "plan": {"id": plan.plan_id, "name": plan.named(facts.language)},
        "prices_include_tax": not plan.is_taxable,
        "unlock_fee": money(_unlock(invoice.lines)),
        "discounts": _of(invoice.lines, "discount"),
        "pass_minutes": _minutes(invoice.lines, "pass"),
        "fees": _of(invoice.lines, "fee"),
        "fines": _of(invoice.lines, "fine"),
        "lines": [_line(each) for each in invoice.lines],
        "net": money(invoice.net_minor),
        "taxes": _taxes(invoice.lines),
        "tax": money(invoice.tax_minor),
        "total": money(invoice.total_minor),
        "payment": {
            "method_last4": hold.last4,
            "held": money(hold.held_minor),
            "paid": money(hold.captured_minor),
            "released": money(_released(hold)),
            "refunded": money(hold.refunded_minor),
            "open": money(
                max(0, invoice.total_minor - credited - hold.captured_minor + hold.refunded_minor)
            ),
        },
        "credit_notes": [
            {
                "number": note.printed_number,
                "issued_at": _local(note.issued_at, zone),
                "reason": note.reason,
                "total": money(note.total_minor),
            }
            for note in notes
        ],
        "dispute": {
            "url": seller.dispute_url.replace("{rental_id}", str(invoice.rental_id)),
            "until": _local(until, zone),
        },
        "terms_version": seller.terms_version,
        "language": facts.language,
    }


def _local(moment: datetime, zone: ZoneInfo) -> str:
    return moment.astimezone(zone).isoformat(timespec="seconds")


def _minutes(lines: Sequence[Line], kind: str) -> int:
    return sum(each.quantity for each in lines if each.kind == kind)


def _of(lines: Sequence[Line], kind: str) -> list[dict[str, Any]]:
    return [_line(each) for each in lines if each.kind == kind]


def _unlock(lines: Sequence[Line]) -> int:
    return sum(part.rate_minor for each in lines for part in each.parts if part.what == "unlock")


def _released(hold: Authorisation) -> int:
    return hold.held_minor - hold.captured_minor if hold.state in _OVER else 0


def _line(line: Line) -> dict[str, Any]:
    def money(minor: int) -> dict[str, Any]:
        return {"amount_minor": minor, "currency": line.currency}

    def part(each: Part) -> dict[str, Any]:
        return {
            "what": each.what,
            "quantity": each.quantity,
            "rate": money(each.rate_minor),
            "from": each.start,
            "every": each.interval,
            "amount": money(each.quantity * each.rate_minor),
        }

    return {
        "kind": line.kind,
        "quantity": line.quantity,
        "parts": [part(each) for each in line.parts],
        "amount": money(line.amount_minor),
        "net": money(line.net_minor),
        "tax_rate_bp": line.tax_rate_bp,
        "tax": money(line.tax_minor),
        "total": money(line.gross_minor),
        "reason": line.reason,
        "link": line.link,
    }


def _taxes(lines: Sequence[Line]) -> list[dict[str, Any]]:
    sums: defaultdict[int, list[int]] = defaultdict(lambda: [0, 0])
    for line in lines:
        sums[line.tax_rate_bp][0] += line.net_minor
        sums[line.tax_rate_bp][1] += line.tax_minor
    currency = lines[0].currency
    return [
        {
            "rate_bp": rate,
            "net": {"amount_minor": net, "currency": currency},
            "tax": {"amount_minor": tax, "currency": currency},
        }
        for rate, (net, tax) in sorted(sums.items())
    ]
