"""`mobility-cloud accounts` as a person types it."""

import io
import json
from datetime import UTC, datetime
from pathlib import Path

import pytest

from cloud.cli import main
from cloud.identity.api import list_accounts
from cloud.kit.db import connect

Captured = pytest.CaptureFixture[str]


@pytest.fixture(autouse=True)
def _elsewhere(dsn: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATABASE_URL", dsn)
    monkeypatch.setenv("MOBILITY_DATA_DIR", str(tmp_path / "data"))


def names(dsn: str) -> set[str]:
    with connect(dsn) as db:
        return {account.name for account in list_accounts(db, datetime.now(UTC))}


def test_adding_a_person_prints_the_generated_password_once(dsn: str, capsys: Captured) -> None:
    assert main(["accounts", "add", "Grace", "--role", "operator"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert (told["user"], told["role"]) == ("grace", "operator")
    assert len(told["password"]) >= 20
    assert main(["accounts", "add", "grace", "--role", "operator"]) == 1
    assert "'grace' is taken" in capsys.readouterr().err
    assert "grace" in names(dsn)


def test_a_password_can_come_from_stdin(capsys: Captured, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO("a password of mine\nand more\n"))
    assert main(["accounts", "add", "hal", "--role", "viewer", "--password-stdin"]) == 0
    assert json.loads(capsys.readouterr().out)["password"] == "a password of mine"
    monkeypatch.setattr("sys.stdin", io.StringIO("short\n"))
    assert main(["accounts", "add", "hal2", "--role", "viewer", "--password-stdin"]) == 1
    assert "12 to 1024 characters" in capsys.readouterr().err


def test_a_program_gets_its_scopes(capsys: Captured) -> None:
    scopes = ["--scope", "vehicles:read", "--scope", "telemetry:read"]
    assert main(["accounts", "add", "feed", "--service", *scopes]) == 0
    told = json.loads(capsys.readouterr().out)
    assert (told["role"], told["scopes"]) == ("service", ["telemetry:read", "vehicles:read"])


@pytest.mark.parametrize(
    ("more", "words"),
    [
        ([], "--role ROLE, or --service"),
        (["--role", "viewer", "--service"], "--role ROLE, or --service"),
        (["--role", "viewer", "--scope", "vehicles:read"], "--role ROLE, or --service"),
        (["--role", "king"], "viewer, operator, supervisor, admin"),
        (["--service"], "one by one"),
        (["--service", "--scope", "vehicles:steal"], "no scope named 'vehicles:steal'"),
    ],
)
def test_an_account_that_cannot_be_is_a_usage_error(
    dsn: str, capsys: Captured, more: list[str], words: str
) -> None:
    assert main(["accounts", "add", "ivan", *more]) == 2
    assert words in capsys.readouterr().err
    assert "ivan" not in names(dsn)


def test_accounts_are_listed_disabled_and_unlocked(capsys: Captured) -> None:
    main(["accounts", "add", "judy", "--role", "viewer"])
    capsys.readouterr()
    assert main(["accounts", "list"]) == 0
    assert "judy\tstaff\tviewer\tactive" in capsys.readouterr().out
    assert main(["accounts", "unlock", "judy"]) == 0
    assert main(["accounts", "disable", "Judy"]) == 0
    capsys.readouterr()
    assert main(["accounts", "list", "--json"]) == 0
    listed = {row["name"]: row for row in json.loads(capsys.readouterr().out)}
    assert listed["judy"]["disabled_at"] is not None
    assert "password_hash" not in listed["judy"]


@pytest.mark.parametrize("action", ["disable", "unlock"])
def test_an_unknown_user_is_one_sentence(capsys: Captured, action: str) -> None:
    assert main(["accounts", action, "nobody"]) == 1
    assert "no account named 'nobody'" in capsys.readouterr().err
