"""Health, readiness and metrics of one process, open to everybody."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any

from fastapi import APIRouter, Response
from fastapi.responses import JSONResponse, PlainTextResponse

from cloud.kit.auth import public
from cloud.kit.metrics import exposition

_CHECK_TIMEOUT_S = 2.0


@dataclass(frozen=True, slots=True)
class ReadinessCheck:
    """One thing a process needs: `look` returns None when it is there, else what is wrong."""

    name: str
    look: Callable[[], Awaitable[str | None]]


def health_router(checks: Sequence[ReadinessCheck]) -> APIRouter:
    """Return `/healthz` (the process runs), `/readyz` (all checks pass, else 503), `/metrics`."""
    router = APIRouter(tags=["health"], dependencies=[public()])

    @router.get("/healthz")
    async def healthz() -> dict[str, str]:
        return {"status": "ok"}

    @router.get("/readyz", responses={503: {"description": "what is not there, by check"}})
    async def readyz() -> Response:
        results = dict(await asyncio.gather(*map(_checked, checks)))
        ready = all(trouble is None for trouble in results.values())
        document: dict[str, Any] = {
            "status": "ready" if ready else "not ready",
            "checks": {name: trouble or "ok" for name, trouble in results.items()},
        }
        return JSONResponse(document, HTTPStatus.OK if ready else HTTPStatus.SERVICE_UNAVAILABLE)

    @router.get("/metrics", response_class=PlainTextResponse)
    async def metrics() -> Response:
        body, media_type = exposition()
        return Response(body, media_type=media_type)

    return router


async def _checked(check: ReadinessCheck) -> tuple[str, str | None]:
    try:
        async with asyncio.timeout(_CHECK_TIMEOUT_S):
            return check.name, await check.look()
    except TimeoutError:
        return check.name, f"no answer within {_CHECK_TIMEOUT_S:.0f} s"
    except Exception as trouble:  # noqa: BLE001 - whatever fails, the part is not ready
        return check.name, f"{type(trouble).__name__}: {trouble}"
