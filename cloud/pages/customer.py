"""What every page of customers shares: its language, its words, who looks at it."""

from datetime import datetime
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

from fastapi import Request, Response
from fastapi.responses import HTMLResponse
from starlette.datastructures import Headers

from cloud.booking import api as booking
from cloud.kit.auth import principal_of
from cloud.kit.db import Pool
from cloud.kit.ids import new_id
from cloud.kit.principal import Principal
from cloud.pages.render import HEADERS, page, templates
from cloud.pages.ride_words import LANGUAGES, Words, accepted, chosen

LANGUAGE_COOKIE = "mc_lang"
HOLD_COOKIE = "mc_hold"
"""The id of the hold a page made last, so that every page can lead back to it."""
_YEAR_S = 365 * 24 * 3_600
_LOOPBACK = frozenset({"127.0.0.1", "::1"})
_LOOPBACK_NAMES = frozenset({"127.0.0.1", "[::1]", "localhost"})
_PROXIED = ("forwarded", "x-forwarded-for", "x-forwarded-host", "x-real-ip", "via")


def words_of(request: Request) -> Words:
    """Return the words of the language a browser asks for: `?lang=`, its cookie, its settings."""
    return Words(
        chosen(
            request.query_params.get("lang"),
            request.cookies.get(LANGUAGE_COOKIE),
            accepted(request.headers.get("Accept-Language", "")),
        )
    )


def customer_page(
    request: Request,
    template: str,
    status_code: int = 200,
    **context: Any,  # noqa: ANN401 - Jinja takes anything
) -> HTMLResponse:
    """Return a page of customers; `?lang=` is remembered."""
    context.setdefault("t", words_of(request))
    context.setdefault("section", "")
    answer = page(
        request,
        template,
        status_code,
        languages=[(name, _language_address(request, name)) for name in LANGUAGES],
        fresh_key=fresh_key,
        **context,
    )
    if request.query_params.get("lang") in LANGUAGES:
        language = context["t"].language
        set_cookie(request, answer, LANGUAGE_COOKIE, value=language, lifetime_s=_YEAR_S)
    answer.headers["Content-Language"] = context["t"].language
    return answer


def set_cookie(
    request: Request, answer: Response, name: str, *, value: str, lifetime_s: int, path: str = "/"
) -> None:
    """Give a browser a cookie that no script reads; from HTTPS it goes back by HTTPS only."""
    answer.set_cookie(
        name,
        value,
        max_age=lifetime_s,
        path=path,
        httponly=True,
        samesite="lax",
        secure=request.url.scheme == "https",
    )


def plain_page(
    request: Request,
    title: str,
    text: str,
    status_code: int,
    **values: Any,  # noqa: ANN401 - as `t` takes
) -> HTMLResponse:
    """Return a page that says one thing, by keys of the words, and leads back.

    It asks the database nothing, and so has no navigation and comes when nothing else does.
    """
    t = words_of(request)
    shown = templates.get_template("plain.html").render(
        t=t,
        title=t(title),
        text=t(text, **values),
        who=None,
        csrf="",
        section="",
        languages=[(name, _language_address(request, name)) for name in LANGUAGES],
    )
    return HTMLResponse(shown, status_code, {**HEADERS, "Content-Language": t.language})


def customer_of(who: Principal) -> booking.Customer:
    """Return who asks as booking knows them."""
    return booking.Customer(who.realm, str(who.account_id))


def is_rider(request: Request) -> bool:
    """Tell whether a customer asks, who has no business with staff's pages; asks the database."""
    who = getattr(request.state, "principal", None) or principal_of(request)
    return who is not None and who.may("rentals:book") and not who.may("vehicles:read")


def outbox_of(request: Request) -> Path | None:
    """Return the folder of mail that this very request may see; None for anybody but this machine.

    A proxy on this machine looks like this machine: what came through one sees nothing.
    """
    folder: Path | None = getattr(request.app.state, "outbox", None)
    here = request.client is not None and request.client.host in _LOOPBACK
    return folder if folder is not None and here and _is_direct(request.headers) else None


def fresh_key() -> str:
    """Return an Idempotency-Key for one form."""
    return str(new_id())


def pool_of(request: Request) -> Pool:
    """Return the process's pool."""
    pool: Pool = request.app.state.pool
    return pool


def now_of(request: Request) -> datetime:
    """Return the present."""
    now: datetime = request.app.state.clock.now()
    return now


def _is_direct(headers: Headers) -> bool:
    name = headers.get("Host", "")
    host = name.rpartition(":")[0] if name.rpartition(":")[2].isdecimal() else name
    return host in _LOOPBACK_NAMES and not any(header in headers for header in _PROXIED)


def _language_address(request: Request, language: str) -> str:
    query = [(key, value) for key, value in request.query_params.multi_items() if key != "lang"]
    return f"?{urlencode([*query, ('lang', language)])}"
