"""`/api/v1/payments`: translates only."""

from collections.abc import Mapping
from http import HTTPStatus
from typing import Annotated

from fastapi import APIRouter, Path, Request, Response
from fastapi.concurrency import run_in_threadpool

from cloud.kit.auth import public
from cloud.kit.http import Problem, told_problems
from cloud.kit.ports.payment import PaymentProvider, SignatureError
from cloud.payments import outside

router = APIRouter(prefix="/api/v1", tags=["payments"])

_MAX_BYTES = 256 * 1024
_ANY_JSON = {"required": True, "content": {"application/json": {"schema": {"type": "object"}}}}


@router.post(
    "/payments/webhooks/{provider}",
    status_code=HTTPStatus.NO_CONTENT,
    dependencies=[public()],
    responses=told_problems(400, 404, 413),
    openapi_extra={"requestBody": _ANY_JSON},
)
async def webhook(
    request: Request, provider: Annotated[str, Path(pattern="^[a-z][a-z0-9_-]{0,31}$")]
) -> Response:
    """Take in what a payment provider tells; told again, the same event changes nothing."""
    providers: Mapping[str, PaymentProvider] = getattr(request.app.state, "payment_providers", {})
    if provider not in providers:
        raise Problem(
            HTTPStatus.NOT_FOUND,
            "There is no such payment provider",
            f"{provider!r} is not set up here; correct the address of the webhook",
        )
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > _MAX_BYTES:
            raise Problem(
                HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
                "The webhook is too long",
                f"Send at most {_MAX_BYTES} bytes",
            )
    await run_in_threadpool(_hear, request, providers[provider], bytes(body))
    return Response(status_code=HTTPStatus.NO_CONTENT)


def _hear(request: Request, provider: PaymentProvider, body: bytes) -> None:
    now = request.app.state.clock.now()
    try:
        notice = provider.read_webhook(request.headers, body, now)
    except SignatureError as refused:
        raise Problem(
            HTTPStatus.BAD_REQUEST,
            "The webhook is refused",
            f"This is {refused}; sign it with the secret that both sides hold, and send it again",
            kind="/problems/webhook-refused",
        ) from refused
    with request.app.state.pool.connection() as db:
        outside.hear(db, provider.name, notice, now)
