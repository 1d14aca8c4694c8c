"""Staff's pages of returns that nobody could judge: the queue, and one with its photos."""

from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Request
from fastapi.responses import HTMLResponse

from cloud.kit.auth import Principal, needs
from cloud.kit.http import Problem
from cloud.pages.customer import customer_page, now_of, pool_of, words_of
from cloud.pages.review_view import drawing
from cloud.pages.review_words import ReviewWords
from cloud.returns import api as returns

router = APIRouter(
    prefix="/staff/review", include_in_schema=False, default_response_class=HTMLResponse
)

_MOST = 200

Reviewer = Annotated[Principal, needs("returns:review")]


@router.get("")
def queue_page(request: Request, who: Reviewer) -> HTMLResponse:
    """List what waits for a person, the oldest first."""
    with pool_of(request).connection() as db:
        waiting = returns.to_review(db, who.realm, _MOST)
    return _page(request, "staff_reviews.html", waiting=waiting)


@router.get("/{rental_id}")
def review_page(request: Request, rental_id: UUID, who: Reviewer) -> HTMLResponse:
    """Show one return: photos side by side, its place drawn, why nobody could tell."""
    with pool_of(request).connection() as db:
        try:
            case = returns.case(db, who.realm, rental_id)
        except Problem:
            return _page(request, "no_review.html", 404)
        others = returns.to_review(db, who.realm, 2)
    following = [made.rental_id for made in others if made.rental_id != rental_id]
    return _page(
        request,
        "staff_review.html",
        case=case,
        made=case.made,
        drawn=drawing(case.made.position, case.made.ground["outline"]),
        following=following[0] if following else None,
    )


def _page(
    request: Request, template: str, status_code: int = 200, **context: object
) -> HTMLResponse:
    words = ReviewWords(words_of(request).language)
    return customer_page(
        request, template, status_code, t=words, section="review", now=now_of(request), **context
    )
