"""Vehicle types: what a vehicle of a kind is in GBFS and MDS words. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, cast, get_args

from cloud.fleet.mds_rows import Mode

Kind = Literal["scooter", "bike", "car", "van"]
FormFactor = Literal[
    "bicycle", "cargo_bicycle", "car", "moped", "scooter_standing", "scooter_seated", "other"
]
Propulsion = Literal["human", "electric_assist", "electric", "combustion", "hybrid"]

KINDS: frozenset[str] = frozenset(get_args(Kind))
FORM_FACTORS: frozenset[str] = frozenset(get_args(FormFactor))
PROPULSIONS: frozenset[str] = frozenset(get_args(Propulsion))


@dataclass(frozen=True, slots=True)
class VehicleType:
    """A type of vehicles.

    Attributes:
        id: GBFS vehicle_type_id.
        name: for people.
        kind: what commands and prices tell apart.
        form_factor: GBFS form_factor.
        propulsion: GBFS propulsion_type.
        max_range_m: how far a full battery goes, metres.
    """

    id: str
    name: str
    kind: Kind
    form_factor: FormFactor
    propulsion: Propulsion
    max_range_m: int

    @property
    def mode(self) -> Mode:
        """The MDS mode that its vehicles are reported in."""
        return mode_of(self.kind)


def mode_of(kind: str) -> Mode:
    """Return the MDS mode of a kind of vehicles."""
    return "car-share" if kind in {"car", "van"} else "micromobility"


DEFAULT_TYPES: Mapping[Kind, VehicleType] = {
    kind.kind: kind
    for kind in (
        VehicleType("e_scooter", "E-scooter", "scooter", "scooter_standing", "electric", 40_000),
        VehicleType("e_bike", "E-bike", "bike", "bicycle", "electric_assist", 80_000),
        VehicleType("e_car", "E-car", "car", "car", "electric", 300_000),
        VehicleType("e_van", "E-van", "van", "car", "electric", 250_000),
    )
}
"""The type of vehicles that nobody gave one."""


def default_type(kind: str) -> VehicleType:
    """Return the type that a vehicle of a kind has at first."""
    return DEFAULT_TYPES[cast("Kind", kind) if kind in KINDS else "scooter"]
