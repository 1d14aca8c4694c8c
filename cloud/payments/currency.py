"""Currencies and their minor units (ISO 4217). Pure."""

from decimal import Decimal, localcontext

from cloud.kit.money import Money

_DECIMALS = {
    **dict.fromkeys(
        (
            *("BIF", "CLP", "DJF", "GNF", "ISK", "JPY", "KMF", "KRW"),
            *("PYG", "RWF", "UGX", "UYI", "VND", "VUV", "XAF", "XOF", "XPF"),
        ),
        0,
    ),
    **dict.fromkeys(("BHD", "IQD", "JOD", "KWD", "LYD", "OMR", "TND"), 3),
    **dict.fromkeys(("CLF", "UYW"), 4),
}
_USUAL = 2
_DIGITS = 40


class AmountError(ValueError):
    """An amount that its currency cannot pay; the message says what to write instead."""


def decimals(currency: str) -> int:
    """Return how many decimals a currency has: JPY 0, EUR 2, BHD 3."""
    return _DECIMALS.get(currency, _USUAL)


def to_minor(amount: Decimal, currency: str) -> int:
    """Return an amount in minor units.

    Raises:
        AmountError: it has more decimals than the currency, or is no number.
    """
    if not amount.is_finite():
        raise AmountError(f"{amount} is no amount of {currency}; write a number")
    with localcontext() as context:
        context.prec = _DIGITS
        minor = amount.scaleb(decimals(currency))
        if minor != minor.to_integral_value():
            raise AmountError(
                f"{amount} {currency} has more than {decimals(currency)} decimals;"
                " write an amount that can be paid"
            )
        return int(minor)


def to_decimal(amount: Money) -> Decimal:
    """Return an amount in major units, with all decimals of its currency: 2.50."""
    return Decimal(amount.amount_minor).scaleb(-decimals(amount.currency))


def shown(amount: Money) -> str:
    """Return an amount as people read it in any language: `EUR 2.50`, `EUR -0.05`."""
    return f"{amount.currency} {to_decimal(amount):f}"
