"""HTTP manners: problem documents, readiness, metrics."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
from fastapi import FastAPI
from fastapi.responses import StreamingResponse
from psycopg.errors import AdminShutdown
from psycopg_pool import PoolTimeout

from cloud.kit.health import ReadinessCheck, health_router
from cloud.kit.http import HeadAsGet, Problem, install_problems


async def fine() -> str | None:
    return None


async def missing() -> str | None:
    return "the database is away"


async def broken() -> str | None:
    raise ConnectionRefusedError("no")


async def asleep() -> str | None:
    await asyncio.sleep(60)
    return None


def an_app(*checks: ReadinessCheck) -> FastAPI:
    app = FastAPI()
    install_problems(app)
    app.include_router(health_router(checks))

    @app.get("/take")
    async def take() -> None:
        raise Problem(
            409,
            "The vehicle is taken",
            "Choose one of the alternatives",
            kind="/problems/vehicle-taken",
            headers={"Retry-After": "5"},
            alternatives=["bike-8"],
        )

    @app.get("/number")
    async def number(n: int) -> int:
        return n

    @app.get("/crash")
    async def crash() -> None:
        raise ZeroDivisionError("secret detail")

    @app.get("/killed")
    async def killed() -> None:
        raise AdminShutdown("terminating connection due to administrator command")

    @app.get("/full")
    async def full() -> None:
        raise PoolTimeout("couldn't get a connection after 10.00 sec")

    return app


async def get(app: FastAPI, path: str) -> httpx.Response:
    transport = httpx.ASGITransport(app, raise_app_exceptions=False)
    async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
        return await client.get(path)


def problem(response: httpx.Response) -> dict[str, Any]:
    assert response.headers["content-type"] == "application/problem+json"
    document: dict[str, Any] = response.json()
    assert document["status"] == response.status_code
    return document


async def test_a_problem_says_what_to_do_next() -> None:
    response = await get(an_app(), "/take")
    assert response.status_code == 409
    assert response.headers["retry-after"] == "5"
    assert problem(response) == {
        "type": "/problems/vehicle-taken",
        "title": "The vehicle is taken",
        "status": 409,
        "detail": "Choose one of the alternatives",
        "instance": "/take",
        "alternatives": ["bike-8"],
    }


async def test_an_invalid_request_is_told_where_and_why() -> None:
    document = problem(await get(an_app(), "/number?n=many"))
    assert document["status"] == 422
    assert document["errors"][0]["where"] == "query.n"
    assert "query.n" in document["detail"]


async def test_an_unknown_path_is_a_problem_that_points_at_the_docs() -> None:
    document = problem(await get(an_app(), "/nowhere"))
    assert (document["status"], document["title"]) == (404, "Not Found")
    assert "/docs" in document["detail"]


async def test_an_unexpected_error_tells_nothing_of_the_inside() -> None:
    response = await get(an_app(), "/crash")
    assert problem(response)["status"] == 500
    assert "secret" not in response.text


@pytest.mark.parametrize("path", ["/killed", "/full"])
async def test_a_database_that_is_away_is_to_be_asked_again(path: str) -> None:
    answer = await get(an_app(), path)
    assert answer.status_code == 503
    assert answer.headers["Retry-After"] == "1"
    assert "with the same Idempotency-Key" in problem(answer)["detail"]
    assert "terminating" not in answer.text


async def test_it_is_ready_when_everything_it_needs_is_there() -> None:
    response = await get(an_app(ReadinessCheck("database", fine)), "/readyz")
    assert response.status_code == 200
    assert response.json() == {"status": "ready", "checks": {"database": "ok"}}


async def test_it_is_not_ready_while_something_is_missing_and_says_what(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("cloud.kit.health._CHECK_TIMEOUT_S", 0.05)
    checks = [
        ReadinessCheck("database", missing),
        ReadinessCheck("broker", broken),
        ReadinessCheck("far", asleep),
        ReadinessCheck("near", fine),
    ]
    response = await get(an_app(*checks), "/readyz")
    assert response.status_code == 503
    assert response.json()["checks"] == {
        "database": "the database is away",
        "broker": "ConnectionRefusedError: no",
        "far": "no answer within 0 s",
        "near": "ok",
    }


async def test_it_is_healthy_whatever_is_missing() -> None:
    response = await get(an_app(ReadinessCheck("database", missing)), "/healthz")
    assert (response.status_code, response.json()) == (200, {"status": "ok"})


async def test_metrics_are_in_the_prometheus_text_format() -> None:
    response = await get(an_app(), "/metrics")
    assert response.headers["content-type"].startswith("text/plain")
    assert "# TYPE mobility_engine_restarts_total counter" in response.text


async def head(path: str) -> tuple[httpx.Response, httpx.Response]:
    """Ask for the headers and for all; the body of the first was sent empty."""
    app = an_app()

    @app.get("/endless")
    async def endless() -> StreamingResponse:
        return StreamingResponse(forever(), media_type="text/plain")

    @app.post("/only-post")
    async def only_post() -> None: ...

    app.add_middleware(HeadAsGet)
    transport = httpx.ASGITransport(app, raise_app_exceptions=False)
    async with (
        asyncio.timeout(5),
        httpx.AsyncClient(transport=transport, base_url="http://test") as client,
    ):
        headers = await client.head(path)
        return headers, headers if path == "/endless" else await client.get(path)


async def forever() -> AsyncIterator[str]:
    while True:
        yield "and "
        await asyncio.sleep(0.01)


@pytest.mark.parametrize(
    "path", ["/healthz", "/readyz", "/number?n=1", "/number?n=x", "/take", "/nothing", "/only-post"]
)
async def test_head_gives_the_headers_of_get_without_a_body(path: str) -> None:
    headers, whole = await head(path)
    assert (headers.status_code, headers.headers) == (whole.status_code, whole.headers)
    assert (headers.content, whole.content != b"") == (b"", True)


async def test_head_of_an_endless_stream_ends() -> None:
    headers, _ = await head("/endless")
    assert (headers.status_code, headers.content) == (200, b"")


async def test_a_method_that_is_not_possible_tells_which_are() -> None:
    transport = httpx.ASGITransport(an_app())
    async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
        refused = await client.post("/healthz")
    assert (refused.status_code, refused.headers["allow"]) == (405, "GET, HEAD")
