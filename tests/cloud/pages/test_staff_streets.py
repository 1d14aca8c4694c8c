"""Staff's map asks for streets around a place that is on the globe."""

import json
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from cloud.kit.clock import ManualClock
from cloud.kit.db import Pool, open_pool
from tests.cloud.pages.parts import a_browser, an_app


@pytest.fixture
def browser(dsn: str, clock: ManualClock, tmp_path: Path) -> Iterator[httpx.AsyncClient]:
    line = {"type": "LineString", "coordinates": [[13.40, 52.52], [13.41, 52.52]]}
    file = tmp_path / "city.geojson"
    file.write_text(json.dumps({"features": [{"type": "Feature", "geometry": line}]}), "utf-8")
    with open_pool(dsn, max_size=2) as pool:
        yield _staff(pool, clock, file)


def _staff(pool: Pool, clock: ManualClock, file: Path) -> httpx.AsyncClient:
    app = an_app(pool, clock)
    app.state.street_map = file
    return a_browser(app)


async def test_streets_near_a_place_are_drawn(browser: httpx.AsyncClient) -> None:
    answer = await browser.get("/staff/map/streets", params={"lat": "52.52", "lon": "13.405"})
    assert answer.status_code == 200
    assert answer.json()["lines"]["street"] == [[[13.40, 52.52], [13.41, 52.52]]]


@pytest.mark.parametrize(
    ("lat", "lon"), [("inf", "13"), ("nan", "13"), ("91", "13"), ("52", "-inf"), ("52", "181")]
)
async def test_a_place_that_is_nowhere_is_refused(
    browser: httpx.AsyncClient, lat: str, lon: str
) -> None:
    answer = await browser.get("/staff/map/streets", params={"lat": lat, "lon": lon})
    assert answer.status_code == 422
