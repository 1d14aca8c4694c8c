"""The customer's words: every one in every language, with the same placeholders."""

import re
import string
from pathlib import Path

import pytest

from cloud.kit.money import Money
from cloud.pages import ride_view, ride_words
from cloud.pages.problem_words import PROBLEMS, REASONS
from cloud.pages.ride_words import Words, accepted, chosen, walk_minutes


def holes(text: str) -> set[str]:
    return {name for _, name, _, _ in string.Formatter().parse(text) if name}


@pytest.mark.parametrize("table", [ride_words._WORDS, PROBLEMS, REASONS])
def test_every_word_has_the_same_placeholders_in_every_language(
    table: dict[str, tuple[str, ...]],
) -> None:
    for key, texts in table.items():
        assert len(texts) == len(ride_words.LANGUAGES), key
        assert len({frozenset(holes(text)) for text in texts}) == 1, key


@pytest.mark.parametrize(
    ("amount", "english", "german"),
    [
        (Money(125, "EUR"), "€1.25", "1,25\u00a0€"),
        (Money(-5, "EUR"), "-€0.05", "-0,05\u00a0€"),
        (Money(300, "JPY"), "JPY 300", "300\u00a0JPY"),
    ],
)
def test_money_is_written_as_people_write_it(amount: Money, english: str, german: str) -> None:
    assert Words("en").money(amount) == english
    assert Words("de").money(amount) == german


@pytest.mark.parametrize(
    ("header", "language"),
    [
        ("de-AT,en;q=0.5", "de"),
        ("fr, en;q=0.3, de;q=0.8", "de"),
        ("fr", None),
        ("", None),
        ("de;q=x, en", "en"),
    ],
)
def test_a_browser_gets_the_language_it_likes_best(header: str, language: str | None) -> None:
    assert accepted(header) == language


def test_what_is_asked_for_goes_before_what_is_liked() -> None:
    assert chosen("de", "en") == "de"
    assert chosen("xx", None, "de-CH") == "de"
    assert chosen(None) == "en"


def test_walking_is_a_straight_line_and_a_detour_at_a_walking_pace() -> None:
    assert [walk_minutes(m) for m in (0, 60, 61, 600)] == [1, 1, 2, 10]


def test_a_duration_reads_like_a_clock() -> None:
    assert [ride_view.clock(s) for s in (0, 61.9, 3_600)] == ["0:00", "1:01", "1:00:00"]


PAGES = Path(ride_words.__file__).parent
SCRIPTS = ("forms.js", "find.js", "hold.js", "rental.js")


def test_templates_ask_only_for_words_that_there_are() -> None:
    # Staff's pages have words of their own (`review_words`).
    texts = [
        file.read_text("utf-8")
        for file in (PAGES / "templates").glob("*.html")
        if "review" not in file.name
    ]
    keys = {key for text in texts for key in re.findall(r"\bt\(\"(\w+)\"[,)]", text)}
    assert len(keys) > 80
    assert keys - ride_words._WORDS.keys() == set()


def test_scripts_say_only_what_the_page_gave_them() -> None:
    base = (PAGES / "templates" / "ride_base.html").read_text("utf-8")
    found = re.search(r"t\.script\((.+?)\)", base)
    assert found is not None
    given = set(re.findall(r"\"(\w+)\"", found[1]))
    texts = [(PAGES / "static" / name).read_text("utf-8") for name in SCRIPTS]
    said = {key for text in texts for key in re.findall(r"say\(\"(\w+)\"", text)}
    assert len(said) > 10
    assert said - given == set()
    assert given - ride_words._WORDS.keys() == set()
