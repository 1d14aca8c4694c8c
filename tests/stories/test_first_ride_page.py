"""A stranger signs up, finds, holds, unlocks, rides, returns and gets a receipt, by the pages.

Every part is real: cloud, agent, lock unit, payment provider; the browser is a phone's width.
"""

import re
from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, Page, expect

from cloud.pages import assets
from tests.stories import browsing
from tests.stories.one_vehicle import OneVehicle
from tests.stories.riding import PASSWORD, SOON_MS, a_house, a_phone, a_photo, fits, ride_to

pytestmark = [pytest.mark.story, pytest.mark.slow]

EMAIL = "ada@example.org"


@pytest.fixture(scope="module")
def chromium(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    with browsing.a_chromium(tmp_path_factory.mktemp("browser")) as browser:
        yield browser


@pytest.fixture(scope="module")
def house(chromium: Browser, tmp_path_factory: pytest.TempPathFactory) -> Iterator[OneVehicle]:
    assert chromium
    assert assets.is_installed(), "run `python -m cloud.pages.assets` first"
    with a_house(tmp_path_factory.mktemp("house")) as house:
        yield house


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
    page.get_by_label("Password").fill(PASSWORD)
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
        expect(pin).to_contain_text("2 min walk")
        expect(page.locator("#map .area.bay")).to_have_count(4)
        street = page.locator("#map .streets path.road.street")
        expect(street).to_have_attribute("d", re.compile(r"^M-?\d"))
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


@pytest.mark.parametrize(("width", "scheme"), [("phone", "dark"), ("desktop", "light")])
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
