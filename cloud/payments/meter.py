"""The meter: from what was used and the price that was promised to the lines of an invoice. Pure.

The ride line is what GBFS's arithmetic makes of the published plan, whatever else is on the
invoice; pause, cap and outage are lines of their own.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import reduce
from operator import add
from typing import Any, Literal, Self

from cloud.kit.money import Money
from cloud.payments.model import BASIS_POINTS, Plan, PriceSnapshot, Segment

_MS = 1_000
_MINUTE_MS = 60 * _MS
_METRES = 1_000

Kind = Literal["ride", "pause", "outage", "cap", "cancelled", "discount", "pass", "fee", "fine"]


@dataclass(frozen=True, slots=True)
class Usage:
    """What a rental used, by the vehicle's monotonic clock; counted to the millisecond.

    Attributes:
        ride_s: seconds from unlock to end, pauses and outages included.
        pause_s: seconds of all pauses together.
        outage_s: seconds in which we were at fault.
        cancelled: the unlock failed, or it was called off in time: nothing is charged.
        distance_m: metres ridden, for plans with a price per kilometre.
        day_spent_minor: what the customer's other rides of the day cost, for a daily cap.
    """

    ride_s: float
    pause_s: float = 0
    outage_s: float = 0
    cancelled: bool = False
    distance_m: int = 0
    day_spent_minor: int = 0

    @property
    def minutes(self) -> int:
        """Billable minutes of riding: 300.0 s are 5, 300.1 s are 6."""
        return _minutes(_ms(self.ride_s) - _ms(self.pause_s) - _ms(self.outage_s))

    @property
    def pause_minutes(self) -> int:
        """Billable minutes of pause."""
        return _minutes(_ms(self.pause_s))

    @property
    def outage_minutes(self) -> int:
        """Minutes that nobody pays."""
        return _minutes(_ms(self.outage_s))


@dataclass(frozen=True, slots=True)
class Part:
    """Rate times quantity, as a receipt shows it.

    Attributes:
        what: "unlock", "per_min", "per_km" or "pause_min".
        quantity: how often the rate was charged.
        rate_minor: the rate.
        start: unit from which this rate is charged.
        interval: units that one charge pays.
    """

    what: str
    quantity: int
    rate_minor: int
    start: int = 0
    interval: int = 0


@dataclass(frozen=True, slots=True)
class Line:
    """A line of an invoice; net + tax = gross, to the minor unit.

    Attributes:
        kind: what it is for.
        quantity: of minutes, else 1.
        amount_minor: by the plan's prices: net where tax is added to them, else gross.
        net_minor: without tax.
        tax_minor: tax, rounded half-up.
        tax_rate_bp: its rate in basis points.
        currency: ISO 4217.
        parts: how the amount comes about.
        reason: why, for fees and fines.
        link: where to read more.
    """

    kind: Kind
    quantity: int
    amount_minor: int
    net_minor: int
    tax_minor: int
    tax_rate_bp: int
    currency: str
    parts: tuple[Part, ...] = ()
    reason: str = ""
    link: str = ""

    @property
    def gross_minor(self) -> int:
        """What is to be paid for it."""
        return self.net_minor + self.tax_minor

    @property
    def gross(self) -> Money:
        """What is to be paid for it."""
        return Money(self.gross_minor, self.currency)

    def as_json(self) -> dict[str, Any]:
        """Return what invoices store."""
        parts = [{name: getattr(part, name) for name in Part.__slots__} for part in self.parts]
        return {name: getattr(self, name) for name in self.__slots__} | {"parts": parts}

    @classmethod
    def from_json(cls, told: Mapping[str, Any]) -> Self:
        """Read what `as_json` wrote."""
        return cls(**{**told, "parts": tuple(Part(**part) for part in told["parts"])})

    def reversed(self) -> "Line":
        """Return the line that takes this one back, to the last minor unit."""
        parts = tuple(
            Part(part.what, part.quantity, -part.rate_minor, part.start, part.interval)
            for part in self.parts
        )
        return Line(
            kind=self.kind,
            quantity=self.quantity,
            amount_minor=-self.amount_minor,
            net_minor=-self.net_minor,
            tax_minor=-self.tax_minor,
            tax_rate_bp=self.tax_rate_bp,
            currency=self.currency,
            parts=parts,
            reason=self.reason,
            link=self.link,
        )


def ride_amount(plan: Plan, minutes: int, distance_m: int = 0) -> Money:
    """Return what GBFS's arithmetic makes of a plan for a ride of whole minutes."""
    return Money(
        sum(_amount(part) for part in _ride_parts(plan, minutes, distance_m)), plan.currency
    )


def meter(price: PriceSnapshot, usage: Usage) -> tuple[Line, ...]:
    """Return the lines of a rental, or of one that is still going on.

    A cancelled rental has one line of nothing.
    """
    plan = price.plan
    if usage.cancelled:
        return (line(plan, "cancelled", 0),)
    minutes, pauses, outage = usage.minutes, usage.pause_minutes, usage.outage_minutes
    parts = _ride_parts(plan, minutes, usage.distance_m)
    lines = [line(plan, "ride", _sum(parts), quantity=minutes, parts=parts)]
    if pauses:
        pause = (Part("pause_min", pauses, plan.pause_per_min_minor, interval=1),)
        lines.append(line(plan, "pause", _sum(pause), quantity=pauses, parts=pause))
    if outage:
        lines.append(line(plan, "outage", 0, quantity=outage))
    over = _over_the_caps(plan, sum(each.amount_minor for each in lines), usage.day_spent_minor)
    if over:
        lines.append(line(plan, "cap", -over))
    return tuple(lines)


def line(
    plan: Plan,
    kind: Kind,
    amount_minor: int,
    *,
    quantity: int = 1,
    parts: tuple[Part, ...] = (),
    reason: str = "",
    link: str = "",
) -> Line:
    """Return one line with its tax, by the way a plan's prices are meant."""
    rate = plan.tax_rate_bp
    if plan.is_taxable:
        tax = half_up(amount_minor * rate, BASIS_POINTS)
        net = amount_minor
    else:
        tax = half_up(amount_minor * rate, BASIS_POINTS + rate)
        net = amount_minor - tax
    return Line(kind, quantity, amount_minor, net, tax, rate, plan.currency, parts, reason, link)


def total(lines: Iterable[Line]) -> Money:
    """Return what lines come to, with tax; raises ValueError when there are none."""
    amounts = [each.gross for each in lines]
    if not amounts:
        raise ValueError("no lines, no currency: an invoice has at least one line")
    return reduce(add, amounts)


def half_up(numerator: int, denominator: int) -> int:
    """Return a fraction rounded to the nearest whole number, a half away from zero."""
    size = (2 * abs(numerator) + denominator) // (2 * denominator)
    return size if numerator >= 0 else -size


def _ride_parts(plan: Plan, minutes: int, distance_m: int) -> tuple[Part, ...]:
    parts = [Part("unlock", 1, plan.price_minor)] if plan.price_minor else []
    parts += _parts("per_min", plan.per_min, minutes, 1)
    parts += _parts("per_km", plan.per_km, distance_m, _METRES)
    return tuple(parts)


def _parts(what: str, segments: Iterable[Segment], used: int, unit: int) -> list[Part]:
    return [
        Part(what, times, each.rate_minor, each.start, each.interval)
        for each in segments
        if (times := each.charges(used, unit))
    ]


def _amount(part: Part) -> int:
    return part.quantity * part.rate_minor


def _sum(parts: Iterable[Part]) -> int:
    return sum(_amount(part) for part in parts)


def _over_the_caps(plan: Plan, amount_minor: int, day_spent_minor: int) -> int:
    """Return how much of an amount no cap lets through, at least 0."""
    allowed = amount_minor
    if plan.ride_cap_minor is not None:
        allowed = min(allowed, plan.ride_cap_minor)
    if plan.daily_cap_minor is not None:
        allowed = min(allowed, max(0, plan.daily_cap_minor - day_spent_minor))
    return amount_minor - allowed


def _ms(seconds: float) -> int:
    return max(0, round(seconds * _MS))


def _minutes(ms: int) -> int:
    return -(-max(0, ms) // _MINUTE_MS)
