"""The rules of returns: whose position counts, what a place means, what is wrong with a photo.

Pure. In doubt the rider is not charged: what nobody can tell, a person looks at.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import datetime, timedelta
from typing import Any, Literal
from uuid import UUID

State = Literal["photo_needed", "accepted", "pending", "rejected"]
Answer = Literal["inside", "free_floating", "full", "outside", "no_parking", "unknown"]
Step = Literal["end", "bay_full", "move_or_accept", "review"]
Outcome = Literal["accepted", "retake", "review"]
Choice = Literal["approve", "reject", "ask"]
"""What a person says of a return; ask: its rider is to send one more photo."""

POLICY_VERSION = "returns-1"
_METRES_A_DEGREE = 111_195.0


@dataclass(frozen=True, slots=True)
class Policy:
    """What a tenant may set.

    Attributes:
        fees_minor: what ending there costs who accepts it, with tax, in minor units.
        fix_fresh: a vehicle's fix this young is believed over any phone.
        fix_last: without a phone, one this old is.
        vehicle_accuracy_m: of a vehicle's fix, which does not say it.
        stands_kmh: a vehicle that says it is faster, no longer ago than `fix_fresh`, moves.
        phone_accuracy_m: of a phone that does not say it: it proves nothing.
        poor_m: a position less certain than this proves nothing.
        grace: how long the walk from a full bay is not billed, and a place elsewhere is kept.
        place_kept: how long a place is kept for a return that is not decided.
        photo_within: how long a return waits for a photo, each time.
        photo_before: a photo sent, or taken, so long before the end still counts.
        retakes: how often another photo is asked for.
        photos: how many a rental may have.
        taken_within_m: a photo taken farther off is of another place.
        review_within: how long a person may take.
        asked_photo_within: how long a rider has for the photo that a person asked for.
        photos_kept: how long photos are kept.
        time_zone: of photos that say the time without one.
    """

    fees_minor: Mapping[str, int] = field(
        default_factory=lambda: {"outside": 500, "no_parking": 1_000}
    )
    fix_fresh: timedelta = timedelta(seconds=30)
    fix_last: timedelta = timedelta(seconds=120)
    vehicle_accuracy_m: float = 5.0
    stands_kmh: float = 2.0
    phone_accuracy_m: float = 50.0
    poor_m: float = 30.0
    grace: timedelta = timedelta(minutes=5)
    place_kept: timedelta = timedelta(minutes=35)
    photo_within: timedelta = timedelta(minutes=10)
    photo_before: timedelta = timedelta(minutes=10)
    retakes: int = 2
    photos: int = 10
    taken_within_m: float = 250.0
    review_within: timedelta = timedelta(hours=48)
    asked_photo_within: timedelta = timedelta(hours=24)
    photos_kept: timedelta = timedelta(days=30)
    time_zone: str = "Europe/Berlin"

    def fee_minor(self, answer: str) -> int:
        """Return what ending there costs, minor units."""
        return self.fees_minor.get(answer, 0)


@dataclass(frozen=True, slots=True)
class Position:
    """Where something is, WGS 84, within `accuracy_m` metres; `by` says who told it."""

    lat: float
    lon: float
    accuracy_m: float
    at: datetime
    by: Literal["vehicle", "phone"]

    def as_json(self) -> dict[str, Any]:
        """Return what is kept."""
        return {**asdict(self), "at": self.at.isoformat()}

    @classmethod
    def from_json(cls, kept: Mapping[str, Any]) -> "Position":
        """Read what `as_json` wrote."""
        return cls(**{**kept, "at": datetime.fromisoformat(kept["at"])})


def believed(
    vehicle: Position | None, phone: Position | None, now: datetime, policy: Policy
) -> Position | None:
    """Return the position that counts: the vehicle's own, unless it is old; None for neither."""
    if vehicle is not None and now - vehicle.at <= policy.fix_fresh:
        return vehicle
    if phone is not None:
        return phone
    if vehicle is not None and now - vehicle.at <= policy.fix_last:
        return vehicle
    return None


def metres_between(one: tuple[float, float], other: tuple[float, float]) -> float:
    """Return the metres between two places of a city, as (lat, lon)."""
    north = (other[0] - one[0]) * _METRES_A_DEGREE
    east = (other[1] - one[1]) * _METRES_A_DEGREE * math.cos(math.radians(one[0]))
    return math.hypot(north, east)


@dataclass(frozen=True, slots=True)
class Bay:
    """A bay as somebody sees it from where they are.

    Attributes:
        id: the bay.
        name: for people.
        lat: of its middle.
        lon: of its middle.
        distance_m: metres to its edge; 0 inside.
        free: places free in it for this vehicle.
    """

    id: UUID
    name: str
    lat: float
    lon: float
    distance_m: int
    free: int

    def as_json(self) -> dict[str, Any]:
        """Return it as JSON has it."""
        return {**asdict(self), "id": str(self.id)}


@dataclass(frozen=True, slots=True)
class Ground:
    """What a place is to a ride that would end there.

    Attributes:
        answer: inside a bay with room, or where it may be left anywhere; a full bay; outside and
            no_parking, move or accept; unknown where nobody can tell.
        bay: the bay that it is in, or that is full.
        alternatives: other bays with room, the nearest first.
        zone: name of the zone that decided, if one did.
        in_service_area: whether it is in the city's.
        is_certain: the whole circle of uncertainty says the same.
        outline: the bay's, or the zone's, as GeoJSON.
    """

    answer: Answer
    bay: Bay | None = None
    alternatives: tuple[Bay, ...] = ()
    zone: str | None = None
    in_service_area: bool = True
    is_certain: bool = False
    outline: Mapping[str, Any] | None = None

    @property
    def is_unmapped(self) -> bool:
        """Whether nobody drew bays or zones here: then there is nothing to break."""
        return (
            self.answer == "outside"
            and self.zone is None
            and self.in_service_area
            and not self.alternatives
        )

    def as_json(self) -> dict[str, Any]:
        """Return what is kept."""
        return {
            "answer": self.answer,
            "bay": None if self.bay is None else self.bay.as_json(),
            "alternatives": [bay.as_json() for bay in self.alternatives],
            "zone": self.zone,
            "in_service_area": self.in_service_area,
            "is_certain": self.is_certain,
            "outline": self.outline,
        }


def step_at(ground: Ground) -> tuple[Step, str]:
    """Return what comes of ending at a place, and why where a person has to look."""
    if ground.answer in ("inside", "free_floating") or ground.is_unmapped:
        return "end", ""
    if ground.answer == "unknown":
        return "review", "position_unknown"
    if ground.answer == "full":
        return ("bay_full", "") if ground.alternatives else ("review", "nowhere_to_go")
    if not ground.is_certain:
        return "review", "position_uncertain"
    if ground.answer == "outside" and ground.in_service_area and not ground.alternatives:
        return "review", "nowhere_to_go"
    return "move_or_accept", ""


@dataclass(frozen=True, slots=True)
class Photo:
    """What is known of a photo.

    Attributes:
        width: pixels, of the original.
        height: pixels, of the original.
        brightness: mean of its grey, 0 to 255.
        sharpness: variance of its Laplacian at 512 pixels: how many edges it has.
        taken_at: when, as EXIF says; None where it does not.
        place: where, as (lat, lon), likewise.
        received_at: when we got it.
        seen_before: it, or one that looks like it, came with another rental.
        is_screenshot: it is drawn and not taken.
    """

    width: int
    height: int
    brightness: float
    sharpness: float
    taken_at: datetime | None
    place: tuple[float, float] | None
    received_at: datetime
    seen_before: bool
    is_screenshot: bool = False


_DARK = 25.0
_BLURRED = 25.0
_SMALL_PX = 240
_CLOCKS_DIFFER = timedelta(minutes=5)


def faults_of(
    photo: Photo, ended_at: datetime, vehicle: Position | None, policy: Policy
) -> tuple[str, ...]:
    """Return what is wrong with a photo, in words that a page can explain."""
    faults = []
    if min(photo.width, photo.height) < _SMALL_PX:
        faults.append("small")
    if photo.brightness < _DARK:
        faults.append("dark")
    elif photo.sharpness < _BLURRED:
        faults.append("blurred")
    if photo.taken_at is not None and not (
        ended_at - policy.photo_before <= photo.taken_at <= photo.received_at + _CLOCKS_DIFFER
    ):
        faults.append("old")
    if photo.is_screenshot:
        faults.append("screenshot")
    if photo.seen_before:
        faults.append("seen_before")
    if (
        photo.place is not None
        and vehicle is not None
        and metres_between(photo.place, (vehicle.lat, vehicle.lon)) > policy.taken_within_m
    ):
        faults.append("elsewhere")
    return tuple(faults)


@dataclass(frozen=True, slots=True)
class Evidence:
    """What a verifier looks at.

    Attributes:
        ground: what the place is.
        position: where the vehicle is, as far as anybody said.
        ended_at: when the meter stopped.
        has_place: a place is kept for it, or none is needed.
        doubt: why a person has to look whatever else is true; empty for none.
        photo: the newest one that counts; None without.
        retakes_left: how often another photo may still be asked for.
    """

    ground: Ground
    position: Position | None
    ended_at: datetime
    has_place: bool
    doubt: str
    photo: Photo | None
    retakes_left: int


@dataclass(frozen=True, slots=True)
class Judgement:
    """What a verifier says.

    Attributes:
        outcome: accepted; retake: another photo; review: a person looks.
        reasons: why.
        confidence: 0 to 1; None where rules decided.
    """

    outcome: Outcome
    reasons: tuple[str, ...] = ()
    confidence: float | None = None


def judge(evidence: Evidence, policy: Policy) -> Judgement:
    """Return what the rules say of a return."""
    if evidence.photo is None:
        return Judgement("retake", ("no_photo",))
    faults = faults_of(evidence.photo, evidence.ended_at, evidence.position, policy)
    if faults and evidence.retakes_left > 0:
        return Judgement("retake", faults)
    doubts = list(faults)
    if evidence.doubt:
        doubts.append(evidence.doubt)
    if not evidence.has_place:
        doubts.append("no_place")
    if evidence.position is not None and evidence.position.accuracy_m > policy.poor_m:
        doubts.append("position_uncertain")
    if doubts:
        return Judgement("review", tuple(dict.fromkeys(doubts)))
    return Judgement("accepted")


HASH_BITS = 64
NEAR_BITS = 3
"""Perceptual hashes that differ in no more bits than this are of one picture."""
_BAND_BITS = 16


def bands_of(phash: int) -> list[int]:
    """Return a hash in four numbered parts; hashes within NEAR_BITS share at least one."""
    unsigned = phash % (1 << HASH_BITS)
    parts: Sequence[int] = range(HASH_BITS // _BAND_BITS)
    return [
        (part << _BAND_BITS) | (unsigned >> (part * _BAND_BITS)) & ((1 << _BAND_BITS) - 1)
        for part in parts
    ]
