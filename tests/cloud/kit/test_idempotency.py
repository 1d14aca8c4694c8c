"""A request that is sent again is answered again and done once."""

import asyncio
import threading
from collections.abc import AsyncIterator, Iterator
from dataclasses import replace
from datetime import timedelta
from typing import Annotated, Any
from uuid import UUID

import httpx
import pytest
from fastapi import Depends, FastAPI, Request, Response
from fastapi.routing import iter_route_contexts

from cloud.app import build
from cloud.kit.auth import Principal, signed_in
from cloud.kit.clock import ManualClock
from cloud.kit.db import Db, Pool, open_pool
from cloud.kit.http import Problem, install_problems
from cloud.kit.idempotency import REPLAYED, Answer, Asked, keyed, once, trim
from cloud.kit.settings import CloudSettings
from tests.cloud.signed_in import a_principal, by_role, headers

DOMAIN, NOT_KEPT = (404, 409, 410), (400, 401, 403, 422, 429, 500, 503)


@pytest.fixture(scope="module")
def pool(dsn: str) -> Iterator[Pool]:
    with open_pool(dsn, max_size=8) as pool:
        with pool.connection() as db:
            db.execute("CREATE TABLE made (what text NOT NULL)")
        yield pool


@pytest.fixture
def made(pool: Pool) -> Iterator[Db]:
    """A connection to look at what requests have made; nothing at first."""
    with pool.connection() as db:
        db.execute("TRUNCATE made, kit.idempotency")
        yield db


class Hold:
    """Keeps a request at its work until it is let go."""

    def __init__(self) -> None:
        self.begun, self.go = threading.Event(), threading.Event()

    def wait(self) -> None:
        self.begun.set()
        assert self.go.wait(10)


@pytest.fixture
def hold() -> Hold:
    return Hold()


@pytest.fixture
async def client(pool: Pool, clock: ManualClock, hold: Hold) -> AsyncIterator[httpx.AsyncClient]:
    app = FastAPI()
    install_problems(app)
    app.state.authenticate = by_role

    @app.post("/api/v1/things")
    def make(
        who: Annotated[Principal, signed_in()],
        asked: Annotated[Asked, Depends(keyed)],
        body: dict[str, Any],
    ) -> Response:
        def work(db: Db) -> Answer:
            db.execute("INSERT INTO made VALUES (%s)", (body["what"],))
            if body.get("slowly"):
                hold.wait()
            if (status := body.get("fails")) is not None:
                raise Problem(status, "No", "Try another", kind="/problems/no")
            return Answer(201, {"what": body["what"]}, {"Location": "/api/v1/things/1"})

        return once(pool, clock, who, asked, work)

    @app.post("/api/v1/others")
    def other(
        who: Annotated[Principal, signed_in()],
        asked: Annotated[Asked, Depends(keyed)],
        request: Request,
    ) -> Response:
        return once(pool, clock, who, asked, lambda _db: Answer(200, {"at": request.url.path}))

    transport = httpx.ASGITransport(app, raise_app_exceptions=False)
    async with httpx.AsyncClient(transport=transport, base_url="http://things") as client:
        yield client


async def post(
    client: httpx.AsyncClient,
    key: str | None,
    *,
    role: str = "admin",
    path: str = "things",
    **body: Any,
) -> httpx.Response:
    sent = httpx.Headers(headers(role), encoding="utf-8")
    if key is not None:
        sent["Idempotency-Key"] = key
    return await client.post(f"/api/v1/{path}", json={"what": "a lamp"} | body, headers=sent)


def count(made: Db) -> int:
    row = made.execute("SELECT count(*) FROM made").fetchone()
    assert row is not None
    return int(row[0])


def problem(answer: httpx.Response) -> tuple[int, str]:
    return answer.status_code, answer.json()["type"]


async def test_a_repeated_request_is_answered_as_before_and_done_once(
    client: httpx.AsyncClient, made: Db
) -> None:
    first, second = await post(client, "key-1"), await post(client, "key-1")
    assert (first.status_code, first.json()) == (201, {"what": "a lamp"})
    assert (second.status_code, second.content) == (201, first.content)
    assert second.headers["location"] == first.headers["location"] == "/api/v1/things/1"
    assert second.headers["content-type"] == first.headers["content-type"]
    assert (REPLAYED in first.headers, second.headers[REPLAYED]) == (False, "true")
    assert count(made) == 1


async def test_another_key_is_another_request(client: httpx.AsyncClient, made: Db) -> None:
    assert (await post(client, "key-1")).status_code == 201
    assert REPLAYED not in (await post(client, "key-2")).headers
    assert count(made) == 2


async def test_a_key_belongs_to_its_account(
    client: httpx.AsyncClient, made: Db, pool: Pool, clock: ManualClock
) -> None:
    assert (await post(client, "key-1")).status_code == 201
    asked = Asked("key-1", b"another digest", Request({"type": "http"}))
    stranger = replace(a_principal(), account_id=UUID(int=2))
    answer = await asyncio.to_thread(
        once, pool, clock, stranger, asked, lambda _db: Answer(200, {"for": "the stranger"})
    )
    assert answer.body == b'{"for":"the stranger"}'


@pytest.mark.parametrize(
    ("key", "kind"),
    [
        (None, "key-missing"),
        ("", "key-missing"),
        ("k" * 256, "key-malformed"),
        ("a\ttab", "key-malformed"),
        ("schl\xfcssel", "key-malformed"),
    ],
)
async def test_a_request_without_a_usable_key_is_refused(
    client: httpx.AsyncClient, made: Db, key: str | None, kind: str
) -> None:
    refused = await post(client, key)
    assert problem(refused) == (400, f"/problems/{kind}")
    assert "255 printable" in refused.json()["detail"]
    assert count(made) == 0
    assert (await post(client, "k" * 255)).status_code == 201


async def test_who_is_not_signed_in_hears_that_first(client: httpx.AsyncClient, made: Db) -> None:
    assert problem(await post(client, None, role="")) == (401, "/problems/sign-in-needed")


async def test_a_key_cannot_serve_another_body_or_route(
    client: httpx.AsyncClient, made: Db
) -> None:
    await post(client, "key-1")
    assert problem(await post(client, "key-1", what="two")) == (422, "/problems/key-reused")
    assert problem(await post(client, "key-1", path="others")) == (422, "/problems/key-reused")
    assert (await post(client, "key-2", path="others")).status_code == 200
    assert (await post(client, "key-1")).headers[REPLAYED] == "true"
    assert count(made) == 1


@pytest.mark.parametrize("status", DOMAIN)
async def test_what_the_domain_refuses_is_undone_and_refused_again(
    client: httpx.AsyncClient, made: Db, status: int
) -> None:
    first = await post(client, "key-1", fails=status)
    again = await post(client, "key-1", fails=status)
    assert problem(first) == problem(again) == (status, "/problems/no")
    assert again.json()["instance"] == "/api/v1/things"
    assert again.headers["content-type"] == "application/problem+json"
    assert again.headers[REPLAYED] == "true"
    assert count(made) == 0


@pytest.mark.parametrize("status", NOT_KEPT)
async def test_what_may_go_better_another_time_is_not_kept(
    client: httpx.AsyncClient, made: Db, status: int
) -> None:
    first = await post(client, "key-1", fails=status)
    assert problem(first) == (status, "/problems/no")
    assert REPLAYED not in (await post(client, "key-1", fails=status)).headers
    assert count(made) == 0
    assert (await post(client, "key-1")).status_code == 201


async def test_an_answer_is_kept_for_a_day(
    client: httpx.AsyncClient, made: Db, clock: ManualClock
) -> None:
    await post(client, "key-1")
    clock.advance(timedelta(hours=23, minutes=59))
    assert (await post(client, "key-1")).headers[REPLAYED] == "true"
    assert trim(made, clock.now()) == 0
    clock.advance(timedelta(minutes=1))
    assert REPLAYED not in (await post(client, "key-1")).headers
    assert count(made) == 2
    clock.advance(timedelta(days=1))
    assert trim(made, clock.now()) == 1


async def test_while_a_request_is_worked_on_its_repeat_is_told_to_come_back(
    client: httpx.AsyncClient, made: Db, hold: Hold
) -> None:
    first = asyncio.create_task(post(client, "key-1", slowly=True))
    assert await asyncio.to_thread(hold.begun.wait, 10)
    repeat = await post(client, "key-1", slowly=True)
    assert problem(repeat) == (409, "/problems/request-in-progress")
    assert repeat.headers["retry-after"] == "1"
    assert (await post(client, "key-2")).status_code == 201
    hold.go.set()
    assert (await first).status_code == 201
    assert (await post(client, "key-1", slowly=True)).headers[REPLAYED] == "true"
    assert count(made) == 2


async def test_two_hundred_at_once_do_it_once(client: httpx.AsyncClient, made: Db) -> None:
    answers = await asyncio.gather(*(post(client, "key-1") for _ in range(200)))
    assert count(made) == 1
    found = {answer.status_code for answer in answers}
    assert found <= {201, 409}
    waiting = [answer for answer in answers if answer.status_code == 409]
    assert {problem(answer)[1] for answer in waiting} <= {"/problems/request-in-progress"}
    assert sum(a.status_code == 201 and REPLAYED not in a.headers for a in answers) == 1


def test_every_unsafe_route_of_the_api_takes_a_key() -> None:
    without = []
    for route in iter_route_contexts(build(CloudSettings()).routes):
        methods = set(getattr(route, "methods", None) or ()) & {"POST", "PATCH"}
        path = str(route.path)
        if not methods or not path.startswith("/api/v1/") or path.startswith("/api/v1/auth/"):
            continue
        if path == "/api/v1/payments/webhooks/{provider}":  # once by the event's id
            continue
        dependant = getattr(route, "dependant", None)
        if keyed not in {below.call for below in getattr(dependant, "dependencies", ())}:
            without.append(path)
    assert without == []
