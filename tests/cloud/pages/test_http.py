"""The pages over real Postgres, as a browser without JavaScript reads them."""

import re
from collections.abc import Iterator

import httpx
import pytest

from cloud.devices.model import Progress
from cloud.kit.clock import ManualClock
from cloud.kit.db import Pool, open_pool
from tests.cloud.pages.parts import (
    MOMENTS_AGO,
    VALUES,
    a_browser,
    add_vehicle,
    an_app,
    commit_lane,
    hear,
)


@pytest.fixture
def pool(dsn: str) -> Iterator[Pool]:
    with open_pool(dsn, max_size=2) as pool, pool.connection() as db:
        db.execute(
            "TRUNCATE devices.device, devices.presence, devices.ledger, devices.gap,"
            " fleet.vehicle, telemetry.last_state, kit.event CASCADE"
        )
        yield pool


@pytest.fixture
def browser(pool: Pool, clock: ManualClock) -> httpx.AsyncClient:
    return a_browser(an_app(pool, clock))


def a_fleet(pool: Pool, clock: ManualClock) -> None:
    now = clock.now()
    with pool.connection() as db:
        for name in ("demo-001", "demo-002", "demo-003"):
            add_vehicle(db, name, now)
        hear(db, "demo-001", now - MOMENTS_AGO, VALUES)
        hear(db, "demo-002", now - 300 * MOMENTS_AGO, {**VALUES, "soc_pct": 12})


def row(text: str, vehicle_id: str) -> str:
    """The row of one vehicle, tags taken out."""
    found = re.search(rf'<tr role="row" data-id="{vehicle_id}".*?</tr>', text, re.DOTALL)
    assert found, f"{vehicle_id} has no row"
    return " ".join(re.sub(r"<[^>]+>", " ", found[0]).split())


def shown(text: str) -> list[str]:
    """Ids of the rows that are not hidden, in order."""
    rows = re.findall(r'<tr role="row" data-id="([\w-]+)"[^>]*?( hidden)?>', text)
    return [vehicle_id for vehicle_id, hidden in rows if not hidden]


async def test_the_fleet_page_shows_every_value_before_any_script_runs(
    browser: httpx.AsyncClient, pool: Pool, clock: ManualClock
) -> None:
    a_fleet(pool, clock)
    text = (await browser.get("/")).text
    minus = "\N{MINUS SIGN}"
    assert row(text, "demo-001") == (
        f"demo-001 Connected riding 76 % 39.58 V {minus}3.40 A 24.1 °C 4 s ago"
    )
    assert "Offline last known 12 %" in row(text, "demo-002")
    assert "20 min ago" in row(text, "demo-002")
    unknown = "\N{EN DASH}"
    assert row(text, "demo-003") == f"demo-003 Offline {' '.join([unknown] * 4)} never"


async def test_only_old_values_are_marked_stale(
    browser: httpx.AsyncClient, pool: Pool, clock: ManualClock
) -> None:
    a_fleet(pool, clock)
    rows = re.findall(r'<tr role="row" data-id="(demo-\d+)"([^>]*)>', (await browser.get("/")).text)
    assert {name: "data-stale" in marks for name, marks in rows} == {
        "demo-001": False,
        "demo-002": True,
        "demo-003": True,
    }


async def test_the_head_counts_connected_offline_and_low(
    browser: httpx.AsyncClient, pool: Pool, clock: ManualClock
) -> None:
    a_fleet(pool, clock)
    found = re.findall(r'data-count="(\w+)"[^>]*>(\d+)<', (await browser.get("/")).text)
    assert found == [("all", "3"), ("connected", "1"), ("offline", "2"), ("low", "1")]


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("", ["demo-001", "demo-002", "demo-003"]),
        ("?offline=1", ["demo-002", "demo-003"]),
        ("?low=1", ["demo-002"]),
        ("?q=DEMO-00", ["demo-001", "demo-002", "demo-003"]),
        ("?q=003", ["demo-003"]),
        ("?sort=soc", ["demo-002", "demo-001", "demo-003"]),
        ("?sort=-name", ["demo-003", "demo-002", "demo-001"]),
        ("?sort=nonsense", ["demo-001", "demo-002", "demo-003"]),
    ],
)
async def test_the_address_says_which_rows_show_and_in_which_order(
    browser: httpx.AsyncClient, pool: Pool, clock: ManualClock, query: str, expected: list[str]
) -> None:
    a_fleet(pool, clock)
    assert shown((await browser.get(f"/{query}")).text) == expected


async def test_an_empty_fleet_says_how_to_add_a_vehicle(browser: httpx.AsyncClient) -> None:
    text = (await browser.get("/")).text
    assert 'id="empty">' in text
    assert "mobility-cloud devices add" in text
    assert 'aria-label="Vehicles" hidden' in text


async def test_a_vehicle_page_shows_its_battery_and_its_device(
    browser: httpx.AsyncClient, pool: Pool, clock: ManualClock
) -> None:
    a_fleet(pool, clock)
    with pool.connection() as db:
        commit_lane(db, "demo-001", Progress(18, ((21, 22),)), clock.now())
    text = " ".join(re.sub(r"<[^>]+>", " ", (await browser.get("/vehicles/demo-001")).text).split())
    for told in (
        "76 %",
        "9.12 of 12.00 Ah",
        "cells within 7 mV",
        "discharging, 135 W",
        "coldest 21.7 °C",
        "cell under-voltage, discharge over-current",
        "Discharging allowed no",
        "on a scale of 3.93 to 3.98 V",
        "3.961 V high",
        "signal 04bb1c9d 18 and 21 to 22",
        "14 records",
    ):
        assert told in text


async def test_a_vehicle_page_leaves_out_what_the_battery_does_not_tell(
    browser: httpx.AsyncClient, pool: Pool, clock: ManualClock
) -> None:
    with pool.connection() as db:
        add_vehicle(db, "demo-001", clock.now())
        hear(db, "demo-001", clock.now(), {"voltage_v": 39.58, "temperature_1_c": 24.1})
    text = (await browser.get("/vehicles/demo-001")).text
    for absent in ("Health", "Cycles", "Charging allowed", "Protection", 'class="keys '):
        assert absent not in text
    with pool.connection() as db:
        hear(db, "demo-001", clock.now(), {**VALUES, "soh_pct": 97.5})
    text = (await browser.get("/vehicles/demo-001")).text
    for told in ("Health", "97.5 %", "Cycles", "Charging allowed", "Protection", 'class="keys '):
        assert told in text


async def test_an_offline_vehicle_says_that_its_values_are_old(
    browser: httpx.AsyncClient, pool: Pool, clock: ManualClock
) -> None:
    a_fleet(pool, clock)
    notice = "These are the last known values, not the present ones."
    marked = {}
    for name in ("demo-001", "demo-002"):
        text = (await browser.get(f"/vehicles/{name}")).text
        marked[name] = (notice in text, len(re.findall(r"<div [^>]* data-stale>", text)))
    assert marked == {"demo-001": (False, 0), "demo-002": (True, 2)}


@pytest.mark.parametrize(
    ("query", "checked"), [("", "1h"), ("?range=5m", "5m"), ("?range=nonsense", "1h")]
)
async def test_the_address_says_how_far_back_the_charts_go(
    browser: httpx.AsyncClient, pool: Pool, clock: ManualClock, query: str, checked: str
) -> None:
    a_fleet(pool, clock)
    text = (await browser.get(f"/vehicles/demo-001{query}")).text
    assert re.findall(r'name="range" value="(\w+)"[^>]* checked>', text) == [checked]


async def test_details_come_alone_for_renewal(
    browser: httpx.AsyncClient, pool: Pool, clock: ManualClock
) -> None:
    a_fleet(pool, clock)
    text = (await browser.get("/vehicles/demo-001/details")).text
    assert text.lstrip().startswith('<div class="details"')
    assert "<html" not in text


async def test_an_unknown_vehicle_gets_a_friendly_page(browser: httpx.AsyncClient) -> None:
    answer = await browser.get("/vehicles/%3Cscript%3E")
    assert answer.status_code == 404
    assert "No such vehicle" in answer.text
    assert "&lt;script&gt;" in answer.text
    assert "<script>" not in answer.text


@pytest.mark.parametrize("path", ["/", "/vehicles/demo-001", "/vehicles/none", "/docs"])
async def test_pages_forbid_inline_code_foreign_origins_and_framing(
    browser: httpx.AsyncClient, pool: Pool, clock: ManualClock, path: str
) -> None:
    a_fleet(pool, clock)
    answer = await browser.get(path)
    policy = answer.headers["content-security-policy"]
    assert policy.startswith("default-src 'self';")
    assert "unsafe" not in policy
    assert "http" not in policy
    assert "frame-ancestors 'none'" in policy
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["referrer-policy"] == "same-origin"
    assert answer.headers["cache-control"] == "no-store"
    assert not re.search(r"<style|\sstyle=|\son\w+=|<script(?![^>]* src=)", answer.text)


@pytest.mark.parametrize("path", ["/", "/vehicles/demo-001", "/docs"])
async def test_every_address_on_a_page_is_on_its_own_origin_and_there(
    browser: httpx.AsyncClient, pool: Pool, clock: ManualClock, path: str
) -> None:
    a_fleet(pool, clock)
    addresses = set(re.findall(r'(?:href|src|hx-get)="([^"#]+)"', (await browser.get(path)).text))
    assert len(addresses) > 4
    for address in addresses - {"/vehicles/", "/openapi.json"}:
        assert address.startswith("/"), address
        assert (await browser.get(address)).status_code == 200, address
