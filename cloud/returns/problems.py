"""What returns refuses, and what to do then."""

from collections.abc import Sequence

from cloud.kit.http import Problem
from cloud.kit.money import Money
from cloud.returns.model import Bay, Ground, Position


class BayFullError(Problem):
    """409: there is no place; one is kept elsewhere for a while, and the walk is not billed."""

    def __init__(self, ground: Ground, kept: Bay | None, grace_s: int, by: Position) -> None:
        there = kept or ground.alternatives[0]
        minutes = grace_s // 60
        super().__init__(
            409,
            "This bay is full",
            f"Take the vehicle to {there.name}, {there.distance_m} m from here, and end there"
            f" within {minutes} minutes: the way is not billed",
            kind="/problems/bay-full",
            bay=None if ground.bay is None else ground.bay.as_json(),
            alternatives=bays_json(ground.alternatives),
            kept_bay_id=None if kept is None else str(kept.id),
            grace_s=grace_s,
            position_by=by.by,
        )


class MoveOrAcceptError(Problem):
    """409: rides do not end here, unless the rider accepts what it costs."""

    def __init__(self, ground: Ground, fee: Money, by: Position) -> None:
        nearest = ground.alternatives[0] if ground.alternatives else None
        where = f"to {nearest.name}, {nearest.distance_m} m from here" if nearest else "elsewhere"
        super().__init__(
            409,
            "Rides do not end here",
            f"Move the vehicle {where}, or end here with accept_fee: true for what it costs",
            kind="/problems/move-or-accept",
            answer=ground.answer,
            zone=ground.zone,
            amount_minor=fee.amount_minor,
            currency=fee.currency,
            nearest_bay=None if nearest is None else nearest.as_json(),
            alternatives=bays_json(ground.alternatives),
            position_by=by.by,
        )


class VehicleMovingError(Problem):
    """409: it says that it moves; the ride goes on."""

    def __init__(self) -> None:
        super().__init__(
            409,
            "The vehicle moves",
            "Stop first, then end the ride",
            kind="/problems/vehicle-moving",
        )


class ReturnDecidedError(Problem):
    """409: nothing waits for this photo."""

    def __init__(self, state: str) -> None:
        super().__init__(
            409,
            "This return needs no more photos",
            f"It is {state}; GET the rental's return shows how it stands",
            kind="/problems/return-decided",
            state=state,
        )


class NoSuchReviewError(Problem):
    """404: none that a person had to look at, or another city's."""

    def __init__(self) -> None:
        super().__init__(
            404,
            "There is no such return to review",
            "GET /api/v1/reviews lists those that wait for a person",
        )


class ReviewedError(Problem):
    """409: somebody was faster."""

    def __init__(self, state: str) -> None:
        super().__init__(
            409,
            "This return does not wait for a person",
            f"It is {state}; GET /api/v1/reviews lists those that wait",
            kind="/problems/return-reviewed",
            state=state,
        )


class TooManyPhotosError(Problem):
    """409: enough."""

    def __init__(self, most: int) -> None:
        super().__init__(
            409,
            "There are enough photos of this rental",
            f"At most {most} are kept; end the ride with those there are",
            kind="/problems/too-many-photos",
        )


class NoPhotoError(Problem):
    """415: something else, by its content."""

    def __init__(self) -> None:
        super().__init__(
            415,
            "This is no photo",
            "Send a JPEG, PNG or WebP as the body, or as the part `photo` of a form",
            kind="/problems/no-photo",
        )


class PhotoBrokenError(Problem):
    """422: a photo that cannot be read."""

    def __init__(self, why: str) -> None:
        super().__init__(
            422,
            "The photo cannot be read",
            f"It seems that {why}; take another one and send that",
            kind="/problems/photo-broken",
        )


class PhotoTooLargeError(Problem):
    """413: more bytes than a photo has."""

    def __init__(self, most: int) -> None:
        super().__init__(
            413,
            "The photo is too large",
            f"Send at most {most // (1024 * 1024)} MB",
            kind="/problems/photo-too-large",
        )


class LengthMissingError(Problem):
    """411: nobody said how long it is."""

    def __init__(self) -> None:
        super().__init__(
            411, "The length is missing", "Send the photo with its Content-Length, not in chunks"
        )


def bays_json(bays: Sequence[Bay]) -> list[dict[str, object]]:
    """Return bays as JSON has them."""
    return [bay.as_json() for bay in bays]
