"""HTTP manners: errors as problem+json (RFC 9457), HEAD wherever GET is."""

import logging
import re
from collections.abc import Mapping
from datetime import datetime
from http import HTTPStatus
from typing import Annotated, Any

from fastapi import FastAPI, Request, Response
from fastapi.encoders import jsonable_encoder
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from psycopg import DataError, OperationalError
from psycopg.errors import CharacterNotInRepertoire, UntranslatableCharacter
from psycopg_pool import PoolTimeout
from pydantic import AfterValidator, Field, PlainSerializer, WithJsonSchema
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from cloud.kit.clock import rfc3339

log = logging.getLogger(__name__)

MEDIA_TYPE = "application/problem+json"

Moment = Annotated[datetime, PlainSerializer(rfc3339, return_type=str, when_used="json")]
"""A time in a response body, as our surfaces show it: RFC 3339, UTC, milliseconds."""

_READABLE = r"^[^\x00-\x1f\x7f]*[^\s\x00-\x1f\x7f][^\x00-\x1f\x7f]*$"


def _readable(text: str) -> str:
    if re.search(_READABLE, text) is None:
        raise ValueError("say why in words, on one line, without tabs or control characters")
    return text


Reason = Annotated[
    str,
    Field(
        min_length=3,
        max_length=200,
        json_schema_extra={"pattern": _READABLE},
        description="why, for the record",
    ),
    AfterValidator(_readable),
]
"""Why somebody wants something, in a request body."""

Number = Annotated[int | float, WithJsonSchema({"type": "number"})]
"""A signal's value in a response body: whole where the catalogue counts in whole numbers."""


class Problem(Exception):  # noqa: N818 - RFC 9457's word
    """An answer that is not what the caller hoped for; `detail` says what to do next.

    `kind` is the path of the problem's page, `/problems/vehicle-taken`. `more` adds members.
    """

    def __init__(
        self,
        status: int,
        title: str,
        detail: str,
        *,
        kind: str = "about:blank",
        headers: Mapping[str, str] | None = None,
        **more: object,
    ) -> None:
        super().__init__(detail)
        self.status = status
        self.title = title
        self.detail = detail
        self.kind = kind
        self.headers = dict(headers or {})
        self.more = more

    def document(self, path: str) -> dict[str, Any]:
        """Return the problem document for a request for this path."""
        document = {
            "type": self.kind,
            "title": self.title,
            "status": self.status,
            "detail": self.detail,
            "instance": path,
            **self.more,
        }
        encoded: dict[str, Any] = jsonable_encoder(document)
        return encoded

    def response(self, request: Request) -> JSONResponse:
        """Return the problem document for this request."""
        document = self.document(request.url.path)
        return JSONResponse(document, self.status, self.headers, media_type=MEDIA_TYPE)


_DOCUMENT = {
    "type": "object",
    "required": ["type", "title", "status", "detail", "instance"],
    "properties": {
        "type": {"type": "string"},
        "title": {"type": "string"},
        "status": {"type": "integer"},
        "detail": {"type": "string", "description": "what to do next"},
        "instance": {"type": "string"},
    },
}


def told_problems(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """Return what a route's `responses` says of the problems it may answer with."""
    content = {MEDIA_TYPE: {"schema": _DOCUMENT}}
    return {
        status: {"description": HTTPStatus(status).phrase, "content": content}
        for status in statuses
    }


def install_problems(app: FastAPI) -> None:
    """Make every error of this application a problem document."""

    @app.exception_handler(Problem)
    async def _problem(request: Request, problem: Problem) -> Response:
        return problem.response(request)

    @app.exception_handler(RequestValidationError)
    async def _invalid(request: Request, error: RequestValidationError) -> Response:
        faults = [
            {
                "where": ".".join(map(str, fault["loc"])),
                "what": fault["msg"].removeprefix("Value error, "),
            }
            for fault in error.errors()
        ]
        told = "; ".join(f"{fault['where']}: {fault['what']}" for fault in faults)
        return Problem(
            HTTPStatus.UNPROCESSABLE_ENTITY,
            "The request is not valid",
            f"Correct the request and send it again: {told}",
            errors=faults,
        ).response(request)

    @app.exception_handler(HTTPException)
    async def _refused(request: Request, error: HTTPException) -> Response:
        title = HTTPStatus(error.status_code).phrase
        detail = error.detail if error.detail != title else _advice(error.status_code, request)
        headers = dict(error.headers or {})
        if headers.get("Allow") == "GET":
            headers["Allow"] = "GET, HEAD"
        return Problem(error.status_code, title, detail, headers=headers).response(request)

    @app.exception_handler(DataError)
    @app.exception_handler(UnicodeEncodeError)
    async def _unstorable(request: Request, error: DataError | UnicodeEncodeError) -> Response:
        if isinstance(error, DataError) and not _is_text(error):
            raise error
        return Problem(
            HTTPStatus.UNPROCESSABLE_ENTITY,
            "The request has text that cannot be",
            "Leave out NUL characters (%00 in an address, \\u0000 in JSON) and halves of"
            " characters, and send it again",
        ).response(request)

    # What was under way is undone, or done and its key remembers it: asking again is right.
    @app.exception_handler(OperationalError)
    @app.exception_handler(PoolTimeout)
    async def _no_database(request: Request, trouble: Exception) -> Response:
        log.warning("no database for %s: %s", request.url.path, trouble)
        return Problem(
            HTTPStatus.SERVICE_UNAVAILABLE,
            "The database is away for a moment",
            "Send the same request again in a few seconds, with the same Idempotency-Key if it"
            " had one",
            headers={"Retry-After": "1"},
        ).response(request)

    @app.exception_handler(Exception)
    async def _unexpected(request: Request, _: Exception) -> Response:
        return Problem(
            HTTPStatus.INTERNAL_SERVER_ERROR,
            "Something went wrong here",
            "Try again later; if it stays, look for this path in the log of the cloud",
        ).response(request)


class HeadAsGet:
    """Answers HEAD wherever GET is answered: the same headers, no body, no stream kept open."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one connection."""
        if scope["type"] != "http" or scope["method"] != "HEAD":
            await self._app(scope, receive, send)
            return
        answered = False

        async def until_answered() -> Message:
            return {"type": "http.disconnect"} if answered else await receive()

        async def headers_only(message: Message) -> None:
            nonlocal answered
            if message["type"] != "http.response.start":
                return
            await send(message)
            await send({"type": "http.response.body", "body": b""})
            answered = True

        await self._app({**scope, "method": "GET"}, until_answered, headers_only)


def _is_text(error: DataError) -> bool:
    """Tell whether a database, or psycopg before it, refused the characters of a text."""
    return "NUL" in str(error) or isinstance(
        error, (UntranslatableCharacter, CharacterNotInRepertoire)
    )


def _advice(status: int, request: Request) -> str:
    if status == HTTPStatus.NOT_FOUND:
        return f"Nothing is at {request.url.path}; /docs lists what there is"
    if status == HTTPStatus.METHOD_NOT_ALLOWED:
        return f"{request.method} is not possible at {request.url.path}; /docs lists what is"
    return "Look at /docs for what this address expects"
