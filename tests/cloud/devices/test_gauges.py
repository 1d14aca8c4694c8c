"""What `/metrics` shows of rows."""

from datetime import timedelta

import pytest
from prometheus_client import REGISTRY

from cloud.devices import gauges
from cloud.devices.store import certificates
from cloud.kit.db import Db
from cloud.kit.ports.authority import Issued
from cloud.kit.scope import DEMO
from tests.cloud.devices.commanded import an_able_device, ask
from tests.cloud.sealed import NOON

LIFETIME = timedelta(days=90)


def shown(name: str, **labels: str) -> float:
    value = REGISTRY.get_sample_value(f"mobility_{name}", labels)
    assert value is not None
    return value


def test_what_nobody_has_answered_is_counted_and_so_is_nothing(db: Db) -> None:
    gauges.look(db, NOON)
    before = shown("commands_open", state="pending")
    device_id = an_able_device(db, "gauged-001")
    for _ in range(2):
        ask(db, device_id, "locate")
    gauges.look(db, NOON)
    assert shown("commands_open", state="pending") - before == 2
    db.execute("UPDATE devices.command SET state = 'done'")
    gauges.look(db, NOON)
    assert shown("commands_open", state="pending") == 0


def test_devices_are_behind_until_they_have_applied_their_newest_twin(db: Db) -> None:
    an_able_device(db, "gauged-002")
    db.execute("DELETE FROM devices.twin")
    db.execute(
        "INSERT INTO devices.twin (device_id, tenant, city, version, document, desired_at)"
        " VALUES ('gauged-002', 'demo', 'demo', 3, '{}', %s)",
        (NOON,),
    )
    told = []
    for version, state in ((None, None), (3, "refused"), (2, "applied"), (3, "applied")):
        db.execute(
            "UPDATE devices.twin SET reported_version = %s, reported_state = %s", (version, state)
        )
        gauges.look(db, NOON)
        told.append(shown("twins_behind"))
    assert told == [1, 1, 1, 0]


@pytest.mark.parametrize(
    ("days_left", "ending"), [((10,), 1), ((20,), 0), ((10, 80), 0), ((-1,), 0)]
)
def test_who_should_have_renewed_is_counted(
    db: Db, days_left: tuple[int, ...], ending: int
) -> None:
    an_able_device(db, "gauged-003")
    gauges.look_at_certificates(db, NOON, LIFETIME)
    before = shown("certificates_ending")
    for number, days in enumerate(days_left):
        issued = Issued(
            certificate_pem="",
            serial_hex=f"{number:032x}",
            fingerprint_sha256_hex=f"{number:064x}",
            not_before=NOON - LIFETIME,
            not_after=NOON + timedelta(days=days),
        )
        certificates.add_certificate(db, DEMO, "gauged-003", issued, NOON)
    gauges.look_at_certificates(db, NOON, LIFETIME)
    assert shown("certificates_ending") - before == ending
