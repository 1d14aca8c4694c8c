"""Who goes astray gets a plain page, and a program a problem document still."""

from collections.abc import Iterator

import httpx
import pytest

from cloud.kit.clock import ManualClock
from cloud.kit.db import Pool, open_pool
from tests.cloud.pages.parts import a_browser, an_app

HTML = {"Accept": "text/html,application/xhtml+xml,*/*;q=0.8"}


@pytest.fixture
def pool(dsn: str) -> Iterator[Pool]:
    with open_pool(dsn, max_size=2) as pool:
        yield pool


@pytest.mark.parametrize(
    ("language", "words"), [("en", "There is no such page"), ("de", "Diese Seite gibt es nicht")]
)
@pytest.mark.parametrize("role", ["", "viewer", "customer"])
async def test_an_unknown_address_is_a_page(
    pool: Pool, clock: ManualClock, role: str, language: str, words: str
) -> None:
    browser = a_browser(an_app(pool, clock), role)
    answer = await browser.get("/nope", headers=HTML | {"Accept-Language": language})
    assert answer.status_code == 404
    assert f"<h1>{words}</h1>" in answer.text
    assert "/staff/map" not in answer.text


@pytest.mark.parametrize(
    ("path", "headers"), [("/nope", {"Accept": "application/json"}), ("/api/v1/nope", HTML)]
)
async def test_a_program_gets_a_problem_document(
    pool: Pool, clock: ManualClock, path: str, headers: dict[str, str]
) -> None:
    answer = await a_browser(an_app(pool, clock)).get(path, headers=headers)
    assert answer.status_code == 404
    assert answer.headers["content-type"] == "application/problem+json"


async def test_a_customer_on_a_page_of_staff_sees_nothing_of_staff(
    pool: Pool, clock: ManualClock
) -> None:
    browser: httpx.AsyncClient = a_browser(an_app(pool, clock), "customer")
    answer = await browser.get("/staff/rentals", headers=HTML | {"Accept-Language": "de"})
    assert answer.status_code == 403
    assert "Diese Seite ist für das Team" in answer.text
    for staffs in ("/staff/", "/devices", "Fleet"):
        assert staffs not in answer.text
