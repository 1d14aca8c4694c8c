"""Links in mail, as whoever opens them on another device meets them: confirming, a new password."""

import re
from collections.abc import Iterator
from uuid import uuid4

import httpx
import pytest
from playwright.sync_api import Browser, expect

from cloud.kit.db import connect
from cloud.pages import assets
from tests.stories import browsing
from tests.stories.one_vehicle import OneVehicle
from tests.stories.riding import (
    PASSWORD,
    SOON_MS,
    a_house,
    a_phone,
    a_rider,
    dsn_of,
    fits,
    sign_in,
    token_in_mail,
    wish,
)

pytestmark = [pytest.mark.story, pytest.mark.slow]

NEW_PASSWORD = "another password of the story"
REFUSED = r"(404 \(Not Found\)|410 \(Gone\)|422 \(Unprocessable|401 \(Unauthorized)"


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


def signed_up(house: OneVehicle) -> tuple[str, str]:
    """Somebody who has signed up and looks into the mailbox: the address and the link's token."""
    email = f"{uuid4().hex}@example.org"
    httpx.post(f"{house.url}/api/v1/auth/sign-up", json=wish(email)).raise_for_status()
    return email, token_in_mail(house, email, "/verify")


def test_a_link_opened_on_another_device_asks_for_the_password_and_confirms(
    chromium: Browser, house: OneVehicle
) -> None:
    email, token = signed_up(house)
    with a_phone(chromium, house, may_say=REFUSED) as page:
        page.goto(f"{house.url}/verify#token={token}")
        expect(page.get_by_text(email)).to_have_count(0)
        page.get_by_label("Password").fill("not the password of the sign-up")
        page.keyboard.press("Enter")
        trouble = page.locator("#verify .trouble")
        expect(trouble).to_contain_text("not the password you signed up with", timeout=SOON_MS)
        fits(page)
        page.get_by_label("Password").fill(PASSWORD)
        page.keyboard.press("Enter")
        expect(page.get_by_text("Your address is confirmed")).to_be_visible(timeout=SOON_MS)
    with a_phone(chromium, house) as page:
        sign_in(page, house, email)
    # The same link again says that there is nothing left to do but to sign in.
    with a_phone(chromium, house, may_say=REFUSED) as page:
        page.goto(f"{house.url}/verify#token={token}")
        page.get_by_label("Password").fill(PASSWORD)
        page.keyboard.press("Enter")
        expect(page.locator("#verify .trouble")).to_have_text(
            "Your address is confirmed already. Sign in.", timeout=SOON_MS
        )
        page.get_by_role("link", name="I have an account").press("Enter")
        expect(page.get_by_role("heading", name="Sign in")).to_be_visible()


def test_an_expired_link_leads_to_a_fresh_one_and_says_nothing_of_other_addresses(
    chromium: Browser, house: OneVehicle
) -> None:
    email, token = signed_up(house)
    with connect(dsn_of(house)) as db:
        query = "UPDATE identity.sign_up SET expires_at = asked_at WHERE email = %s"
        db.execute(query, (email,))
    with a_phone(chromium, house, may_say=REFUSED) as page:
        page.goto(f"{house.url}/verify#token={token}")
        page.get_by_label("Password").fill(PASSWORD)
        page.keyboard.press("Enter")
        trouble = page.locator("#verify .trouble")
        expect(trouble).to_contain_text("This link has expired", timeout=SOON_MS)
        fits(page)
        answers = []
        for address in ("nobody@example.org", email):
            page.locator("#resend-email").fill(address)
            page.get_by_role("button", name="Send the mail again").press("Enter")
            said = page.locator("#resend [data-said]")
            expect(said).to_contain_text("mail is on its way", timeout=SOON_MS)
            answers.append(said.inner_text())
        assert answers[0] == answers[1]
        fits(page)
        page.goto(f"{house.url}/outbox")
        page.goto(f"{house.url}/verify#token={token_in_mail(house, email, '/verify')}")
        page.get_by_label("Password").fill(PASSWORD)
        page.keyboard.press("Enter")
        expect(page.get_by_text("Your address is confirmed")).to_be_visible(timeout=SOON_MS)


def test_a_link_that_is_cut_off_or_foreign_says_what_to_do(
    chromium: Browser, house: OneVehicle
) -> None:
    with a_phone(chromium, house, may_say=REFUSED) as page:
        page.goto(f"{house.url}/verify")
        expect(page.get_by_text("Open the link of the mail, whole")).to_be_visible()
        expect(page.get_by_role("button", name="Confirm")).to_be_disabled()
        expect(page.get_by_role("button", name="Send the mail again")).to_be_visible()
        fits(page)
        page.goto("about:blank")
        page.goto(f"{house.url}/verify#token=xyz")
        page.get_by_label("Password").fill(PASSWORD)
        page.keyboard.press("Enter")
        expect(page.locator("#verify .trouble")).to_contain_text("not", timeout=SOON_MS)
        expect(page.get_by_role("button", name="Send the mail again")).to_be_visible()


@pytest.mark.parametrize("language", ["en", "de"])
def test_a_lost_password_is_chosen_anew_and_other_devices_are_signed_out(
    chromium: Browser, house: OneVehicle, language: str
) -> None:
    email = a_rider(house)
    told = {
        "en": ("Forgot your password?", "If there is an account with this address", "is changed"),
        "de": ("Passwort vergessen?", "Gibt es ein Konto mit dieser Adresse", "ist geändert"),
    }[language]
    with (
        a_phone(chromium, house, may_say=r"\b401\b") as other,  # its page asks on, signed out
        a_phone(chromium, house, may_say=REFUSED, locale=language) as page,
    ):
        sign_in(other, house, email)
        page.goto(f"{house.url}/sign-in?next=/ride")
        page.get_by_role("link", name=told[0]).press("Enter")
        fits(page)
        for address in (f"{uuid4().hex}@example.org", email):
            page.goto(f"{house.url}/forgot-password")
            page.locator("#email").fill(address)
            page.keyboard.press("Enter")
            expect(page.get_by_text(told[1])).to_be_visible(timeout=SOON_MS)
        fits(page)
        token = token_in_mail(house, email, "/reset-password")
        page.goto(f"{house.url}/reset-password#token={token}")
        fits(page)
        page.locator("#password").fill(NEW_PASSWORD)
        page.keyboard.press("Enter")
        expect(page.get_by_text(told[2])).to_be_visible(timeout=SOON_MS)
        sign_in(page, house, email, NEW_PASSWORD)
        other.goto(f"{house.url}/ride")
        expect(other).to_have_url(re.compile("/sign-in"))


def test_a_used_link_to_a_new_password_leads_to_another_one(
    chromium: Browser, house: OneVehicle
) -> None:
    email = a_rider(house)
    api = f"{house.url}/api/v1/auth"
    httpx.post(f"{api}/forgot-password", json={"email": email}).raise_for_status()
    token = token_in_mail(house, email, "/reset-password")
    chosen = {"token": token, "password": NEW_PASSWORD}
    httpx.post(f"{api}/reset-password", json=chosen).raise_for_status()
    with a_phone(chromium, house, may_say=REFUSED) as page:
        page.goto(f"{house.url}/reset-password#token={token}")
        page.locator("#password").fill("a third password of the story")
        page.keyboard.press("Enter")
        expect(page.locator("#reset .trouble")).to_contain_text(
            "This link has been used", timeout=SOON_MS
        )
        fits(page)
        page.get_by_role("link", name="Ask for another link").press("Enter")
        expect(page.get_by_role("button", name="Send the link")).to_be_visible()
