"""Customers see only their own: every route with an id in its path, asked for somebody else's.

Generated from the routes. A route that lets customers in and names something in its path needs a
line in THINGS that says how such a thing comes to be somebody's; without one the test fails. A
guess is answered exactly as an id that nothing has, so that nobody learns what exists.
"""

import json
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any
from uuid import UUID, uuid4

import httpx
import pytest

from cloud.app import build
from cloud.booking import holds, service
from cloud.booking.ports import Customer
from cloud.fleet.api import Live
from cloud.identity import api as identity
from cloud.identity.customer_rules import Agreed
from cloud.kit.clock import SystemClock
from cloud.kit.db import Pool, connect, open_pool
from cloud.kit.migrations import migrate
from cloud.kit.principal import Credentials, Principal
from cloud.kit.settings import CloudSettings
from cloud.payments import api as payments
from cloud.returns.api import real_parts
from tests.cloud.booking.parts import TABLES, a_vehicle, fake_parts
from tests.cloud.identity.parts import HERE, PASSWORD, QUICK
from tests.cloud.payments.parts import FACTS, SELLER, a_card, a_plan
from tests.cloud.returns.parts import a_photo
from tests.cloud.routes import MarkedRoute, routes_of
from tests.cloud.signed_in import TOKEN_KEY

CHANGES = {"POST", "PUT", "PATCH"}
APP = build(CloudSettings())
ROUTES = [route for route in routes_of(APP) if route.path.startswith("/api/")]


@dataclass(frozen=True)
class Person:
    """A customer, and what a request of theirs shows."""

    who: Principal
    email: str
    shows: dict[str, str]

    @property
    def id(self) -> str:
        return str(self.who.account_id)


class World:
    """Customers on a database of its own."""

    def __init__(self, pool: Pool) -> None:
        self.pool, self.clock = pool, SystemClock()
        self.parts = fake_parts(self.clock)
        self.sign_in = identity.SignIn(
            pool.connection, self.clock, identity.AccessTokens(TOKEN_KEY), passwords=QUICK
        )
        self.tokens = identity.VerificationTokens(TOKEN_KEY)
        self.sign_up = identity.SignUp(
            pool.connection,
            self.clock,
            self.tokens,
            self.sign_in,
            passwords=QUICK,
            address_limit=10_000,
        )

    def person(self) -> Person:
        """Somebody new."""
        email = f"{uuid4().hex}@example.org"
        agreed = (Agreed("terms", "1"), Agreed("privacy", "1"))
        wish = identity.Wish(email, PASSWORD, "A Customer", "en", "UTC", agreed)
        self.sign_up.ask(wish, HERE)
        with self.pool.connection() as db:
            row = db.execute("SELECT id FROM identity.sign_up WHERE email = %s", [email]).fetchone()
        assert row is not None
        tokens = self.sign_up.verify(self.tokens.issue(row[0]), HERE)
        who = self.sign_in.authenticate(Credentials(token=tokens.access_token))
        assert who is not None
        return Person(who, email, {"Authorization": f"Bearer {tokens.access_token}"})

    def method(self, owner: Person) -> str:
        """A card of theirs."""
        card = identity.Card("sandbox", f"tok_{uuid4().hex}", "4242", "Visa")
        with self.pool.connection() as db:
            made = identity.add_payment_method(
                db, owner.who.realm, owner.id, card, self.clock.now()
            )
        return str(made.id)

    def hold(self, owner: Person) -> str:
        """A vehicle that they hold."""
        vehicle, now = f"owned-{uuid4().hex[:12]}", self.clock.now()
        customer = Customer(owner.who.realm, owner.id)
        with self.pool.connection() as db:
            a_vehicle(db, vehicle, at=now)
            return str(holds.hold(db, self.parts, customer, vehicle, 15, now).id)

    def rental(self, owner: Person) -> str:
        """A rental that they began."""
        held, customer = UUID(self.hold(owner)), Customer(owner.who.realm, owner.id)
        with self.pool.connection() as db:
            now = self.clock.now()
            return str(service.start(db, self.parts, customer, held, "default", now).id)

    def receipt(self, owner: Person) -> str:
        """A rental of theirs that has ended, with its invoice."""
        rental_id, now = uuid4(), self.clock.now()
        price = payments.snapshot(a_plan(), now)
        with self.pool.connection() as db:
            payments.set_seller(db, owner.who.realm, SELLER)
            payments.authorise(
                db,
                owner.who.realm,
                customer_id=owner.id,
                rental_id=rental_id,
                amount=price.plan.hold,
                card=a_card(),
                at=now,
            )
            payments.capture_once(
                db,
                owner.who.realm,
                rental_id=rental_id,
                lines=payments.meter(price, payments.Usage(600)),
                price=price,
                facts=FACTS,
                at=now,
            )
        return str(rental_id)


THINGS: dict[str, Callable[[World, Person], str]] = {
    "method_id": World.method,
    "hold_id": World.hold,
    "rental_id": World.rental,
}
"""How each thing that a path can name comes to be somebody's."""

THINGS_AT: dict[str, Callable[[World, Person], str]] = {
    "/api/v1/rentals/{rental_id}/receipt": World.receipt,
    "/api/v1/rentals/{rental_id}/receipt.pdf": World.receipt,
}
"""Likewise, where only some of them will do."""

STAFFS = {"vehicle_id", "device_id", "alarm_id", "command_id"}
"""What belongs to no customer: routes about it let no customer in."""

NOBODYS = {"provider"}
"""What is nobody's secret."""

BODIES: dict[tuple[str, str], Any] = {
    ("POST", "/api/v1/vehicles/{vehicle_id}/commands"): {"kind": "unlock", "reason": "a guess"},
    ("PATCH", "/api/v1/vehicles/{vehicle_id}/twin"): {"immobilised": True, "reason": "a guess"},
    ("POST", "/api/v1/rentals/{rental_id}/photos"): a_photo(),
}
"""What a changing request says where an empty body would be refused before anything else."""


def named(route: MarkedRoute) -> list[str]:
    """What a path names."""
    return re.findall(r"\{(\w+)(?::\w+)?\}", route.path)


def lets_customers_in(route: MarkedRoute) -> bool:
    """Whether a customer gets past the route's marker; `signed in` routes look closer inside."""
    return route.lets_in("customer")


WITH_ID = [route for route in ROUTES if named(route)]
OWNED = [r for r in WITH_ID if lets_customers_in(r) and not set(named(r)) & (STAFFS | NOBODYS)]
OF_STAFF = [r for r in WITH_ID if set(named(r)) & STAFFS or not lets_customers_in(r)]
LISTS = [
    route
    for route in ROUTES
    if route.method == "GET"
    and not named(route)
    and lets_customers_in(route)
    and not route.path.endswith("/live")
]


def of(route: MarkedRoute) -> str:
    return f"{route.method} {route.path}"


@pytest.fixture(scope="module")
def world(dsn: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    photos = tmp_path_factory.mktemp("photos")
    migrate(dsn, ["booking", "returns"])
    with connect(dsn) as db:
        db.execute(TABLES.encode())
    with open_pool(dsn, max_size=4) as pool:
        found = World(pool)
        state = APP.state
        state.pool, state.clock, state.live = pool, found.clock, Live(pool, found.clock)
        state.identity, state.authenticate = found.sign_in, found.sign_in.authenticate
        state.sign_up, state.booking = found.sign_up, found.parts
        state.returns = real_parts(found.parts, photos)
        yield found
        state.live.close()


async def ask(route: MarkedRoute, thing: str, asks: Person) -> tuple[int, Any]:
    """Status and problem of a request, or its body where there is no problem."""
    path = re.sub(r"\{\w+(:\w+)?\}", thing, route.path)
    headers = {**asks.shows, "Idempotency-Key": str(uuid4())}
    body = BODIES.get((route.method, route.path), {}) if route.method in CHANGES else None
    said: dict[str, Any] = {"content": body} if isinstance(body, bytes) else {"json": body}
    transport = httpx.ASGITransport(APP, raise_app_exceptions=False)
    async with httpx.AsyncClient(transport=transport, base_url="http://own") as client:
        answer = await client.request(route.method, path, **said, headers=headers)
    if answer.headers.get("content-type") != "application/problem+json":
        return answer.status_code, answer.text
    told = {key: text for key, text in answer.json().items() if key != "instance"}
    return answer.status_code, json.loads(json.dumps(told).replace(thing, "THING"))


def test_every_route_with_an_id_says_whose_it_is() -> None:
    unsaid = {name for route in OWNED for name in named(route)} - THINGS.keys()
    assert unsaid == set(), "say in THINGS how it comes to be somebody's, or in STAFFS"
    assert len(OWNED) + len(OF_STAFF) + len([r for r in WITH_ID if set(named(r)) & NOBODYS]) == len(
        WITH_ID
    )
    assert {name for route in OWNED for name in named(route)} == THINGS.keys()
    assert THINGS_AT.keys() <= {route.path for route in OWNED}


@pytest.mark.parametrize("route", OWNED, ids=of)
async def test_a_guessed_id_is_answered_as_one_that_nothing_has(
    world: World, route: MarkedRoute
) -> None:
    owner, stranger = world.person(), world.person()
    (name,) = named(route)
    thing = THINGS_AT.get(route.path, THINGS[name])(world, owner)
    made_up = str(uuid4())
    status, told = await ask(route, thing, stranger)
    assert (status, told) == await ask(route, made_up, stranger)
    assert status == 404
    assert owner.id not in str(told)
    # The owner still has it, untouched, and gets further than the stranger did.
    status, _ = await ask(route, thing, owner)
    assert status in {200, 201, 202, 204, 409, 415}


@pytest.mark.parametrize("route", OF_STAFF, ids=of)
async def test_a_customer_gets_nowhere_where_only_staff_belong(
    world: World, route: MarkedRoute
) -> None:
    customer = world.person()
    with world.pool.connection() as db:
        vehicle = a_vehicle(db, f"staffs-{uuid4().hex[:12]}", at=world.clock.now())
    for thing in (vehicle, "role-matrix", str(uuid4())):
        status, told = await ask(route, thing, customer)
        assert status in {403, 404}, told


@pytest.mark.parametrize("route", LISTS, ids=of)
async def test_a_list_holds_nothing_of_anybody_else(world: World, route: MarkedRoute) -> None:
    owner, stranger = world.person(), world.person()
    things = [world.method(owner), world.rental(owner), owner.id, owner.email]
    transport = httpx.ASGITransport(APP, raise_app_exceptions=False)
    async with httpx.AsyncClient(transport=transport, base_url="http://own") as client:
        answer = await client.get(route.path, headers=stranger.shows)
        own = await client.get(route.path, headers=owner.shows)
    assert answer.status_code in {200, 403, 404, 422}
    assert [thing for thing in things if thing in answer.text] == []
    assert own.status_code == answer.status_code


async def test_lists_do_hold_what_is_ones_own(world: World) -> None:
    """Else the test above would pass with lists that are always empty."""
    owner = world.person()
    expected = {
        "/api/v1/me": owner.email,
        "/api/v1/me/payment-methods": world.method(owner),
        "/api/v1/rentals": world.rental(owner),
    }
    assert expected.keys() <= {route.path for route in LISTS}
    transport = httpx.ASGITransport(APP, raise_app_exceptions=False)
    async with httpx.AsyncClient(transport=transport, base_url="http://own") as client:
        for path, thing in expected.items():
            assert thing in (await client.get(path, headers=owner.shows)).text
