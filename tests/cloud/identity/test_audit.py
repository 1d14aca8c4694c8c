"""The audit chain: whoever changes it, whichever way, the verifier names the first bad row."""

import json
import secrets
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import psycopg
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cloud.cli import main
from cloud.identity import chain
from cloud.identity.api import Actor, audit, verify
from cloud.identity.chain import Verdict
from cloud.kit.db import Db, connect
from cloud.kit.postgres import EmbeddedPostgres
from tests.cloud.signed_in import a_principal

NOON = datetime(2026, 7, 1, 12, tzinfo=UTC)
WHO = a_principal("supervisor", name="ada")
ROWS = 6
Captured = pytest.CaptureFixture[str]


@pytest.fixture
def own_dsn(postgres: EmbeddedPostgres, template: str) -> Iterator[str]:
    """A database of this test alone: what it does to the chain is not rolled back."""
    name = f"audit_{secrets.token_hex(6)}"
    with connect(postgres.dsn_of("postgres")) as admin:
        admin.execute(f"CREATE DATABASE {name} TEMPLATE {template} STRATEGY file_copy".encode())
        yield postgres.dsn_of(name)
        admin.execute(f"DROP DATABASE {name} WITH (FORCE)".encode())


@pytest.fixture
def chained(own_dsn: str) -> Iterator[Db]:
    """A chain of ROWS rows."""
    with connect(own_dsn) as db:
        for number in range(1, ROWS + 1):
            at = NOON + timedelta(seconds=number)
            audit(db, WHO, "command.requested", f"demo-{number:03d}", {"kind": "lock"}, at)
        yield db


def tamper(db: Db, *statements: str) -> None:
    """Do as a superuser can who takes the trigger away."""
    db.execute("ALTER TABLE identity.audit DISABLE TRIGGER USER")
    for statement in statements:
        db.execute(statement.encode())
    db.execute("ALTER TABLE identity.audit ENABLE TRIGGER USER")


def test_an_untouched_chain_is_good_and_tells_its_head(chained: Db) -> None:
    found = verify(chained)
    assert (found.rows, found.bad_seq) == (ROWS, None)
    assert chained.execute("SELECT hash FROM identity.audit_head").fetchone() == (found.head,)


def test_an_empty_chain_is_good(own_dsn: str) -> None:
    with connect(own_dsn) as db:
        assert verify(db) == Verdict(0, chain.FIRST_HASH)


@pytest.mark.parametrize(
    ("change", "bad", "reason"),
    [
        ('UPDATE identity.audit SET detail = \'{"kind": "unlock"}\' WHERE seq = 3', 3, "changed"),
        ("UPDATE identity.audit SET actor = 'eve' WHERE seq = 3", 3, "changed"),
        ("UPDATE identity.audit SET actor_kind = 'device' WHERE seq = 3", 3, "changed"),
        ("UPDATE identity.audit SET at = at + interval '1 us' WHERE seq = 3", 3, "changed"),
        ("UPDATE identity.audit SET tenant = 'other' WHERE seq = 3", 3, "changed"),
        ("UPDATE identity.audit SET city = 'other' WHERE seq = 3", 3, "changed"),
        ("UPDATE identity.audit SET action = 'x' WHERE seq = 1", 1, "changed"),
        ("UPDATE identity.audit SET target = 'x' WHERE seq = 6", 6, "changed"),
        ("UPDATE identity.audit SET hash = repeat('a', 64) WHERE seq = 4", 4, "changed"),
        ("UPDATE identity.audit SET prev_hash = repeat('a', 64) WHERE seq = 4", 4, "follow"),
        ("DELETE FROM identity.audit WHERE seq = 1", 1, "missing"),
        ("DELETE FROM identity.audit WHERE seq = 4", 4, "missing"),
        ("DELETE FROM identity.audit WHERE seq = 6", 6, "missing"),
        ("DELETE FROM identity.audit WHERE seq > 2", 3, "missing"),
        ("DELETE FROM identity.audit", 1, "missing"),
        ("UPDATE identity.audit SET seq = seq + 100 WHERE seq = 6", 6, "missing"),
        ("UPDATE identity.audit_head SET hash = repeat('a', 64)", 6, "head"),
        ("UPDATE identity.audit_head SET seq = 5", 6, "head"),
    ],
)
def test_a_chain_that_was_tampered_with_names_the_first_bad_row(
    chained: Db, change: str, bad: int, reason: str
) -> None:
    tamper(chained, change)
    found = verify(chained)
    assert (found.bad_seq, found.rows <= bad) == (bad, True)
    assert reason in found.reason


def test_rows_that_changed_places_are_named(chained: Db) -> None:
    moves = ((3, 99), (4, 3), (99, 4))
    tamper(chained, *(f"UPDATE identity.audit SET seq = {b} WHERE seq = {a}" for a, b in moves))
    assert verify(chained).bad_seq == 3


def test_a_deleted_row_with_the_gap_closed_is_named(chained: Db) -> None:
    tamper(
        chained,
        "DELETE FROM identity.audit WHERE seq = 3",
        "UPDATE identity.audit SET seq = seq - 1 WHERE seq = 4",
        "UPDATE identity.audit SET seq = seq - 1 WHERE seq = 5",
        "UPDATE identity.audit SET seq = seq - 1 WHERE seq = 6",
    )
    found = verify(chained)
    assert (found.bad_seq, found.reason) == (3, "does not follow the row before it")


def test_a_chain_without_its_head_is_not_good_and_takes_no_more_rows(chained: Db) -> None:
    chained.execute("ALTER TABLE identity.audit_head DISABLE TRIGGER USER")
    chained.execute("DELETE FROM identity.audit_head")
    assert verify(chained).bad_seq == ROWS + 1
    with pytest.raises(RuntimeError, match="head of the audit chain is gone"):
        audit(chained, WHO, "x.y", "z", {}, NOON)


@pytest.mark.parametrize(
    "change",
    [
        "UPDATE identity.audit SET actor = 'eve' WHERE seq = 3",
        "DELETE FROM identity.audit WHERE seq = 3",
        "TRUNCATE identity.audit",
        "DELETE FROM identity.audit_head",
        "TRUNCATE identity.audit_head",
    ],
)
def test_a_change_is_refused_while_the_trigger_is_there(chained: Db, change: str) -> None:
    with pytest.raises(psycopg.errors.RestrictViolation, match="only grows"):
        chained.execute(change.encode())
    assert verify(chained).bad_seq is None


def test_a_row_is_written_with_its_transaction_or_not_at_all(chained: Db) -> None:
    def fail() -> None:
        with chained.transaction():
            audit(chained, WHO, "command.requested", "never", {}, NOON)
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert verify(chained).rows == ROWS
    audit(chained, WHO, "command.requested", "after", {}, NOON)
    assert verify(chained) == Verdict(ROWS + 1, verify(chained).head)


def test_many_who_write_at_once_make_one_chain(own_dsn: str) -> None:
    def write(number: int) -> None:
        with connect(own_dsn) as db:
            for _ in range(10):
                audit(db, Actor(f"d-{number}", "device", "demo", "demo"), "a.b", "c", {}, NOON)

    with ThreadPoolExecutor(4) as threads:
        list(threads.map(write, range(4)))
    with connect(own_dsn) as db:
        assert (verify(db).rows, verify(db).bad_seq) == (40, None)


DETAILS: tuple[Any, ...] = (
    {},
    {
        "n": None,
        "yes": True,
        "i": -(2**60),
        "f": 12.5,
        "whole": 25.0,
        "tiny": 1.5e-10,
        "big": 1e300,
    },
    {"zero": -0.0, "e16": 1e16, "third": 1 / 3},
    {"text": "Zürich 🚲 \u2028", "nul": "a\0b", "half": "\ud800", "quote": '"\\'},
    {"id": UUID(int=5), "at": NOON, "nested": {"b": [1, {"a": ()}], "a": {"x", "y"}}, 7: "key"},
)


@pytest.mark.parametrize("detail", DETAILS, ids=["empty", "numbers", "floats", "text", "objects"])
def test_whatever_is_told_reads_back_as_it_was_hashed(own_dsn: str, detail: Any) -> None:
    with connect(own_dsn) as db:
        audit(db, Actor("a\0\ud800", "system", "demo", "demo"), "x.y", "\0", detail, NOON)
        assert (verify(db).rows, verify(db).bad_seq) == (1, None)


@given(value=st.floats(allow_nan=False, allow_infinity=False) | st.integers() | st.text())
def test_what_is_stored_is_stored_the_same_again(value: Any) -> None:
    once = chain.storable(value)
    assert chain.storable(json.loads(json.dumps(once))) == once


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
def test_a_number_that_json_does_not_know_is_refused(value: float) -> None:
    with pytest.raises(ValueError, match="no NaN and no infinity"):
        chain.storable({"n": [value]})


@pytest.fixture
def _at_own_dsn(own_dsn: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATABASE_URL", own_dsn)


@pytest.mark.usefixtures("_at_own_dsn")
def test_the_command_says_that_a_chain_is_good_and_lists_it(chained: Db, capsys: Captured) -> None:
    assert chained
    assert main(["audit", "verify"]) == 0
    assert f"{ROWS} rows are as they were written" in capsys.readouterr().out
    assert main(["audit", "verify", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert (told["ok"], told["rows"], told["bad_seq"]) == (True, ROWS, None)
    assert main(["audit", "list", "--limit", "2"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split("\t")[4] for line in lines] == ["demo-005", "demo-006"]


@pytest.mark.usefixtures("_at_own_dsn")
def test_the_command_names_the_first_bad_row_and_fails(chained: Db, capsys: Captured) -> None:
    tamper(chained, "UPDATE identity.audit SET actor = 'eve' WHERE seq IN (3, 5)")
    assert main(["audit", "verify"]) == 1
    assert "row 3 of the audit chain was changed" in capsys.readouterr().err
    assert main(["audit", "verify", "--json"]) == 1
    told = json.loads(capsys.readouterr().out)
    assert (told["ok"], told["bad_seq"], told["reason"]) == (False, 3, "was changed")
