"""What customers are told when something cannot be done, as problem documents."""

import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from http import HTTPStatus

from cloud.identity import api
from cloud.kit.http import Problem


@contextmanager
def told() -> Iterator[None]:
    """Turn what identity raises in here into the problem a caller is told."""
    try:
        yield
    except _TROUBLES as trouble:
        raise _problem(trouble) from None


_FIXED: dict[type[Exception], tuple[HTTPStatus, str, str, str]] = {
    api.LinkUnknownError: (
        HTTPStatus.NOT_FOUND,
        "This link is not one of ours",
        "Open the link of the mail once more, whole; or sign up again",
        "link-unknown",
    ),
    api.LinkUsedError: (
        HTTPStatus.GONE,
        "This e-mail address is confirmed already",
        "Sign in at POST /api/v1/auth/token with the address and the password you chose",
        "link-used",
    ),
    api.LinkExpiredError: (
        HTTPStatus.GONE,
        "This link has expired",
        "Sign up again; a link is good for 24 hours",
        "link-expired",
    ),
    api.ResetLinkUsedError: (
        HTTPStatus.GONE,
        "This link has been used",
        "Sign in with the new password, or ask at POST /api/v1/auth/forgot-password for another",
        "reset-link-used",
    ),
    api.ResetLinkExpiredError: (
        HTTPStatus.GONE,
        "This link has expired",
        "Ask for another at POST /api/v1/auth/forgot-password; a link is good for an hour",
        "reset-link-expired",
    ),
    api.PasswordDiffersError: (
        HTTPStatus.UNPROCESSABLE_ENTITY,
        "This is not the password of the sign-up",
        "Type the one that was chosen there; if you did not choose it, sign up yourself",
        "password-differs",
    ),
    api.NoSuchCustomerError: (
        HTTPStatus.NOT_FOUND,
        "This account is no customer's",
        "Sign in as a customer; GET /api/v1/auth/me says who you are now",
        "no-customer",
    ),
    api.NoSuchMethodError: (
        HTTPStatus.NOT_FOUND,
        "You have no such payment method",
        "GET /api/v1/me/payment-methods lists those you have",
        "no-such-method",
    ),
    api.TooManyMethodsError: (
        HTTPStatus.CONFLICT,
        "You have as many payment methods as one can have",
        "Remove one that you do not use, then add this one",
        "too-many-methods",
    ),
    api.CardNumberError: (
        HTTPStatus.UNPROCESSABLE_ENTITY,
        "This looks like the number of a card",
        "Send the token that the payment provider gives for the card, never its number",
        "card-number-refused",
    ),
    api.ConsentUnknownError: (
        HTTPStatus.CONFLICT,
        "This document, or this version of it, is not in force",
        "Show the documents of GET /api/v1/consents and agree to those versions",
        "consent-outdated",
    ),
    api.ConsentRequiredError: (
        HTTPStatus.CONFLICT,
        "Nobody is a customer without this consent",
        "Keep it, or ask us to close the account",
        "consent-required",
    ),
    api.BusyError: (
        HTTPStatus.SERVICE_UNAVAILABLE,
        "Too many sign up at once",
        "Try again in a second",
        "busy",
    ),
}
_TROUBLES: tuple[type[Exception], ...] = (
    *_FIXED,
    api.TooManyResetsError,
    api.TooManySignUpsError,
    api.ConsentMissingError,
    api.NotValidError,
)


def _problem(trouble: Exception) -> Problem:
    if isinstance(trouble, (api.TooManyResetsError, api.TooManySignUpsError)):
        seconds = math.ceil(trouble.wait.total_seconds())
        what = "sign-ups" if isinstance(trouble, api.TooManySignUpsError) else "resets"
        return Problem(
            HTTPStatus.TOO_MANY_REQUESTS,
            "Too many sign-ups" if what == "sign-ups" else "Too many requests for a new password",
            f"Look into your mailbox, or try again in {math.ceil(seconds / 60)} min",
            kind=f"/problems/too-many-{what}",
            headers={"Retry-After": str(seconds)},
        )
    if isinstance(trouble, api.ConsentMissingError):
        return Problem(
            HTTPStatus.UNPROCESSABLE_ENTITY,
            "A consent is missing",
            f"Show the documents of GET /api/v1/consents, and {trouble}",
            kind="/problems/consent-missing",
            missing=[asdict(one) for one in trouble.missing],
        )
    found = _FIXED.get(type(trouble))
    if found is None:
        return Problem(
            HTTPStatus.UNPROCESSABLE_ENTITY,
            "The request is not valid",
            f"Correct it and send it again: {trouble}",
            kind="/problems/not-valid",
        )
    status, title, detail, kind = found
    headers = {"Retry-After": "1"} if status == HTTPStatus.SERVICE_UNAVAILABLE else None
    return Problem(status, title, detail, kind=f"/problems/{kind}", headers=headers)
