"""The Idempotency-Key: a request that is sent again is answered again and done once.

Required on POST and PATCH under `/api/v1`, but not for signing in and webhooks. A key belongs to
one account and one request; its answer is kept for 24 hours, in the transaction of the work.

| answer | kept and replayed |
| --- | --- |
| 2xx, and 4xx that say what the domain thinks (404, 409, 410 …) | yes |
| 400, 401, 403, 422, 429, 5xx | no: the same request may be answered differently later |

A route takes `Annotated[Asked, Depends(keyed)]` behind its marker and does its work in `once`:

    return once(pool, clock, who, asked, lambda db: Answer(201, {"id": book(db, …)}))
"""

import hashlib
import struct
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from http import HTTPStatus
from typing import Annotated, Any
from uuid import UUID

from fastapi import Header, Request, Response
from fastapi.encoders import jsonable_encoder
from fastapi.responses import JSONResponse
from psycopg.types.json import Jsonb

from cloud.kit.clock import Clock
from cloud.kit.db import Db, Pool
from cloud.kit.http import Problem
from cloud.kit.principal import Principal

KEPT_FOR = timedelta(hours=24)
REPLAYED = "Idempotency-Replayed"
_LONGEST_KEY = 255
_NOT_KEPT = frozenset({400, 401, 403, 422, 429})
_OWN_HEADERS = frozenset({"content-length"})


class KeyMissingError(Problem):
    """400: the request needs a key."""

    def __init__(self) -> None:
        super().__init__(
            HTTPStatus.BAD_REQUEST,
            "The request needs an Idempotency-Key",
            "Send it again with the header Idempotency-Key: a fresh UUID, or up to"
            f" {_LONGEST_KEY} printable characters; repeat the key when you repeat the request",
            kind="/problems/key-missing",
        )


class KeyMalformedError(Problem):
    """400: the request has a key that cannot be one."""

    def __init__(self) -> None:
        super().__init__(
            HTTPStatus.BAD_REQUEST,
            "This Idempotency-Key cannot be one",
            f"Send the request again with a key of 1 to {_LONGEST_KEY} printable ASCII characters,"
            " such as a fresh UUID; repeat the key when you repeat the request",
            kind="/problems/key-malformed",
        )


class InProgressError(Problem):
    """409: the first request with this key is still being worked on."""

    def __init__(self) -> None:
        super().__init__(
            HTTPStatus.CONFLICT,
            "This request is being worked on",
            "Send it again with the same key in a second to get its answer",
            kind="/problems/request-in-progress",
            headers={"Retry-After": "1"},
        )


class KeyReusedError(Problem):
    """422: the key belongs to another request."""

    def __init__(self) -> None:
        super().__init__(
            HTTPStatus.UNPROCESSABLE_ENTITY,
            "This Idempotency-Key belongs to another request",
            "Send this request with a key of its own",
            kind="/problems/key-reused",
        )


@dataclass(frozen=True, slots=True)
class Asked:
    """A request with its key.

    Attributes:
        key: as the caller chose it.
        digest: sha256 of method, address and body.
        request: names the address in a problem document.
    """

    key: str
    digest: bytes
    request: Request


@dataclass(frozen=True, slots=True)
class Answer:
    """What the work comes to: a status, a body that JSON can say, headers.

    `kept` is kept and replayed in place of a body that holds a secret.
    """

    status: int
    body: Any
    headers: Mapping[str, str] = field(default_factory=dict)
    kept: Any = None


async def keyed(
    request: Request,
    idempotency_key: Annotated[
        str | None,
        Header(description="Names the request: sent again with it, it is answered as before"),
    ] = None,
) -> Asked:
    """Take the key of a request; a dependency, behind the route's marker.

    Raises:
        KeyMissingError, KeyMalformedError: there is none, or it cannot be one.
    """
    return await asked_with(request, idempotency_key)


async def asked_with(request: Request, key: str | None) -> Asked:
    """Do as `keyed` does with a key that came another way, such as a hidden field of a form.

    Raises:
        KeyMissingError, KeyMalformedError: there is none, or it cannot be one.
    """
    if not key:
        raise KeyMissingError
    if len(key) > _LONGEST_KEY or not (key.isascii() and key.isprintable()):
        raise KeyMalformedError
    address = request.url.path + (f"?{request.url.query}" if request.url.query else "")
    digest = hashlib.sha256()
    for part in (request.method.encode(), address.encode(), await request.body()):
        digest.update(struct.pack(">Q", len(part)) + part)
    return Asked(key, digest.digest(), request)


def once(
    pool: Pool, clock: Clock, who: Principal, asked: Asked, work: Callable[[Db], Answer]
) -> Response:
    """Do the work of a request, unless it was done: then return its answer again.

    Work and answer are one transaction. A Problem that the work raises undoes what it did; one of
    the domain's is kept, any other is raised.

    Args:
        pool: the database.
        clock: what time it is.
        who: whose key it is.
        asked: the request.
        work: everything the request does, on the connection it is handed.

    Raises:
        InProgressError: somebody is doing it.
        KeyReusedError: the key belongs to another request.
        Problem: the work raised it, and it is not to be kept.
    """
    with pool.connection() as db, db.transaction():
        now = clock.now()
        kept = _begin(db, who.account_id, asked.key, now)
        if kept is not None:
            digest, response = kept
            if digest != asked.digest:
                raise KeyReusedError
            response.headers[REPLAYED] = "true"
            return response
        response, kept_body = _answer(db, asked, work)
        _keep(db, who, asked, response, kept_body, now)
    return response


def trim(db: Db, now: datetime) -> int:
    """Forget answers that are older than a day; return how many."""
    with db.transaction():
        done = db.execute("DELETE FROM kit.idempotency WHERE answered_at <= %s", (now - KEPT_FOR,))
    return done.rowcount


def _answer(db: Db, asked: Asked, work: Callable[[Db], Answer]) -> tuple[Response, bytes]:
    try:
        with db.transaction():
            answer = work(db)
    except Problem as problem:
        is_ours = problem.status >= HTTPStatus.INTERNAL_SERVER_ERROR
        if is_ours or problem.status in _NOT_KEPT:
            raise
        told = problem.response(asked.request)
        return told, bytes(told.body)
    headers = dict(answer.headers)
    response = JSONResponse(jsonable_encoder(answer.body), answer.status, headers)
    if answer.kept is None:
        return response, bytes(response.body)
    return response, bytes(JSONResponse(jsonable_encoder(answer.kept)).body)


def _begin(db: Db, account_id: UUID, key: str, now: datetime) -> tuple[bytes, Response] | None:
    """Become the only one with this key until the transaction ends; return its kept answer.

    Raises:
        InProgressError: somebody else is.
    """
    name = hashlib.sha256(account_id.bytes + key.encode()).digest()
    (number,) = struct.unpack_from(">q", name)
    with db.pipeline():
        locked = db.execute("SELECT pg_try_advisory_xact_lock(%s)", (number,))
        # A statement of its own: it must see what the last holder of the lock has committed.
        found = db.execute(
            "SELECT asked, status, headers, body FROM kit.idempotency"
            " WHERE account_id = %s AND key = %s AND answered_at > %s",
            (account_id, key, now - KEPT_FOR),
        )
    if locked.fetchone() != (True,):
        raise InProgressError
    row = found.fetchone()
    if row is None:
        return None
    digest, status, headers, body = row
    return bytes(digest), Response(bytes(body), status, headers)


def _keep(
    db: Db, who: Principal, asked: Asked, response: Response, body: bytes, now: datetime
) -> None:
    headers = {name: text for name, text in response.headers.items() if name not in _OWN_HEADERS}
    db.execute(
        "INSERT INTO kit.idempotency"
        " (account_id, key, tenant, city, asked, status, headers, body, answered_at)"
        " VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s)"
        " ON CONFLICT (account_id, key) DO UPDATE SET tenant = excluded.tenant,"
        " city = excluded.city, asked = excluded.asked, status = excluded.status,"
        " headers = excluded.headers, body = excluded.body, answered_at = excluded.answered_at",
        (
            who.account_id,
            asked.key,
            who.tenant,
            who.city,
            asked.digest,
            response.status_code,
            Jsonb(headers),
            body,
            now,
        ),
    )
