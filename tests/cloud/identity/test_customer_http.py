"""Signing up, `/api/v1/me` and consents as a customer's phone meets them."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import uuid4

import httpx
import pytest
from fastapi import FastAPI
from psycopg.errors import RestrictViolation

from cloud.identity import api, customer_http
from cloud.identity.http import router
from cloud.identity.reactions import Post, subscribers
from cloud.identity.sign_up import LinkUsedError
from cloud.kit.clock import ManualClock
from cloud.kit.db import Pool, open_pool
from cloud.kit.events import register, run_due
from cloud.kit.http import install_problems
from cloud.kit.scope import DEMO
from tests.cloud.identity.customers_parts import URL, Mailbox
from tests.cloud.identity.parts import HERE, PASSWORD, QUICK, an_account
from tests.cloud.signed_in import TOKEN_KEY

EMAIL = "rita@example.org"
AGREED = [{"document": "terms", "version": "1"}, {"document": "privacy", "version": "1"}]
WISH = {
    "email": EMAIL,
    "password": PASSWORD,
    "name": "Rita Rider",
    "language": "de",
    "time_zone": "Europe/Berlin",
    "consents": AGREED,
}
CARD = {"provider": "sandbox", "token": "tok_visa_ok", "last4": "4242", "brand": "Visa"}
Headers = dict[str, str]


@dataclass
class Phone:
    """A program that speaks to the API, and the mailbox beside it."""

    client: httpx.AsyncClient
    pool: Pool
    clock: ManualClock
    post: Post
    mailbox: Mailbox
    sign_up: api.SignUp

    async def ask(self, **other: Any) -> httpx.Response:
        return await self.client.post("/auth/sign-up", json={**WISH, **other})

    def mail(self) -> str:
        """Deliver what is owed and return the token of the newest mail."""
        with self.pool.connection() as db:
            run_due(db, subscribers(self.post), self.clock.now())
        return self.mailbox.sent[-1].token

    async def customer(self, email: str = EMAIL) -> Headers:
        """Sign up, follow the link, and return what a request shows."""
        assert (await self.ask(email=email)).status_code == 202
        answer = await self.client.post("/auth/verify", json={"token": self.mail()})
        assert answer.status_code == 200, answer.text
        return {"Authorization": f"Bearer {answer.json()['access_token']}"}

    async def post_to(self, path: str, body: Any, who: Headers, key: str = "") -> httpx.Response:
        keyed = {**who, "Idempotency-Key": key or str(uuid4())}
        return await self.client.post(path, json=body, headers=keyed)

    async def get(self, path: str, who: Headers) -> Any:
        answer = await self.client.get(path, headers=who)
        assert answer.status_code == 200, answer.text
        return answer.json()


@pytest.fixture
def phone(dsn: str, clock: ManualClock) -> Iterator[Phone]:
    with open_pool(dsn, max_size=4) as pool:
        with pool.connection() as db:
            db.execute("TRUNCATE identity.attempts, identity.account, identity.sign_up CASCADE")
            db.execute("DELETE FROM pgqueuer.pgqueuer")
            an_account(db, clock)
        app = FastAPI()
        install_problems(app)
        app.include_router(router)
        app.include_router(customer_http.router)
        identity = api.SignIn(pool.connection, clock, api.AccessTokens(TOKEN_KEY), passwords=QUICK)
        tokens, mailbox = api.VerificationTokens(TOKEN_KEY), Mailbox()
        post = Post(mailbox, tokens, URL, clock)
        with pool.connection() as db:
            register(db, ["identity"], subscribers(post))
        app.state.pool, app.state.clock = pool, clock
        app.state.identity, app.state.authenticate = identity, identity.authenticate
        sign_up = api.SignUp(pool.connection, clock, tokens, identity, passwords=QUICK)
        app.state.sign_up = sign_up
        resets = api.PasswordReset(pool.connection, clock, tokens, passwords=QUICK)
        app.state.password_reset = resets
        transport = httpx.ASGITransport(app)
        client = httpx.AsyncClient(transport=transport, base_url="http://test/api/v1")
        yield Phone(client, pool, clock, post, mailbox, sign_up)


def problem(answer: httpx.Response, status: int, kind: str) -> dict[str, Any]:
    assert (answer.status_code, answer.headers["content-type"]) == (
        status,
        "application/problem+json",
    )
    document: dict[str, Any] = answer.json()
    assert document["type"] == f"/problems/{kind}"
    return document


async def test_from_the_documents_to_oneself(phone: Phone) -> None:
    # Other tests publish documents of their own.
    published = (await phone.client.get("/consents")).json()
    shown = [d for d in published if d["document"] in ("marketing", "privacy", "terms")]
    assert [(d["document"], d["version"], d["required"]) for d in shown] == [
        ("marketing", "1", False),
        ("privacy", "1", True),
        ("terms", "1", True),
    ]
    assert shown[2]["titles"] == {"en": "Terms of use", "de": "Nutzungsbedingungen"}
    who = await phone.customer()
    assert phone.mailbox.sent[-1].subject == "Bestätigen Sie Ihre E-Mail-Adresse"
    me = await phone.get("/me", who)
    assert {key: me[key] for key in ("email", "name", "language", "time_zone")} == {
        "email": EMAIL,
        "name": "Rita Rider",
        "language": "de",
        "time_zone": "Europe/Berlin",
    }
    account = await phone.get("/auth/me", who)
    assert (account["kind"], account["name"]) == ("customer", f"customer-{me['id']}")
    assert account["scopes"] == ["payments:method", "rentals:book"]


async def test_tokens_of_a_verified_link_are_kept_nowhere_on_the_way(phone: Phone) -> None:
    await phone.ask()
    answer = await phone.client.post("/auth/verify", json={"token": phone.mail()})
    assert answer.headers["cache-control"] == "no-store"
    assert answer.json()["scope"] == "payments:method rentals:book"


async def test_known_and_unknown_addresses_get_the_same_answers(phone: Phone) -> None:
    await phone.customer()
    phone.clock.advance(timedelta(hours=1))
    for route in ("/auth/sign-up", "/auth/resend"):
        found = []
        for email in (EMAIL, "nobody@example.org"):
            body = {**WISH, "email": email} if route.endswith("up") else {"email": email}
            answers = [await phone.client.post(route, json=body) for _ in range(6)]
            found.append([(a.status_code, a.text, a.headers.get("retry-after")) for a in answers])
        assert found[0] == found[1]
        assert [status for status, _, _ in found[0]] == [202] * 5 + [429]
        phone.clock.advance(timedelta(hours=1))


async def test_too_many_sign_ups_say_when_to_come_again(phone: Phone) -> None:
    for _ in range(5):
        assert (await phone.ask()).status_code == 202
    refused = await phone.ask()
    problem(refused, 429, "too-many-sign-ups")
    assert refused.headers["retry-after"] == "900"


async def test_links_that_open_nothing_say_why(phone: Phone) -> None:
    async def verify(token: str) -> httpx.Response:
        return await phone.client.post("/auth/verify", json={"token": token})

    await phone.ask()
    token = phone.mail()
    problem(await verify("x" + token), 404, "link-unknown")
    assert (await verify(token)).status_code == 200
    problem(await verify(token), 410, "link-used")
    await phone.ask(email="late@example.org")
    late = phone.mail()
    phone.clock.advance(timedelta(hours=24))
    problem(await verify(late), 410, "link-expired")


@pytest.mark.parametrize(
    ("other", "status", "kind"),
    [
        ({"consents": AGREED[:1]}, 422, "consent-missing"),
        ({"consents": [*AGREED, {"document": "terms", "version": "9"}]}, 409, "consent-outdated"),
        ({"email": "a@b"}, 422, "not-valid"),
        ({"language": "xx_XX"}, 422, "not-valid"),
        ({"time_zone": "Mars/Olympus"}, 422, "not-valid"),
        ({"name": "\u202e"}, 422, "not-valid"),
    ],
    ids=str,
)
async def test_a_sign_up_that_cannot_be_is_told_what_is_wrong(
    phone: Phone, other: dict[str, Any], status: int, kind: str
) -> None:
    answer = await phone.ask(**other)
    problem(answer, status, kind)
    assert PASSWORD not in answer.text
    assert (await phone.ask()).status_code == 202


@pytest.mark.parametrize(
    "other",
    [{"password": "short"}, {"password": "x" * 2000}, {"role": "admin"}, {"consents": "all"}],
    ids=lambda other: str(other)[:30],
)
async def test_a_body_that_is_none_is_refused_and_no_password_repeated(
    phone: Phone, other: dict[str, Any]
) -> None:
    answer = await phone.ask(**other)
    assert answer.status_code == 422
    assert "xxx" not in answer.text
    assert PASSWORD not in answer.text


async def test_a_customer_changes_what_they_said(phone: Phone) -> None:
    who = await phone.customer()

    async def change(body: dict[str, Any], key: str) -> httpx.Response:
        return await phone.client.patch("/me", json=body, headers={**who, "Idempotency-Key": key})

    answer = await change({"language": "pt-br", "time_zone": "UTC"}, "1")
    assert (answer.status_code, answer.json()["language"]) == (200, "pt-BR")
    again = await change({"language": "pt-br", "time_zone": "UTC"}, "1")
    assert (again.json(), again.headers["idempotency-replayed"]) == (answer.json(), "true")
    me = await phone.get("/me", who)
    assert (me["name"], me["time_zone"]) == ("Rita Rider", "UTC")
    problem(await change({"name": "\t"}, "2"), 422, "not-valid")
    assert (await change({"email": "eve@example.org"}, "3")).status_code == 422
    assert (await phone.get("/me", who)) == me


async def test_consents_are_a_history_and_the_newest_counts(phone: Phone) -> None:
    who = await phone.customer()
    me = await phone.get("/me", who)
    marketing = {"document": "marketing", "version": "1"}
    for given in (True, False, True):
        phone.clock.advance(timedelta(seconds=1))
        answer = await phone.post_to("/me/consents", {**marketing, "given": given}, who)
        assert answer.status_code == 201
        with phone.pool.connection() as db:
            agreed = api.consents_given(db, DEMO, me["id"])
        assert ("marketing" in agreed) is given
    told = await phone.get("/me/consents", who)
    assert [(c["document"], c["given"]) for c in told] == [
        ("terms", True),
        ("privacy", True),
        ("marketing", True),
        ("marketing", False),
        ("marketing", True),
    ]
    with phone.pool.connection() as db, pytest.raises(RestrictViolation):
        db.execute("UPDATE identity.consent SET given = true")


async def test_a_new_version_is_agreed_to_anew(phone: Phone) -> None:
    who = await phone.customer()
    me = await phone.get("/me", who)
    soon = phone.clock.now() + timedelta(days=1)
    # Documents stay for ever: a name of this test's own leaves the others' sign-ups alone.
    name = f"notes_{uuid4().hex[:8]}".translate(str.maketrans("0123456789", "abcdefghij"))
    for version, at in (("1", phone.clock.now()), ("2", soon)):
        _add_document(phone, name, version, at)
    agree = {"document": name, "version": "1"}
    assert (await phone.post_to("/me/consents", agree, who)).status_code == 201
    newer = {"document": name, "version": "2"}
    problem(await phone.post_to("/me/consents", newer, who), 409, "consent-outdated")
    phone.clock.advance(timedelta(days=1))
    who = await _signed_in_again(phone)
    problem(await phone.post_to("/me/consents", agree, who), 409, "consent-outdated")
    assert (await phone.post_to("/me/consents", newer, who)).status_code == 201
    with phone.pool.connection() as db:
        assert api.consents_given(db, DEMO, me["id"])[name] == "2"


async def test_what_everybody_agrees_to_is_not_taken_back(phone: Phone) -> None:
    who = await phone.customer()
    no = {"document": "terms", "version": "1", "given": False}
    problem(await phone.post_to("/me/consents", no, who), 409, "consent-required")


async def test_a_card_is_a_token_that_is_never_told(phone: Phone) -> None:
    who = await phone.customer()
    added = await phone.post_to("/me/payment-methods", CARD, who)
    assert added.status_code == 201
    assert added.json().keys() == {"id", "provider", "last4", "brand", "added_at"}
    again = await phone.post_to("/me/payment-methods", CARD, who)
    assert again.json()["id"] == added.json()["id"]
    phone.clock.advance(timedelta(seconds=1))
    second = {**CARD, "token": "tok_another", "last4": "0005", "brand": "American Express"}
    other = await phone.post_to("/me/payment-methods", second, who)
    shown = await phone.get("/me/payment-methods", who)
    assert [method["last4"] for method in shown] == ["4242", "0005"]
    assert "tok_" not in str(shown)
    me = (await phone.get("/me", who))["id"]
    with phone.pool.connection() as db:
        first = api.payment_method(db, DEMO, me)
        named = api.payment_method(db, DEMO, me, other.json()["id"])
        nobodys = api.payment_method(db, DEMO, str(uuid4()))
    assert (first and first.token, named and named.token) == ("tok_visa_ok", "tok_another")
    assert nobodys is None


async def test_a_removed_card_is_gone_with_its_token(phone: Phone) -> None:
    who = await phone.customer()
    method = (await phone.post_to("/me/payment-methods", CARD, who)).json()["id"]
    path = f"/me/payment-methods/{method}"
    assert (await phone.client.delete(path, headers=who)).status_code == 204
    assert await phone.get("/me/payment-methods", who) == []
    problem(await phone.client.delete(path, headers=who), 404, "no-such-method")
    with phone.pool.connection() as db:
        (row,) = db.execute("SELECT token FROM identity.payment_method").fetchall()
    assert row == ("",)
    assert (await phone.post_to("/me/payment-methods", CARD, who)).status_code == 201


@pytest.mark.parametrize("token", ["4242424242424242", "tok_5555555555554444", "3782-822463-10005"])
async def test_a_cards_number_is_refused_and_kept_nowhere(phone: Phone, token: str) -> None:
    who = await phone.customer()
    answer = await phone.post_to("/me/payment-methods", {**CARD, "token": token}, who)
    problem(answer, 422, "card-number-refused")
    assert token not in answer.text
    with phone.pool.connection() as db:
        for table in ("identity.payment_method", "kit.idempotency", "kit.event", "identity.audit"):
            rows = db.execute(f"SELECT t::text FROM {table} AS t".encode()).fetchall()
            assert [row for row in rows if token in str(row)] == []
    assert (await phone.post_to("/me/payment-methods", CARD, who)).status_code == 201


async def test_nobody_has_more_cards_than_ten(phone: Phone) -> None:
    who = await phone.customer()
    for number in range(10):
        card = {**CARD, "token": f"tok_{number}"}
        assert (await phone.post_to("/me/payment-methods", card, who)).status_code == 201
    refused = await phone.post_to("/me/payment-methods", {**CARD, "token": "tok_more"}, who)
    problem(refused, 409, "too-many-methods")


async def test_a_token_for_less_does_not_change_cards(phone: Phone) -> None:
    await phone.customer()
    who = await _signed_in_again(phone, scope="rentals:book")
    refused = await phone.post_to("/me/payment-methods", CARD, who)
    assert problem(refused, 403, "scope-missing")["scope"] == "payments:method"
    who = await _signed_in_again(phone, scope="payments:method")
    assert (await phone.post_to("/me/payment-methods", CARD, who)).status_code == 201


async def test_staff_are_no_customers(phone: Phone) -> None:
    who = await _signed_in_again(phone, user="ada")
    for path in ("/me", "/me/consents", "/me/payment-methods"):
        problem(await phone.client.get(path, headers=who), 404, "no-customer")
    problem(await phone.post_to("/me/payment-methods", CARD, who), 403, "scope-missing")


async def test_a_changing_request_needs_a_key(phone: Phone) -> None:
    who = await phone.customer()
    without = await phone.client.post("/me/payment-methods", json=CARD, headers=who)
    problem(without, 400, "key-missing")


async def test_two_links_followed_at_once_make_one_account(phone: Phone) -> None:
    await phone.ask()
    first = phone.mail()
    await phone.ask()
    second = phone.mail()

    def follow(token: str) -> bool:
        try:
            phone.sign_up.verify(token, HERE)
        except LinkUsedError:
            return False
        return True

    with ThreadPoolExecutor(4) as threads:
        outcomes = list(threads.map(follow, [first, second] * 4))
    assert sorted(outcomes) == [False] * 7 + [True]
    with phone.pool.connection() as db:
        row = db.execute("SELECT count(*) FROM identity.account WHERE kind = 'customer'").fetchone()
    assert row == (1,)


def _add_document(phone: Phone, name: str, version: str, at: datetime) -> None:
    document = api.Document(name, version, False, {"en": "Notes"}, {"en": "Notes."}, at)
    with phone.pool.connection() as db:
        api.add_document(db, DEMO, document)


async def _signed_in_again(phone: Phone, user: str = EMAIL, scope: str | None = None) -> Headers:
    body = {"user": user, "password": PASSWORD} | ({} if scope is None else {"scope": scope})
    answer = await phone.client.post("/auth/token", json=body)
    assert answer.status_code == 200, answer.text
    return {"Authorization": f"Bearer {answer.json()['access_token']}"}


NEW_PASSWORD = "another horse entirely"


async def reset_token(phone: Phone, email: str = EMAIL) -> str:
    answer = await phone.client.post("/auth/forgot-password", json={"email": email})
    assert answer.status_code == 202
    with phone.pool.connection() as db:
        run_due(db, subscribers(phone.post), phone.clock.now())
    return phone.mailbox.sent[-1].text.partition("#token=")[2].split()[0]


async def test_a_lost_password_is_set_anew_and_every_sign_in_ends(phone: Phone) -> None:
    await phone.customer()
    known = {"user": EMAIL, "password": PASSWORD}
    signed_in = (await phone.client.post("/auth/token", json=known)).json()
    token = await reset_token(phone)
    wish = {"token": token, "password": NEW_PASSWORD}
    done = await phone.client.post("/auth/reset-password", json=wish)
    assert (done.status_code, done.content) == (204, b"")
    assert (await phone.client.post("/auth/token", json=known)).status_code == 401
    old = {"refresh_token": signed_in["refresh_token"]}
    assert (await phone.client.post("/auth/refresh", json=old)).status_code == 401
    again = await phone.client.post("/auth/token", json={**known, "password": NEW_PASSWORD})
    assert again.status_code == 200
    used = await phone.client.post("/auth/reset-password", json=wish)
    assert "forgot-password for another" in problem(used, 410, "reset-link-used")["detail"]


async def test_an_old_or_foreign_link_to_a_new_password_is_told_apart(phone: Phone) -> None:
    await phone.customer()
    token = await reset_token(phone)
    wish = {"token": token, "password": NEW_PASSWORD}
    short = await phone.client.post("/auth/reset-password", json={**wish, "password": "short"})
    assert short.status_code == 422
    foreign = await phone.client.post("/auth/reset-password", json={**wish, "token": "x" + token})
    problem(foreign, 404, "link-unknown")
    phone.clock.advance(timedelta(hours=1))
    late = await phone.client.post("/auth/reset-password", json=wish)
    problem(late, 410, "reset-link-expired")


async def test_known_and_unknown_addresses_get_the_same_answer(phone: Phone) -> None:
    await phone.customer()
    told = [
        await phone.client.post("/auth/forgot-password", json={"email": email})
        for email in (EMAIL, "nobody@example.org")
    ]
    assert {each.status_code for each in told} == {202}
    assert told[0].content == told[1].content
    for _ in range(4):
        await phone.client.post("/auth/forgot-password", json={"email": "nobody@example.org"})
    flood = await phone.client.post("/auth/forgot-password", json={"email": "nobody@example.org"})
    problem(flood, 429, "too-many-resets")
    assert int(flood.headers["retry-after"]) > 0
