"""What the stories of the customer's pages share: a house open for business, a phone, a rider."""

import io
import json
import os
import random
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from email import message_from_bytes, policy
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx
from PIL import Image
from playwright.sync_api import Browser, Page, expect

from cloud.fleet import api as fleet
from cloud.identity import api as identity
from cloud.kit.db import connect
from cloud.kit.scope import DEMO
from cloud.payments import api as payments
from protocol.signals import BY_KEY
from tests.cloud.fleet.city import a_bay, a_city, at_m, box
from tests.cloud.payments.parts import SELLER, a_plan
from tests.stories.browsing import WIDTHS, troubles
from tests.stories.one_vehicle import GNSS, ROOT, OneVehicle, free_port, until

SOON_MS = 30_000
KEY, SECRET = "a-key-of-this-story", "a-secret-of-this-story"
PASSWORD = "a password of the story"
HERE = (52.5205, 13.4055)
STREETS = {
    "type": "FeatureCollection",
    "attribution": "made up for a story",
    "features": [
        {
            "type": "Feature",
            "properties": {"kind": "street"},
            "geometry": {"type": "LineString", "coordinates": [[13.40, 52.52], [13.41, 52.52]]},
        }
    ],
}


@contextmanager
def a_provider(port: int, webhook: str, log: Path) -> Iterator[str]:
    """The sandbox as a process of its own."""
    url = f"http://127.0.0.1:{port}"
    command = [sys.executable, "-m", "simulator.sandbox_payments", "--http", f"127.0.0.1:{port}"]
    env = {**os.environ, "SANDBOX_API_KEY": KEY, "SANDBOX_WEBHOOK_SECRET": SECRET}
    with log.open("ab") as out:
        process = subprocess.Popen(
            [*command, "--webhook", webhook], cwd=ROOT, env=env, stdout=out, stderr=out
        )
    try:
        until("the payment provider answers", lambda: process.poll() is None and answers(url))
        yield url
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(20)


def answers(url: str) -> bool:
    try:
        return httpx.get(url + "/v1/transactions", timeout=2).status_code < 500
    except httpx.TransportError:
        return False


@contextmanager
def a_house(folder: Path) -> Iterator[OneVehicle]:
    """Cloud, vehicle and payment provider, with a city, a seller and a price."""
    house, port = OneVehicle(folder), free_port()
    webhook = f"{house.url}/api/v1/payments/webhooks/sandbox"
    with a_provider(port, webhook, folder / "provider.log") as provider:
        house.cloud_env = {
            "MOBILITY_PAYMENT_URL": provider,
            "MOBILITY_PAYMENT_KEY": KEY,
            "MOBILITY_PAYMENT_WEBHOOK_SECRET": SECRET,
            "MOBILITY_PUBLIC_URL": house.url,
        }
        with house:
            open_for_business(house)
            yield house


def dsn_of(house: OneVehicle) -> str:
    told = json.loads((house.folder / "data" / "cloud.json").read_text("utf-8"))
    return str(told["postgres_dsn"])


def open_for_business(house: OneVehicle) -> None:
    """A seller, a price, a bay around the vehicle, streets for the map."""
    (house.folder / "data" / "city.geojson").write_text(json.dumps(STREETS), "utf-8")
    now = datetime.now(UTC)
    with connect(dsn_of(house)) as db:
        payments.set_seller(db, DEMO, SELLER)
        payments.add_plan(db, DEMO, a_plan(), now)
        corner = a_bay("corner", box(-480, 480, -460, 500), count=1)
        city = a_city(a_bay("market", box(80, 10, 180, 110), count=4), corner)
        fleet.import_city(db, identity.console(DEMO), "story.geojson", city, now)


@contextmanager
def a_phone(
    chromium: Browser, house: OneVehicle, *, may_say: str = "", **more: Any
) -> Iterator[Page]:
    """A phone that knows where it is; no request leaves the origin, no console complains.

    Chromium itself complains of every answer that is no 2xx: `may_say` is a pattern for those that
    a story is about.
    """
    across, down = WIDTHS["phone"]
    context = chromium.new_context(
        viewport={"width": across, "height": down},
        reduced_motion="reduce",
        geolocation={"latitude": HERE[0], "longitude": HERE[1], "accuracy": 8},
        permissions=["geolocation"],
        has_touch=True,
        **more,
    )
    page = context.new_page()
    strangers: list[str] = []
    complaints: list[str] = []
    page.on("request", lambda r: None if r.url.startswith(house.url) else strangers.append(r.url))
    page.on("console", lambda message: complaints.append(f"{message.type}: {message.text}"))
    page.on("pageerror", lambda error: complaints.append(str(error)))
    try:
        yield page
    finally:
        context.close()
    said = [one for one in complaints if not (may_say and re.search(may_say, one))]
    assert strangers == [], strangers
    assert said == [], said


def fits(page: Page) -> None:
    """The page is no wider than the phone, and axe finds nothing serious."""
    across = page.evaluate("[document.documentElement.scrollWidth, window.innerWidth]")
    assert across[0] <= across[1], page.url
    assert troubles(page) == [], page.url


def ride_to(house: OneVehicle, east: float, north: float) -> None:
    """Move the vehicle so many metres from the centre, and wait until the cloud knows."""
    there = at_m(east, north)
    house.set(GNSS, latitude_deg=there.lat, longitude_deg=there.lon)
    told = BY_KEY["latitude_deg"].name
    until("it is there", lambda: abs(house.vehicle()["values"].get(told, 0) - there.lat) < 1e-5)


def a_photo() -> bytes:
    """A JPEG with light and edges."""
    image = Image.effect_noise((640, 480), 90).convert("RGB")
    out = io.BytesIO()
    image.save(out, "JPEG")
    return out.getvalue()


def a_bad_photo(light: int) -> bytes:
    """A JPEG of nearly one grey, another one each time: dark when near 0, else without an edge."""
    out = io.BytesIO()
    spots = bytes(min(255, light + random.randrange(6)) for _ in range(8 * 6))
    picture = Image.frombytes("L", (8, 6), spots).resize((640, 480), Image.Resampling.BICUBIC)
    picture.convert("RGB").save(out, "JPEG")
    return out.getvalue()


def token_in_mail(house: OneVehicle, email: str, path: str) -> str:
    """Wait for mail to an address with a link to a path; return the token of the newest."""
    found: list[tuple[float, str]] = []

    def come() -> bool:
        found.clear()
        for file in (house.folder / "data" / "outbox").glob("*.eml"):
            mail = message_from_bytes(file.read_bytes(), policy=policy.default)
            body = mail.get_body(("plain",))
            text = "" if body is None else str(body.get_content())
            link = re.search(rf"{re.escape(path)}#token=([\w-]+)", text)
            if mail["To"] == email and link:
                found.append((file.stat().st_mtime, link[1]))
        return bool(found)

    until(f"there is mail to {email}", come)
    return max(found)[1]


def wish(email: str, language: str = "en") -> dict[str, Any]:
    """What somebody says who signs up."""
    agreed = [{"document": name, "version": "1"} for name in ("terms", "privacy")]
    return {
        "email": email,
        "password": PASSWORD,
        "name": "Ada Lovelace",
        "language": language,
        "time_zone": "Europe/Berlin",
        "consents": agreed,
    }


def a_rider(house: OneVehicle, card: str = "tok_ok") -> str:
    """Somebody who signed up, with a card of the sandbox; returns the address."""
    email = f"{uuid4().hex}@example.org"
    with httpx.Client(base_url=f"{house.url}/api/v1", timeout=30) as client:
        client.post("/auth/sign-up", json=wish(email)).raise_for_status()
        told = {"token": token_in_mail(house, email, "/verify"), "password": PASSWORD}
        tokens = client.post("/auth/verify", json=told).raise_for_status().json()
        client.headers.update(
            {
                "Authorization": f"Bearer {tokens['access_token']}",
                "Idempotency-Key": str(uuid4()),
            }
        )
        method = {"provider": "sandbox", "token": card, "last4": "4242", "brand": "Visa"}
        client.post("/me/payment-methods", json=method).raise_for_status()
    return email


def sign_in(page: Page, house: OneVehicle, email: str, password: str = PASSWORD) -> None:
    """By the form, in whatever language it is."""
    page.goto(f"{house.url}/sign-in?next=/ride")
    page.locator("#user").fill(email)
    page.locator("#password").fill(password)
    page.locator("#password").press("Enter")
    expect(page).to_have_url(f"{house.url}/ride")


def hold(page: Page, house: OneVehicle) -> None:
    """Hold the vehicle, by keyboard."""
    page.goto(f"{house.url}/ride?near={HERE[0]},{HERE[1]}")
    page.locator(f"#hold-{house.device}").press("Enter")
    expect(page.locator("#countdown")).to_be_visible(timeout=SOON_MS)


def ride(page: Page, house: OneVehicle) -> None:
    """Hold and unlock it, by keyboard."""
    hold(page, house)
    page.locator("#unlock button").press("Enter")
    expect(page.locator("#now")).to_have_attribute("data-state", "riding", timeout=SOON_MS)


def send_photo(page: Page, content: bytes) -> None:
    """Choose a photo as a phone's camera would give it."""
    page.locator("#photo").set_input_files(
        {"name": "parked.jpg", "mimeType": "image/jpeg", "buffer": content}
    )


def is_over(page: Page) -> None:
    """Wait until the ride is over."""
    expect(page.locator("#now")).to_have_attribute("data-state", "ended", timeout=SOON_MS)
