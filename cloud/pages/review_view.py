"""Where a vehicle stands beside its bay, drawn to scale: one unit is a metre. Pure."""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

_METRES_A_DEGREE = 111_195.0
_MARGIN_M = 15.0
_LARGEST_M = 1_000.0
_AROUND_M = 150.0

Spot = tuple[float, float]


@dataclass(frozen=True, slots=True)
class Drawing:
    """A small map around a vehicle, in metres east and south of it.

    Attributes:
        view_box: of the SVG.
        outline: path of the bay or zone; empty without one.
        accuracy_m: radius of the circle the vehicle is in.
        scale_m: width of the drawing, metres.
    """

    view_box: str
    outline: str
    accuracy_m: float
    scale_m: int


def drawing(
    position: Mapping[str, Any] | None, outline: Mapping[str, Any] | None
) -> Drawing | None:
    """Return what to draw of a return; None when nobody knows where it stands.

    An outline as large as a city does not shrink the vehicle to nothing: it is cut off.
    """
    if position is None:
        return None
    rings = [[_metres(position, corner) for corner in ring] for ring in _rings(outline)]
    corners = [corner for ring in rings for corner in ring]
    accuracy = float(position["accuracy_m"])
    reach = max([accuracy, *(abs(side) for corner in corners for side in corner)]) + _MARGIN_M
    if reach > _LARGEST_M:
        reach = max(_AROUND_M, min(accuracy + _MARGIN_M, _LARGEST_M))
    return Drawing(
        view_box=f"{-reach:.1f} {-reach:.1f} {2 * reach:.1f} {2 * reach:.1f}",
        outline="".join(map(_path, rings)),
        accuracy_m=accuracy,
        scale_m=round(2 * reach),
    )


def _metres(middle: Mapping[str, Any], corner: Sequence[float]) -> Spot:
    east = (corner[0] - middle["lon"]) * _METRES_A_DEGREE * math.cos(math.radians(middle["lat"]))
    return east, (middle["lat"] - corner[1]) * _METRES_A_DEGREE


def _rings(area: Mapping[str, Any] | None) -> Iterable[Sequence[Sequence[float]]]:
    if area is None:
        return ()
    if area["type"] == "MultiPolygon":
        return [ring for polygon in area["coordinates"] for ring in polygon]
    return list(area["coordinates"])


def _path(ring: Sequence[Spot]) -> str:
    return f"M{'L'.join(f'{east:.1f} {south:.1f}' for east, south in ring)}Z"
