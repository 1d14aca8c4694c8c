"""What a story of rentals says in the end: pure, so that it can itself be tested for failing."""

from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise

_OVER = frozenset({"ended", "cancelled"})
_SETTLED_AT_BANK = frozenset({"captured", "cancelled", "declined"})


@dataclass(frozen=True, slots=True)
class Rental:
    """How a rental ended."""

    id: str
    vehicle_id: str
    state: str
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Hold:
    """A hold as our database has it; `id` is the reference that the bank knows."""

    id: str
    rental_id: str
    state: str
    captured_minor: int


@dataclass(frozen=True, slots=True)
class Invoice:
    """An invoice or, with a negative total, a credit note."""

    rental_id: str
    series: str
    number: int
    total_minor: int


@dataclass(frozen=True, slots=True)
class Payment:
    """A payment as the bank's own books have it."""

    id: str
    reference: str
    status: str


@dataclass(frozen=True, slots=True)
class Movement:
    """Money that the bank moved: a capture or a refund."""

    reference: str
    kind: str
    amount_minor: int


@dataclass(frozen=True, slots=True)
class Use:
    """A calendar row of a vehicle, ended or not; times are seconds since 1970."""

    vehicle_id: str
    kind: str
    state: str
    begins_s: float
    ends_s: float


@dataclass(frozen=True, slots=True)
class Parked:
    """A vehicle when all is over: what fleet says of it, and what its own latch says."""

    id: str
    state: str
    is_locked: bool


@dataclass(frozen=True, slots=True)
class Evidence:
    """Everything there is when the story is over.

    Attributes:
        rentals: all of them.
        holds: all of them.
        invoices: all documents.
        payments: the bank's, as they stand.
        movements: the bank's, each one.
        calendar: every use of a vehicle.
        parked: the vehicles.
        unbalanced: ledger entries whose postings do not come to nothing.
        at_bank_minor: what the ledger says that the bank has taken for us.
        undelivered: events whose delivery failed and waits for a person, in words.
    """

    rentals: Sequence[Rental]
    holds: Sequence[Hold]
    invoices: Sequence[Invoice]
    payments: Sequence[Payment]
    movements: Sequence[Movement]
    calendar: Sequence[Use]
    parked: Sequence[Parked]
    unbalanced: int = 0
    at_bank_minor: int = 0
    undelivered: Sequence[str] = ()


@dataclass(frozen=True, slots=True)
class Verdict:
    """What came of the rentals, and every promise that was broken, in words.

    Attributes:
        rentals: by state and reason.
        captured: charges that the bank made, and their sum.
        captured_minor: in minor units.
        broken: by promise; empty when all were kept.
    """

    rentals: Counter[str]
    captured: int
    captured_minor: int
    broken: Mapping[str, Sequence[str]] = field(default_factory=dict)

    def __str__(self) -> str:
        lines = [
            f"{dict(self.rentals)}; {self.captured} charges, {self.captured_minor} minor units"
        ]
        lines += [f"  {name}: {', '.join(found)}" for name, found in self.broken.items()]
        return "\n".join(lines)


def judge(evidence: Evidence, started: Collection[str], billed: Mapping[str, int]) -> Verdict:
    """Compare the databases with each other, with the bank and with what riders were told.

    Args:
        evidence: read when nothing moved any more.
        started: rentals that riders were told had begun.
        billed: by rental, what receipts said was paid or still open, minor units.
    """
    captures = [each for each in evidence.movements if each.kind == "capture"]
    found = {
        "rentals that riders were told of and nobody knows": _unknown(evidence, started),
        "rentals that are not over": _not_over(evidence),
        "vehicles lost": _lost(evidence),
        "two uses of a vehicle at once": _overlaps(evidence.calendar),
        "charges that are wrong": _wrong_charges(evidence),
        "receipts that are wrong": _wrong_receipts(evidence, billed),
        "holds left on cards": _left_holds(evidence),
        "books that do not balance": _wrong_books(evidence),
        "invoice numbers with gaps": _gaps(evidence.invoices),
        "events that nobody took": list(evidence.undelivered),
    }
    return Verdict(
        Counter(f"{each.state} {each.reason}".strip() for each in evidence.rentals),
        len(captures),
        sum(each.amount_minor for each in captures),
        {name: words for name, words in found.items() if words},
    )


def _unknown(evidence: Evidence, started: Collection[str]) -> list[str]:
    return sorted(set(started) - {each.id for each in evidence.rentals})


def _not_over(evidence: Evidence) -> list[str]:
    return [f"{each.id} is {each.state}" for each in evidence.rentals if each.state not in _OVER]


def _lost(evidence: Evidence) -> list[str]:
    """Return what is wrong with vehicles that should all stand locked, free for anybody."""
    # A hold that nobody came back for ends by itself.
    held = {use.vehicle_id for use in evidence.calendar if use.state == "held"}
    taken = [
        f"{use.vehicle_id} is taken by a {use.kind} that is {use.state}"
        for use in evidence.calendar
        if use.state in ("confirmed", "active", "blocked")
    ]
    unfit = [
        f"{each.id} is {each.state}"
        for each in evidence.parked
        if each.state != ("reserved" if each.id in held else "available")
    ]
    open_ = [f"{each.id} stands open" for each in evidence.parked if not each.is_locked]
    return taken + unfit + open_


def _overlaps(calendar: Iterable[Use]) -> list[str]:
    by_vehicle: defaultdict[str, list[Use]] = defaultdict(list)
    for use in calendar:
        by_vehicle[use.vehicle_id].append(use)
    return [
        f"{vehicle}: {one.kind} until {one.ends_s:.3f}, {other.kind} from {other.begins_s:.3f}"
        for vehicle, uses in by_vehicle.items()
        for one, other in pairwise(sorted(uses, key=lambda use: use.begins_s))
        if other.begins_s < one.ends_s
    ]


def _wrong_charges(evidence: Evidence) -> list[str]:
    """Return the rentals that were not charged exactly once, or not exactly their invoice."""
    rental_of = {hold.id: hold.rental_id for hold in evidence.holds}
    charged: defaultdict[str, list[int]] = defaultdict(list)
    wrong = []
    for movement in evidence.movements:
        if movement.reference not in rental_of:
            wrong.append(f"the bank moved {movement.amount_minor} for nothing of ours")
            continue
        sign = 1 if movement.kind == "capture" else -1
        charged[rental_of[movement.reference]].append(sign * movement.amount_minor)
    billed: defaultdict[str, list[int]] = defaultdict(list)
    for invoice in evidence.invoices:
        billed[invoice.rental_id].append(invoice.total_minor)
    for rental in evidence.rentals:
        bills, charges = billed[rental.id], charged[rental.id]
        expected = 1 if rental.state == "ended" else 0
        if len(bills) != expected or charges != bills:
            wrong.append(f"{rental.id}, {rental.state}: invoices {bills}, charges {charges}")
    return wrong


def _wrong_receipts(evidence: Evidence, billed: Mapping[str, int]) -> list[str]:
    invoiced = {each.rental_id: each.total_minor for each in evidence.invoices}
    return [
        f"{rental}: a receipt says {minor} and the invoice {invoiced.get(rental)}"
        for rental, minor in billed.items()
        if invoiced.get(rental) != minor
    ]


def _left_holds(evidence: Evidence) -> list[str]:
    ours = [
        f"{each.id} is {each.state} here"
        for each in evidence.holds
        if each.state not in ("captured", "released", "declined")
    ]
    theirs = [
        f"{each.id} is {each.status} at the bank"
        for each in evidence.payments
        if each.status not in _SETTLED_AT_BANK
    ]
    times = Counter(each.reference for each in evidence.payments)
    twice = [f"{reference} was held {n} times" for reference, n in times.items() if n > 1]
    return ours + theirs + twice


def _wrong_books(evidence: Evidence) -> list[str]:
    wrong = [f"{evidence.unbalanced} entries do not balance"] if evidence.unbalanced else []
    signs = {"capture": 1, "refund": -1}
    moved = sum(signs[each.kind] * each.amount_minor for each in evidence.movements)
    if moved != evidence.at_bank_minor:
        wrong.append(f"the ledger says {evidence.at_bank_minor}, the bank {moved}")
    return wrong


def _gaps(invoices: Iterable[Invoice]) -> list[str]:
    series: defaultdict[str, list[int]] = defaultdict(list)
    for invoice in invoices:
        series[invoice.series].append(invoice.number)
    return [
        f"{name}: {sorted(numbers)}"
        for name, numbers in series.items()
        if sorted(numbers) != list(range(1, len(numbers) + 1))
    ]
