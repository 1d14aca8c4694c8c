"""A value changed at the battery appears on the page: every part real, watched by Chromium."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import pairwise
from typing import Unpack

import pytest
from playwright.sync_api import Browser, Page, expect

from cloud.pages import assets
from tests.stories import browsing
from tests.stories.browsing import Looks, Scheme, troubles
from tests.stories.one_vehicle import OneVehicle

pytestmark = [pytest.mark.story, pytest.mark.slow]

SOON_MS = 15_000
OUTAGE_MS = 17_000
HOLE_PX = 12
MINUS = "\N{MINUS SIGN}"


@pytest.fixture(scope="module")
def chromium(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    with browsing.a_chromium(tmp_path_factory.mktemp("browser")) as browser:
        yield browser


@pytest.fixture(scope="module")
def house(chromium: Browser, tmp_path_factory: pytest.TempPathFactory) -> Iterator[OneVehicle]:
    assert assets.is_installed(), "run `python -m cloud.pages.assets` first"
    with OneVehicle(tmp_path_factory.mktemp("house")) as house:
        yield house


@contextmanager
def watching(
    chromium: Browser, house: OneVehicle, path: str, **more: Unpack[Looks]
) -> Iterator[Page]:
    """A page of somebody who signed in by the form, once."""
    if house.browser_state is None:
        house.browser_state = browsing.sign_in(chromium, house.url, *house.login)
    with browsing.watching(chromium, house.url, path, house.browser_state, **more) as page:
        yield page


def row(page: Page, house: OneVehicle) -> str:
    return f'tr[data-id="{house.device}"]'


def test_a_value_changed_at_the_shim_appears_on_the_fleet_page(
    chromium: Browser, house: OneVehicle
) -> None:
    with watching(chromium, house, "/") as page:
        page.evaluate("window.loadedOnce = true")
        voltage = page.locator(f"{row(page, house)} .c-voltage .value")
        for volts in (40.1, 38.25):
            house.set(voltage_v=volts)
            expect(voltage).to_have_text(f"{volts:.2f} V", timeout=SOON_MS)
        house.set(current_a=-7.5)
        current = page.locator(f"{row(page, house)} .c-current .value")
        expect(current).to_have_text(f"{MINUS}7.50 A", timeout=SOON_MS)
        expect(page.locator(f"{row(page, house)} .age")).to_have_text(re.compile(r"^\d s ago$"))
        expect(page.locator("#feed")).to_have_text("Live")
        assert page.evaluate("window.loadedOnce") is True


def test_a_value_changed_at_the_shim_appears_on_its_vehicle_page_and_chart(
    chromium: Browser, house: OneVehicle
) -> None:
    with watching(chromium, house, f"/vehicles/{house.device}") as page:
        house.set(voltage_v=40.1)
        value = page.locator("#tile-voltage .value")
        expect(value).to_have_text("40.10 V", timeout=SOON_MS)
        canvas = page.locator('[data-chart="voltage"] canvas')
        expect(canvas).to_be_visible()
        expect_at_the_right_end(page, "voltage", "40.10 V")
        house.set(voltage_v=36.5)
        expect(value).to_have_text("36.50 V", timeout=SOON_MS)
        expect_at_the_right_end(page, "voltage", "36.50 V")
        for key, colour in (("soc", 1), ("voltage", 2), ("current", 3), ("temperature", 4)):
            assert drawn(page, key, f"--chart-{colour}"), f"{key} is not drawn"


def test_the_chart_begins_with_what_was_there_before_the_page(
    chromium: Browser, house: OneVehicle
) -> None:
    house.set(voltage_v=30.03)
    with watching(chromium, house, f"/vehicles/{house.device}") as page:
        expect(page.locator("#tile-voltage .value")).to_have_text("30.03 V", timeout=SOON_MS)
    with watching(chromium, house, f"/vehicles/{house.device}") as page:
        expect(page.locator('[data-chart="voltage"] canvas')).to_be_visible()
        asked = page.evaluate(
            "performance.getEntriesByType('resource').map((entry) => entry.name)"
            ".filter((name) => name.includes('/range?') && name.includes('voltage_v'))"
        )
        assert len(asked) == 1
        points = page.evaluate("(url) => fetch(url).then((a) => a.json())", asked[0])["points"]
        assert 30.03 in [point["min"] for point in points]


def test_an_outage_is_told_greyed_out_and_left_open_in_the_chart(
    chromium: Browser, house: OneVehicle
) -> None:
    house.set(current_a=-7.5)
    with watching(chromium, house, f"/vehicles/{house.device}?range=5m") as page:
        doing, notice = page.locator("#vehicle .doing"), page.locator("#vehicle .notice")
        expect(doing).to_have_text("riding", timeout=SOON_MS)
        fresh = colours(page)
        house.fall_silent()
        try:
            expect(page.locator(".title .word")).to_have_text("Offline", timeout=4 * SOON_MS)
            expect(doing).to_have_text("last known")
            expect(notice).to_have_text("These are the last known values, not the present ones.")
            assert not set(colours(page)) & set(fresh)
            page.wait_for_timeout(OUTAGE_MS)
        finally:
            house.speak()
        expect(doing).to_have_text("riding", timeout=4 * SOON_MS)
        expect(notice).to_be_hidden()
        assert colours(page) == fresh
        expect_hole(page, "voltage", "--chart-2")
    with watching(chromium, house, f"/vehicles/{house.device}?range=5m") as page:
        expect_hole(page, "voltage", "--chart-2")


def test_the_range_of_the_charts_is_chosen_by_keyboard_and_kept_in_the_address(
    chromium: Browser, house: OneVehicle
) -> None:
    with watching(chromium, house, f"/vehicles/{house.device}") as page:
        expect(page.locator("#zone")).to_have_text(re.compile("^local time, "))
        page.get_by_label("1 h").focus()
        for key, place in (("ArrowLeft", "?range=15m"), ("ArrowLeft", "?range=5m")):
            with page.expect_response(lambda answer: "/range?" in answer.url) as answer:
                page.keyboard.press(key)
            assert answer.value.ok
            assert page.url.endswith(place)
        page.reload()
        expect(page.get_by_label("5 min", exact=True)).to_be_checked()
        expect(page.locator('[data-chart="voltage"] canvas')).to_be_visible()
        page.get_by_label("1 h", exact=True).check()
        assert page.url.endswith(f"/vehicles/{house.device}")


def test_details_renew_themselves(chromium: Browser, house: OneVehicle) -> None:
    with watching(chromium, house, f"/vehicles/{house.device}") as page:
        through = page.locator('#details .lanes tr:has(th:text-is("signal")) td').nth(1)
        before = through.inner_text()
        expect(through).not_to_have_text(before, timeout=SOON_MS)
        assert int(through.inner_text().replace(",", "")) > int(before.replace(",", ""))


def test_a_vehicle_added_while_watching_appears(chromium: Browser, house: OneVehicle) -> None:
    with watching(chromium, house, "/") as page:
        house.add("story-late", "/dev/null")
        late = page.locator('tr[data-id="story-late"]')
        expect(late).to_be_visible(timeout=SOON_MS)
        expect(late.locator(".word")).to_have_text("Offline")
        expect(late.locator(".age")).to_have_text("never")
        expect(page.locator('[data-count="offline"]')).not_to_have_text("0")
        page.get_by_text("Offline only").click()
        expect(page.locator(row(page, house))).to_be_hidden()
        expect(late).to_be_visible()
        assert page.url.endswith("/?offline=1")
        page.get_by_label("Find a vehicle").fill("nobody")
        expect(page.get_by_text("No vehicle fits.")).to_be_visible()
        page.get_by_role("button", name="Show all").click()
        expect(page.locator(row(page, house))).to_be_visible()
        page.get_by_role("button", name="Vehicle").click()
        assert page.locator("#rows tr").first.get_attribute("data-id") == "story-late"


def test_a_lost_connection_is_told_and_mended(chromium: Browser, house: OneVehicle) -> None:
    with watching(chromium, house, "/", may_complain=True) as page:
        expect(page.locator("#feed")).to_have_text("Live")
        house.stop_serving()
        try:
            expect(page.locator("#feed")).to_have_text("Reconnecting…", timeout=SOON_MS)
            expect(page.locator("#lost")).to_contain_text("Connection lost, reconnecting.")
        finally:
            house.serve()
        expect(page.locator("#feed")).to_have_text("Live", timeout=2 * SOON_MS)
        expect(page.locator("#lost")).to_be_hidden()
        house.set(voltage_v=39.99)
        voltage = page.locator(f"{row(page, house)} .c-voltage .value")
        expect(voltage).to_have_text("39.99 V", timeout=4 * SOON_MS)


@pytest.mark.parametrize(("width", "scheme"), [("phone", "light"), ("desktop", "dark")])
@pytest.mark.parametrize("path", ["/", "/?q=nobody", "/vehicles/story-001", "/vehicles/none"])
def test_pages_fit_and_are_accessible(
    chromium: Browser, house: OneVehicle, path: str, width: str, scheme: Scheme
) -> None:
    missing = path == "/vehicles/none"
    with watching(chromium, house, path, width=width, scheme=scheme, may_complain=missing) as page:
        if not missing:
            expect(page.locator("#feed")).to_have_text("Live")
        if path == "/vehicles/story-001":
            expect(page.locator('[data-chart="temperature"] canvas')).to_be_visible()
        across = page.evaluate("[document.documentElement.scrollWidth, window.innerWidth]")
        assert across[0] <= across[1]
        header = page.locator("header.top").bounding_box()
        assert header is not None
        assert header["width"] == across[1]
        assert troubles(page) == []
        ground = page.evaluate("getComputedStyle(document.body).backgroundColor")
        assert (sum(map(int, re.findall(r"\d+", ground))) < 150) == (scheme == "dark")


def test_nothing_inline_runs(chromium: Browser, house: OneVehicle) -> None:
    with watching(chromium, house, "/", may_complain=True) as page:
        page.evaluate(
            "const s = document.createElement('script'); s.textContent = 'window.ran = true';"
            "document.head.append(s);"
        )
        assert page.evaluate("window.ran") is None


def test_the_api_is_described_with_local_files(chromium: Browser, house: OneVehicle) -> None:
    with watching(chromium, house, "/docs") as page:
        expect(page.locator("#api .opblock-summary-path").first).to_be_visible(timeout=SOON_MS)
        assert "/api/v1/live" in page.locator("#api").inner_text().replace("\u200b", "")


def expect_at_the_right_end(page: Page, key: str, text: str) -> None:
    """Rest the pointer at the chart's right end; what it says there arrives within seconds."""
    plot = page.locator(f'[data-chart="{key}"] .u-over')
    plot.scroll_into_view_if_needed()
    box = plot.bounding_box()
    assert box is not None
    page.mouse.move(box["x"] + box["width"] / 2, box["y"] + 20)
    page.mouse.move(box["x"] + box["width"] - 0.5, box["y"] + 20)
    told = re.compile(rf"^\d\d:\d\d:\d\d · {re.escape(text)}$")
    expect(page.locator(f'[data-chart="{key}"] .at')).to_have_text(told, timeout=4 * SOON_MS)


def colours(page: Page) -> list[str]:
    """Colours of the bar and of the value of the charge."""
    found: list[str] = page.evaluate(
        """[
          getComputedStyle(document.querySelector("#tile-soc .fill")).fill,
          getComputedStyle(document.querySelector("#tile-soc .value")).color,
        ]"""
    )
    return found


def expect_hole(page: Page, key: str, colour: str) -> None:
    """Wait until the line is broken by more than the space between its strokes."""
    for _ in range(4 * SOON_MS // 1000):
        columns = drawn(page, key, colour)
        if max((b - a for a, b in pairwise(columns)), default=0) > HOLE_PX:
            return
        page.wait_for_timeout(1000)
    pytest.fail(f"{key} is drawn as if there had been no outage")


def drawn(page: Page, key: str, colour: str) -> list[int]:
    """Columns of the chart's pixels that have the colour of its line."""
    columns: list[int] = page.evaluate(
        """([key, name]) => {
          const style = getComputedStyle(document.documentElement);
          const hex = style.getPropertyValue(name).trim();
          const wanted = [1, 3, 5].map((i) => parseInt(hex.slice(i, i + 2), 16));
          const canvas = document.querySelector(`[data-chart="${key}"] canvas`);
          if (!canvas) return [];
          const { width, height } = canvas;
          const { data } = canvas.getContext("2d").getImageData(0, 0, width, height);
          const found = new Set();
          for (let i = 0; i < data.length; i += 4) {
            const near = wanted.every((w, k) => Math.abs(data[i + k] - w) < 24);
            if (data[i + 3] > 200 && near) found.add((i / 4) % width);
          }
          return [...found].sort((a, b) => a - b);
        }""",
        [key, colour],
    )
    return columns
