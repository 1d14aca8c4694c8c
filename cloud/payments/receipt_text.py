"""How a receipt writes times, rates, amounts and reasons in a language, on paper and on pages."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from cloud.kit.money import Money
from cloud.payments.currency import shown, to_decimal
from cloud.payments.receipt_words import PHRASES, words

_BASIS = 100
SYMBOLS = {"EUR": "€", "GBP": "£", "USD": "$"}


class ReceiptText:
    """The writing of one language; English for one we do not speak."""

    def __init__(self, language: str) -> None:
        self.words = words(language)
        self._language = language.partition("-")[0]

    def moment(self, text: str) -> str:
        """Return an RFC 3339 time as people write it, with its offset."""
        at = datetime.fromisoformat(text)
        pattern = "%d.%m.%Y, %H:%M" if self._language == "de" else "%Y-%m-%d, %H:%M"
        return f"{at.strftime(pattern)} ({at.isoformat()[-6:]})"

    def percent(self, basis_points: int) -> str:
        """Return a rate: `19.00 %`, `19,00 %`."""
        whole, rest = divmod(basis_points, _BASIS)
        return f"{whole}{',' if self._language == 'de' else '.'}{rest:02d} %"

    def money(self, told: Mapping[str, Any]) -> str:
        """Return an amount: `EUR 1.66`, `1,66 €`."""
        amount = Money(told["amount_minor"], told["currency"])
        if self._language != "de":
            return shown(amount)
        digits = f"{to_decimal(amount):f}".replace(".", ",")
        return f"{digits}\N{NO-BREAK SPACE}{SYMBOLS.get(amount.currency, amount.currency)}"

    def kind(self, vehicle_type: str) -> str:
        """Return what a kind of vehicle is called."""
        return self.words.get(f"kind_{vehicle_type}", vehicle_type)

    def phrase(self, text: str) -> str:
        """Return a phrase that we put on receipts ourselves; what people wrote stays as it is."""
        return PHRASES.get(self._language, {}).get(text, text)
