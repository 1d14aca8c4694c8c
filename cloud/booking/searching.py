"""Booking's answer to fleet's question what is free near a place."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from cloud.booking.bodies import found_body
from cloud.booking.finding import Near, find
from cloud.booking.model import Place
from cloud.booking.ports import Parts
from cloud.fleet.api import Around, Search
from cloud.kit.db import Db
from cloud.kit.scope import Scope


def searcher(parts: Parts) -> Search:
    """Return the search that fleet's list of vehicles asks."""

    def search_near(
        db: Db, scope: Scope, around: Around, at: datetime
    ) -> Sequence[Mapping[str, Any]]:
        near = Near(
            Place(around.place.lat, around.place.lon),
            around.radius_m,
            around.type_id,
            around.min_soc_pct,
            around.limit,
            around.min_range_m,
        )
        found = find(db, parts, scope, near, at)
        return [found_body(one).model_dump(mode="json") for one in found]

    return search_near
