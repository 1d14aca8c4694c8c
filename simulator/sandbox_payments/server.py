"""The sandbox over HTTP: payments under `/v1`, what is to go wrong under `/control`.

`POST /control` takes any of `{"faults": [{"on", "what", "times"}], "webhooks", "idempotency",
"hang_s"}`. A fault is met by the next requests for an operation:

| what | the bank does it | the answer |
| --- | --- | --- |
| decline | no | 402 |
| error_before | no | 500 |
| error_after | yes | 500 |
| timeout_before | no | none for `hang_s`, then 504 |
| timeout | yes | none for `hang_s`, then what it would have been |
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from dataclasses import asdict
from datetime import datetime
from http import HTTPStatus
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Depends, FastAPI, Header, Request
from fastapi.responses import JSONResponse
from pydantic import BaseModel, Field

from simulator.sandbox_payments.bank import Answer, Bank, Operation
from simulator.sandbox_payments.webhooks import Mode, Teller

What = Literal["decline", "error_before", "error_after", "timeout_before", "timeout"]
_NOT_DONE = frozenset({"error_before", "timeout_before"})
_SERVER_ERROR = Answer(HTTPStatus.INTERNAL_SERVER_ERROR, {"code": "server_error"})


class Fault(BaseModel):
    """Something to go wrong with the next requests for an operation."""

    on: Operation
    what: What
    times: int = Field(default=1, ge=1)


class Control(BaseModel, extra="forbid"):
    """What is to be otherwise from now on; what is not named stays."""

    faults: list[Fault] | None = None
    webhooks: Mode | None = None
    idempotency: bool | None = None
    hang_s: float | None = Field(default=None, gt=0)


class NewPayment(BaseModel):
    """A hold to be."""

    amount_minor: int = Field(gt=0)
    currency: str = Field(pattern="^[A-Z]{3}$")
    method: str
    reference: str


class Amount(BaseModel):
    """An amount, in the currency of its payment."""

    amount_minor: int = Field(ge=0)
    currency: str


class _Refused(Exception):  # noqa: N818 - what it is
    def __init__(self, status: int, code: str) -> None:
        super().__init__(code)
        self.status = status
        self.code = code


class Desk:
    """Where requests are met: the bank, the teller, and what is to go wrong."""

    def __init__(self, bank: Bank, teller: Teller, api_key: str) -> None:
        self.bank = bank
        self.teller = teller
        self.api_key = api_key
        self.faults: list[Fault] = []
        self.hang_s = 30.0

    def change(self, wanted: Control) -> None:
        """Let things be as they are wanted."""
        if wanted.faults is not None:
            self.faults = list(wanted.faults)
        if wanted.webhooks is not None:
            self.teller.mode = wanted.webhooks
        if wanted.idempotency is not None:
            self.bank.remembers_keys = wanted.idempotency
        if wanted.hang_s is not None:
            self.hang_s = wanted.hang_s

    async def answer(
        self, operation: Operation, key: str, asked: NewPayment | Amount, payment_id: str = ""
    ) -> JSONResponse:
        """Do what is asked for, or what is to go wrong instead."""
        fault = self._next_fault(operation)
        if fault in _NOT_DONE:
            made = _SERVER_ERROR
        else:
            made = self._perform(operation, key, asked, payment_id, declined=fault == "decline")
        if fault in ("timeout", "timeout_before"):
            await asyncio.sleep(self.hang_s)
        if fault == "error_after":
            made = _SERVER_ERROR
        return JSONResponse(made.body, made.status)

    def _next_fault(self, operation: Operation) -> What | None:
        for fault in self.faults:
            if fault.on == operation:
                fault.times -= 1
                if not fault.times:
                    self.faults.remove(fault)
                return fault.what
        return None

    def _perform(
        self,
        operation: Operation,
        key: str,
        asked: NewPayment | Amount,
        payment_id: str,
        *,
        declined: bool,
    ) -> Answer:
        bank = self.bank
        seen = bank.repeated(key)
        if seen is not None:
            return seen
        payment = bank.payments.get(payment_id)
        if declined:
            return bank.decline(operation, key, payment)
        if isinstance(asked, NewPayment):
            return bank.authorise(key, asked.model_dump())
        if payment is None:
            raise _Refused(HTTPStatus.NOT_FOUND, "payment_unknown")
        if asked.currency != payment.currency:
            raise _Refused(HTTPStatus.UNPROCESSABLE_ENTITY, "other_currency")
        act = {
            "increment": bank.increment,
            "capture": bank.capture,
            "cancel": bank.cancel,
            "refund": bank.refund,
        }[operation]
        return act(key, payment, asked.amount_minor)


def _desk(request: Request) -> Desk:
    desk: Desk = request.app.state.desk
    if request.headers.get("Authorization") != f"Bearer {desk.api_key}":
        raise _Refused(HTTPStatus.UNAUTHORIZED, "bad_api_key")
    return desk


AtDesk = Annotated[Desk, Depends(_desk)]
Key = Annotated[str, Header(alias="Idempotency-Key", min_length=1, max_length=255)]
router = APIRouter()


@router.post("/v1/payments")
async def authorise(desk: AtDesk, asked: NewPayment, key: Key) -> JSONResponse:
    """Hold an amount on a card."""
    return await desk.answer("authorise", key, asked)


@router.post("/v1/payments/{payment_id}/refunds")
async def refund(desk: AtDesk, payment_id: str, asked: Amount, key: Key) -> JSONResponse:
    """Give money back."""
    return await desk.answer("refund", key, asked, payment_id)


@router.post("/v1/payments/{payment_id}/{operation}")
async def operate(
    desk: AtDesk,
    payment_id: str,
    operation: Literal["increment", "capture", "cancel"],
    asked: Amount,
    key: Key,
) -> JSONResponse:
    """Hold more, take it, or let it go."""
    return await desk.answer(operation, key, asked, payment_id)


@router.get("/v1/operations/{key}")
async def find(desk: AtDesk, key: str) -> JSONResponse:
    """Return the answer that a key was given."""
    found = desk.bank.answers.get(key)
    if found is None:
        raise _Refused(HTTPStatus.NOT_FOUND, "key_unknown")
    return JSONResponse(found.body, found.status)


@router.get("/v1/payments/{payment_id}")
async def payment(desk: AtDesk, payment_id: str) -> JSONResponse:
    """Return a payment."""
    if payment_id not in desk.bank.payments:
        raise _Refused(HTTPStatus.NOT_FOUND, "payment_unknown")
    return JSONResponse(asdict(desk.bank.payments[payment_id]))


@router.get("/v1/transactions")
async def transactions(
    desk: AtDesk, since: datetime, until: datetime, after: str = "", limit: int = 100
) -> dict[str, Any]:
    """Return a page of the money that was moved."""
    page, has_more = desk.bank.moved(since, until, after, limit)
    return {"data": page, "has_more": has_more}


@router.post("/control")
async def control(desk: AtDesk, wanted: Control) -> dict[str, Any]:
    """Change what goes wrong; return how things are."""
    desk.change(wanted)
    return {
        "faults": [fault.model_dump() for fault in desk.faults],
        "webhooks": desk.teller.mode,
        "webhooks_sent": desk.teller.sent,
        "idempotency": desk.bank.remembers_keys,
        "payments": len(desk.bank.payments),
    }


def build(bank: Bank, teller: Teller, api_key: str) -> FastAPI:
    """Return the application."""

    @contextlib.asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        telling = asyncio.create_task(teller.run(), name="webhooks")
        yield
        telling.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await telling
        bank.close()

    app = FastAPI(title="Sandbox payments", lifespan=lifespan, docs_url=None, redoc_url=None)
    app.state.desk = Desk(bank, teller, api_key)
    app.include_router(router)

    @app.exception_handler(_Refused)
    async def refused(_: Request, error: _Refused) -> JSONResponse:
        return JSONResponse({"code": error.code}, error.status)

    return app
