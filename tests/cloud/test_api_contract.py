"""Whatever is asked, the API answers as its own description says, and never with a 5xx."""

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

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
from cloud.kit.db import connect
from cloud.kit.settings import CloudSettings
from tests.broker import OpenNats
from tests.cloud.signed_in import bearer
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
            devices.enrol(db, "demo-001", "jbd_uart", datetime.now(UTC))
        yield process.url


schema = schemathesis.openapi.from_dict(build(CloudSettings()).openapi())


@schema.exclude(path="/api/v1/live").parametrize()
@settings(max_examples=20, deadline=None)
def test_every_route_keeps_to_its_description(address: str, case: schemathesis.Case[Any]) -> None:
    case.call_and_validate(base_url=address, headers=bearer(), checks=CHECKS)
