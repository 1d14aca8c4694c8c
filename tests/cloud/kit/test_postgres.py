"""The embedded Postgres: found again, restarted, never on the wrong data."""

import contextlib
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import textwrap
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psycopg
import pytest

from cloud.kit import postgres as module
from cloud.kit import restore
from cloud.kit.db import connect
from cloud.kit.engine import EngineError
from cloud.kit.postgres import EmbeddedPostgres
from cloud.kit.postgres_files import binaries
from cloud.kit.settings import CloudSettings, database_for

NOBODY = 65_534
as_root = pytest.mark.skipif(os.geteuid() != 0, reason="needs root to become another account")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data folder of these tests alone, below a folder that only its owner can enter."""
    private = tmp_path_factory.mktemp("private")
    private.chmod(0o700)
    return private / "data"


@pytest.fixture
def server(folder: Path) -> Iterator[EmbeddedPostgres]:
    with EmbeddedPostgres(folder) as running:
        yield running


def rows(dsn: str) -> int:
    with connect(dsn) as db:
        row = db.execute("SELECT count(*) FROM kept").fetchone()
        assert row is not None
        return int(row[0])


def keep(dsn: str) -> None:
    with connect(dsn) as db:
        db.execute("CREATE TABLE IF NOT EXISTS kept (n int)")
        db.execute("INSERT INTO kept VALUES (1)")


def until(condition: Callable[[], object], seconds: float = 15) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.02)


def test_it_commits_durably_and_listens_on_loopback_only(server: EmbeddedPostgres) -> None:
    with connect(server.dsn) as db:
        settings = dict(db.execute("SELECT name, setting FROM pg_settings").fetchall())
        db.execute("CREATE EXTENSION IF NOT EXISTS btree_gist")
    assert {
        name: settings[name] for name in ("fsync", "synchronous_commit", "full_page_writes")
    } == {
        "fsync": "on",
        "synchronous_commit": "on",
        "full_page_writes": "on",
    }
    assert settings["listen_addresses"] == "127.0.0.1"
    assert settings["unix_socket_directories"] == ""
    assert settings["server_encoding"] == "UTF8"
    assert settings["max_connections"] == "100"


def test_it_refuses_whoever_does_not_know_the_password(server: EmbeddedPostgres) -> None:
    with pytest.raises(psycopg.OperationalError, match="password authentication failed"):
        connect(f"postgresql://mobility:wrong@127.0.0.1:{server.port}/mobility")


def test_secrets_are_generated_and_private(folder: Path, server: EmbeddedPostgres) -> None:
    secrets = folder / "secrets.json"
    assert secrets.stat().st_mode & 0o777 == 0o600
    assert len(json.loads(secrets.read_text())["postgres"]) >= 24


def test_a_second_launcher_adopts_the_running_server(
    folder: Path, server: EmbeddedPostgres
) -> None:
    second = EmbeddedPostgres(folder)
    assert second.started_here() is False
    assert (second.pid, second.dsn) == (server.pid, server.dsn)
    second.stop()
    until(lambda: server.pid is None)


def test_a_killed_server_is_watched_back_to_life_on_its_port(server: EmbeddedPostgres) -> None:
    server.watch()
    keep(server.dsn)
    before, port, pid = rows(server.dsn), server.port, server.pid
    server.kill()
    until(lambda: server.pid not in (None, pid) and server.serves())
    assert server.port == port
    assert rows(server.dsn) == before


def test_an_adopted_server_is_watched_too(folder: Path, server: EmbeddedPostgres) -> None:
    adopter = EmbeddedPostgres(folder)
    adopter.start()
    adopter.watch()
    server.kill()
    until(lambda: adopter.pid is not None and adopter.serves())
    adopter.stop()


_OWNER = """
    import sys, time
    from pathlib import Path
    from cloud.kit.postgres import EmbeddedPostgres
    print(EmbeddedPostgres(Path(sys.argv[1])).start(), flush=True)
    time.sleep(60)
"""


def test_a_server_outlives_its_killed_owner_and_is_adopted(folder: Path) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(_OWNER), folder], stdout=subprocess.PIPE, text=True
    ) as owner:
        assert owner.stdout is not None
        dsn = owner.stdout.readline().strip()
        keep(dsn)
        owner.send_signal(signal.SIGKILL)
    heir = EmbeddedPostgres(folder)
    assert heir.started_here() is False
    assert heir.dsn == dsn
    assert rows(dsn) > 0
    heir.stop()


def test_a_lock_file_of_a_process_that_is_not_postgres_is_no_obstacle(folder: Path) -> None:
    server = EmbeddedPostgres(folder)
    server.start()
    server.kill()
    lock = folder / "postgres" / "postmaster.pid"
    account = EmbeddedPostgres(folder)._account()
    with subprocess.Popen(["sleep", "60"], user=account.uid if account else None) as stranger:
        lock.write_text(lock.read_text().replace(lock.read_text().split()[0], str(stranger.pid), 1))
        with EmbeddedPostgres(folder) as revived:
            assert revived.pid is not None
        stranger.kill()


def test_a_strangers_server_on_our_data_is_left_alone(
    folder: Path, server: EmbeddedPostgres, monkeypatch: pytest.MonkeyPatch
) -> None:
    stranger = EmbeddedPostgres(folder)
    monkeypatch.setattr(EmbeddedPostgres, "mark", "somebody-else")
    with pytest.raises(
        EngineError, match=rf"another Postgres \(pid {server._pid}\).*stop it first"
    ):
        stranger.start()


def test_busy_ports_are_stepped_around_and_the_choice_is_kept(folder: Path) -> None:
    first = EmbeddedPostgres(folder)
    first.start()
    taken = first.port
    first.stop()
    with socket.socket() as squatter:
        squatter.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        squatter.bind(("127.0.0.1", taken))
        squatter.listen()
        with EmbeddedPostgres(folder) as evading:
            chosen = evading.port
    assert chosen != taken
    with EmbeddedPostgres(folder) as again:
        assert again.port == chosen


def test_data_of_another_major_version_is_refused_with_the_way_to_move_it(folder: Path) -> None:
    server = EmbeddedPostgres(folder)
    server.start()
    server.stop()
    version = folder / "postgres" / "PG_VERSION"
    ours = version.read_text()
    try:
        version.write_text("14\n")
        with pytest.raises(
            EngineError, match=r"Postgres 14 .*pg_dump.*cloud\.kit\.restore .*14\.sql"
        ):
            server.start()
    finally:
        version.write_text(ours)


def test_a_failed_start_is_one_sentence_with_the_log(folder: Path) -> None:
    with EmbeddedPostgres(folder):
        pass
    control = folder / "postgres" / "global" / "pg_control"
    saved = control.read_bytes()
    try:
        control.write_bytes(b"\0" * len(saved))
        with pytest.raises(EngineError, match=r"Postgres stopped while starting .*; see .*\.log$"):
            EmbeddedPostgres(folder).start()
    finally:
        control.write_bytes(saved)


def test_lost_secrets_are_named_as_the_trouble(folder: Path, server: EmbeddedPostgres) -> None:
    secrets = folder / "secrets.json"
    saved = secrets.read_text()
    try:
        secrets.write_text(json.dumps({**json.loads(saved), "postgres": "forgotten"}))
        with pytest.raises(EngineError, match=r"refuses our password; restore .*secrets\.json"):
            EmbeddedPostgres(folder).start()
    finally:
        secrets.write_text(saved)


def test_a_command_borrows_a_running_database_and_leaves_it_running(
    folder: Path, server: EmbeddedPostgres
) -> None:
    with database_for(CloudSettings(data_dir=folder)) as dsn:
        assert dsn == server.dsn
    assert server.pid is not None


def test_a_command_stops_the_database_it_started(folder: Path) -> None:
    with database_for(CloudSettings(data_dir=folder)) as dsn, connect(dsn) as db:
        assert db.execute("SELECT 1").fetchone() == (1,)
    with pytest.raises(psycopg.OperationalError):
        connect(dsn)


def test_a_command_uses_the_database_it_is_told(tmp_path: Path) -> None:
    settings = CloudSettings(data_dir=tmp_path / "none", database_url="postgresql://elsewhere/x")
    with database_for(settings) as dsn:
        assert dsn == "postgresql://elsewhere/x"
    assert not (tmp_path / "none").exists()


@as_root
def test_root_runs_it_as_nobody(folder: Path, server: EmbeddedPostgres) -> None:
    assert server.pid is not None
    assert Path(f"/proc/{server.pid}").stat().st_uid == NOBODY
    assert (folder / "postgres").stat().st_uid == NOBODY


def as_nobody(act: Callable[[], str]) -> str:
    """Run a function in a forked child that gave up root; returns what it returned or raised."""
    reading, writing = os.pipe()
    if (child := os.fork()) == 0:
        with contextlib.suppress(BaseException):
            os.setgroups([])
            os.setgid(NOBODY)
            os.setuid(NOBODY)
            try:
                result = act()
            except BaseException as error:  # noqa: BLE001 - told to the parent
                result = f"{type(error).__name__}: {error}"
            os.write(writing, result.encode())
        os._exit(0)
    os.close(writing)
    with os.fdopen(reading) as answer:
        told = answer.read()
    os.waitpid(child, 0)
    return told


@pytest.fixture
def home_of_nobody() -> Iterator[Path]:
    home = Path(tempfile.mkdtemp())
    os.chown(home, NOBODY, NOBODY)
    yield home
    shutil.rmtree(home)


@as_root
def test_without_root_it_runs_as_whoever_starts_it(
    home_of_nobody: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The interpreter's own folder may be closed to nobody; the copy for anyone is not.
    readable = binaries(for_anyone=True)
    monkeypatch.setattr(module, "binaries", lambda *, for_anyone: readable)

    def act() -> str:
        with EmbeddedPostgres(home_of_nobody / "data") as running, connect(running.dsn) as db:
            db.execute("SELECT 1")
            return f"{Path(f'/proc/{running.pid}').stat().st_uid} {db.info.user}"

    assert as_nobody(act) == f"{NOBODY} mobility"
    with EmbeddedPostgres(home_of_nobody / "data") as as_root_now:
        assert as_root_now.pid is not None


@as_root
def test_without_root_somebody_elses_data_is_refused(home_of_nobody: Path) -> None:
    data = home_of_nobody / "data" / "postgres"
    data.mkdir(parents=True)
    (data / "PG_VERSION").write_text((binaries_major()) + "\n")
    os.chown(home_of_nobody / "data", NOBODY, NOBODY)

    def act() -> str:
        return EmbeddedPostgres(home_of_nobody / "data").start()

    assert "belongs to uid 0; run as that user or choose another --data-dir" in as_nobody(act)


def binaries_major() -> str:
    from cloud.kit.postgres_files import major_version

    return str(major_version())


@as_root
def test_the_copy_for_anyone_is_repaired_when_a_cleaner_ate_from_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    home = binaries(for_anyone=True)
    (home / "initdb").unlink()
    assert (binaries(for_anyone=True) / "initdb").exists()
    assert [path.name for path in tmp_path.iterdir()] == [home.parts[len(tmp_path.parts)]]


@as_root
def test_a_copy_planted_by_somebody_else_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    home = binaries(for_anyone=True)
    os.chown(tmp_path / home.parts[len(tmp_path.parts)], NOBODY, NOBODY)
    with pytest.raises(EngineError, match="belongs to somebody else; remove it"):
        binaries(for_anyone=True)


def test_a_dump_fills_a_fresh_server_and_a_bad_one_leaves_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    dump = tmp_path / "dump.sql"
    dump.write_text("CREATE TABLE kept (n int); INSERT INTO kept VALUES (1); SELECT nonsense;")
    assert restore.main([str(tmp_path / "data"), str(dump)]) == 1
    assert "was not restored" in capsys.readouterr().err
    dump.write_text("CREATE TABLE kept (n int); INSERT INTO kept VALUES (1);")
    assert restore.main([str(tmp_path / "data"), str(dump)]) == 0
    with EmbeddedPostgres(tmp_path / "data") as server:
        assert rows(server.dsn) == 1


def test_any_folder_name_will_do(tmp_path: Path) -> None:
    with EmbeddedPostgres(tmp_path / 'dü "x" \\ $(ü)\'') as server:
        keep(server.dsn)
        assert rows(server.dsn) == 1


def test_the_way_to_move_data_survives_any_folder_name(tmp_path: Path) -> None:
    data = tmp_path / 'dü "x" $(ü)\'' / "postgres"
    data.mkdir(parents=True)
    (data.parent / "secrets.json").write_text('{"postgres": "open sesame"}')
    steps = module._other_major(data, "14", None).partition(" && ")[2]
    (tmp_path / "pg_dump").write_text('#!/bin/sh\nprintf "%s\\n" "$PGPASSWORD" "$@"\n')
    (tmp_path / "pg_dump").chmod(0o700)
    first, _, dumping, *_ = steps.split(" && ")
    done = subprocess.run(
        ["sh", "-c", f"{first} && {dumping} && pwd"],
        env={**os.environ, "OLD": str(tmp_path)},
        check=True,
        capture_output=True,
        text=True,
    )
    told = done.stdout.splitlines()
    assert (told[0], told[-1]) == ("open sesame", str(data))
    assert str(data.parent / "postgres-14.sql") in told
