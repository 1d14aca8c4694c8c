"""Money that is exact: whole minor units of one currency."""

import re
from dataclasses import dataclass

_CURRENCY = re.compile(r"[A-Z]{3}")


class CurrencyMismatchError(ValueError):
    """Two currencies met in one sum: convert first."""


@dataclass(frozen=True, slots=True)
class Money:
    """An amount in minor units (cents); negative is owed back. Never a float."""

    amount_minor: int
    currency: str

    def __post_init__(self) -> None:
        if type(self.amount_minor) is not int:
            raise TypeError(
                f"amount_minor must be an int of minor units, not {self.amount_minor!r}"
            )
        if not _CURRENCY.fullmatch(self.currency):
            raise ValueError(f"currency must be three capitals (ISO 4217), not {self.currency!r}")

    def __add__(self, other: "Money") -> "Money":
        return Money(self.amount_minor + self._same(other), self.currency)

    def __sub__(self, other: "Money") -> "Money":
        return Money(self.amount_minor - self._same(other), self.currency)

    def __neg__(self) -> "Money":
        return Money(-self.amount_minor, self.currency)

    def __lt__(self, other: "Money") -> bool:
        return self.amount_minor < self._same(other)

    def __le__(self, other: "Money") -> bool:
        return self.amount_minor <= self._same(other)

    def _same(self, other: "Money") -> int:
        if other.currency != self.currency:
            raise CurrencyMismatchError(f"{self.currency} and {other.currency} do not add up")
        return other.amount_minor
