"""`/api/v1/payments` and receipts: translates only."""

from collections.abc import Mapping
from http import HTTPStatus
from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter, Depends, Path, Request, Response
from fastapi.concurrency import run_in_threadpool

from cloud.identity.api import audit
from cloud.kit.auth import Principal, needs, public
from cloud.kit.db import Db
from cloud.kit.http import Problem, told_problems
from cloud.kit.idempotency import Answer, Asked, keyed, once
from cloud.kit.money import Money
from cloud.kit.ports.payment import PaymentProvider, SignatureError
from cloud.payments import api, outside
from cloud.payments.bodies import MoneyBody, ReceiptBody, RefundBody, RefundWishBody

router = APIRouter(prefix="/api/v1", tags=["payments"])

_MAX_BYTES = 256 * 1024
_OWN, _EVERYBODYS = "rentals:book", "rentals:read"
_PDF = {"content": {"application/pdf": {"schema": {"type": "string", "format": "binary"}}}}
_ANY_JSON = {"required": True, "content": {"application/json": {"schema": {"type": "object"}}}}


Reader = Annotated[Principal, needs(_OWN, _EVERYBODYS)]
Refunder = Annotated[Principal, needs("payments:refund")]


@router.get("/rentals/{rental_id}/receipt", responses=told_problems(404, 422))
def receipt(request: Request, rental_id: UUID, who: Reader) -> ReceiptBody:
    """Return the receipt of a rental that has ended.

    Customers see their own, by rentals:book; staff their city's, by rentals:read.
    """
    return ReceiptBody.model_validate(_receipt(request, rental_id, who))


@router.get(
    "/rentals/{rental_id}/receipt.pdf",
    response_class=Response,
    responses={200: _PDF, **told_problems(404, 422)},
)
def receipt_pdf(request: Request, rental_id: UUID, who: Reader) -> Response:
    """Return the receipt to print, in the language of the customer."""
    told = _receipt(request, rental_id, who)
    name = f'inline; filename="receipt-{told["number"]}.pdf"'
    return Response(
        api.receipt_pdf(told),
        media_type="application/pdf",
        headers={"Content-Disposition": name, "Cache-Control": "no-store"},
    )


@router.post(
    "/rentals/{rental_id}/refunds",
    status_code=HTTPStatus.CREATED,
    response_model=RefundBody,
    responses=told_problems(400, 404, 409, 422),
)
def refund(
    request: Request,
    rental_id: UUID,
    body: RefundWishBody,
    who: Refunder,
    asked: Annotated[Asked, Depends(keyed)],
) -> Response:
    """Issue a credit note for a ride's invoice; what was paid too much goes back to the card."""
    state = request.app.state
    amount = Money(body.amount_minor, body.currency)

    def work(db: Db) -> Answer:
        now = state.clock.now()
        try:
            note = api.refund(db, who.realm, rental_id, amount=amount, reason=body.reason, at=now)
        except api.AuthorisationUnknownError:
            raise _no_receipt() from None
        except api.RefundError as refused:
            raise Problem(
                HTTPStatus.CONFLICT,
                "That cannot be given back",
                f"{str(refused)[:1].upper()}{str(refused)[1:]}",
                kind="/problems/refund-refused",
            ) from refused
        number = note.printed_number
        given = MoneyBody(amount_minor=amount.amount_minor, currency=amount.currency)
        detail = {"credit_note": number, "reason": body.reason, **given.model_dump()}
        audit(db, who, "rental.refunded", str(rental_id), detail, now)
        told = RefundBody(credit_note=number, amount=given, reason=body.reason)
        return Answer(HTTPStatus.CREATED, told.model_dump(mode="json"))

    return once(state.pool, state.clock, who, asked, work)


@router.post(
    "/payments/webhooks/{provider}",
    status_code=HTTPStatus.NO_CONTENT,
    dependencies=[public()],
    responses=told_problems(400, 404, 413, 422),
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


def _receipt(request: Request, rental_id: UUID, who: Principal) -> dict[str, Any]:
    customer_id = None if who.may(_EVERYBODYS) else str(who.account_id)
    with request.app.state.pool.connection() as db:
        found = api.receipt(db, who.realm, rental_id, customer_id=customer_id)
    if found is None:
        raise _no_receipt()
    return found


def _no_receipt() -> Problem:
    return Problem(
        HTTPStatus.NOT_FOUND,
        "There is no such receipt",
        "A ride has one once it has ended; GET /api/v1/rentals shows how far the rides of this"
        " account are",
    )


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
