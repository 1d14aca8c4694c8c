"""Whatever is asked, the API answers as its own description says, and never with a 5xx."""

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import pytest
import schemathesis
from hypothesis import settings
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from cloud.app import build
from cloud.devices import api as devices
from cloud.identity.api import CUSTOMER_SCOPES, AccessTokens
from cloud.kit.db import connect
from cloud.kit.principal import Principal
from cloud.kit.scope import DEMO
from cloud.kit.settings import CloudSettings
from tests.broker import OpenNats
from tests.cloud.identity.customers_parts import a_known_customer
from tests.cloud.signed_in import TOKEN_KEY, bearer
from tests.cloud.test_serve import serving

CHECKS = [
    not_a_server_error,
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
]


@pytest.fixture(scope="module")
def address(dsn: str, nats: OpenNats, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with serving(dsn, nats, tmp_path_factory.mktemp("described")) as process:
        with connect(dsn) as db:
            now = datetime.now(UTC)
            devices.enrol(db, "demo-001", "jbd_uart", now)
            a_known_customer(db, str(CUSTOMER.account_id), now)
        yield process.url


CUSTOMER = Principal(
    account_id=UUID(int=4_711),
    name="a-customer",
    kind="customer",
    role="customer",
    tenant=DEMO.tenant,
    city=DEMO.city,
    scopes=CUSTOMER_SCOPES,
)
schema = schemathesis.openapi.from_dict(build(CloudSettings()).openapi())


@schema.exclude(path="/api/v1/live").parametrize()
@settings(max_examples=20, deadline=None)
def test_every_route_keeps_to_its_description(address: str, case: schemathesis.Case[Any]) -> None:
    case.call_and_validate(base_url=address, headers=bearer(), checks=CHECKS)


@schema.include(path_regex="^/api/v1/(me|holds|rentals|vehicles$|bays|zones)").parametrize()
@settings(max_examples=20, deadline=None)
def test_every_route_of_customers_does_too(address: str, case: schemathesis.Case[Any]) -> None:
    token = AccessTokens(TOKEN_KEY).issue(CUSTOMER, UUID(int=1), datetime.now(UTC))
    shown = {"Authorization": f"Bearer {token}"}
    case.call_and_validate(base_url=address, headers=shown, checks=CHECKS)
