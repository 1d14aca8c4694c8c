"""One cloud for every story of this package."""

from collections.abc import Iterator

import pytest

from tests.stories.trusted.cloud import Cloud
from tests.stories.trusted.vehicle import Workbench


@pytest.fixture(scope="package")
def cloud(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cloud]:
    """A serving process with its engines."""
    with Cloud(tmp_path_factory.mktemp("trusted")) as cloud:
        yield cloud


@pytest.fixture(scope="package")
def bench() -> Iterator[Workbench]:
    """Where the vehicles' parts are."""
    bench = Workbench()
    yield bench
    bench.close()
