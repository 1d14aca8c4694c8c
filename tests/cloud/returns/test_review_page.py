"""The pages on which staff review returns: what they say, and to whom."""

import re

from fastapi import FastAPI

from tests.cloud.pages.parts import a_browser
from tests.cloud.returns.desk import app, decide, waiting
from tests.cloud.returns.parts import Ending

__all__ = ["app"]


def plain(text: str) -> str:
    return " ".join(re.sub(r"<[^>]+>", " ", text).split())


async def read(app: FastAPI, path: str, role: str = "operator") -> tuple[int, str]:
    async with a_browser(app, role) as browser:
        answer = await browser.get(path)
    return answer.status_code, answer.text


async def test_the_queue_tells_why_and_until_when(app: FastAPI, at_the_door: Ending) -> None:
    assert "Nothing waits for a person." in (await read(app, "/staff/review"))[1]
    waiting(at_the_door, 1)
    _, text = await read(app, "/staff/review")
    assert "booked-001 its place is known too badly 48 h left" in plain(text)
    _, german = await read(app, "/staff/review?lang=de")
    assert "booked-001 sein Ort ist zu ungenau noch 48 Std." in plain(german)


async def test_one_return_is_shown_whole(app: FastAPI, at_the_door: Ending) -> None:
    rental_id = waiting(at_the_door, 1)
    status, text = await read(app, f"/staff/review/{rental_id}")
    assert status == 200
    told = plain(text)
    for words in ("Verifier rules-1, by rules", "the bay Centre", "± 80 m", "inside a bay"):
        assert words in told
    assert f'src="/api/v1/reviews/{rental_id}/photos/' in text
    assert '<path class="outline" d="M' in text


async def test_a_decided_return_has_no_form_and_an_unknown_one_no_page(
    app: FastAPI, at_the_door: Ending
) -> None:
    rental_id = waiting(at_the_door, 1)
    assert 'id="choose"' in (await read(app, f"/staff/review/{rental_id}"))[1]
    decide(at_the_door, rental_id, "reject", "blocks a door")
    _, text = await read(app, f"/staff/review/{rental_id}")
    assert 'id="choose"' not in text
    assert "Reject . blocks a door" in plain(text)
    status, _ = await read(app, "/staff/review/00000000-0000-4000-8000-000000000000")
    assert status == 404
    assert (await read(app, "/staff/review", "viewer"))[0] == 403
