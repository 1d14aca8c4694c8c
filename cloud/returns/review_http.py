"""`/api/v1/reviews`: what staff do with returns that nobody could judge. Translates only."""

from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter, Depends, Query, Request, Response
from pydantic import BaseModel

from cloud.identity.api import audit
from cloud.kit.auth import needs
from cloud.kit.db import Db
from cloud.kit.http import Reason, told_problems
from cloud.kit.idempotency import Answer, Asked, keyed, once
from cloud.kit.principal import Principal
from cloud.returns import reviewing, store
from cloud.returns.model import Choice
from cloud.returns.ports import Parts
from cloud.returns.review_bodies import CaseBody, WaitingBody, case_body, waiting_body

router = APIRouter(prefix="/reviews", tags=["returns"])

REVIEW = "returns:review"
"""The scope of staff who look at returns."""

Who = Annotated[Principal, needs(REVIEW)]
Keyed = Annotated[Asked, Depends(keyed)]
_JPEG: dict[int | str, dict[str, Any]] = {
    200: {"content": {"image/jpeg": {"schema": {"type": "string", "format": "binary"}}}}
}
# Riders' photos: shown to who asked, and kept nowhere on the way.
_PHOTO_HEADERS = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": "default-src 'none'; sandbox",
    "X-Content-Type-Options": "nosniff",
}


class ChoiceWish(BaseModel, extra="forbid"):
    """What a person chose, and why; the rider reads the reason of `ask` and `reject`."""

    choice: Choice
    reason: Reason


@router.get("", responses=told_problems(422))
def queue(
    request: Request, who: Who, limit: Annotated[int, Query(ge=1, le=200)] = 50
) -> list[WaitingBody]:
    """List the city's returns that wait for a person, the earliest deadline first."""
    now = request.app.state.clock.now()
    with request.app.state.pool.connection() as db:
        found = store.to_review(db, who.realm, limit)
    return [waiting_body(made, now) for made in found]


@router.get("/{rental_id}", responses=told_problems(404, 422))
def look(request: Request, rental_id: UUID, who: Who) -> CaseBody:
    """Return one return with its photos, its place and why nobody could tell."""
    with request.app.state.pool.connection() as db:
        found = reviewing.case(db, who.realm, rental_id)
    return case_body(found, request.app.state.clock.now())


@router.get(
    "/{rental_id}/photos/{photo_id}",
    response_class=Response,
    responses=_JPEG | told_problems(404, 422),
)
def photo(request: Request, rental_id: UUID, photo_id: UUID, who: Who) -> Response:
    """Return a photo, a JPEG without EXIF."""
    with request.app.state.pool.connection() as db:
        content = reviewing.photo_file(db, _parts(request), who.realm, rental_id, photo_id)
    return Response(content, media_type="image/jpeg", headers=_PHOTO_HEADERS)


@router.post("/{rental_id}", response_model=CaseBody, responses=told_problems(404, 409, 422))
def choose(request: Request, rental_id: UUID, body: ChoiceWish, who: Who, asked: Keyed) -> Response:
    """Decide: approve, reject, or ask the rider for one more photo. Nothing is charged by it."""
    state, parts = request.app.state, _parts(request)

    def work(db: Db) -> Answer:
        now = state.clock.now()
        made = reviewing.choose(db, parts, who, rental_id, body.choice, body.reason, now)
        shown = case_body(reviewing.case(db, who.realm, rental_id), now)
        detail = {"choice": body.choice, "reason": body.reason, "state": made.state}
        audit(db, who, "return.reviewed", str(rental_id), detail, now)
        return Answer(200, shown.model_dump(mode="json"))

    return once(state.pool, state.clock, who, asked, work)


def _parts(request: Request) -> Parts:
    parts: Parts = request.app.state.returns
    return parts
