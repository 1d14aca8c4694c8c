"""Chromium at our pages: signed in, at two widths, with every stray request and complaint seen."""

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal, TypedDict, Unpack

import pytest
from playwright.sync_api import Browser, Page, Playwright, expect, sync_playwright

from cloud.pages import assets
from tests.browser import FLAGS, MISSING, find_chromium

Scheme = Literal["light", "dark"]
QUIET = (
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
)
WIDTHS = {"phone": (390, 844), "desktop": (1280, 900)}


class Looks(TypedDict, total=False):
    """How a page is looked at; `may_complain`: its console need not stay empty."""

    width: str
    scheme: Scheme
    may_complain: bool


@contextmanager
def a_chromium(home: Path) -> Iterator[Browser]:
    """The browser, or a skipped test where there is none."""
    path = find_chromium()
    if path is None:
        pytest.skip(MISSING)
    playwright: Playwright
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=path, args=[*FLAGS, *QUIET], env={**os.environ, "HOME": str(home)}
        )
        yield browser
        browser.close()


def sign_in(chromium: Browser, url: str, user: str, password: str) -> Any:
    """Sign in by the form; return what the browser remembers of it."""
    context = chromium.new_context()
    page = context.new_page()
    page.goto(url)
    page.get_by_label("User name").fill(user)
    page.get_by_label("Password").fill(password)
    page.get_by_role("button", name="Sign in").click()
    expect(page).to_have_url(url + "/")
    state = context.storage_state()
    context.close()
    return state


@contextmanager
def watching(
    chromium: Browser,
    url: str,
    path: str,
    state: Any,
    **looks: Unpack[Looks],
) -> Iterator[Page]:
    """A page whose every request stays at home and whose console stays empty."""
    across, down = WIDTHS[looks.get("width", "desktop")]
    context = chromium.new_context(
        viewport={"width": across, "height": down},
        color_scheme=looks.get("scheme", "light"),
        reduced_motion="reduce",
        storage_state=state,
    )
    page = context.new_page()
    strangers: list[str] = []
    complaints: list[str] = []
    page.on("request", lambda r: None if r.url.startswith(url) else strangers.append(r.url))
    page.on("console", lambda message: complaints.append(f"{message.type}: {message.text}"))
    page.on("pageerror", lambda error: complaints.append(str(error)))
    try:
        page.goto(url + path)
        yield page
    finally:
        context.close()
    assert not strangers, strangers
    if not looks.get("may_complain"):
        assert not complaints, complaints


def troubles(page: Page) -> list[str]:
    """What axe-core finds serious or critical."""
    source: Path = assets.NODE_MODULES / "axe-core" / "axe.min.js"
    page.evaluate(source.read_text("utf-8") + "; 0")
    found: dict[str, Any] = page.evaluate("axe.run()")
    return [
        f"{trouble['id']}: {json.dumps([node['html'] for node in trouble['nodes']])[:600]}"
        for trouble in found["violations"]
        if trouble["impact"] in {"serious", "critical"}
    ]
