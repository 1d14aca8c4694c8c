"""`mobility-cloud events` as a person types it."""

import json
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from cloud.app import CONTEXTS, prepare_database
from cloud.cli import main
from cloud.events.devices import DeviceEnrolled
from cloud.kit.clock import SystemClock
from cloud.kit.db import Db, connect
from cloud.kit.events import Subscriber, publish, register
from cloud.kit.scope import DEMO

Captured = pytest.CaptureFixture[str]


@pytest.fixture
def held(dsn: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[list[int]]:
    """Two deliveries that failed."""
    monkeypatch.setenv("DATABASE_URL", dsn)
    monkeypatch.setenv("MOBILITY_DATA_DIR", str(tmp_path / "data"))
    now = datetime.now(UTC)
    broken = Subscriber("fleet.broken", (DeviceEnrolled,), lambda _db, _event: None)
    prepare_database(dsn, SystemClock(), [broken])
    with connect(dsn) as db:
        db.execute("DELETE FROM pgqueuer.pgqueuer")
        for name in ("one", "two"):
            event = DeviceEnrolled(
                tenant=DEMO.tenant, city=DEMO.city, device_id=name, battery="", enrolled_at=now
            )
            publish(db, event, at=now)
        db.execute("UPDATE pgqueuer.pgqueuer SET status = 'failed'")
        yield [job_id for (job_id,) in db.execute("SELECT id FROM pgqueuer.pgqueuer ORDER BY id")]
        db.execute("DELETE FROM pgqueuer.pgqueuer")
        register(db, CONTEXTS, ())


def states(dsn: str) -> dict[int, str]:
    with connect(dsn) as db:
        return dict(db.execute("SELECT id, status::text FROM pgqueuer.pgqueuer").fetchall())


def last_audit(db: Db) -> tuple[str, str]:
    row = db.execute(
        "SELECT action, target FROM identity.audit ORDER BY seq DESC LIMIT 1"
    ).fetchone()
    assert row is not None
    return row[0], row[1]


def test_held_deliveries_are_listed(held: list[int], capsys: Captured) -> None:
    assert main(["events", "held", "--json"]) == 0
    rows = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [row["job_id"] for row in rows] == held
    assert rows[0]["subscriber"] == "fleet.broken"
    assert main(["events", "held", "--limit", "1"]) == 0
    assert capsys.readouterr().out.startswith(f"{held[0]}\t")


def test_a_held_delivery_is_replayed_or_discarded(
    dsn: str, held: list[int], capsys: Captured
) -> None:
    one, two = held
    assert main(["events", "replay", str(one)]) == 0
    assert capsys.readouterr().out == "1 replayed\n"
    assert states(dsn) == {one: "queued", two: "failed"}
    assert main(["events", "discard", "--all"]) == 0
    assert states(dsn) == {one: "queued"}
    with connect(dsn) as db:
        assert last_audit(db) == ("events.discarded", "1 deliveries")
    assert main(["events", "replay", "--all"]) == 0
    assert capsys.readouterr().out.endswith("0 replayed\n")


def test_what_is_not_held_is_not_touched(dsn: str, held: list[int], capsys: Captured) -> None:
    assert main(["events", "discard", str(held[0]), "999999999"]) == 1
    assert "nothing was discarded" in capsys.readouterr().err
    assert set(states(dsn)) == set(held)
    for wrong in (["events", "discard"], ["events", "replay", "--all", str(held[0])]):
        assert main(wrong) == 2
        assert "--all" in capsys.readouterr().err
