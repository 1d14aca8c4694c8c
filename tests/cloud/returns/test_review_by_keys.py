"""Staff review a return in a browser: as wide as a phone, by keys alone, in two languages."""

import threading
from collections.abc import Iterator
from uuid import UUID

import pytest
import uvicorn
from fastapi import FastAPI
from playwright.sync_api import Browser, Page, expect

from cloud.pages import assets
from tests.cloud.returns.desk import app, decide, signed_in, waiting
from tests.cloud.returns.parts import Ending, a_photo
from tests.stories import browsing
from tests.stories.browsing import troubles

__all__ = ["app"]


@pytest.fixture(scope="module")
def chromium(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    assert assets.is_installed(), "run `python -m cloud.pages.assets` first"
    with browsing.a_chromium(tmp_path_factory.mktemp("browser")) as browser:
        yield browser


@pytest.fixture
def url(app: FastAPI) -> Iterator[str]:
    """Where the application is served to a real browser."""
    config = uvicorn.Config(app, host="127.0.0.1", port=0, log_level="warning", lifespan="off")
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        while not server.started:
            assert thread.is_alive()
        port = server.servers[0].sockets[0].getsockname()[1]
        yield f"http://127.0.0.1:{port}"
    finally:
        server.should_exit = True
        thread.join()


def fits(page: Page) -> None:
    across = page.evaluate("[document.documentElement.scrollWidth, window.innerWidth]")
    assert across[0] <= across[1]
    assert troubles(page) == []


@pytest.mark.story
@pytest.mark.slow
@pytest.mark.parametrize("scheme", ["dark"])
def test_a_person_works_through_the_queue_by_keys_on_a_phone(
    chromium: Browser, url: str, at_the_door: Ending, scheme: browsing.Scheme
) -> None:
    first, second = waiting(at_the_door, 1), waiting(at_the_door, 2)
    state = signed_in("operator")
    with browsing.watching(
        chromium, url, "/staff/review", state, width="phone", scheme=scheme
    ) as page:
        fits(page)
        page.get_by_role("link", name="booked-001").click()
        expect(page).to_have_url(f"{url}/staff/review/{first}")
        photo = page.get_by_role("img", name="Photo 1 of the parked vehicle")
        assert photo.evaluate("image => image.decode().then(() => image.naturalWidth)") == 640
        fits(page)
        page.keyboard.press("r")
        expect(page.get_by_label("Reason")).to_be_focused()
        page.keyboard.press("Enter")
        expect(page.get_by_role("alert")).to_contain_text("at least three characters")
        page.keyboard.type("rarely so crooked")
        page.keyboard.press("Enter")
        expect(page).to_have_url(f"{url}/staff/review/{second}")
        page.keyboard.press("Escape")
        expect(page.get_by_role("link", name="booked-001")).to_have_count(0)
        page.get_by_role("link", name="booked-002").click()
        page.get_by_label("Reason").fill("it stands well")
        page.get_by_role("button", name="Approve").click()
        expect(page.get_by_text("Nothing waits for a person.")).to_be_visible()
    found = at_the_door.db.execute(
        "SELECT rental_id::text, choice, reason, reviewer FROM returns.review ORDER BY at, id"
    ).fetchall()
    assert found == [
        (first, "reject", "rarely so crooked", "operator"),
        (second, "approve", "it stands well", "operator"),
    ]


@pytest.mark.story
@pytest.mark.slow
@pytest.mark.parametrize(
    ("language", "asked", "rejected"),
    [
        ("en", "asks for one more photo: both wheels", "Nothing is charged for it."),
        ("de", "bittet um ein weiteres Foto: both wheels", "Es kostet nichts."),
    ],
)
def test_a_rider_is_asked_for_one_more_photo_and_told_what_came_of_it(
    chromium: Browser, url: str, at_the_door: Ending, language: str, asked: str, rejected: str
) -> None:
    rental_id = waiting(at_the_door, 1)
    at_the_door.world.answer()
    decide(at_the_door, rental_id, "ask", "both wheels")
    path = f"/ride/rentals/{rental_id}?lang={language}"
    with browsing.watching(chromium, url, path, signed_in("rider"), width="phone") as page:
        said = page.locator("#pending")
        expect(said).to_contain_text(asked)
        fits(page)
        page.locator("#photo").set_input_files(
            files={"name": "wheels.jpg", "mimeType": "image/jpeg", "buffer": a_photo(9)}
        )
        expect(page.locator("#return")).to_be_hidden()
        expect(said).not_to_contain_text(asked)
        decide(at_the_door, rental_id, "reject", "it blocks a door")
        page.reload()
        expect(said).to_contain_text("it blocks a door")
        expect(said).to_contain_text(rejected)
        fits(page)
    assert at_the_door.world.payment(UUID(rental_id)) == ("captured", 1)
