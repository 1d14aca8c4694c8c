"""What booking refuses, and what to do then."""

from collections.abc import Mapping, Sequence
from typing import Any

from cloud.kit.http import Problem


class NoSuchVehicleError(Problem):
    """404: not in this city's fleet."""

    def __init__(self, vehicle_id: str) -> None:
        super().__init__(
            404,
            "There is no such vehicle",
            f"{vehicle_id!r} is none of this city's; GET /api/v1/vehicles?near=LAT,LON finds"
            " those that are free",
        )


class NoSuchHoldError(Problem):
    """404: none, or somebody else's."""

    def __init__(self) -> None:
        super().__init__(
            404,
            "There is no such hold",
            "Make one with POST /api/v1/holds, and use the id that it answers with",
        )


class NoSuchRentalError(Problem):
    """404: none, or somebody else's."""

    def __init__(self) -> None:
        super().__init__(
            404, "There is no such rental", "GET /api/v1/rentals lists the rentals of this account"
        )


class TakenError(Problem):
    """409: somebody else was first; `alternatives` are free and near."""

    def __init__(self, vehicle_id: str, alternatives: Sequence[Mapping[str, Any]] = ()) -> None:
        told = "one of the alternatives" if alternatives else "another vehicle"
        super().__init__(
            409,
            "Somebody else has this vehicle",
            f"{vehicle_id} is taken; hold {told}",
            kind="/problems/vehicle-taken",
            alternatives=list(alternatives),
        )


class NotBlockedError(Problem):
    """409: nothing to undo."""

    def __init__(self, vehicle_id: str) -> None:
        super().__init__(
            409,
            "This vehicle is not blocked",
            f"{vehicle_id} is free, held or rented; a rental that is stuck is ended with"
            " POST /api/v1/rentals/ID/close",
            kind="/problems/not-blocked",
        )


class NotRentableError(Problem):
    """409: in the fleet, but not to be had."""

    def __init__(self, vehicle_id: str, alternatives: Sequence[Mapping[str, Any]] = ()) -> None:
        super().__init__(
            409,
            "This vehicle cannot be rented now",
            f"{vehicle_id} is out of service; hold another vehicle",
            kind="/problems/vehicle-unavailable",
            alternatives=list(alternatives),
        )


class NoPriceError(Problem):
    """409: nobody said what it costs, so nobody may ride it."""

    def __init__(self, vehicle_type: str) -> None:
        super().__init__(
            409,
            "This vehicle has no price",
            f"No plan is valid for a {vehicle_type} now; hold a vehicle of another type",
            kind="/problems/vehicle-unavailable",
        )


class HoldGoneError(Problem):
    """409: the hold ran out, was let go or has been used."""

    def __init__(self, how: str) -> None:
        super().__init__(
            409,
            "This hold is no longer there",
            f"It is {how}; hold the vehicle again",
            kind="/problems/hold-gone",
        )


class AlreadyRidingError(Problem):
    """409: one rental at a time."""

    def __init__(self) -> None:
        super().__init__(
            409,
            "This account has a rental already",
            "End it first; GET /api/v1/rentals shows it",
            kind="/problems/already-riding",
        )


class WrongStateError(Problem):
    """409: the rental cannot do that now."""

    def __init__(self, state: str, wanted: str) -> None:
        super().__init__(
            409,
            "The rental cannot do that now",
            f"It is {state}, so it cannot {wanted}; GET it again and do what its state allows",
            kind="/problems/wrong-state",
            state=state,
        )


class NotAskableError(Problem):
    """409: the vehicle cannot be asked now."""

    def __init__(self, why: str) -> None:
        super().__init__(
            409,
            "The vehicle cannot be asked now",
            f"{why}; try again in a minute, or call us",
            kind="/problems/vehicle-unavailable",
        )


class UnpaidError(Problem):
    """409: the card did not hold more, so a paused vehicle stays locked."""

    def __init__(self) -> None:
        super().__init__(
            409,
            "The card did not allow more",
            "Add another payment method at POST /api/v1/me/payment-methods and resume again: it is"
            " asked for the whole; or end the rental",
            kind="/problems/payment-needed",
        )


class NotPayableProblem(Problem):
    """409: nobody can be asked for the money."""

    def __init__(self, why: str) -> None:
        super().__init__(
            409,
            "This rental cannot be paid for",
            why,
            kind="/problems/payment-needed",
        )
