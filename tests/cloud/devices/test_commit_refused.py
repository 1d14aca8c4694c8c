"""What Postgres refuses of an ingest transaction; devices are enrolled for good, so apart."""

import psycopg
import pytest
from psycopg.pq import TransactionStatus

from cloud.devices import api
from cloud.kit.db import connect
from tests.cloud.devices.committing import commit, kept
from tests.cloud.sealed import NOON, arrival, signals


@pytest.mark.parametrize("refused_at", ["the statement", "the commit"])
def test_what_the_database_does_not_commit_has_no_outcome(dsn: str, refused_at: str) -> None:
    deferred = "DEFERRABLE INITIALLY DEFERRED" if refused_at == "the commit" else ""
    device_id = f"undone-{len(deferred)}"
    with connect(dsn) as db:
        api.enrol(db, device_id, "jbd_uart", NOON)
        db.execute(
            f"CREATE FUNCTION refuse_{len(deferred)}() RETURNS trigger LANGUAGE plpgsql AS"
            " $$BEGIN RAISE EXCEPTION 'the disk is full'; END$$;"
            f" CREATE CONSTRAINT TRIGGER refuse_{len(deferred)} AFTER UPDATE ON devices.ledger"
            f" {deferred} FOR EACH ROW WHEN (NEW.device_id = '{device_id}')"
            f" EXECUTE FUNCTION refuse_{len(deferred)}()".encode()
        )
        with pytest.raises(psycopg.errors.RaiseException, match="the disk is full"):
            commit(db, arrival(signals(1, 10), device_id=device_id))
        assert kept(db, device_id) == []
        assert db.info.transaction_status == TransactionStatus.IDLE
