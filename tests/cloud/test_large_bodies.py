"""How much one may send to a cloud that really serves: a photo is larger than all else."""

import http.client
import io
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from urllib.parse import urlsplit
from uuid import UUID, uuid4

import httpx
import pytest
from PIL import Image

from cloud.booking import holds, service
from cloud.booking.ports import Customer
from cloud.identity.api import CUSTOMER_SCOPES, AccessTokens
from cloud.kit.clock import SystemClock
from cloud.kit.db import connect
from cloud.kit.principal import Principal
from cloud.kit.scope import DEMO
from tests.broker import OpenNats
from tests.cloud.booking.parts import TABLES, a_vehicle, fake_parts
from tests.cloud.identity.customers_parts import a_known_customer
from tests.cloud.signed_in import TOKEN_KEY, bearer
from tests.cloud.test_serve import PATIENCE_S, serving

RIDER = Principal(
    account_id=UUID(int=4_712),
    name="a-rider",
    kind="customer",
    role="customer",
    tenant=DEMO.tenant,
    city=DEMO.city,
    scopes=CUSTOMER_SCOPES,
)


@dataclass(frozen=True)
class Ride:
    """A ride that is under way, and where its photos go."""

    url: str
    photos: str


@pytest.fixture(scope="module")
def ride(dsn: str, nats: OpenNats, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ride]:
    with serving(dsn, nats, tmp_path_factory.mktemp("large")) as process:
        clock = SystemClock()
        parts, rider = fake_parts(clock), Customer(DEMO, str(RIDER.account_id))
        with connect(dsn) as db:
            db.execute(TABLES.encode())
            a_known_customer(db, rider.id, clock.now())
            vehicle = a_vehicle(db, "large-001", at=clock.now())
            held = holds.hold(db, parts, rider, vehicle, 15, clock.now())
            rental = service.start(db, parts, rider, held.id, "default", clock.now())
            db.execute("UPDATE booking.rental SET state = 'riding' WHERE id = %s", [rental.id])
        yield Ride(process.url, f"/api/v1/rentals/{rental.id}/photos")


def a_large_photo(side: int) -> bytes:
    out = io.BytesIO()
    Image.effect_noise((side, side), 90).convert("RGB").save(out, "JPEG", quality=95)
    return out.getvalue()


def shows() -> dict[str, str]:
    token = AccessTokens(TOKEN_KEY).issue(RIDER, UUID(int=1), datetime.now(UTC))
    return {"Authorization": f"Bearer {token}", "Idempotency-Key": str(uuid4())}


def problem_of(answer: httpx.Response, path: str) -> dict[str, Any]:
    """A complete problem document."""
    assert answer.headers["content-type"] == "application/problem+json", answer.text
    told: dict[str, Any] = answer.json()
    assert told["instance"] == path
    assert (told["status"], bool(told["title"])) == (answer.status_code, True)
    assert "Send at most" in told["detail"]
    return told


@pytest.mark.parametrize("as_form", [False, True], ids=["body", "form"])
def test_a_photo_as_phones_take_it_is_read(ride: Ride, as_form: bool) -> None:
    photo = a_large_photo(1_800)
    assert len(photo) > 2_400_000
    said: dict[str, Any] = {"files": {"photo": photo}} if as_form else {"content": photo}
    answer = httpx.post(ride.url + ride.photos, **said, headers=shows(), timeout=PATIENCE_S)
    assert answer.status_code == 201, answer.text
    assert answer.json()["photo"]["id"]


@pytest.mark.parametrize("more", [1, 1_000_000], ids=["by a byte", "by far"])
def test_a_photo_that_is_too_large_is_refused_as_such(ride: Ride, more: int) -> None:
    photo = b"\xff\xd8\xff" + b"x" * (8 * 1024 * 1024 - 3 + more)
    answer = httpx.post(ride.url + ride.photos, content=photo, headers=shows(), timeout=PATIENCE_S)
    assert answer.status_code == 413
    told = problem_of(answer, ride.photos)
    assert told["type"] == "/problems/photo-too-large"
    assert "8 MB" in told["detail"]


@pytest.mark.parametrize("path", ["/api/v1/holds", "/api/v1/rentals/x/photos/y"])
def test_anything_else_is_a_megabyte_at_most(ride: Ride, path: str) -> None:
    content = b'{"x": "' + b"x" * 1_000_000 + b'"}'
    answer = httpx.post(ride.url + path, content=content, headers=bearer(), timeout=PATIENCE_S)
    assert answer.status_code == 413
    assert problem_of(answer, path)["type"] == "about:blank"
    fits = httpx.post(ride.url + path, content=content[:1_000], headers=bearer())
    assert fits.status_code in {403, 404}


def test_who_sends_all_of_it_first_still_reads_why(ride: Ride) -> None:
    """As browsers do: a connection that is closed on them at once is a broken one."""
    where = urlsplit(ride.url)
    client = http.client.HTTPConnection(str(where.hostname), where.port, timeout=PATIENCE_S)
    client.request("POST", ride.photos, b"x" * 30_000_000, shows())
    answer = client.getresponse()
    assert (answer.status, b"photo-too-large" in answer.read()) == (413, True)
    client.close()
