"""Signing in and out by form, as a browser without JavaScript does."""

import re
from collections.abc import Iterator
from datetime import timedelta
from urllib.parse import quote

import httpx
import pytest
from fastapi import FastAPI

from cloud.identity import api as identity
from cloud.kit.auth import SESSION_COOKIE, csrf_of
from cloud.kit.clock import ManualClock
from cloud.kit.db import Pool, open_pool
from cloud.pages.sign_in import FORM_COOKIE, own_path
from tests.cloud.identity.parts import PASSWORD, QUICK, an_account
from tests.cloud.pages.parts import a_browser, add_vehicle, an_app
from tests.cloud.signed_in import TOKEN_KEY

Browser = httpx.AsyncClient


@pytest.fixture
def pool(dsn: str, clock: ManualClock) -> Iterator[Pool]:
    with open_pool(dsn, max_size=2) as pool, pool.connection() as db:
        db.execute(
            "TRUNCATE identity.session, identity.attempts, identity.account,"
            " devices.device, fleet.vehicle, kit.event CASCADE"
        )
        an_account(db, clock)
        add_vehicle(db, "demo-001", clock.now())
        yield pool


@pytest.fixture
def app(pool: Pool, clock: ManualClock) -> FastAPI:
    app = an_app(pool, clock)
    tokens = identity.AccessTokens(TOKEN_KEY)
    app.state.identity = identity.SignIn(pool.connection, clock, tokens, passwords=QUICK)
    app.state.authenticate = app.state.identity.authenticate
    return app


@pytest.fixture
def browser(app: FastAPI) -> Browser:
    return a_browser(app, role="")


async def sign_in(
    browser: Browser, user: str = "ada", password: str = PASSWORD, wanted: str = "/"
) -> httpx.Response:
    """Open the form, fill it in, send it."""
    form = await browser.get(f"/sign-in?next={quote(wanted)}")
    fields = dict(re.findall(r'type="hidden" name="(\w+)" value="([^"]*)"', form.text))
    return await browser.post("/sign-in", data=fields | {"user": user, "password": password})


async def test_who_is_not_signed_in_is_led_to_the_form_and_back(browser: Browser) -> None:
    led = await browser.get("/vehicles/demo-001?range=5m")
    assert led.status_code == 303
    assert led.headers["location"] == "/sign-in?next=%2Fvehicles%2Fdemo-001%3Frange%3D5m"
    back = await sign_in(browser, wanted="/vehicles/demo-001?range=5m")
    assert (back.status_code, back.headers["location"]) == (303, "/vehicles/demo-001?range=5m")
    page = await browser.get(back.headers["location"])
    assert page.status_code == 200
    assert 'aria-label="Signed in as ada"' in page.text
    assert "operator" in page.text


async def test_the_cookie_is_kept_from_scripts_and_foreign_pages(browser: Browser) -> None:
    told = (await sign_in(browser)).headers.get_list("set-cookie")
    (cookie,) = [one for one in told if one.startswith(SESSION_COOKIE)]
    assert "HttpOnly" in cookie
    assert "SameSite=lax" in cookie
    assert "Max-Age=43200" in cookie
    assert "Secure" not in cookie


async def test_over_https_the_cookie_never_leaves_it(app: FastAPI) -> None:
    transport = httpx.ASGITransport(app)
    async with httpx.AsyncClient(transport=transport, base_url="https://pages") as browser:
        told = (await sign_in(browser)).headers.get_list("set-cookie")
    (cookie,) = [one for one in told if one.startswith(SESSION_COOKIE)]
    assert "Secure" in cookie


async def test_signing_out_ends_the_session_for_good(browser: Browser) -> None:
    await sign_in(browser)
    secret = browser.cookies[SESSION_COOKIE]
    out = await browser.post("/sign-out", data={"csrf": csrf_of(secret)})
    assert (out.status_code, out.headers["location"]) == (303, "/sign-in?out=1")
    assert SESSION_COOKIE not in browser.cookies
    assert "You are signed out." in (await browser.get(out.headers["location"])).text
    browser.cookies.set(SESSION_COOKIE, secret)
    assert (await browser.get("/")).status_code == 303


async def test_a_foreign_page_can_sign_nobody_out(browser: Browser) -> None:
    await sign_in(browser)
    refused = await browser.post("/sign-out")
    assert refused.status_code == 403
    assert "did not come from one of our pages" in refused.text
    assert (await browser.get("/")).status_code == 200


async def test_a_foreign_page_can_sign_nobody_in(browser: Browser) -> None:
    fields = {"user": "ada", "password": PASSWORD}
    refused = await browser.post("/sign-in", data=fields)
    assert refused.status_code == 403
    assert "cookies are blocked" in refused.text
    assert SESSION_COOKIE not in browser.cookies
    browser.cookies.set(FORM_COOKIE, "planted")
    refused = await browser.post("/sign-in", data=fields | {"csrf": csrf_of("other")})
    assert refused.status_code == 403


@pytest.mark.parametrize(
    ("user", "password", "status", "words"),
    [
        ("ada", "wrong password", 401, "User name and password do not match"),
        ("nobody", PASSWORD, 401, "User name and password do not match"),
        ("ada", "", 422, "Enter your user name and your password"),
        (" ", PASSWORD, 422, "Enter your user name and your password"),
    ],
)
async def test_what_is_wrong_is_said_above_the_form_and_the_name_is_kept(
    browser: Browser, user: str, password: str, status: int, words: str
) -> None:
    answer = await sign_in(browser, user, password)
    assert answer.status_code == status
    assert re.search(rf'role="alert">{words}', answer.text)
    assert f'name="user" value="{user}"' in answer.text
    assert password == "" or password not in answer.text
    assert SESSION_COOKIE not in browser.cookies


async def test_too_many_wrong_passwords_are_told_with_the_time_to_wait(
    browser: Browser, clock: ManualClock
) -> None:
    for _ in range(5):
        await sign_in(browser, password="wrong password")
    clock.advance(timedelta(minutes=5))
    answer = await sign_in(browser)
    assert (answer.status_code, answer.headers["retry-after"]) == (429, "600")
    assert "Try again in 10 minutes" in answer.text
    clock.advance(timedelta(minutes=10))
    assert (await sign_in(browser)).status_code == 303


async def test_who_is_signed_in_already_is_led_on(browser: Browser) -> None:
    await sign_in(browser)
    led = await browser.get("/sign-in?next=/docs")
    assert (led.status_code, led.headers["location"]) == (303, "/docs")


async def test_an_account_without_the_scope_sees_why(
    browser: Browser, pool: Pool, clock: ManualClock
) -> None:
    with pool.connection() as db:
        password = identity.add_account(
            db, "feed", clock.now(), scopes=["telemetry:read"], passwords=QUICK
        )
    await sign_in(browser, "feed", password)
    refused = await browser.get("/")
    assert refused.status_code == 403
    assert "vehicles:read" in refused.text
    assert "<html" in refused.text


async def test_a_part_of_a_page_that_renews_itself_leads_the_whole_page_to_the_form(
    browser: Browser,
) -> None:
    shown = {"HX-Request": "true", "HX-Current-URL": "http://pages/vehicles/demo-001?range=5m"}
    answer = await browser.get("/vehicles/demo-001/details", headers=shown)
    assert answer.status_code == 401
    assert answer.headers["hx-redirect"] == ("/sign-in?next=%2Fvehicles%2Fdemo-001%3Frange%3D5m")


async def test_pages_carry_the_csrf_token_of_their_session(browser: Browser) -> None:
    await sign_in(browser)
    token = csrf_of(browser.cookies[SESSION_COOKIE])
    text = (await browser.get("/")).text
    assert f'<meta name="csrf-token" content="{token}">' in text
    assert f'"X-CSRF-Token": "{token}"' in text


async def test_the_form_keeps_to_the_rules_of_all_pages(browser: Browser) -> None:
    answer = await browser.get("/sign-in")
    assert "unsafe" not in answer.headers["content-security-policy"]
    assert answer.headers["cache-control"] == "no-store"
    assert not re.search(r"<style|\sstyle=|\son\w+=|<script(?![^>]* src=)", answer.text)
    for told in ('autocomplete="username"', 'autocomplete="current-password"', 'for="password"'):
        assert told in answer.text
    for address in set(re.findall(r'(?:href|src)="([^"#]+)"', answer.text)) - {"/", "/sign-up"}:
        asked = f"/sign-in{address}" if address.startswith("?") else address
        assert (await browser.get(asked)).status_code == 200, address


@pytest.mark.parametrize("wanted", ["/", "/vehicles/demo-001?range=5m", "/docs", "/a//b"])
def test_a_path_of_ours_is_where_one_is_led(wanted: str) -> None:
    assert own_path(wanted) == wanted


@pytest.mark.parametrize(
    "wanted",
    [
        "",
        "https://evil.example/",
        "//evil.example/",
        "/\\evil.example/",
        "\\\\evil.example/",
        "/\t/evil.example/",
        "\n/docs",
        "javascript:alert(1)",
        "evil.example",
        "/sign-out",
        "/sign-in?next=/",
    ],
)
async def test_nobody_is_led_to_a_foreign_address(browser: Browser, wanted: str) -> None:
    assert own_path(wanted) == "/"
    assert (await sign_in(browser, wanted=wanted)).headers["location"] == "/"
