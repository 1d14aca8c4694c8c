"""Real engines for every test: one Postgres and one NATS a run, fresh databases on it."""

import os
import secrets
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import psycopg
import pytest
from hypothesis import settings

import cloud
from cloud.kit.clock import ManualClock
from cloud.kit.db import Db, connect
from cloud.kit.migrations import migrate
from cloud.kit.postgres import EmbeddedPostgres
from tests.broker import OpenNats

ROOT = Path(__file__).parent.parent
CONTEXTS = ("identity", "devices", "telemetry", "fleet", "payments", "booking", "returns")

settings.register_profile("quick", deadline=None, max_examples=35)
settings.register_profile("thorough", deadline=None, max_examples=1000)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "quick"))


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with the longest files: one that begins last leaves a core idle until its end."""
    marked = {
        name: {item.path for item in items if item.get_closest_marker(name)}
        for name in ("story", "slow")
    }
    items.sort(key=lambda item: [item.path not in paths for paths in marked.values()])


def existing_contexts() -> list[str]:
    """Return the contexts of this tree, in the order in which they may call each other."""
    home = Path(cloud.__file__).parent
    return [name for name in CONTEXTS if (home / name).is_dir()]


@pytest.fixture(scope="session")
def postgres(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedPostgres]:
    """One embedded Postgres for the whole run."""
    with EmbeddedPostgres(tmp_path_factory.mktemp("postgres")) as server:
        yield server


@pytest.fixture(scope="session")
def template(postgres: EmbeddedPostgres) -> str:
    """The name of a migrated database that others are copied from."""
    _admin(postgres, "CREATE DATABASE template_migrated")
    migrate(postgres.dsn_of("template_migrated"), existing_contexts())
    return "template_migrated"


@pytest.fixture(scope="module")
def dsn(postgres: EmbeddedPostgres, template: str) -> Iterator[str]:
    """A fresh migrated database for this module, dropped after it."""
    name = f"test_{secrets.token_hex(6)}"
    _admin(postgres, f"CREATE DATABASE {name} TEMPLATE {template} STRATEGY file_copy")
    yield postgres.dsn_of(name)
    _admin(postgres, f"DROP DATABASE {name} WITH (FORCE)")


@pytest.fixture
def db(dsn: str) -> Iterator[Db]:
    """A connection whose every change is rolled back after the test."""
    with connect(dsn) as connection, connection.transaction(force_rollback=True):
        yield connection


@pytest.fixture(scope="session")
def nats(tmp_path_factory: pytest.TempPathFactory) -> Iterator[OpenNats]:
    """One embedded NATS for the whole run; tests that kill it must leave it running."""
    with OpenNats(tmp_path_factory.mktemp("nats")) as server:
        yield server


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder of specifications and recorded data beside the repository, or a loud skip."""
    folder = ROOT.parent / "shared"
    if not folder.is_dir():
        pytest.skip(f"needs {folder}, which is not part of the repository")
    return folder


@pytest.fixture
def clock() -> ManualClock:
    """A clock that stands at noon of a summer day until it is moved."""
    return ManualClock(datetime(2026, 7, 1, 12, 0, tzinfo=UTC))


def _admin(postgres: EmbeddedPostgres, statement: str) -> None:
    with psycopg.connect(postgres.dsn_of("postgres"), autocommit=True) as admin:
        admin.execute(statement.encode())
