"""Ending a ride as a customer's page and a script ask for it."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from cloud.booking.store.rentals import Rental
from cloud.returns.photos import MAX_BYTES
from tests.cloud.fleet.city import at_m
from tests.cloud.returns.door import end, get, problem, send, shows
from tests.cloud.returns.parts import Ending, a_photo, settle


@pytest.fixture
def ending(at_the_door: Ending) -> Ending:
    return at_the_door


@pytest.fixture
def rental(ending: Ending) -> Rental:
    return ending.riding()


async def test_a_ride_ends_from_the_hint_to_the_photo(
    client: httpx.AsyncClient, ending: Ending, rental: Rental, tmp_path: Path
) -> None:
    ending.stands(0, 0)
    hint = (await get(client, rental, "end-check")).json()
    assert (hint["can_end"], hint["outcome"], hint["needs"]) == (True, "end", ["photo"])
    assert (hint["position_by"], hint["bay"]["name"]) == ("vehicle", "Centre")
    assert (await get(client, rental, "return")).json()["state"] == "none"
    asked = await end(client, rental)
    assert asked.status_code == 202
    assert asked.headers["location"] == f"/api/v1/rentals/{rental.id}/return"
    assert (asked.json()["state"], asked.json()["needs"]) == ("photo_needed", ["photo"])
    sent = await send(client, rental, a_photo())
    assert sent.status_code == 201, sent.text
    assert sent.json()["photo"]["faults"] == []
    assert sent.json()["ending"]["state"] == "accepted"
    shown = (await get(client, rental, "return", "staff")).json()
    assert shown == sent.json()["ending"]
    files = [path for path in (tmp_path / "photos").rglob("*") if path.is_file()]
    assert [path.stat().st_mode & 0o777 for path in files] == [0o600]


async def test_a_refusal_is_told_once_and_kept(
    client: httpx.AsyncClient, ending: Ending, rental: Rental
) -> None:
    ending.stands(60, 0)
    hint = (await get(client, rental, "end-check")).json()
    assert (hint["can_end"], hint["outcome"]) == (False, "move_or_accept")
    assert hint["fee"] == {"amount_minor": 500, "currency": "EUR"}
    told = await end(client, rental, key="once")
    again = await end(client, rental, key="once")
    assert problem(told) == problem(again) == (409, "move-or-accept")
    assert told.json() == again.json()
    assert told.json()["nearest_bay"]["name"] == "Centre"
    assert "accept_fee" in told.json()["detail"]
    row = ending.db.execute("SELECT count(*) FROM returns.attempt").fetchone()
    assert row == (1,)
    accepted = await end(client, rental, accept_fee=True)
    assert accepted.status_code == 202
    assert accepted.json()["fee"] == {"amount_minor": 500, "currency": "EUR"}


async def test_a_full_bay_answers_with_alternatives(
    client: httpx.AsyncClient, ending: Ending, rental: Rental
) -> None:
    settle(ending.db, ending.world.now, places=1)
    other = ending.riding("booked-002", 2)
    ending.stands(0, 0, vehicle="booked-002")
    ending.stands(0, 0)
    assert (await end(client, other, "customer-2")).status_code == 202
    full = await end(client, rental)
    assert problem(full) == (409, "bay-full")
    assert [bay["name"] for bay in full.json()["alternatives"]] == ["East"]
    assert full.json()["kept_bay_id"] == full.json()["alternatives"][0]["id"]


async def test_a_phone_tells_where_it_is_when_the_vehicle_does_not(
    client: httpx.AsyncClient, rental: Rental
) -> None:
    here = at_m(0, 0)
    where: dict[str, Any] = {"lat": here.lat, "lon": here.lon, "accuracy_m": 8}
    assert (await get(client, rental, "end-check", **where)).json()["position_by"] == "phone"
    unknown = (await get(client, rental, "end-check")).json()
    assert (unknown["outcome"], unknown["doubt"]) == ("review", "position_unknown")
    assert (await end(client, rental, **where)).json()["position_by"] == "phone"


@pytest.mark.parametrize(
    "where",
    [{"lat": 52.5}, {"lon": 13.4}, {"lat": 91, "lon": 0}, {"lat": 1, "lon": 2, "accuracy_m": -1}],
)
async def test_half_a_position_is_none(
    client: httpx.AsyncClient, rental: Rental, where: dict[str, Any]
) -> None:
    assert (await get(client, rental, "end-check", **where)).status_code == 422
    assert (await end(client, rental, **where)).status_code == 422


async def test_a_photo_may_come_as_a_form(
    client: httpx.AsyncClient, ending: Ending, rental: Rental
) -> None:
    path = f"/api/v1/rentals/{rental.id}/photos"
    files = {"photo": ("../../etc/passwd.svg", a_photo(kind="WEBP"), "text/html")}
    sent = await client.post(path, files=files, headers=shows())
    assert sent.status_code == 201, sent.text
    other = await client.post(path, files={"picture": ("a", a_photo(2))}, headers=shows())
    assert problem(other) == (415, "no-photo")


async def test_what_is_no_good_photo_is_refused(client: httpx.AsyncClient, rental: Rental) -> None:
    svg = await send(client, rental, b"<svg onload='x()'/>", kind="image/png")
    assert problem(svg) == (415, "no-photo")
    broken = await send(client, rental, a_photo()[:300])
    assert problem(broken) == (422, "photo-broken")
    large = await send(client, rental, a_photo() + bytes(MAX_BYTES))
    assert problem(large) == (413, "photo-too-large")
    assert (await send(client, rental, a_photo())).status_code == 201


async def test_a_photo_of_unknown_length_is_not_read(
    client: httpx.AsyncClient, rental: Rental
) -> None:
    async def chunks() -> AsyncIterator[bytes]:
        yield a_photo()

    path = f"/api/v1/rentals/{rental.id}/photos"
    refused = await client.post(path, content=chunks(), headers=shows())
    assert refused.status_code == 411


async def test_one_key_is_one_photo(client: httpx.AsyncClient, rental: Rental) -> None:
    path, sent = f"/api/v1/rentals/{rental.id}/photos", shows(key="once")
    first = await client.post(path, content=a_photo(), headers=sent)
    again = await client.post(path, content=a_photo(), headers=sent)
    assert (first.status_code, again.json()) == (201, first.json())
    other = await client.post(path, content=a_photo(2), headers=sent)
    assert problem(other) == (422, "key-reused")
    assert len((await get(client, rental, "return")).json()["photos"]) == 1


async def test_customers_reach_only_their_own_and_staff_only_look(
    client: httpx.AsyncClient, ending: Ending, rental: Rental
) -> None:
    ending.stands(0, 0)
    for who, status in (("customer-2", 404), ("elsewhere", 404), ("nobody", 403), ("staff", 200)):
        assert (await get(client, rental, "return", who)).status_code == status
        assert (await get(client, rental, "end-check", who)).status_code == status
    for who, status in (("customer-2", 404), ("staff", 403), ("nobody", 403)):
        assert (await end(client, rental, who)).status_code == status
        assert (await send(client, rental, a_photo(), who)).status_code == status
    assert (await end(client, rental)).status_code == 202


async def test_every_changing_post_needs_a_key(client: httpx.AsyncClient, rental: Rental) -> None:
    sent = {"Authorization": "Bearer customer-1"}
    for what in ("end", "photos"):
        path = f"/api/v1/rentals/{rental.id}/{what}"
        assert problem(await client.post(path, headers=sent, content=b"{}")) == (400, "key-missing")
