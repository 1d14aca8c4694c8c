"""The queue of returns to review, as staff's pages and scripts ask for it."""

import io
from typing import Any
from uuid import UUID

import httpx
import pytest
from PIL import Image

from cloud.booking.store.rentals import Rental
from tests.cloud.fleet.city import at_m
from tests.cloud.returns.door import end, get, problem, send, shows
from tests.cloud.returns.parts import Ending, a_photo


@pytest.fixture
async def rental(client: httpx.AsyncClient, at_the_door: Ending) -> Rental:
    """A ride that waits for a person: its place is known too badly."""
    rental = at_the_door.riding()
    await send(client, rental, a_photo())
    here = at_m(0, 0)
    ended = await end(client, rental, lat=here.lat, lon=here.lon, accuracy_m=80)
    assert ended.json()["state"] == "pending"
    return rental


async def read(client: httpx.AsyncClient, path: str, who: str = "reviewer") -> httpx.Response:
    return await client.get(f"/api/v1/reviews{path}", headers={"Authorization": f"Bearer {who}"})


async def choose(
    client: httpx.AsyncClient, rental: Rental, who: str = "reviewer", key: str = "", **wish: Any
) -> httpx.Response:
    body = {"choice": "approve", "reason": "it stands well", **wish}
    return await client.post(f"/api/v1/reviews/{rental.id}", json=body, headers=shows(who, key))


async def test_a_person_finds_looks_and_approves(
    client: httpx.AsyncClient, at_the_door: Ending, rental: Rental
) -> None:
    (line,) = (await read(client, "")).json()
    assert (line["rental_id"], line["reasons"]) == (str(rental.id), ["position_uncertain"])
    assert (line["is_late"], line["review_by"] > line["requested_at"]) == (False, True)
    case = (await read(client, f"/{rental.id}")).json()
    assert line.items() <= case.items()
    assert case["outline"]["type"] == "Polygon"
    assert (case["position"]["by"], case["position"]["accuracy_m"]) == ("phone", 80)
    assert (case["bay"]["name"], case["fee"]) == ("Centre", None)
    assert (case["doubt"]["verifier"], case["doubt"]["policy"]) == ("rules-1", "returns-1")
    (shown,) = case["photos"]
    photo = await client.get(shown["url"], headers={"Authorization": "Bearer reviewer"})
    assert photo.headers["content-type"] == "image/jpeg"
    assert photo.headers["cache-control"] == "no-store"
    assert Image.open(io.BytesIO(photo.content)).size == (640, 480)
    chosen = await choose(client, rental)
    assert (chosen.status_code, chosen.json()["state"]) == (200, "accepted")
    assert [label["choice"] for label in chosen.json()["reviews"]] == ["approve"]
    assert (await read(client, "")).json() == []
    assert (await get(client, rental, "return")).json()["state"] == "accepted"
    audited = at_the_door.db.execute(
        "SELECT actor, detail ->> 'choice', detail ->> 'reason' FROM identity.audit"
        " WHERE (action, target) = ('return.reviewed', %s)",
        [str(rental.id)],
    ).fetchall()
    assert audited == [("reviewer", "approve", "it stands well")]


async def test_a_rider_sees_what_a_person_asks_for_and_sends_it(
    client: httpx.AsyncClient, rental: Rental
) -> None:
    assert problem(await send(client, rental, a_photo(9))) == (409, "return-decided")
    await choose(client, rental, choice="ask", reason="show both wheels")
    told = (await get(client, rental, "return")).json()
    assert (told["state"], told["needs"], told["note"]) == (
        "pending",
        ["photo"],
        "show both wheels",
    )
    assert told["deadline"] is not None
    sent = await send(client, rental, a_photo(9))
    assert (sent.status_code, sent.json()["ending"]["needs"]) == (201, [])
    assert len((await read(client, f"/{rental.id}")).json()["photos"]) == 2


async def test_a_choice_that_is_sent_again_is_made_once(
    client: httpx.AsyncClient, rental: Rental
) -> None:
    first = await choose(client, rental, key="once", choice="reject")
    again = await choose(client, rental, key="once", choice="reject")
    assert (first.status_code, again.json()) == (200, first.json())
    late = await choose(client, rental)
    assert problem(late) == (409, "return-reviewed")
    assert late.json()["state"] == "rejected"
    assert (await get(client, rental, "return")).json()["fee"] is None


@pytest.mark.parametrize(
    "wish", [{"choice": "fine"}, {"reason": ""}, {"reason": "  \t "}, {"fee_minor": 500}]
)
async def test_a_choice_needs_a_reason_and_takes_no_fine(
    client: httpx.AsyncClient, rental: Rental, wish: dict[str, Any]
) -> None:
    assert (await choose(client, rental, **wish)).status_code == 422
    assert (await choose(client, rental)).status_code == 200


async def test_only_reviewers_of_the_city_look_and_decide(
    client: httpx.AsyncClient, rental: Rental
) -> None:
    case = (await read(client, f"/{rental.id}")).json()
    photo = case["photos"][0]["url"].removeprefix("/api/v1/reviews")
    for who, status in (("reviewer-elsewhere", 404), ("staff", 403), ("customer-1", 403)):
        assert (await read(client, f"/{rental.id}", who)).status_code == status
        assert (await read(client, photo, who)).status_code == status
        assert (await choose(client, rental, who)).status_code == status
    assert (await read(client, "", "reviewer-elsewhere")).json() == []
    for who in ("staff", "customer-1", "nobody"):
        assert (await read(client, "", who)).status_code == 403
    assert (await read(client, photo)).status_code == 200


async def test_a_photo_whose_time_is_over_and_one_of_nobody_are_none(
    client: httpx.AsyncClient, at_the_door: Ending, rental: Rental
) -> None:
    case = (await read(client, f"/{rental.id}")).json()
    path = case["photos"][0]["url"].removeprefix("/api/v1/reviews")
    assert (await read(client, f"/{rental.id}/photos/{UUID(int=1)}")).status_code == 404
    assert (await read(client, path)).status_code == 200
    at_the_door.objects.delete(f"{rental.id}/{case['photos'][0]['id']}.jpg")
    assert (await read(client, path)).status_code == 404
