"""The zones of a city on its vehicles: slow and no-go zones become part of every twin."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

import msgspec

from cloud.devices import api as devices
from cloud.fleet.areas import Zone
from cloud.fleet.geometry import corners_of
from cloud.fleet.store import areas
from cloud.kit.db import Db
from cloud.kit.scope import Scope
from protocol import zones as wire

_TOLERANCES_M = (0.0, 1.0, 3.0, 10.0)
"""Outlines are drawn with fewer corners, as far as need be, when they do not fit on a vehicle."""


def hand_out_zones(
    db: Db, scope: Scope, at: datetime, device_ids: Sequence[str] | None = None
) -> list[str]:
    """Let vehicles of a city, all or these, keep to its zones; return whose twin has changed.

    Raises:
        ZonesError: the zones do not fit on a vehicle.
    """
    return devices.set_zones(db, scope, on_board(areas.zones_by_rank(db, scope)), at, device_ids)


def on_board(zones: Sequence[Zone]) -> list[wire.Zone]:
    """Return what a vehicle must know of a city's zones, in their order; raises ZonesError."""
    ours = [zone for zone in zones if zone.kind in {"slow", "no_go"}]
    found: list[wire.Zone] = []
    for tolerance_m in _TOLERANCES_M:
        found = [_drawn(zone, tolerance_m) for zone in ours]
        if wire.count_points(found) <= wire.MOST_POINTS:
            break
    wire.check_zones(found)
    return found


def _drawn(zone: Zone, tolerance_m: float) -> wire.Zone:
    told: dict[str, Any] = {
        "id": zone.key,
        "kind": zone.kind,
        "area": corners_of(zone.area, tolerance_m),
        "limit_kmh": zone.speed_limit_kmh,
    }
    return msgspec.convert(told, wire.Zone)
