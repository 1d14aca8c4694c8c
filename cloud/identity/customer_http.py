"""`/api/v1/auth/sign-up`, `/api/v1/me` and `/api/v1/consents`: translates only.

`/me` is whoever asks: no route takes a customer's id.
"""

from collections.abc import Callable
from http import HTTPStatus
from typing import Annotated, Literal
from uuid import UUID

from fastapi import APIRouter, Depends, Request, Response
from pydantic import BaseModel, Field

from cloud.identity import api, customer_problems
from cloud.identity.customer_bodies import (
    ChangesBody,
    ConsentBody,
    ConsentWish,
    CustomerBody,
    DocumentBody,
    EmailBody,
    MethodBody,
    MethodWish,
    ResetBody,
    SignUpBody,
    TokenBody,
)
from cloud.identity.http import TokensBody, told
from cloud.kit.auth import Principal, address_of, needs, public, signed_in
from cloud.kit.db import Db
from cloud.kit.http import told_problems
from cloud.kit.idempotency import Answer, Asked, keyed, once

router = APIRouter(prefix="/api/v1", tags=["identity"])

PAY = "payments:method"
"""The scope of customers for the cards they pay with."""

Who = Annotated[Principal, signed_in()]
Payer = Annotated[Principal, needs(PAY)]
Keyed = Annotated[Asked, Depends(keyed)]


class AskedBody(BaseModel):
    """The same whoever asks: what comes of it is in the mail."""

    state: Literal["mail_sent"] = "mail_sent"
    detail: str = Field(
        default="Look into your mailbox: the link in it is good for 24 hours",
        description="what to do next",
    )


@router.post(
    "/auth/sign-up",
    status_code=HTTPStatus.ACCEPTED,
    dependencies=[public()],
    responses=told_problems(409, 422, 429, 503),
)
def sign_up(request: Request, body: SignUpBody) -> AskedBody:
    """Ask for a customer's account; the link that makes it is in the mail."""
    with customer_problems.told():
        _sign_up(request).ask(body.wish(), address_of(request))
    return AskedBody()


@router.post(
    "/auth/resend",
    status_code=HTTPStatus.ACCEPTED,
    dependencies=[public()],
    responses=told_problems(422, 429),
)
def resend(request: Request, body: EmailBody) -> AskedBody:
    """Ask for the mail of a sign-up once more."""
    with customer_problems.told():
        _sign_up(request).ask_again(body.email, address_of(request))
    return AskedBody()


@router.post("/auth/verify", dependencies=[public()], responses=told_problems(404, 410, 422, 503))
def verify(request: Request, response: Response, body: TokenBody) -> TokensBody:
    """Follow the link of a sign-up: the account is made and its owner signed in."""
    with customer_problems.told():
        tokens = _sign_up(request).verify(body.token, address_of(request), body.password)
    return told(tokens, response)


@router.post(
    "/auth/forgot-password",
    status_code=HTTPStatus.ACCEPTED,
    dependencies=[public()],
    responses=told_problems(422, 429),
)
def forgot_password(request: Request, body: EmailBody) -> AskedBody:
    """Ask for the mail with a link to a new password; the answer is the same for any address."""
    with customer_problems.told():
        _resets(request).ask(body.email, address_of(request))
    return AskedBody(detail="Look into your mailbox: the link in it is good once and for an hour")


@router.post(
    "/auth/reset-password",
    status_code=HTTPStatus.NO_CONTENT,
    dependencies=[public()],
    responses=told_problems(404, 410, 422, 503),
)
def reset_password(request: Request, body: ResetBody) -> None:
    """Follow that link: set the new password and end every sign-in of the account."""
    with customer_problems.told():
        _resets(request).set_password(body.token, body.password, address_of(request))


@router.get("/consents", dependencies=[public()])
def documents(request: Request) -> list[DocumentBody]:
    """List the documents that customers are asked to agree to, in force now."""
    state = request.app.state
    with state.pool.connection() as db:
        found = api.documents(db, _sign_up(request).scope, state.clock.now())
    return [DocumentBody.model_validate(one) for one in found]


@router.get("/me", responses=told_problems(404))
def read_me(request: Request, who: Who) -> CustomerBody:
    """Return what the customer who asks has said of themselves."""
    with request.app.state.pool.connection() as db, customer_problems.told():
        found = api.customer(db, who.realm, str(who.account_id))
        if found is None:
            raise api.NoSuchCustomerError
    return CustomerBody.model_validate(found)


@router.patch("/me", response_model=CustomerBody, responses=told_problems(404, 409, 422))
def change_me(request: Request, body: ChangesBody, who: Who, asked: Keyed) -> Response:
    """Change name, language or time zone; what is left out stays."""

    def work(db: Db) -> Answer:
        now = request.app.state.clock.now()
        found = api.change_customer(db, who.realm, str(who.account_id), body.changes(), now)
        return Answer(HTTPStatus.OK, CustomerBody.model_validate(found).model_dump(mode="json"))

    return _once(request, who, asked, work)


@router.get("/me/consents", responses=told_problems(404))
def own_consents(request: Request, who: Who) -> list[ConsentBody]:
    """List every yes and no of the customer who asks, oldest first."""
    with request.app.state.pool.connection() as db, customer_problems.told():
        found = api.consents(db, who.realm, str(who.account_id))
    return [ConsentBody.model_validate(one) for one in found]


@router.post(
    "/me/consents",
    status_code=HTTPStatus.CREATED,
    response_model=ConsentBody,
    responses=told_problems(404, 409, 422),
)
def consent(request: Request, body: ConsentWish, who: Who, asked: Keyed) -> Response:
    """Agree to the version of a document that is in force, or, with `given: false`, no longer."""

    def work(db: Db) -> Answer:
        now = request.app.state.clock.now()
        agreed = body.agreed()
        said = api.consent(db, who.realm, str(who.account_id), agreed, now, given=body.given)
        return Answer(HTTPStatus.CREATED, ConsentBody.model_validate(said).model_dump(mode="json"))

    return _once(request, who, asked, work)


@router.get("/me/payment-methods", responses=told_problems(404))
def own_methods(request: Request, who: Who) -> list[MethodBody]:
    """List the cards of the customer who asks, oldest first; the first one is the default."""
    with request.app.state.pool.connection() as db, customer_problems.told():
        found = api.payment_methods(db, who.realm, str(who.account_id))
    return [MethodBody.model_validate(one) for one in found]


@router.post(
    "/me/payment-methods",
    status_code=HTTPStatus.CREATED,
    response_model=MethodBody,
    responses=told_problems(404, 409, 422),
)
def add_method(request: Request, body: MethodWish, who: Payer, asked: Keyed) -> Response:
    """Keep a provider's token of a card, never its number. Needs payments:method."""

    def work(db: Db) -> Answer:
        now = request.app.state.clock.now()
        method = api.add_payment_method(db, who.realm, str(who.account_id), body.card(), now)
        return Answer(HTTPStatus.CREATED, MethodBody.model_validate(method).model_dump(mode="json"))

    return _once(request, who, asked, work)


@router.delete(
    "/me/payment-methods/{method_id}",
    status_code=HTTPStatus.NO_CONTENT,
    responses=told_problems(404, 422),
)
def remove_method(request: Request, method_id: UUID, who: Payer) -> None:
    """Forget a card of one's own, and its token. Needs payments:method."""
    state = request.app.state
    with state.pool.connection() as db, customer_problems.told():
        account_id = str(who.account_id)
        api.remove_payment_method(db, who.realm, account_id, method_id, state.clock.now())


def _once(request: Request, who: Principal, asked: Asked, work: Callable[[Db], Answer]) -> Response:
    def told_work(db: Db) -> Answer:
        with customer_problems.told():
            return work(db)

    state = request.app.state
    return once(state.pool, state.clock, who, asked, told_work)


def _resets(request: Request) -> api.PasswordReset:
    found: api.PasswordReset = request.app.state.password_reset
    return found


def _sign_up(request: Request) -> api.SignUp:
    found: api.SignUp = request.app.state.sign_up
    return found
