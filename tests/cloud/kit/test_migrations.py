"""Migrations: applied once, in order, and never changed afterwards."""

import secrets
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path

import psycopg
import pytest

import cloud
from cloud.kit.clock import ManualClock
from cloud.kit.db import connect
from cloud.kit.migrations import MigrationError, migrate, pending
from cloud.kit.postgres import EmbeddedPostgres

CONTEXT = "gardens"


@pytest.fixture
def empty(postgres: EmbeddedPostgres) -> Iterator[str]:
    """An empty database of this test alone."""
    name = f"empty_{secrets.token_hex(6)}"
    with psycopg.connect(postgres.dsn_of("postgres"), autocommit=True) as admin:
        admin.execute(f"CREATE DATABASE {name}".encode())
        yield postgres.dsn_of(name)
        admin.execute(f"DROP DATABASE {name} WITH (FORCE)".encode())


@pytest.fixture
def files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The migrations folder of a context that only these tests have."""
    folder = tmp_path / CONTEXT / "migrations"
    folder.mkdir(parents=True)
    (tmp_path / CONTEXT / "__init__.py").touch()
    (folder / "0001_tree.sql").write_text(
        "CREATE SCHEMA gardens; CREATE TABLE gardens.tree (id int);"
    )
    monkeypatch.setattr(cloud, "__path__", [*cloud.__path__, str(tmp_path)])
    yield folder
    sys.modules.pop(f"cloud.{CONTEXT}", None)
    if hasattr(cloud, CONTEXT):
        delattr(cloud, CONTEXT)


def test_the_kit_comes_first_and_a_second_run_does_nothing(empty: str, files: Path) -> None:
    done = migrate(empty, [CONTEXT])
    assert done[0] == "kit/0001_pgqueuer.sql"
    assert done[-1] == "gardens/0001_tree.sql"
    assert migrate(empty, [CONTEXT]) == []


def test_only_what_is_new_is_applied(empty: str, files: Path) -> None:
    migrate(empty, [CONTEXT])
    (files / "0002_fruit.sql").write_text("ALTER TABLE gardens.tree ADD fruit text;")
    with connect(empty) as db:
        assert pending(db, [CONTEXT]) == ["gardens/0002_fruit.sql"]
    assert migrate(empty, [CONTEXT]) == ["gardens/0002_fruit.sql"]


def test_before_the_first_run_everything_is_pending(empty: str, files: Path) -> None:
    with connect(empty) as db:
        assert pending(db, [CONTEXT])[-1] == "gardens/0001_tree.sql"


def test_it_writes_down_when_by_the_clock_it_is_given(empty: str) -> None:
    moment = datetime(2026, 7, 1, 12, tzinfo=UTC)
    migrate(empty, [], ManualClock(moment))
    with connect(empty) as db:
        assert db.execute("SELECT DISTINCT applied_at FROM kit.migration").fetchall() == [(moment,)]


def test_a_changed_file_is_refused(empty: str, files: Path) -> None:
    migrate(empty, [CONTEXT])
    (files / "0001_tree.sql").write_text("CREATE SCHEMA gardens;")
    with pytest.raises(MigrationError, match=r"gardens/0001_tree\.sql was changed .* put the file"):
        migrate(empty, [CONTEXT])


def test_a_database_newer_than_the_code_is_refused(empty: str, files: Path) -> None:
    migrate(empty, [CONTEXT])
    (files / "0001_tree.sql").rename(files / "0001_bush.sql")
    with pytest.raises(MigrationError, match=r"has gardens/0001_tree\.sql and this code has not"):
        migrate(empty, [CONTEXT])


def test_a_failing_file_leaves_nothing_behind_and_says_what_to_do(empty: str, files: Path) -> None:
    (files / "0002_broken.sql").write_text("CREATE TABLE gardens.half (id int); SELECT nonsense;")
    with pytest.raises(
        MigrationError, match=r"gardens/0002_broken\.sql failed .*nonsense.*correct"
    ):
        migrate(empty, [CONTEXT])
    with connect(empty) as db:
        assert db.execute("SELECT to_regclass('gardens.half')").fetchone() == (None,)
        assert pending(db, [CONTEXT]) == ["gardens/0002_broken.sql"]


@pytest.mark.parametrize("name", ["0003_gap.sql", "2_short.sql", "0002-Dash.sql"])
def test_a_badly_numbered_file_is_refused(empty: str, files: Path, name: str) -> None:
    (files / name).write_text("SELECT 1;")
    with pytest.raises(MigrationError, match=r"should be 000\d_words\.sql; rename it"):
        migrate(empty, [CONTEXT])


def test_two_starts_at_once_apply_each_file_once(empty: str, files: Path) -> None:
    with ThreadPoolExecutor(4) as starts:
        done = list(starts.map(lambda _: migrate(empty, [CONTEXT]), range(4)))
    assert sorted(map(len, done))[:3] == [0, 0, 0]
    assert max(map(len, done)) > 0
