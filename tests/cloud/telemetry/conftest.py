"""Committing sealed segments without a broker."""

from collections.abc import Callable
from datetime import datetime

import pytest

from cloud.devices import api as devices
from cloud.devices.commit import Parts, commit_batch
from cloud.devices.opening import open_all
from cloud.kit.db import Db
from cloud.telemetry import api
from tests.cloud.sealed import DEVICE, NOON, arrival

Store = Callable[..., None]


@pytest.fixture
def store(db: Db) -> Store:
    """Return a function that commits payloads of one enrolled device, one batch a call."""
    devices.enrol(db, DEVICE, "jbd_uart", NOON)

    def commit(*payloads: bytes, at: datetime = NOON) -> None:
        candidates, unreadable = open_all([arrival(p, at=at) for p in payloads], {})
        commit_batch(db, candidates, unreadable, Parts(api.keep, (api.project,)), at)

    return commit
