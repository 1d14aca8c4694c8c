"""What customers may be called, reached at and shown; what looks like a card number. Pure."""

import re
import zoneinfo
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cache
from uuid import UUID

LINK_LIFETIME = timedelta(hours=24)
"""How long the link of a verification mail is good."""

RESET_LIFETIME = timedelta(hours=1)
"""How long the link of a mail for a new password is good."""

EMAIL_LIMIT = 5
"""Sign-ups and repeats for one e-mail address in model.WINDOW; requests for new passwords too."""

ADDRESS_LIMIT = 50
"""The same from one network address."""

MOST_METHODS = 10
LONGEST_NAME = 100

_EMAIL_LOCAL = r"[a-z0-9!#$%&'*+/=?^_`{|}~-]+(?:\.[a-z0-9!#$%&'*+/=?^_`{|}~-]+)*"
_EMAIL_DOMAIN = r"(?:[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?\.)+[a-z][a-z0-9-]{0,61}[a-z0-9]"
_EMAIL = re.compile(rf"({_EMAIL_LOCAL})@{_EMAIL_DOMAIN}")
_LONGEST_EMAIL = 254
_LONGEST_LOCAL = 64
_LANGUAGE = re.compile(
    r"(?P<language>[a-z]{2,3})(?:-(?P<script>[a-z]{4}))?(?:-(?P<region>[a-z]{2}|[0-9]{3}))?",
    re.IGNORECASE,
)
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff]")

# As one run, as four groups of four, or as American Express prints it.
_CARD = re.compile(
    r"(?<!\d)(?:\d{12,19}|\d{4}(?:[ .-]\d{4}){3}(?:[ .-]\d{1,3})?|\d{4}[ .-]\d{6}[ .-]\d{5})(?!\d)",
    re.ASCII,
)


@dataclass(frozen=True, slots=True)
class Customer:
    """Somebody who rides; `id` is the account's, as other contexts know them."""

    id: str
    tenant: str
    city: str
    email: str
    name: str
    language: str
    time_zone: str
    verified_at: datetime


@dataclass(frozen=True, slots=True)
class Agreed:
    """A version of a document that somebody agrees to."""

    document: str
    version: str


@dataclass(frozen=True, slots=True)
class Document:
    """A document in force; titles and texts by language."""

    document: str
    version: str
    required: bool
    titles: Mapping[str, str]
    texts: Mapping[str, str]
    valid_from: datetime


@dataclass(frozen=True, slots=True)
class Consent:
    """A yes or a no to a version of a document."""

    document: str
    version: str
    given: bool
    at: datetime


@dataclass(frozen=True, slots=True)
class PaymentMethod:
    """A card as its provider knows it; the token is for providers only."""

    id: UUID
    customer_id: str
    provider: str
    token: str
    last4: str
    brand: str
    added_at: datetime


class NotValidError(ValueError):
    """Something that somebody said and that cannot be; the text says what can."""


class ConsentMissingError(ValueError):
    """A required document without a yes to the version in force."""

    def __init__(self, missing: Sequence[Agreed]) -> None:
        super().__init__("agree to " + " and ".join(f"{m.document} {m.version}" for m in missing))
        self.missing = missing


class ConsentUnknownError(ValueError):
    """A document, or a version of one, that is not in force."""


class ConsentRequiredError(ValueError):
    """A no to a document without which nobody can be a customer."""


def canonical_email(typed: str) -> str:
    """Return an address as it is stored; raises NotValidError for one that cannot be."""
    email = typed.strip().lower()
    found = _EMAIL.fullmatch(email)
    if found is None or len(email) > _LONGEST_EMAIL or len(found[1]) > _LONGEST_LOCAL:
        raise NotValidError(
            "this is no e-mail address we can write to; it looks like name@example.org, and a"
            " domain with other letters is written as xn--…"
        )
    return email


def canonical_language(typed: str) -> str:
    """Return a language tag as BCP 47 writes it, `pt-BR`; raises NotValidError."""
    found = _LANGUAGE.fullmatch(typed)
    if found is None:
        raise NotValidError("this is no language tag; write en, de or pt-BR as BCP 47 has it")
    parts = [found["language"].lower()]
    if found["script"]:
        parts.append(found["script"].title())
    if found["region"]:
        parts.append(found["region"].upper())
    return "-".join(parts)


def check_time_zone(name: str) -> str:
    """Return the name; raises NotValidError for a time zone that IANA does not know."""
    if name not in _time_zones():
        raise NotValidError("this is no time zone; write Europe/Berlin or UTC as IANA has it")
    return name


def check_name(typed: str) -> str:
    """Return a person's name without the spaces around it; raises NotValidError."""
    name = typed.strip()
    if not 0 < len(name) <= LONGEST_NAME or _CONTROL.search(name):
        raise NotValidError(f"a name has 1 to {LONGEST_NAME} characters, all of them visible")
    return name


def looks_like_card(*texts: str) -> bool:
    """Tell whether a payment card's number (ISO/IEC 7812) is in one of the texts."""
    return any(
        _luhn([int(c) for c in found[0] if c.isdecimal()])
        for text in texts
        for found in _CARD.finditer(text)
    )


def check_consents(given: Iterable[Agreed], in_force: Sequence[Document]) -> list[Agreed]:
    """Return what is agreed to, each once.

    Raises:
        ConsentUnknownError: something that is not in force.
        ConsentMissingError: a required document is not among them.
    """
    agreed = list(dict.fromkeys(given))
    known = {Agreed(each.document, each.version): each for each in in_force}
    for one in agreed:
        if one not in known:
            raise ConsentUnknownError(f"{one.document} {one.version} is not in force")
    missing = [one for one, document in known.items() if document.required and one not in agreed]
    if missing:
        raise ConsentMissingError(missing)
    return agreed


def _luhn(digits: Sequence[int]) -> bool:
    """The check digit of ISO/IEC 7812-1."""
    doubled = [sum(divmod(2 * digit, 10)) for digit in digits[-2::-2]]
    return any(digits) and (sum(digits[-1::-2]) + sum(doubled)) % 10 == 0


@cache
def _time_zones() -> frozenset[str]:
    return frozenset(zoneinfo.available_timezones() - {"localtime", "Factory"})
