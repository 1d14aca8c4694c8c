"""A stranger signs up, finds, holds, unlocks, rides, returns and gets a receipt, by the pages.

Every part is real: cloud, agent, lock unit, payment provider; the browser is a phone's width.
"""

import io
import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import pytest
from PIL import Image
from playwright.sync_api import Browser, Page, expect

from cloud.fleet import api as fleet
from cloud.identity import api as identity
from cloud.kit.db import connect
from cloud.kit.scope import DEMO
from cloud.pages import assets
from cloud.payments import api as payments
from protocol.signals import BY_KEY
from tests.cloud.fleet.city import a_bay, a_city, at_m, box
from tests.cloud.payments.parts import SELLER, a_plan
from tests.stories import browsing
from tests.stories.browsing import WIDTHS, troubles
from tests.stories.one_vehicle import GNSS, ROOT, OneVehicle, free_port, until

pytestmark = [pytest.mark.story, pytest.mark.slow]

SOON_MS = 30_000
KEY, SECRET = "a-key-of-this-story", "a-secret-of-this-story"
EMAIL, PASSWORD = "ada@example.org", "a password of the story"
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


@pytest.fixture(scope="module")
def chromium(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    with browsing.a_chromium(tmp_path_factory.mktemp("browser")) as browser:
        yield browser


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


@pytest.fixture(scope="module")
def house(chromium: Browser, tmp_path_factory: pytest.TempPathFactory) -> Iterator[OneVehicle]:
    assert chromium
    assert assets.is_installed(), "run `python -m cloud.pages.assets` first"
    folder = tmp_path_factory.mktemp("house")
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
        city = a_city(a_bay("market", box(80, 10, 180, 110), count=4))
        fleet.import_city(db, identity.console(DEMO), "story.geojson", city, now)


@contextmanager
def a_phone(chromium: Browser, house: OneVehicle, **more: Any) -> Iterator[Page]:
    """A phone that knows where it is; no request leaves the origin, no console complains."""
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
    assert strangers == []
    assert complaints == []


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
    until("it is there", lambda: abs(house.vehicle()["values"][told] - there.lat) < 1e-5)


def a_photo() -> bytes:
    """A JPEG with light and edges."""
    image = Image.effect_noise((640, 480), 90).convert("RGB")
    out = io.BytesIO()
    image.save(out, "JPEG")
    return out.getvalue()


def sign_up(page: Page, house: OneVehicle) -> None:
    """From the form over the mail in the outbox to being signed in."""
    page.goto(f"{house.url}/sign-up")
    fits(page)
    page.get_by_label("Name, as on the receipt").fill("Ada Lovelace")
    page.get_by_label("E-mail address").fill(EMAIL)
    page.get_by_label("Password").fill(PASSWORD)
    for document in ("Privacy notice", "Terms of use"):
        page.get_by_label(f"I agree: {document}").check()
    page.get_by_role("button", name="Sign up").click()
    expect(page.get_by_role("heading", name="Look into your mailbox")).to_be_visible()
    page.get_by_role("link", name="Open the outbox").click()
    link = page.locator('a[href*="/verify#token="]')
    while link.count() == 0:
        page.wait_for_timeout(200)
        page.reload()
    fits(page)
    link.first.click()
    fits(page)
    page.get_by_role("button", name="Confirm").click()
    expect(page.get_by_text("Your address is confirmed")).to_be_visible()
    fits(page)
    page.get_by_label("User name or e-mail").fill(EMAIL)
    page.get_by_label("Password").fill(PASSWORD)
    page.get_by_role("button", name="Sign in").click()
    expect(page).to_have_url(f"{house.url}/ride")


def from_sign_up_to_receipt(chromium: Browser, house: OneVehicle) -> None:
    with a_phone(chromium, house) as page:
        sign_up(page, house)
        page.get_by_role("link", name="Add a card").click()
        fits(page)
        page.get_by_role("button", name="Add a card").click()
        expect(page.get_by_role("heading", name="Find a vehicle")).to_be_visible()

        page.get_by_role("button", name="Use my position").click()
        vehicle = page.locator(f"#v-{house.device}")
        expect(vehicle).to_contain_text("min walk", timeout=SOON_MS)
        expect(vehicle).to_contain_text("€1.00 to unlock, then €0.25 a minute")
        pin = page.locator(f'#map .pin[data-id="{house.device}"]')
        expect(pin).to_contain_text("€0.25/min")
        expect(pin).to_contain_text("2 min")
        expect(page.locator("#map .area.bay")).to_have_count(3)
        expect(page.locator("#map .streets path")).to_have_attribute("d", re.compile(r"^M-?\d"))
        expect(page.locator("#credit")).to_have_text("made up for a story")
        fits(page)

        vehicle.get_by_role("button").press("Enter")
        expect(page.get_by_role("heading", name=re.compile("is yours"))).to_be_visible()
        countdown = page.locator("#countdown")
        expect(countdown).to_have_text(re.compile(r"^14:\d\d$"))
        shown = countdown.inner_text()
        expect(countdown).not_to_have_text(shown)
        fits(page)
        page.goto(f"{house.url}/ride")
        page.get_by_role("link", name="Go to it").click()

        page.get_by_role("button", name="Unlock").press("Enter")
        expect(page.locator("#now h2")).to_have_text("Riding", timeout=SOON_MS)
        assert house.moves()[-1] == "unlock"
        expect(page.locator("#cost")).to_have_text("€1.25")
        expect(page.locator("#clock")).to_have_text(re.compile(r"^0:0[2-9]$"), timeout=SOON_MS)
        fits(page)

        ride_to(house, 130, 60)
        page.get_by_role("button", name="Can I end here?").press("Enter")
        expect(page.locator("#end-answer")).to_have_text(
            "Yes: you are in Market. A photo is still needed.", timeout=SOON_MS
        )
        page.get_by_label("Photo of the parked vehicle").set_input_files(
            {"name": "parked.jpg", "mimeType": "image/jpeg", "buffer": a_photo()}
        )
        expect(page.locator("#photo-answer")).to_have_text(
            "The photo has arrived.", timeout=SOON_MS
        )
        fits(page)
        page.get_by_role("button", name="End the ride").press("Enter")
        expect(page.locator("#now h2")).to_have_text("The ride is over", timeout=SOON_MS)
        assert house.moves()[-1] == "lock"
        fits(page)

        page.get_by_role("link", name=re.compile("receipt|ride is over", re.IGNORECASE)).click()
        expect(page.get_by_role("heading", name=re.compile(r"^Invoice DEMO-"))).to_be_visible()
        fits(page)


@pytest.fixture(scope="module")
def ridden(chromium: Browser, house: OneVehicle) -> OneVehicle:
    """A house in which a stranger has taken a ride."""
    from_sign_up_to_receipt(chromium, house)
    return house


def test_a_stranger_rides_from_sign_up_to_receipt(ridden: OneVehicle) -> None:
    assert ridden.moves() == ["unlock", "lock"]


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", list(WIDTHS))
def test_staff_see_vehicles_on_a_map_and_a_rental_with_its_money(
    chromium: Browser, ridden: OneVehicle, width: str, scheme: browsing.Scheme
) -> None:
    state = browsing.sign_in(chromium, ridden.url, *ridden.login)
    looks: browsing.Looks = {"width": width, "scheme": scheme}
    with browsing.watching(chromium, ridden.url, "/staff/map", state, **looks) as page:
        expect(page.locator("#feed")).to_have_text("Live")
        pin = page.locator(f'#map .pin.available[data-id="{ridden.device}"]')
        expect(pin).to_have_count(1)
        available = page.get_by_role("button", name="Available 1")
        expect(available).to_be_visible()
        page.get_by_role("button", name="Held 0").press("Enter")
        expect(pin).to_have_count(0)
        page.get_by_role("button", name="Held 0").press("Enter")
        pin.click()
        expect(page.locator("#chosen")).to_contain_text("Available, 80 % charge, connected")
        fits(page)
    with browsing.watching(chromium, ridden.url, "/staff/rentals", state, **looks) as page:
        fits(page)
        page.locator("tbody a").first.click()
        expect(page.get_by_role("heading", name=f"Rental of {ridden.device}")).to_be_visible()
        expect(page.locator(".told-times").nth(1)).to_contain_text("end requested")
        expect(page.locator(".money")).to_contain_text("EUR 1.25")
        fits(page)


def test_the_pages_speak_german_in_the_dark_too(chromium: Browser, ridden: OneVehicle) -> None:
    with a_phone(chromium, ridden, locale="de-DE", color_scheme="dark") as page:
        page.goto(f"{ridden.url}/ride")
        expect(page).to_have_url(re.compile("/sign-in"))
        page.get_by_label("Benutzername oder E-Mail-Adresse").fill(EMAIL)
        page.get_by_label("Passwort").fill(PASSWORD)
        page.get_by_role("button", name="Anmelden").click()
        expect(page.locator(f"#v-{ridden.device}")).to_contain_text("1,00\u00a0€ Entsperren")
        fits(page)
        for path, heading in (("/ride/rentals", "Ihre Fahrten"), ("/ride/card", "Zahlung")):
            page.goto(ridden.url + path)
            expect(page.get_by_role("heading", name=heading).first).to_be_visible()
            fits(page)
        page.goto(f"{ridden.url}/ride/rentals")
        page.locator(".rides a").first.click()
        page.get_by_role("link", name="Beleg ansehen").click()
        expect(page.get_by_role("heading", name=re.compile("^Rechnung"))).to_be_visible()
        fits(page)
        page.goto(f"{ridden.url}/ride?lang=en")
        expect(page.get_by_role("heading", name="Find a vehicle")).to_be_visible()
        page.goto(f"{ridden.url}/ride")
        expect(page.locator("html")).to_have_attribute("lang", "en")


def test_a_customer_sees_no_page_of_staff(chromium: Browser, ridden: OneVehicle) -> None:
    state = browsing.sign_in(chromium, ridden.url, *ridden.login)
    context = chromium.new_context(storage_state=state)
    assert context.request.get(f"{ridden.url}/staff/rentals").status == 200
    assert context.request.get(f"{ridden.url}/ride").status == 403
    context.close()
    with a_phone(chromium, ridden) as page:
        page.goto(f"{ridden.url}/sign-in")
        page.get_by_label("User name or e-mail").fill(EMAIL)
        page.get_by_label("Password").fill(PASSWORD)
        page.get_by_role("button", name="Sign in").click()
        expect(page).to_have_url(f"{ridden.url}/ride")
        for path in ("/staff/map", "/staff/rentals", "/devices"):
            assert page.request.get(ridden.url + path).status == 403
