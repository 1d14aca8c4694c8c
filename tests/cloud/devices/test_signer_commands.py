"""`mobility-cloud signer` shows the keys and rotates them when every device can follow."""

import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from cloud.cli import main
from cloud.devices import api
from cloud.devices.store import certificates
from cloud.identity import api as identity
from cloud.kit.db import Db
from cloud.kit.ports.authority import Issued
from cloud.kit.ports.signing import FileSigner
from cloud.kit.scope import DEMO

Captured = pytest.CaptureFixture[str]
Run = Callable[..., int]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "data"


@pytest.fixture
def run(dsn: str, folder: Path, row: Db, monkeypatch: pytest.MonkeyPatch) -> Run:
    monkeypatch.setenv("DATABASE_URL", dsn)
    monkeypatch.setenv("MOBILITY_DATA_DIR", str(folder))
    row.execute("TRUNCATE devices.certificate, devices.twin")
    return lambda *words: main(["signer", *words])


def certify(row: Db, device_id: str, at: datetime) -> None:
    api.enrol(row, device_id, "jbd_uart", at)
    issued = Issued("", f"{device_id}-1", f"print-{device_id}", at, at + timedelta(days=90))
    certificates.add_certificate(row, DEMO, device_id, issued, at)


def test_keys_that_do_not_exist_are_not_made_by_looking(
    run: Run, folder: Path, capsys: Captured
) -> None:
    assert run("show") == 1
    assert run("rotate") == 1
    assert capsys.readouterr().err.count("mobility-cloud serve") == 2
    assert not folder.exists()


def test_keys_are_shown_without_their_private_halves(
    run: Run, folder: Path, capsys: Captured
) -> None:
    current, following = FileSigner(folder).public_keys()
    assert run("show") == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines == [
        f"current\t{current.key_id}\t{current.public_key}",
        f"next\t{following.key_id}\t{following.public_key}",
    ]
    assert run("show", "--json") == 0
    text = capsys.readouterr().out
    assert json.loads(text)["next"]["key_id"] == following.key_id
    assert "private" not in text


def test_a_rotation_waits_for_every_device_and_says_for_whom(
    run: Run, folder: Path, row: Db, capsys: Captured
) -> None:
    now = datetime.now(UTC)
    signer = FileSigner(folder)
    before = signer.public_keys()
    for number in range(7):
        certify(row, f"old-{number:03d}", now - timedelta(hours=1))
    assert run("rotate") == 1
    told = capsys.readouterr().err
    assert "old-000, old-001, old-002, old-003, old-004 and 2 more" in told
    assert "--force" in told
    assert FileSigner(folder).public_keys() == before
    assert run("rotate", "--force") == 0
    assert FileSigner(folder).public_keys()[0] == before[1]
    (entry,) = identity.newest(row, 1)
    assert (entry.action, entry.target) == ("signer.rotated", before[0].key_id)
    assert len(entry.detail["forced_over"]) == 7


def test_a_fleet_that_knows_the_next_key_lets_it_take_over(
    run: Run, folder: Path, row: Db, capsys: Captured
) -> None:
    before = FileSigner(folder).public_keys()
    certify(row, "new-001", datetime.now(UTC) + timedelta(seconds=1))
    assert run("rotate") == 0
    assert f"{before[1].key_id} signs from now on" in capsys.readouterr().out
