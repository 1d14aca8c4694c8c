"""A tariff as a GBFS 3 pricing plan, and the price that a rental was promised. Pure.

Amounts are numbers of major units in JSON, as GBFS has them, and whole minor units in here.
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any, Self

from cloud.kit.clock import rfc3339
from cloud.kit.money import Money
from cloud.payments.currency import to_decimal, to_minor

BASIS_POINTS = 10_000
_AMOUNTS = ("pause_per_min", "daily_cap", "ride_cap", "hold_amount")
_REQUIRED = ("plan_id", "name", "currency", "price", "is_taxable", "valid_from", "vehicle_types")


_MEMBERS = frozenset(
    (*_REQUIRED, *_AMOUNTS, "description", "per_min_pricing", "per_km_pricing", "tax_rate_bp")
)
_SEGMENT_MEMBERS = frozenset(("start", "rate", "interval", "end"))


class PlanError(ValueError):
    """A plan that cannot be charged by; the message says what to correct."""


def check_members(told: Mapping[str, Any]) -> None:
    """Raise PlanError for what a plan cannot have, so that no slip of the pen makes rides free."""
    strangers = sorted(told.keys() - _MEMBERS)
    if strangers:
        raise PlanError(
            f"a plan has no {strangers[0]!r}; correct the file. It may have"
            f" {', '.join(sorted(_MEMBERS))}"
        )
    for name in ("per_min_pricing", "per_km_pricing"):
        segments = told.get(name)
        # What is no list of objects, `from_json` refuses by name.
        for segment in segments if isinstance(segments, list) else ():
            wrong = sorted(set(segment if isinstance(segment, dict) else ()) - _SEGMENT_MEMBERS)
            if wrong:
                raise PlanError(
                    f"a segment of {name} has no {wrong[0]!r}; it has start, rate, interval and end"
                )


@dataclass(frozen=True, slots=True)
class Segment:
    """A step of a price per minute or kilometre.

    Charged once for every k >= 0 with `start` + k * `interval` < min(used, `end`); an interval of
    0 is charged once.

    Attributes:
        start: units that must have been used before it is charged; inclusive.
        rate_minor: what one charge is, minor units; negative is a rebate.
        interval: units between two charges.
        end: unit from which it is charged no more, exclusive; None for never.
    """

    start: int
    rate_minor: int
    interval: int
    end: int | None = None

    def __post_init__(self) -> None:
        if min(self.start, self.interval, self.end or 0) < 0:
            raise PlanError("start, interval and end of a segment are not negative; correct them")

    def charges(self, used: int, unit: int = 1) -> int:
        """Return how often it is charged for `used`, a number of 1/`unit` of its units."""
        start, interval = self.start * unit, self.interval * unit
        until = used if self.end is None else min(used, self.end * unit)
        if until <= start:
            return 0
        return 1 if interval == 0 else -((start - until) // interval)


@dataclass(frozen=True, slots=True)
class Plan:
    """What riding costs.

    Attributes:
        plan_id: as GBFS publishes it.
        name: by language, as pairs (language, text).
        description: likewise.
        currency: ISO 4217.
        price_minor: charged once a ride: the unlock fee.
        is_taxable: prices are net and tax is added; else tax is inside them.
        per_min: steps per minute.
        per_km: steps per kilometre.
        tax_rate_bp: tax rate in basis points, 1900 = 19 %.
        pause_per_min_minor: price of a minute of pause.
        daily_cap_minor: most that the rides of one day cost, before or with tax as the prices.
        ride_cap_minor: most that one ride with its pauses costs.
        hold_amount_minor: what is held on the card at unlock.
        vehicle_types: ids of the vehicle types it is for.
        valid_from: since when it is this way.
    """

    plan_id: str
    name: tuple[tuple[str, str], ...]
    description: tuple[tuple[str, str], ...]
    currency: str
    price_minor: int
    is_taxable: bool
    per_min: tuple[Segment, ...]
    per_km: tuple[Segment, ...]
    tax_rate_bp: int
    pause_per_min_minor: int
    daily_cap_minor: int | None
    ride_cap_minor: int | None
    hold_amount_minor: int
    vehicle_types: tuple[str, ...]
    valid_from: datetime

    def __post_init__(self) -> None:
        Money(0, self.currency)
        caps = (self.daily_cap_minor or 0, self.ride_cap_minor or 0)
        if min(self.price_minor, self.pause_per_min_minor, self.hold_amount_minor, *caps) < 0:
            raise PlanError("price, pause, hold and caps are not negative; correct them")
        if not 0 <= self.tax_rate_bp <= BASIS_POINTS:
            raise PlanError("tax_rate_bp is from 0 to 10000 (100 %); correct it")
        if self.valid_from.tzinfo is None:
            raise PlanError("valid_from needs a time zone; write it with an offset")

    @property
    def hold(self) -> Money:
        """What is held on the card at unlock."""
        return Money(self.hold_amount_minor, self.currency)

    def named(self, language: str = "en") -> str:
        """Return its name in a language, else in its first."""
        return dict(self.name).get(language, self.name[0][1])

    @classmethod
    def from_json(cls, told: Mapping[str, Any]) -> Self:
        """Read a plan: the members of GBFS and ours beside them.

        Raises:
            PlanError: something is missing or cannot be charged.
        """
        missing = [name for name in _REQUIRED if told.get(name) in (None, "", (), [])]
        if missing:
            raise PlanError(f"the plan lacks {', '.join(missing)}; add it")
        currency = str(told["currency"])
        try:
            amounts = {f"{name}_minor": _minor(told.get(name), currency) for name in _AMOUNTS}
            return cls(
                plan_id=str(told["plan_id"]),
                name=_texts(told["name"]),
                description=_texts(told.get("description") or ()),
                currency=currency,
                price_minor=_minor(told["price"], currency) or 0,
                is_taxable=bool(told["is_taxable"]),
                per_min=_segments(told.get("per_min_pricing") or (), currency),
                per_km=_segments(told.get("per_km_pricing") or (), currency),
                tax_rate_bp=int(told.get("tax_rate_bp", 0)),
                pause_per_min_minor=amounts["pause_per_min_minor"] or 0,
                daily_cap_minor=amounts["daily_cap_minor"],
                ride_cap_minor=amounts["ride_cap_minor"],
                hold_amount_minor=amounts["hold_amount_minor"] or 0,
                vehicle_types=tuple(map(str, told["vehicle_types"])),
                valid_from=datetime.fromisoformat(str(told["valid_from"])),
            )
        except PlanError:
            raise
        except (ArithmeticError, LookupError, TypeError, ValueError) as wrong:
            raise PlanError(f"the plan cannot be read ({wrong}); correct it") from wrong

    def gbfs(self) -> dict[str, Any]:
        """Return the plan as system_pricing_plans of GBFS 3 publishes it."""
        told: dict[str, Any] = {
            "plan_id": self.plan_id,
            "name": [{"text": text, "language": language} for language, text in self.name],
            "currency": self.currency,
            "price": self._major(self.price_minor),
            "is_taxable": self.is_taxable,
            "description": [
                {"text": text, "language": language}
                for language, text in self.description or self.name
            ],
        }
        for member, segments in (
            ("per_min_pricing", self.per_min),
            ("per_km_pricing", self.per_km),
        ):
            if segments:
                told[member] = [self._segment(segment) for segment in segments]
        return told

    def as_json(self) -> dict[str, Any]:
        """Return the whole plan, as `from_json` reads it."""
        ours: dict[str, Any] = {
            "tax_rate_bp": self.tax_rate_bp,
            "pause_per_min": self._major(self.pause_per_min_minor),
            "hold_amount": self._major(self.hold_amount_minor),
            "vehicle_types": list(self.vehicle_types),
            "valid_from": rfc3339(self.valid_from),
        }
        caps = (("daily_cap", self.daily_cap_minor), ("ride_cap", self.ride_cap_minor))
        ours |= {name: self._major(minor) for name, minor in caps if minor is not None}
        return self.gbfs() | ours

    def _major(self, minor: int) -> int | float:
        exact = to_decimal(Money(minor, self.currency))
        return int(exact) if exact == exact.to_integral_value() else float(exact)

    def _segment(self, segment: Segment) -> dict[str, Any]:
        told = {
            "start": segment.start,
            "rate": self._major(segment.rate_minor),
            "interval": segment.interval,
        }
        return told if segment.end is None else told | {"end": segment.end}


@dataclass(frozen=True, slots=True)
class PriceSnapshot:
    """What a rental was promised: the plan as it was, never changed again.

    Attributes:
        plan: the plan.
        taken_at: when it was frozen.
    """

    plan: Plan
    taken_at: datetime

    @property
    def digest(self) -> str:
        """The sha256 of its canonical JSON: two snapshots are the same price when it is."""
        text = json.dumps(self.as_json(), sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(text.encode()).hexdigest()

    def as_json(self) -> dict[str, Any]:
        """Return what to store with the rental."""
        return {"plan": self.plan.as_json(), "taken_at": rfc3339(self.taken_at)}

    @classmethod
    def from_json(cls, told: Mapping[str, Any]) -> Self:
        """Read what `as_json` wrote; raises PlanError."""
        return cls(Plan.from_json(told["plan"]), datetime.fromisoformat(told["taken_at"]))


def snapshot(plan: Plan, at: datetime) -> PriceSnapshot:
    """Freeze a plan for a rental."""
    return PriceSnapshot(plan, at)


def _minor(told: object, currency: str) -> int | None:
    """Read an amount of major units; a float means the decimal number it is written as."""
    if told is None:
        return None
    if isinstance(told, bool):
        raise PlanError(f"{told} is no amount; write a number")
    return to_minor(Decimal(str(told)), currency)


def _texts(told: str | Sequence[Mapping[str, str]]) -> tuple[tuple[str, str], ...]:
    if isinstance(told, str):
        return (("en", told),)
    return tuple((text["language"], text["text"]) for text in told)


def _segments(told: Sequence[Mapping[str, Any]], currency: str) -> tuple[Segment, ...]:
    return tuple(
        Segment(
            int(each["start"]),
            _minor(each["rate"], currency) or 0,
            int(each["interval"]),
            None if each.get("end") is None else int(each["end"]),
        )
        for each in told
    )
