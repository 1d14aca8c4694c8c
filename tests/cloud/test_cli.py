"""`mobility-cloud` as a person types it; the database is real."""

import json
import logging
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

from cloud.cli import main, moment
from cloud.devices.commit import Parts, commit_batch
from cloud.devices.opening import open_all
from cloud.kit.db import connect
from cloud.kit.folder import DataFolder
from cloud.telemetry import api as telemetry
from tests.broker import OpenNats
from tests.cloud.sealed import NOON, NOON_MS, arrival, signals, spoiled

Captured = pytest.CaptureFixture[str]


@pytest.fixture(autouse=True)
def _elsewhere(dsn: str, nats: OpenNats, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    broker = nats.broker
    for name, value in {
        "DATABASE_URL": dsn,
        "NATS_URL": broker.ingest_url,
        "NATS_COMMANDS_URL": broker.commands_url,
        "MOBILITY_MQTT_PORT": str(broker.mqtt_port),
        "MOBILITY_DATA_DIR": str(tmp_path / "data"),
    }.items():
        monkeypatch.setenv(name, value)


@pytest.fixture
def _logs_as_before() -> Iterator[None]:
    """Take back the log that a command set up in this process."""
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)
    logging.captureWarnings(capture=False)


def add(out: Path, device_id: str = "mine-001", *more: str, battery: str = "jbd_uart") -> int:
    command = ["devices", "add", device_id, "--battery", battery, "--port", "/dev/ttyUSB0"]
    return main([*command, "--out", str(out), *more])


def test_adding_a_device_writes_what_its_agent_needs(
    tmp_path: Path, nats: OpenNats, capsys: Captured
) -> None:
    out = tmp_path / "mine.toml"
    assert add(out) == 0
    found = tomllib.loads(out.read_text())
    assert found["device"] == {"id": "mine-001"}
    assert found["mqtt"]["port"] == nats.mqtt_port
    assert found["identity"]["claim"]
    assert "BEGIN CERTIFICATE" in found["identity"]["ca"]
    assert found["battery"] == {"protocol": "jbd_uart", "port": "/dev/ttyUSB0"}
    assert out.stat().st_mode & 0o777 == 0o600
    assert f"mobility-edge run --config {out}" in capsys.readouterr().out


def test_adding_a_device_again_says_so(tmp_path: Path, capsys: Captured) -> None:
    assert add(tmp_path / "one.toml", "again-001") == 0
    assert add(tmp_path / "two.toml", "again-001") == 0
    assert "again-001 was enrolled already" in capsys.readouterr().out


def test_a_file_is_overwritten_only_by_force(tmp_path: Path, capsys: Captured) -> None:
    out = tmp_path / "mine.toml"
    out.write_text("precious")
    assert add(out) == 1
    assert "--force" in capsys.readouterr().err
    assert out.read_text() == "precious"
    assert add(out, "mine-001", "--force") == 0
    assert "mine-001" in out.read_text()


@pytest.mark.parametrize(
    ("device_id", "battery", "words"),
    [("No Good", "jbd_uart", "not a device id"), ("good-001", "hamster", "use one of jbd_uart")],
)
def test_an_id_or_battery_that_cannot_be_is_a_usage_error(
    tmp_path: Path, capsys: Captured, device_id: str, battery: str, words: str
) -> None:
    assert add(tmp_path / "x.toml", device_id, battery=battery) == 2
    assert words in capsys.readouterr().err
    assert not (tmp_path / "x.toml").exists()


def test_devices_are_listed_for_people_and_scripts(tmp_path: Path, capsys: Captured) -> None:
    add(tmp_path / "mine.toml", "list-001")
    capsys.readouterr()
    assert main(["devices", "list"]) == 0
    assert "list-001\tjbd_uart\toffline\tnever heard\t0 records" in capsys.readouterr().out
    assert main(["devices", "list", "--json"]) == 0
    listed = {row["id"]: row for row in json.loads(capsys.readouterr().out)}
    assert listed["list-001"]["connected"] is False


def store(dsn: str, device_id: str, *payloads: bytes) -> None:
    candidates, _ = open_all([arrival(payload, device_id) for payload in payloads], {})
    with connect(dsn) as db:
        commit_batch(db, candidates, (), Parts(telemetry.keep, (telemetry.project,)), NOON)


def test_readings_are_exported_and_what_is_left_out_is_said(
    dsn: str, tmp_path: Path, capfd: Captured
) -> None:
    add(tmp_path / "mine.toml", "out-001")
    store(dsn, "out-001", signals(1, 3, start_ms=NOON_MS), spoiled(signals(4, 100)))
    capfd.readouterr()
    assert main(["telemetry", "export", "--device", "out-001"]) == 0
    captured = capfd.readouterr()
    assert [json.loads(line)["seq"] for line in captured.out.splitlines()] == [1, 2, 3]
    assert "left out 1 segments of 100 records in quarantine: 1 compression" in captured.err


def test_an_export_can_be_a_file_of_some_time(dsn: str, tmp_path: Path, capsys: Captured) -> None:
    add(tmp_path / "mine.toml", "out-002")
    store(dsn, "out-002", signals(1, 10, start_ms=NOON_MS))
    out = tmp_path / "out.csv"
    span = ["--from", "2026-07-01T12:00:02Z", "--to", "2026-07-01T14:00:04+02:00"]
    command = ["telemetry", "export", "--device", "out-002", "--format", "csv", "--out", str(out)]
    assert main([*command, *span]) == 0
    assert [line.split(",")[2] for line in out.read_text().splitlines()] == ["seq", "3", "4"]
    assert capsys.readouterr().out.count("\n") == 1


def test_an_export_of_a_stranger_says_what_to_do(capsys: Captured) -> None:
    assert main(["telemetry", "export", "--device", "nobody"]) == 1
    assert "mobility-cloud devices list" in capsys.readouterr().err


@pytest.mark.usefixtures("_logs_as_before")
def test_a_path_that_cannot_be_used_is_named(capsys: Captured) -> None:
    assert main(["serve", "--data-dir", "/proc/nowhere"]) == 1
    assert "cannot use /proc/nowhere (no such file or directory)" in capsys.readouterr().err


def test_a_time_that_is_none_is_a_usage_error(capsys: Captured) -> None:
    with pytest.raises(SystemExit, match="2"):
        main(["telemetry", "export", "--device", "x", "--from", "yesterday"])
    assert "2026-07-01T12:00:00Z" in capsys.readouterr().err


@pytest.mark.parametrize("number", ["0", "-1", "many", "9" * 20])
def test_a_number_of_rows_that_is_none_is_a_usage_error(capsys: Captured, number: str) -> None:
    for words in (["audit", "list"], ["events", "held"]):
        with pytest.raises(SystemExit, match="2"):
            main([*words, f"--limit={number}"])
        assert f"'{number}' is no number of rows; write 1 or more" in capsys.readouterr().err


@pytest.mark.parametrize(
    "command",
    [[], ["serve"], ["devices"], ["devices", "add"], ["telemetry", "export"], ["doctor"]],
)
def test_every_command_helps_with_examples(command: list[str], capsys: Captured) -> None:
    with pytest.raises(SystemExit, match="0"):
        main([*command, "--help"])
    assert "examples:\n  " in capsys.readouterr().out


def test_help_needs_nothing_heavy() -> None:
    script = (
        "import sys; from cloud.cli import parser; parser().format_help();"
        "print(*{'fastapi', 'psycopg', 'pydantic', 'nats', 'pyarrow'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, check=True)
    assert done.stdout.split() == []


@pytest.mark.slow
def test_without_any_engine_running_the_data_folder_lends_its_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Captured
) -> None:
    monkeypatch.delenv("DATABASE_URL")
    monkeypatch.delenv("NATS_URL")
    assert add(tmp_path / "mine.toml", "fresh-001") == 0
    folder = DataFolder(tmp_path / "data")
    found = tomllib.loads((tmp_path / "mine.toml").read_text())
    assert found["mqtt"]["port"] == folder.ports("nats")["mqtt"]
    assert main(["devices", "list"]) == 0
    assert "fresh-001" in capsys.readouterr().out
    assert not (tmp_path / "data" / "postgres" / "postmaster.pid").exists()


@pytest.mark.parametrize("out", ["nowhere/mine.toml", "", "full"])
def test_a_file_that_cannot_be_written_leaves_nothing_enrolled(
    tmp_path: Path, capsys: Captured, out: str
) -> None:
    (tmp_path / "full").symlink_to("/dev/full")
    assert add(tmp_path / out, "lost-001", "--force") == 1
    err = capsys.readouterr().err
    assert err.startswith("mobility-cloud: ")
    assert err.count("\n") == 1
    assert main(["devices", "list"]) == 0
    assert "lost-001" not in capsys.readouterr().out


def test_a_file_that_cannot_be_written_is_noticed_before_anything_is_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Captured
) -> None:
    monkeypatch.delenv("DATABASE_URL")
    monkeypatch.delenv("NATS_URL")
    assert add(tmp_path / "nowhere" / "mine.toml") == 1
    assert f"cannot use {tmp_path}/nowhere/mine.toml (no such file" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("command", [["devices", "list"], ["telemetry", "export", "--device", "x"]])
@pytest.mark.parametrize(
    ("folder", "words"),
    [
        ("typo", "does not exist"),
        ("file", "is not a folder"),
        ("empty", "is no data folder of a cloud"),
        ("broker", "holds no database"),
    ],
)
def test_a_mistyped_data_folder_is_refused_and_nothing_is_made(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: Captured,
    command: list[str],
    folder: str,
    words: str,
) -> None:
    monkeypatch.delenv("DATABASE_URL")
    (tmp_path / "file").touch()
    (tmp_path / "empty").mkdir()
    DataFolder(tmp_path / "broker").secret("nats_cloud")
    before = sorted(tmp_path.rglob("*"))
    assert main([*command, "--data-dir", str(tmp_path / folder)]) == 1
    err = capsys.readouterr().err
    assert f"{tmp_path / folder} {words}; name the folder of your cloud" in err
    assert err.count("\n") == 1
    assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.parametrize("until", ["2026-07-01T11:59:59", "2026-07-01T12:00:00Z", "2026-07-01"])
def test_an_export_that_ends_before_it_begins_is_a_usage_error(
    capsys: Captured, until: str
) -> None:
    span = ["--from", "2026-07-01T12:00:00Z", "--to", until]
    assert main(["telemetry", "export", "--device", "out-001", *span]) == 2
    assert "--to must be later than --from" in capsys.readouterr().err


def test_a_time_without_a_zone_is_utc_and_the_help_says_so(capsys: Captured) -> None:
    assert moment("2026-07-01T12:00:00") == moment("2026-07-01T14:00:00+02:00")
    assert moment("2026-07-01") == moment("2026-07-01T00:00:00Z")
    with pytest.raises(SystemExit, match="0"):
        main(["telemetry", "export", "--help"])
    told = " ".join(capsys.readouterr().out.split())
    assert told.count("UTC when no zone is given") == 2


def test_a_command_that_only_reads_makes_no_folder_and_no_key(
    tmp_path: Path, capsys: Captured
) -> None:
    assert main(["audit", "list"]) == 0
    assert not (tmp_path / "data").exists()
    capsys.readouterr()
