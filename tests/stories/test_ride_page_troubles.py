"""What goes wrong on a ride, as the customer's pages tell it: on a phone, by keyboard, at no cost.

Every part is real: cloud, agent, lock unit, payment provider; the browser is a phone's width.
"""

import re
from collections.abc import Iterator
from functools import partial

import pytest
from playwright.sync_api import Browser, Page, Route, expect

from cloud.fleet import api as fleet
from cloud.kit.clock import SystemClock
from cloud.kit.db import connect
from cloud.kit.scope import DEMO
from cloud.pages import assets
from tests.stories import browsing
from tests.stories.one_vehicle import OneVehicle, until
from tests.stories.riding import (
    SOON_MS,
    a_bad_photo,
    a_house,
    a_phone,
    a_photo,
    a_rider,
    dsn_of,
    fits,
    hold,
    is_over,
    ride,
    ride_to,
    send_photo,
    sign_in,
)

pytestmark = [pytest.mark.story, pytest.mark.slow]

MARKET, OUTSIDE, CORNER, START = (130, 60), (250, 250), (-470, 490), (0, 0)
NONE = "00000000-0000-4000-8000-000000000000"
CONFLICT = r"409 \(Conflict\)"
SEEN = """
Object.defineProperty(document, "visibilityState", { value: "%s", configurable: true });
document.dispatchEvent(new Event("visibilitychange"));
"""
MEASURED = """
(accuracy) => {
  const coords = { latitude: 52.5205, longitude: 13.4055, accuracy };
  navigator.geolocation.getCurrentPosition = (tell) => tell({ coords });
}
"""


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


@pytest.fixture
def stands(house: OneVehicle) -> OneVehicle:
    """The house, with its vehicle where rides begin."""
    ride_to(house, *START)
    return house


def park_and_end(page: Page, house: OneVehicle) -> None:
    """End the ride as one should."""
    ride_to(house, *MARKET)
    send_photo(page, a_photo())
    expect(page.locator("#photo-answer")).to_have_text("The photo has arrived.", timeout=SOON_MS)
    page.locator("#end").press("Enter")
    is_over(page)


def test_a_ride_is_paused_and_goes_on_by_keyboard(chromium: Browser, stands: OneVehicle) -> None:
    email, before = a_rider(stands), len(stands.moves())
    with a_phone(chromium, stands) as page:
        sign_in(page, stands, email)
        ride(page, stands)
        expect(page.get_by_text("€0.10 a minute")).to_be_visible()
        page.locator("#pause-resume").press("Enter")
        expect(page.locator("#now h2")).to_have_text("Paused", timeout=SOON_MS)
        fits(page)
        page.locator("#pause-resume").press("Enter")
        expect(page.locator("#now h2")).to_have_text("Riding", timeout=SOON_MS)
        assert stands.moves()[before:] == ["unlock", "lock", "unlock"]
        park_and_end(page, stands)


def test_outside_a_bay_one_moves_the_vehicle_or_accepts_the_fee(
    chromium: Browser, stands: OneVehicle
) -> None:
    email = a_rider(stands)
    with a_phone(chromium, stands, may_say=CONFLICT) as page:
        sign_in(page, stands, email)
        ride(page, stands)
        ride_to(stands, *OUTSIDE)
        page.locator("#end-check").press("Enter")
        answer = page.locator("#end-answer")
        expect(answer).to_contain_text("Not here without a fee: €", timeout=SOON_MS)
        page.locator("#end").press("Enter")
        told = page.locator("#fee-text")
        expect(told).to_contain_text("You are outside a bay", timeout=SOON_MS)
        found = re.search(
            r"end here for (€\d+\.\d\d)\. Nearest free bay: \w+, \d+ m", told.inner_text()
        )
        assert found
        expect(page.locator("#move")).to_be_focused()
        fits(page)
        page.keyboard.press("Enter")
        expect(told).to_be_hidden()
        expect(page.locator("#now")).to_have_attribute("data-state", "riding")
        page.locator("#end").press("Enter")
        page.get_by_role("button", name=f"End here for {found[1]}").press("Enter")
        expect(page.locator("#photo-answer")).to_contain_text("A photo", timeout=SOON_MS)
        send_photo(page, a_photo())
        is_over(page)
        fits(page)
        page.get_by_role("link", name="See the receipt").press("Enter")
        expect(page.locator(".sums")).to_contain_text(found[1])


def test_an_end_that_nobody_answered_is_asked_again_from_another_place(
    chromium: Browser, stands: OneVehicle
) -> None:
    email = a_rider(stands)
    with a_phone(chromium, stands, may_say=f"{CONFLICT}|ERR_FAILED") as page:
        sign_in(page, stands, email)
        ride(page, stands)
        ride_to(stands, *OUTSIDE)

        def lose_the_answer(route: Route) -> None:
            route.fetch()
            route.abort()

        page.route("**/api/v1/rentals/*/end", lose_the_answer, times=1)
        for accuracy_m in (8, 12):
            page.evaluate(MEASURED, accuracy_m)
            page.locator("#end").press("Enter")
            told = page.locator("#end-trouble" if accuracy_m == 8 else "#fee-text")
            expect(told).to_contain_text(
                "did not answer" if accuracy_m == 8 else "You are outside a bay", timeout=SOON_MS
            )
        park_and_end(page, stands)


def fill_the_corner(house: OneVehicle) -> None:
    """Let another vehicle stand on the only place of the bay."""
    other, now = "parked-001", SystemClock().now()
    house.add(other, "/dev/null")
    with connect(dsn_of(house)) as db:
        bays = fleet.all_bays(db, DEMO, now, limit=50)
        (corner,) = [bay.id for bay, _, _ in bays if bay.name == "Corner"]
        known = partial(fleet.vehicle, db, DEMO, other, now)
        until("fleet knows it", lambda: known() is not None)
        fleet.take_place(db, DEMO, corner, other, now)


def test_at_a_full_bay_a_place_is_kept_in_the_nearest_free_one(
    chromium: Browser, stands: OneVehicle
) -> None:
    email = a_rider(stands)
    fill_the_corner(stands)
    with a_phone(chromium, stands, may_say=CONFLICT) as page:
        sign_in(page, stands, email)
        ride(page, stands)
        ride_to(stands, *CORNER)
        page.locator("#end-check").press("Enter")
        answer = page.locator("#end-answer")
        expect(answer).to_contain_text("Corner is full. Nearest free bay: ", timeout=SOON_MS)
        page.locator("#end").press("Enter")
        told = page.locator("#end-trouble")
        expect(told).to_have_text(
            re.compile(
                r"This bay is full\. A place is kept for you in \w+, \d+ m away: end there within 5"
                r" minutes, the way is not billed\."
            ),
            timeout=SOON_MS,
        )
        fits(page)
        park_and_end(page, stands)


def test_a_bad_photo_is_taken_again_twice_and_then_a_person_looks(
    chromium: Browser, stands: OneVehicle
) -> None:
    email = a_rider(stands)
    with a_phone(chromium, stands) as page:
        sign_in(page, stands, email)
        ride(page, stands)
        ride_to(stands, *MARKET)
        page.locator("#end").press("Enter")
        answer = page.locator("#photo-answer")
        expect(answer).to_have_text("A photo is still needed.", timeout=SOON_MS)
        expect(page.locator("#now")).to_contain_text("The meter has stopped")
        for light, fault in ((2, "it is too dark"), (150, "it is blurred")):
            send_photo(page, a_bad_photo(light))
            expect(answer).to_have_text(f"Please take another photo: {fault}.", timeout=SOON_MS)
        fits(page)
        send_photo(page, a_bad_photo(90))
        pending = page.locator("#pending")
        expect(pending).to_have_text(
            "A person looks at the return. Nothing more is charged.", timeout=SOON_MS
        )
        is_over(page)
        fits(page)


def test_a_hold_that_runs_out_says_so_and_what_to_do(chromium: Browser, stands: OneVehicle) -> None:
    email = a_rider(stands)
    with a_phone(chromium, stands) as page:
        sign_in(page, stands, email)
        page.clock.install()
        hold(page, stands)
        page.clock.run_for(14 * 60_000 + 30_000)
        expect(page.locator("#countdown")).to_have_text(re.compile(r"^0:[0-3]\d$"))
        page.clock.run_for(40_000)
        expect(page.get_by_role("heading", name="The hold has ended")).to_be_focused()
        expect(page.locator("#unlock")).to_be_hidden()
        expect(page.get_by_text("free for everybody again. It cost nothing")).to_be_visible()
        fits(page)
        page.get_by_role("link", name="Find a vehicle").press("Enter")
        # By the server's clock it stands: that page leads back to it.
        page.get_by_role("link", name="Go to it").press("Enter")
        page.get_by_role("button", name="Let it go").press("Enter")
        expect(page.get_by_role("heading", name="Find a vehicle")).to_be_visible()


def test_a_hold_that_ends_elsewhere_ends_on_the_page_too(
    chromium: Browser, stands: OneVehicle
) -> None:
    email = a_rider(stands)
    with a_phone(chromium, stands) as page:
        sign_in(page, stands, email)
        hold(page, stands)
        other = page.context.new_page()
        other.goto(page.url)
        other.get_by_role("button", name="Let it go").press("Enter")
        expect(other.get_by_role("heading", name="Find a vehicle")).to_be_visible()
        other.close()
        page.bring_to_front()
        expect(page.get_by_role("heading", name="The hold has ended")).to_be_visible(
            timeout=SOON_MS
        )
        address = page.url
        page.goto(address)
        expect(page.get_by_role("heading", name="The hold has ended")).to_be_visible()
        fits(page)


def test_a_hold_that_the_cloud_does_not_know_is_over(chromium: Browser, stands: OneVehicle) -> None:
    email = a_rider(stands)
    with a_phone(chromium, stands, may_say=r"404 \(Not Found\)") as page:
        sign_in(page, stands, email)
        hold(page, stands)
        page.locator('#unlock [name="hold_id"]').evaluate("(field, id) => (field.value = id)", NONE)
        page.locator("#unlock button").press("Enter")
        expect(page.get_by_role("heading", name="The hold has ended")).to_be_focused()
        expect(page.locator("#unlock")).to_be_hidden()
        page.reload()
        page.get_by_role("button", name="Let it go").press("Enter")
        expect(page.get_by_role("heading", name="Find a vehicle")).to_be_visible()


def test_a_declined_card_unlocks_nothing_and_leads_to_another_card(
    chromium: Browser, stands: OneVehicle
) -> None:
    email, before = a_rider(stands, "tok_declined"), len(stands.moves())
    with a_phone(chromium, stands) as page:
        sign_in(page, stands, email)
        hold(page, stands)
        page.locator("#unlock button").press("Enter")
        expect(page.locator("#now h2")).to_have_text("The ride did not begin", timeout=SOON_MS)
        expect(page.locator("#now")).to_contain_text(
            "The card was declined. Nothing is charged. Add another card, or ask your bank."
        )
        assert stands.moves()[before:] == []
        fits(page)
        page.get_by_role("link", name="Add another card").press("Enter")
        expect(page.get_by_role("heading", name="Payment")).to_be_visible()


def test_a_page_without_network_says_since_when_and_comes_back(
    chromium: Browser, stands: OneVehicle
) -> None:
    email = a_rider(stands)
    with a_phone(chromium, stands, may_say="ERR_INTERNET_DISCONNECTED") as page:
        sign_in(page, stands, email)
        ride(page, stands)
        lost, clock = page.locator("#lost"), page.locator("#clock")
        expect(lost).to_be_hidden()
        page.context.set_offline(True)
        expect(lost).to_have_text(
            re.compile(r"^No connection\. The ride and its meter go on; .* at \d+:\d\d:\d\d")
        )
        fits(page)
        shown = clock.inner_text()
        expect(clock).not_to_have_text(shown)
        page.locator("#end-check").press("Enter")
        expect(page.locator("#end-answer")).to_contain_text("did not answer", timeout=SOON_MS)
        page.context.set_offline(False)
        expect(lost).to_be_hidden(timeout=SOON_MS)
        park_and_end(page, stands)


def test_a_page_that_nobody_looks_at_asks_for_nothing(
    chromium: Browser, stands: OneVehicle
) -> None:
    email = a_rider(stands)
    with a_phone(chromium, stands) as page:
        sign_in(page, stands, email)
        asked: list[str] = []
        page.on("request", lambda request: asked.append(request.url))
        page.clock.install()
        page.goto(f"{stands.url}/ride?near={52.52},{13.405}")
        page.clock.run_for(11_000)
        expect(page.locator("#around")).to_be_visible()
        assert sum("/ride/around" in url for url in asked) == 1
        hide = (
            "Object.defineProperty(document, 'visibilityState', {value: '%s', configurable: true})"
        )
        changed = "document.dispatchEvent(new Event('visibilitychange'))"
        page.evaluate(f"{hide % 'hidden'}; {changed}")
        page.clock.run_for(60_000)
        assert sum("/ride/around" in url for url in asked) == 1
        with page.expect_request("**/ride/around*"):
            page.evaluate(SEEN % "visible")


def test_an_answer_about_the_old_place_does_not_hide_the_new_one(
    chromium: Browser, stands: OneVehicle
) -> None:
    email = a_rider(stands)
    with a_phone(chromium, stands) as page:
        sign_in(page, stands, email)
        page.goto(f"{stands.url}/ride?near=52.52,13.405")
        late: list[Route] = []

        def keep(route: Route) -> None:
            late.append(route)

        page.route("**/ride/around*", keep, times=1)
        with page.expect_request("**/ride/around*"):
            page.evaluate(SEEN % "visible")
        drawn = page.locator("#drawn")
        before = drawn.text_content()
        page.locator("#map").press("ArrowUp")
        page.locator("#search-here").press("Enter")
        until("the new place is drawn", lambda: drawn.text_content() != before)
        after = drawn.text_content()
        with page.expect_response("**/ride/around?near=52.52%2C13.405") as answered:
            late[0].continue_()
        answered.value.finished()
        # When a question that was asked later is answered, the page has done with the late one.
        page.evaluate("fetch(location.href).then((answer) => answer.text())")
        assert drawn.text_content() == after


def test_the_same_troubles_are_told_in_german(chromium: Browser, stands: OneVehicle) -> None:
    email = a_rider(stands)
    with a_phone(chromium, stands, may_say=CONFLICT, locale="de-DE", color_scheme="dark") as page:
        sign_in(page, stands, email)
        ride(page, stands)
        page.locator("#pause-resume").press("Enter")
        expect(page.locator("#now h2")).to_have_text("Pause", timeout=SOON_MS)
        page.locator("#pause-resume").press("Enter")
        expect(page.locator("#now h2")).to_have_text("Unterwegs", timeout=SOON_MS)
        ride_to(stands, *OUTSIDE)
        page.locator("#end").press("Enter")
        expect(page.locator("#fee-text")).to_contain_text(
            "Stellen Sie um, oder beenden Sie hier für", timeout=SOON_MS
        )
        fits(page)
        ride_to(stands, *MARKET)
        page.locator("#end").press("Enter")
        answer = page.locator("#photo-answer")
        expect(answer).to_have_text("Es fehlt noch ein Foto.", timeout=SOON_MS)
        send_photo(page, a_bad_photo(2))
        expect(answer).to_have_text("Bitte noch ein Foto: es ist zu dunkel.", timeout=SOON_MS)
        fits(page)
        send_photo(page, a_photo())
        is_over(page)
