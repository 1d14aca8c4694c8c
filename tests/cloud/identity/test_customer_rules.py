"""Addresses, languages, time zones, names, and what looks like a card's number."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cloud.identity.customer_rules import (
    NotValidError,
    canonical_email,
    canonical_language,
    check_name,
    check_time_zone,
    looks_like_card,
)


@pytest.mark.parametrize(
    ("typed", "kept"),
    [
        ("rita@example.org", "rita@example.org"),
        (" Rita.Rider+ride@Mail.Example.ORG ", "rita.rider+ride@mail.example.org"),
        ("o'neill@xn--strae-oqa.example", "o'neill@xn--strae-oqa.example"),
    ],
)
def test_an_address_is_kept_in_one_spelling(typed: str, kept: str) -> None:
    assert canonical_email(typed) == kept


@pytest.mark.parametrize(
    "typed",
    [
        "",
        "rita",
        "rita@",
        "@example.org",
        "rita@localhost",
        "rita@example.org\r\nBcc: everybody@example.org",
        "rita@example.org,eve@example.org",
        "Rita <rita@example.org>",
        "rita..r@example.org",
        "rita@-example.org",
        "rita@192.0.2.1",
        "ritä@example.org",
        "a" * 65 + "@example.org",
        "rita@" + "a." * 130 + "org",
    ],
)
def test_an_address_that_cannot_be_is_refused(typed: str) -> None:
    with pytest.raises(NotValidError, match=r"name@example\.org"):
        canonical_email(typed)


@given(st.text(max_size=300))
def test_whatever_is_typed_an_address_is_one_line_or_refused(typed: str) -> None:
    try:
        kept = canonical_email(typed)
    except NotValidError:
        return
    assert kept.isascii()
    assert not set(kept) & set("\r\n\t <>,;")
    assert canonical_email(kept) == kept


@pytest.mark.parametrize(
    ("typed", "kept"), [("de", "de"), ("PT-br", "pt-BR"), ("zh-hant-tw", "zh-Hant-TW")]
)
def test_a_language_is_kept_as_bcp_47_writes_it(typed: str, kept: str) -> None:
    assert canonical_language(typed) == kept


@pytest.mark.parametrize("typed", ["", "d", "german", "de_DE", "de-", "de\n"])
def test_a_language_that_is_no_tag_is_refused(typed: str) -> None:
    with pytest.raises(NotValidError, match="BCP 47"):
        canonical_language(typed)


def test_a_time_zone_is_one_of_iana_s() -> None:
    assert check_time_zone("Europe/Berlin") == "Europe/Berlin"
    for wrong in ("", "Berlin", "../../etc/passwd", "europe/berlin", "+01:00"):
        with pytest.raises(NotValidError, match="IANA"):
            check_time_zone(wrong)


def test_a_name_is_visible_and_of_a_length() -> None:
    assert check_name("  Søren Ångström-李 ") == "Søren Ångström-李"
    for wrong in ("", "  ", "a" * 101, "a\nb", "a\0b", "a\u202eb"):
        with pytest.raises(NotValidError):
            check_name(wrong)


# Test numbers that card schemes publish.
CARDS = [
    "4242424242424242",
    "5555555555554444",
    "378282246310005",
    "6011111111111117",
    "30569309025904",
    "3566002020360505",
    "6304000000000000",
    "4000000000000000006",
]


@pytest.mark.parametrize("number", CARDS)
@pytest.mark.parametrize("form", ["{}", "tok_{}", "{}x", "a.{}.b"])
def test_a_cards_number_is_seen_wherever_it_is(number: str, form: str) -> None:
    assert looks_like_card("visa", form.format(number))


@pytest.mark.parametrize(
    "printed",
    ["4242 4242 4242 4242", "4242-4242-4242-4242", "4242.4242.4242.4242", "3782 822463 10005"],
)
def test_a_cards_number_is_seen_as_it_is_printed(printed: str) -> None:
    assert looks_like_card(printed)


@pytest.mark.parametrize(
    "token",
    [
        "pm_1QxYz2AbCdEf3GhIjKl",
        "4242424242424241",
        "4242",
        "tok-visa",
        "0194f3c2-8b1e-7a4d-9c3f-2d6e8f1a5b7c",
        "0000000000000000",
    ],
)
def test_a_token_is_not_taken_for_a_card(token: str) -> None:
    assert not looks_like_card(token)


@given(st.uuids())
def test_hardly_any_uuid_is_taken_for_a_card(token: object) -> None:
    text = str(token)
    if not any(run.isdecimal() for run in text.split("-")):
        assert not looks_like_card(text)
