"""Text that no database takes, wherever a route takes text: refused or harmless, never a 5xx.

Generated from the routes: every parameter of every path and query, every text in every JSON body.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from urllib.parse import quote
from uuid import UUID, uuid4

import httpx
import pytest
from fastapi.dependencies.utils import get_flat_params
from fastapi.params import Path, Query
from fastapi.routing import iter_route_contexts

from cloud.app import build
from cloud.identity.api import CUSTOMER_SCOPES, AccessTokens
from cloud.kit.db import connect
from cloud.kit.principal import Principal
from cloud.kit.scope import DEMO
from cloud.kit.settings import CloudSettings
from tests.broker import OpenNats
from tests.cloud.identity.customers_parts import a_known_customer
from tests.cloud.signed_in import TOKEN_KEY, bearer
from tests.cloud.test_serve import serving

# As they travel: a NUL, a lone surrogate (in JSON by its escape), and more than any name has.
IN_URLS = {"nul": "%00", "nul inside": "a%00b", "surrogate": "%ED%A0%80", "long": "x" * 10_000}
IN_BODIES = {"nul": r"a\u0000b", "surrogate": r"a\ud800b", "long": "x" * 10_000}
CUSTOMER = Principal(
    account_id=UUID(int=4_713),
    name="hostile",
    kind="customer",
    role="customer",
    tenant=DEMO.tenant,
    city=DEMO.city,
    scopes=CUSTOMER_SCOPES,
)
APP = build(CloudSettings())
OTHERS = {"near": "52.5,13.4", "lat": "52.5", "lon": "13.4"}
"""What a query says beside the hostile parameter, so that it gets past the door."""
PLAIN = {"uuid": str(UUID(int=1)), "date-time": "2026-07-01T12:00:00Z", "email": "a@example.org"}


@dataclass(frozen=True)
class Asked:
    """A route and what it takes as text."""

    method: str
    path: str
    in_path: tuple[str, ...]
    in_query: tuple[str, ...]

    def __str__(self) -> str:
        return f"{self.method} {self.path}"


def _asked() -> Iterator[Asked]:
    for route in iter_route_contexts(APP.routes):
        if not hasattr(route, "dependant"):
            continue
        takes = get_flat_params(route.dependant)
        for method in sorted(route.methods or ()):
            yield Asked(
                method,
                str(route.path),
                tuple(one.alias for one in takes if isinstance(one.field_info, Path)),
                tuple(one.alias for one in takes if isinstance(one.field_info, Query)),
            )


ROUTES = [route for route in _asked() if route.in_path or route.in_query]


def _resolved(schema: Any, document: Any) -> dict[str, Any]:
    while "$ref" in schema or "anyOf" in schema:
        if "$ref" in schema:
            schema = document["components"]["schemas"][schema["$ref"].rsplit("/", 1)[1]]
        else:
            schema = schema["anyOf"][0]
    found: dict[str, Any] = schema
    return found


def _texts(schema: Any, document: Any, evil: str) -> Iterator[Any]:
    """Plain values of a schema, each with one text replaced."""
    schema = _resolved(schema, document)
    if schema.get("type") == "string":
        yield evil
    elif schema.get("type") == "array":
        yield from ([one] for one in _texts(schema["items"], document, evil))
    elif "properties" in schema:
        plain = _plain(schema, document)
        for name, inner in schema["properties"].items():
            yield from (plain | {name: one} for one in _texts(inner, document, evil))
    elif schema.get("type") == "object":
        yield {"x": evil}
        yield {evil: "x"}


def _plain(schema: Any, document: Any) -> Any:
    schema = _resolved(schema, document)
    if "default" in schema or "enum" in schema or "const" in schema:
        return schema.get("default", schema.get("const", (schema.get("enum") or [None])[0]))
    match schema.get("type"):
        case "string":
            return PLAIN.get(schema.get("format", ""), "plain-001")
        case "integer" | "number":
            return schema.get("minimum", 1)
        case "boolean":
            return True
        case "array":
            return [_plain(schema["items"], document)]
    told = schema.get("properties", {})
    return {name: _plain(one, document) for name, one in told.items()}


def _bodies() -> Iterator[tuple[str, str, Any]]:
    document = APP.openapi()
    for path, methods in document["paths"].items():
        for method, told in methods.items():
            content = told.get("requestBody", {}).get("content", {})
            if "application/json" in content:
                yield method.upper(), path, content["application/json"]["schema"]


BODIES = list(_bodies())


@pytest.fixture(scope="module")
def client(
    dsn: str, nats: OpenNats, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[httpx.Client]:
    with serving(dsn, nats, tmp_path_factory.mktemp("hostile")) as process:
        with connect(dsn) as db:
            a_known_customer(db, str(CUSTOMER.account_id), datetime.now(UTC))
        with httpx.Client(base_url=process.url, timeout=30) as client:
            yield client


def people() -> list[dict[str, str]]:
    token = AccessTokens(TOKEN_KEY).issue(CUSTOMER, UUID(int=1), datetime.now(UTC))
    return [bearer(), {"Authorization": f"Bearer {token}"}]


def ask(client: httpx.Client, method: str, path: str, content: str | None = None) -> list[int]:
    """Ask as staff and as a customer; return the statuses. A stream is left at once."""
    found = []
    for shown in people():
        said = {"Idempotency-Key": str(uuid4()), "Content-Type": "application/json", **shown}
        with client.stream(method, path, content=content, headers=said) as answer:
            found.append(answer.status_code)
    return found


@pytest.mark.parametrize("route", ROUTES, ids=str)
def test_no_text_in_an_address_is_an_error_of_ours(client: httpx.Client, route: Asked) -> None:
    asked: dict[str, list[int]] = {}
    for evil in IN_URLS.values():
        plain = dict.fromkeys(route.in_path, "plain-001")
        for name in route.in_path:
            path = _filled(route.path, plain | {name: evil})
            asked[f"{path[:80]}"] = ask(client, route.method, path)
        for name in route.in_query:
            others = {key: one for key, one in OTHERS.items() if key in route.in_query}
            query = "&".join(f"{k}={v}" for k, v in (others | {name: evil}).items())
            path = f"{_filled(route.path, plain)}?{query}"
            asked[path[:80]] = ask(client, route.method, path)
    assert {path: told for path, told in asked.items() if max(told) >= 500} == {}


@pytest.mark.parametrize(
    ("method", "path", "schema"), BODIES, ids=[f"{m} {p}" for m, p, _ in BODIES]
)
def test_no_text_in_a_body_is_an_error_of_ours(
    client: httpx.Client, method: str, path: str, schema: Any
) -> None:
    address = path.replace("{", "").replace("}", "")
    asked: dict[str, list[int]] = {}
    for what, evil in IN_BODIES.items():
        for number, body in enumerate(_texts(schema, APP.openapi(), "EVIL")):
            content = json.dumps(body).replace("EVIL", evil)
            asked[f"{what} {number} {content[:200]}"] = ask(client, method, address, content)
    assert {said: told for said, told in asked.items() if max(told) >= 500} == {}


def test_a_nul_is_refused_with_what_to_do(client: httpx.Client) -> None:
    answer = client.get("/api/v1/vehicles?near=52,13&type=%00", headers=bearer())
    assert (answer.status_code, answer.headers["content-type"]) == (422, "application/problem+json")
    assert "GET /api/v1/vehicle-types" in answer.json()["detail"]


def _filled(path: str, names: dict[str, str]) -> str:
    for name, said in names.items():
        for shape in (f"{{{name}}}", f"{{{name}:path}}"):
            path = path.replace(shape, said if "%" in said else quote(said))
    return path
