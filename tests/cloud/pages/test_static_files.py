"""What browsers may keep, and for how long."""

import re
from pathlib import Path

import httpx
import pytest
from fastapi import FastAPI

from cloud.pages.http import mount_static
from cloud.pages.static_files import STATIC, asset
from tests.cloud.pages.parts import a_browser

OWN = sorted(
    path
    for path in [*STATIC.glob("*"), *(STATIC.parent / "templates").glob("*")]
    if path.is_file() and path.suffix != ".svg"
)


@pytest.fixture
def browser() -> httpx.AsyncClient:
    app = FastAPI()
    mount_static(app)
    return a_browser(app)


async def test_the_present_version_may_be_kept_for_ever(browser: httpx.AsyncClient) -> None:
    answer = await browser.get(asset("fleet.js"))
    assert answer.status_code == 200
    assert answer.headers["cache-control"] == "public, max-age=31536000, immutable"
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert "javascript" in answer.headers["content-type"]


async def test_another_version_gets_the_present_file_but_must_ask_again(
    browser: httpx.AsyncClient,
) -> None:
    answer = await browser.get("/static/000000000000/fleet.js")
    assert answer.content == (STATIC / "fleet.js").read_bytes()
    assert answer.headers["cache-control"] == "no-cache"
    again = await browser.get(
        "/static/000000000000/fleet.js", headers={"If-None-Match": answer.headers["etag"]}
    )
    assert again.status_code == 304


@pytest.mark.parametrize("path", ["/static/x/../../http.py", "/static/x/%2e%2e/%2e%2e/http.py"])
async def test_nothing_outside_the_folder_is_served(browser: httpx.AsyncClient, path: str) -> None:
    assert (await browser.get(path)).status_code == 404


@pytest.mark.parametrize("path", OWN, ids=lambda path: path.name)
def test_our_own_files_name_no_foreign_origin(path: Path) -> None:
    # The namespace of SVG is a name; nobody asks there.
    text = path.read_text("utf-8").replace("http://www.w3.org/2000/svg", "")
    assert not re.search(r"(?:https?:)?//[\w-]+\.[a-z]", text)
