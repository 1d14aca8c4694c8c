"""Signing in and out by form, and what a browser gets when it is not signed in or may not.

The browser holds `mc_session`, the secret of a session of the identity context. It is looked up at
every request, so signing out and disabling an account work at once, and nothing needs renewing
until the session's 12 hours are over.
"""

import hmac
import math
import secrets
from http import HTTPStatus
from typing import Annotated, Any
from urllib.parse import urlencode, urlsplit

from fastapi import APIRouter, FastAPI, Form, Query, Request, Response
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import HTMLResponse, RedirectResponse
from starlette.exceptions import HTTPException

from cloud.identity import api as identity
from cloud.kit.auth import (
    SESSION_COOKIE,
    CsrfRefusedError,
    ScopeMissingError,
    SignInNeededError,
    address_of,
    csrf_of,
    principal_of,
    public,
    signed_in,
)
from cloud.kit.http import Problem
from cloud.pages.customer import customer_page, is_rider, plain_page, set_cookie, words_of
from cloud.pages.render import HEADERS, page

FORM_COOKIE = "mc_form"
RIDERS_HOME = "/ride"
_FORM_LIFETIME_S = 3_600
_MOST_TEXT = 2_000

router = APIRouter(include_in_schema=False, default_response_class=HTMLResponse)


def install_sign_in(app: FastAPI) -> None:
    """Lead browsers that are not signed in to the form; programs get problem documents still."""

    @app.exception_handler(SignInNeededError)
    async def _sign_in_first(request: Request, problem: SignInNeededError) -> Response:
        if not _is_browser(request):
            return problem.response(request)
        if "HX-Request" in request.headers:
            shown = urlsplit(request.headers.get("HX-Current-URL", ""))
            where = _form_address(shown.path + (f"?{shown.query}" if shown.query else ""))
            return Response(status_code=HTTPStatus.UNAUTHORIZED, headers={"HX-Redirect": where})
        wanted = request.url.path + (f"?{request.url.query}" if request.url.query else "")
        where = _form_address(wanted if request.method in {"GET", "HEAD"} else "")
        return RedirectResponse(where, HTTPStatus.SEE_OTHER, HEADERS)

    @app.exception_handler(ScopeMissingError)
    @app.exception_handler(CsrfRefusedError)
    async def _refused(request: Request, problem: Problem) -> Response:
        if not _is_browser(request) or "HX-Request" in request.headers:
            return problem.response(request)
        if await run_in_threadpool(is_rider, request):
            if request.url.path == "/":
                return RedirectResponse(RIDERS_HOME, HTTPStatus.SEE_OTHER, HEADERS)
            text = "form_old" if isinstance(problem, CsrfRefusedError) else "staff_only"
            return plain_page(request, "not_here", text, problem.status)
        return await run_in_threadpool(
            page,
            request,
            "refused.html",
            problem.status,
            section="",
            title=problem.title,
            detail=problem.detail,
        )

    @app.exception_handler(HTTPStatus.NOT_FOUND)
    async def _nowhere(request: Request, error: HTTPException) -> Response:
        if not _is_browser(request) or "text/html" not in request.headers.get("Accept", ""):
            problem_of: Any = request.app.exception_handlers[HTTPException]
            answer: Response = await problem_of(request, error)
            return answer
        return plain_page(request, "no_page", "no_page_lead", error.status_code)


@router.get("/sign-in", dependencies=[public()])
def sign_in_form(
    request: Request,
    wanted: Annotated[str, Query(alias="next", max_length=_MOST_TEXT)] = "/",
    out: str = "",
    confirmed: str = "",
    changed: str = "",
) -> Response:
    """Show the form, or lead on who is signed in."""
    if principal_of(request) is not None:
        return RedirectResponse(own_path(wanted), HTTPStatus.SEE_OTHER, HEADERS)
    told = words_of(request)("signed_out") if out else ""
    if confirmed:
        told = words_of(request)("verified")
    if changed:
        told = words_of(request)("reset_done")
    return _form(request, wanted, notice=told)


@router.post("/sign-in", dependencies=[public()])
def sign_in(
    request: Request,
    user: Annotated[str, Form(max_length=200)] = "",
    password: Annotated[str, Form(max_length=_MOST_TEXT)] = "",
    wanted: Annotated[str, Form(alias="next", max_length=_MOST_TEXT)] = "/",
    csrf: Annotated[str, Form(max_length=200)] = "",
) -> Response:
    """Sign in; what is wrong is said above the form."""
    expected = csrf_of(request.cookies.get(FORM_COOKIE, ""))
    if not expected or not hmac.compare_digest(csrf.encode(), expected.encode()):
        told = words_of(request)("form_old")
        return _form(request, wanted, HTTPStatus.FORBIDDEN, user=user, error=told)
    if not user.strip() or not password:
        told = words_of(request)("enter_both")
        return _form(request, wanted, HTTPStatus.UNPROCESSABLE_ENTITY, user=user, error=told)
    identity_of: identity.SignIn = request.app.state.identity
    try:
        session = identity_of.sign_in_page(user, password, address_of(request))
    except identity.SignInRefusedError:
        told = words_of(request)("no_match")
        return _form(request, wanted, HTTPStatus.UNAUTHORIZED, user=user, error=told)
    except identity.TooManyAttemptsError as locked:
        minutes = math.ceil(locked.wait.total_seconds() / 60)
        told = words_of(request)("locked_1" if minutes == 1 else "locked_n", minutes=minutes)
        answer = _form(request, wanted, HTTPStatus.TOO_MANY_REQUESTS, user=user, error=told)
        answer.headers["Retry-After"] = str(math.ceil(locked.wait.total_seconds()))
        return answer
    except identity.BusyError:
        told = words_of(request)("busy")
        return _form(request, wanted, HTTPStatus.SERVICE_UNAVAILABLE, user=user, error=told)
    leave = RedirectResponse(own_path(wanted), HTTPStatus.SEE_OTHER, HEADERS)
    leave.delete_cookie(FORM_COOKIE)
    lifetime_s = int(session.lifetime.total_seconds())
    set_cookie(request, leave, SESSION_COOKIE, value=session.secret, lifetime_s=lifetime_s)
    return leave


@router.post("/sign-out", dependencies=[signed_in()])
def sign_out(request: Request) -> Response:
    """End the session for good."""
    identity_of: identity.SignIn = request.app.state.identity
    identity_of.sign_out_page(request.cookies.get(SESSION_COOKIE, ""))
    leave = RedirectResponse("/sign-in?out=1", HTTPStatus.SEE_OTHER, HEADERS)
    leave.delete_cookie(SESSION_COOKIE)
    return leave


def own_path(wanted: str) -> str:
    """Return where to go after signing in: a path of ours, `/` for anything else.

    Browsers read a backslash as a slash and leave out control characters, so neither may be in it.
    """
    is_ours = (
        wanted.startswith("/")
        and not wanted.startswith("//")
        and "\\" not in wanted
        and wanted.isprintable()
        and not wanted.startswith("/sign-")
    )
    return wanted if is_ours else "/"


def _form(
    request: Request,
    wanted: str,
    status: int = HTTPStatus.OK,
    *,
    user: str = "",
    error: str = "",
    notice: str = "",
) -> HTMLResponse:
    known = request.cookies.get(FORM_COOKIE, "")
    secret = known or secrets.token_urlsafe(24)
    answer = customer_page(
        request,
        "sign_in.html",
        status,
        section="sign-in",
        form_csrf=csrf_of(secret),
        next=own_path(wanted),
        user=user,
        error=error,
        notice=notice,
    )
    set_cookie(request, answer, FORM_COOKIE, value=secret, lifetime_s=_FORM_LIFETIME_S)
    return answer


def _form_address(wanted: str) -> str:
    path = own_path(wanted)
    return "/sign-in" if path == "/" else f"/sign-in?{urlencode({'next': path})}"


def _is_browser(request: Request) -> bool:
    """Tell whether a page was asked for, and not the API."""
    return not request.url.path.startswith("/api/") and "Authorization" not in request.headers
