"""Staff's header and tables on a phone: nothing lies over anything, no word is broken."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Page

from cloud.pages.render import templates
from cloud.pages.static_files import STATIC
from tests.cloud.signed_in import a_principal
from tests.stories import browsing

TABLE = """<div class="staff-rental"><section class="card"><table class="told-times"><tbody>
<tr><td><time>2026-11-24 20:24:45 UTC</time></td><th scope="row">end requested</th>
<td>52.52000, 13.40500</td><td>authorised</td></tr></tbody></table></section></div>"""


@pytest.fixture
def page(tmp_path: Path) -> Iterator[Page]:
    with browsing.a_chromium(tmp_path) as browser:
        page = browser.new_page(viewport={"width": 390, "height": 844})
        feed = '<span class="feed" data-state="live"><i class="dot"></i><span>Live</span></span>'
        source = (
            '{% extends "base.html" %}{% block feed %}'
            f"{feed}{{% endblock %}}{{% block main %}}{TABLE}{{% endblock %}}"
        )
        html = templates.from_string(source).render(who=a_principal(), csrf="", section="fleet")
        css = "".join((STATIC / name).read_text() for name in ("app.css", "map.css"))
        page.set_content(re.sub(r"<link[^>]*>", "", html) + f"<style>{css}</style>")
        yield page


def test_every_page_of_staff_is_in_sight_and_nothing_lies_over_it(page: Page) -> None:
    feed = page.locator(".feed").bounding_box()
    assert feed is not None
    links = page.locator("nav a").all()
    assert len(links) == 6
    for link in links:
        box = link.bounding_box()
        assert box is not None
        assert box["x"] >= 0
        assert box["x"] + box["width"] <= 390
        apart = box["y"] >= feed["y"] + feed["height"] or box["x"] + box["width"] <= feed["x"]
        assert apart, f"{link.inner_text()} under {feed}"
    assert page.evaluate("document.documentElement.scrollWidth") <= 390


def test_tables_do_not_break_inside_words(page: Page) -> None:
    # A word that is whole has one box; a broken one has two.
    broken = page.evaluate(
        """() => [...document.querySelectorAll("td, th")].flatMap((cell) => {
          const walker = document.createTreeWalker(cell, NodeFilter.SHOW_TEXT), found = [];
          for (let text; (text = walker.nextNode());)
            for (const word of text.data.matchAll(/[\\w.:]+/g)) {
              const range = document.createRange();
              range.setStart(text, word.index);
              range.setEnd(text, word.index + word[0].length);
              if (range.getClientRects().length > 1) found.push(word[0]);
            }
          return found;
        })"""
    )
    assert broken == []
