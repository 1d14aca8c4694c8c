"""`mobility-cloud devices` claims, revokes and shows certificates."""

import json
import tomllib
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from cloud.cli import main
from cloud.devices import enrolment
from cloud.kit.db import Db
from cloud.kit.ports.authority import FileAuthority
from cloud.kit.runfile import write_runfile
from tests.certificates import csr_for

Captured = pytest.CaptureFixture[str]
Run = Callable[..., int]
DAY = timedelta(days=1)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "data"


@pytest.fixture
def run(dsn: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    monkeypatch.setenv("DATABASE_URL", dsn)
    monkeypatch.setenv("NATS_URL", "nats://127.0.0.1:1")
    monkeypatch.setenv("MOBILITY_DATA_DIR", str(folder))
    monkeypatch.delenv("MOBILITY_DEVICE_URL", raising=False)
    return lambda *words: main(["devices", *map(str, words)])


def add(run: Run, out: Path, device_id: str, *more: str) -> int:
    known = ("--battery", "jbd_uart", "--port", "/dev/ttyUSB0")
    return run("add", device_id, *known, "--out", out, *more)


def redeem(row: Db, folder: Path, device_id: str, claim: str) -> None:
    authority, now = FileAuthority(folder), datetime.now(UTC)
    enrolment.redeem(row, authority, device_id, claim, csr_for(device_id), now, DAY)


def test_a_claim_registers_a_new_device_and_can_be_redeemed(
    run: Run, row: Db, folder: Path, capsys: Captured
) -> None:
    assert run("claim", "new-001", "--ttl", "90s") == 0
    told = json.loads(capsys.readouterr().out)
    assert set(told) == {"id", "claim", "expires_at"}
    left = datetime.fromisoformat(told["expires_at"]) - datetime.now(UTC)
    assert timedelta(0) < left <= timedelta(seconds=90)
    redeem(row, folder, "new-001", told["claim"])


@pytest.mark.parametrize("ttl", ["0m", "25h", "1441m"])
def test_a_claim_that_lives_too_long_is_a_usage_error(run: Run, capsys: Captured, ttl: str) -> None:
    assert run("claim", "new-002", "--ttl", ttl) == 2
    assert "at most 24 hours" in capsys.readouterr().err
    assert run("claim", "new-002", "--ttl", "24h") == 0


@pytest.mark.parametrize("ttl", ["", "m", "15", "1.5h", "-1m", "9999999h"])
def test_what_is_no_time_span_is_a_usage_error(run: Run, capsys: Captured, ttl: str) -> None:
    with pytest.raises(SystemExit, match="2"):
        run("claim", "new-003", f"--ttl={ttl}")
    assert "15m" in capsys.readouterr().err


def test_an_id_or_a_battery_that_cannot_be_is_a_usage_error(run: Run) -> None:
    assert run("claim", "No Good") == 2
    assert run("claim", "new-004", "--battery", "hamster") == 2
    assert run("claim", "new-004", "--battery", "jbd_uart") == 0


def test_a_configuration_holds_a_fresh_claim_and_no_password(
    run: Run, row: Db, folder: Path, tmp_path: Path
) -> None:
    out = tmp_path / "a.toml"
    assert add(run, out, "conf-001", "--gnss-port", "/dev/ttyUSB2") == 0
    found = tomllib.loads(out.read_text())
    assert set(found["mqtt"]) == {"host", "port"}
    assert found["identity"]["ca"] == FileAuthority(folder).ca_pem
    assert found["identity"]["enrol_url"].startswith("https://127.0.0.1:")
    assert found["gnss"] == {"port": "/dev/ttyUSB2"}
    redeem(row, folder, "conf-001", found["identity"]["claim"])


def test_by_force_a_configuration_gets_a_new_claim_and_the_old_one_is_void(
    run: Run, row: Db, folder: Path, tmp_path: Path
) -> None:
    out = tmp_path / "a.toml"
    assert add(run, out, "conf-002") == 0
    old = tomllib.loads(out.read_text())["identity"]["claim"]
    assert add(run, out, "conf-002") == 1
    assert add(run, out, "conf-002", "--force") == 0
    new = tomllib.loads(out.read_text())["identity"]["claim"]
    with pytest.raises(enrolment.ClaimError):
        redeem(row, folder, "conf-002", old)
    redeem(row, folder, "conf-002", new)


def test_a_device_enrols_where_the_running_cloud_says_unless_told_otherwise(
    run: Run, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "a.toml"
    write_runfile(folder, {"device_https": "https://127.0.0.1:9999"})
    add(run, out, "conf-003")
    assert tomllib.loads(out.read_text())["identity"]["enrol_url"] == "https://127.0.0.1:9999"
    monkeypatch.setenv("MOBILITY_DEVICE_URL", "https://cloud.example:8443/")
    add(run, out, "conf-003", "--force")
    assert tomllib.loads(out.read_text())["identity"]["enrol_url"] == "https://cloud.example:8443"


def test_a_controller_has_a_port_of_its_own_unless_it_is_at_the_battery(
    run: Run, tmp_path: Path, capsys: Captured
) -> None:
    out = tmp_path / "a.toml"
    assert add(run, out, "conf-004", "--controller", "lock_unit") == 2
    assert "--controller-port" in capsys.readouterr().err
    assert add(run, out, "conf-004", "--controller", "hamster") == 2
    assert add(run, out, "conf-004", "--controller-port", "/dev/ttyUSB1") == 2
    assert not out.exists()
    lock = ("--controller", "lock_unit", "--controller-port", "/dev/ttyUSB1")
    assert add(run, out, "conf-004", *lock) == 0
    found = tomllib.loads(out.read_text())["controller"]
    assert found == {"protocol": "lock_unit", "port": "/dev/ttyUSB1"}
    assert add(run, out, "conf-004", "--force", "--controller", "jbd_fet") == 0
    found = tomllib.loads(out.read_text())["controller"]
    assert found == {"protocol": "jbd_fet"}
    assert add(run, out, "conf-004", "--force", "--controller", "jbd_fet", *lock[2:]) == 2
    assert "leave --controller-port out" in capsys.readouterr().err


def test_certificates_are_listed_and_revoked(
    run: Run, row: Db, folder: Path, capsys: Captured
) -> None:
    run("claim", "cert-001")
    redeem(row, folder, "cert-001", json.loads(capsys.readouterr().out)["claim"])
    assert run("certificates", "cert-001") == 0
    assert capsys.readouterr().out.endswith("in force\n")
    assert run("revoke", "cert-001", "--reason", "stolen") == 0
    assert "revoked 1 certificate of cert-001" in capsys.readouterr().out
    assert run("certificates", "cert-001") == 0
    assert capsys.readouterr().out.endswith(": stolen\n")
    assert run("certificates", "cert-001", "--json") == 0
    [told] = json.loads(capsys.readouterr().out)
    assert (told["device_id"], told["revoked_reason"]) == ("cert-001", "stolen")


def test_a_stranger_has_no_certificates(run: Run, capsys: Captured) -> None:
    assert run("certificates", "nobody-001") == 1
    assert run("revoke", "nobody-001", "--reason", "stolen") == 1
    assert capsys.readouterr().err.count("mobility-cloud devices list") == 2


def test_a_revocation_needs_a_reason(run: Run, capsys: Captured) -> None:
    run("claim", "cert-002")
    assert run("revoke", "cert-002", "--reason", " ") == 1
    assert "say why" in capsys.readouterr().err
