"""One broker with certificates for all tests of the agent."""

from collections.abc import Iterator

import pytest

from tests.edge.broker import TlsBroker


@pytest.fixture(scope="session")
def broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TlsBroker]:
    """A NATS that asks for certificates; tests that kill it must leave it running."""
    server = TlsBroker(tmp_path_factory.mktemp("broker"))
    server.start()
    yield server
    server.kill()
