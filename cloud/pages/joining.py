"""Becoming a customer: the forms; what they ask goes to the API. And the demo's outbox."""

from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from email import policy
from email.parser import BytesParser
from email.utils import parsedate_to_datetime
from pathlib import Path

from fastapi import APIRouter, Request, Response
from fastapi.responses import HTMLResponse, RedirectResponse

from cloud.identity import api as identity
from cloud.kit.auth import public
from cloud.pages.customer import customer_page, is_rider, now_of, outbox_of, pool_of
from cloud.pages.render import HEADERS

router = APIRouter(include_in_schema=False, default_response_class=HTMLResponse)

_MOST_MAIL = 20
_MOST_BYTES = 64 * 1024


@dataclass(frozen=True, slots=True)
class Letter:
    """A mail of the outbox; `pieces` are its words, `(text, is a link)` each."""

    to: str
    subject: str
    at: datetime
    pieces: tuple[tuple[str, bool], ...]


@router.get("/sign-up", dependencies=[public()])
def sign_up_page(request: Request) -> Response:
    """Show the form for a new customer; who is one already is led on."""
    if is_rider(request):
        return RedirectResponse("/ride", 303, HEADERS)
    with pool_of(request).connection() as db:
        documents = identity.documents(db, request.app.state.sign_up.scope, now_of(request))
    return customer_page(
        request, "sign_up.html", documents=documents, least=identity.SHORTEST_PASSWORD
    )


@router.get("/sign-up/sent", dependencies=[public()])
def sent_page(request: Request) -> HTMLResponse:
    """Say that there is mail, and in the demo where it lies."""
    return _sent(request, "mail_sent_lead", is_reset=False)


@router.get("/verify", dependencies=[public()])
def verify_page(request: Request) -> HTMLResponse:
    """Show the button that confirms an address; the token stays in the browser until then."""
    return customer_page(request, "verify.html")


@router.get("/forgot-password", dependencies=[public()])
def forgot_page(request: Request) -> HTMLResponse:
    """Show the form of whoever has lost a password."""
    return customer_page(request, "forgot_password.html")


@router.get("/forgot-password/sent", dependencies=[public()])
def forgot_sent_page(request: Request) -> HTMLResponse:
    """Say the same whether the address is known or not."""
    return _sent(request, "forgot_sent", is_reset=True)


@router.get("/reset-password", dependencies=[public()])
def reset_page(request: Request) -> HTMLResponse:
    """Show the form for a new password; the token of the mail's link stays in the browser."""
    return customer_page(request, "reset_password.html", least=identity.SHORTEST_PASSWORD)


@router.get("/outbox", dependencies=[public()])
def outbox_page(request: Request) -> HTMLResponse:
    """Show this machine the mail that would be sent; to anybody else there is no such page."""
    folder = outbox_of(request)
    if folder is None:
        return customer_page(request, "no_such_page.html", 404)
    return customer_page(request, "outbox.html", letters=letters_in(folder))


def _sent(request: Request, lead: str, *, is_reset: bool) -> HTMLResponse:
    demo = outbox_of(request) is not None
    return customer_page(request, "mail_sent.html", lead=lead, is_reset=is_reset, demo=demo)


def letters_in(folder: Path) -> list[Letter]:
    """Return the newest mail of a folder; what cannot be read is left out."""
    files = sorted(folder.glob("*.eml"), key=_written_at, reverse=True)[:_MOST_MAIL]
    return [letter for file in files for letter in _read(file)]


def _written_at(file: Path) -> float:
    try:
        return file.stat().st_mtime
    except OSError:
        return 0.0


def _read(file: Path) -> Iterator[Letter]:
    with suppress(OSError, ValueError, LookupError):
        with file.open("rb") as opened:
            mail = BytesParser(policy=policy.default).parsebytes(opened.read(_MOST_BYTES))
        body = mail.get_body(("plain",))
        text = "" if body is None else body.get_content()
        yield Letter(
            to=str(mail["To"]),
            subject=str(mail["Subject"]),
            at=parsedate_to_datetime(str(mail["Date"])),
            pieces=tuple(_pieces(text)),
        )


def _pieces(text: str) -> Iterator[tuple[str, bool]]:
    for line in text.strip().splitlines(keepends=True):
        word = line.strip()
        yield line, word.startswith(("http://", "https://"))
