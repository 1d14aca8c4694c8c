"""What staff do with devices is written down, and ends where their city ends."""

from dataclasses import replace
from typing import Any

import pytest

from cloud.devices import alarms, enrolment, staff
from cloud.devices.api import NotEnrolledError, device, devices
from cloud.identity import api as identity
from cloud.kit.db import Db
from cloud.kit.ports.authority import FileAuthority
from cloud.kit.scope import DEMO, Scope
from tests.certificates import csr_for
from tests.cloud.devices.commanded import ASKER, an_able_device
from tests.cloud.devices.door import DAY
from tests.cloud.sealed import NOON

STRANGER = replace(ASKER, tenant="other")


def written(db: Db, count: int) -> list[tuple[Any, ...]]:
    """The newest entries of the audit chain, the newest last."""
    found = identity.newest(db, count)
    return [(e.actor, e.actor_kind, e.action, e.target) for e in reversed(found)]


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> FileAuthority:
    return FileAuthority(tmp_path_factory.mktemp("pki"))


def test_claiming_enrolling_and_revoking_are_written_down(db: Db, authority: FileAuthority) -> None:
    made = staff.let_enrol(db, ASKER, "kept-001", NOON, battery="jbd_uart")
    enrolment.redeem(db, authority, "kept-001", made.claim, csr_for("kept-001"), NOON, DAY)
    assert staff.revoke(db, ASKER, "kept-001", " stolen ", NOON) == 1
    assert written(db, 3) == [
        ("ada", "staff", "device.claim_made", "kept-001"),
        ("kept-001", "device", "device.enrolled", "kept-001"),
        ("ada", "staff", "device.revoked", "kept-001"),
    ]
    newest = identity.newest(db, 1)[0]
    assert newest.detail == {"reason": "stolen", "certificates": 1}
    assert made.claim not in str(identity.newest(db, 3))


def test_a_device_of_another_tenant_can_be_neither_claimed_nor_revoked(
    db: Db, authority: FileAuthority
) -> None:
    claim = staff.let_enrol(db, ASKER, "kept-001", NOON).claim
    before = written(db, 1)
    with pytest.raises(NotEnrolledError):
        staff.let_enrol(db, STRANGER, "kept-001", NOON)
    with pytest.raises(NotEnrolledError):
        staff.revoke(db, STRANGER, "kept-001", "mischief", NOON)
    assert written(db, 1) == before
    enrolment.redeem(db, authority, "kept-001", claim, csr_for("kept-001"), NOON, DAY)
    assert staff.revoke(db, ASKER, "kept-001", "stolen", NOON) == 1


def test_a_new_device_belongs_where_its_claimer_does(db: Db) -> None:
    staff.let_enrol(db, STRANGER, "theirs-001", NOON)
    there = Scope("other", DEMO.city)
    assert [found.id for found in devices(db, NOON, scope=there)] == ["theirs-001"]
    assert device(db, DEMO, "theirs-001", NOON) is None
    assert device(db, there, "theirs-001", NOON) is not None


def test_raising_and_clearing_an_alarm_is_written_down(db: Db) -> None:
    an_able_device(db, "kept-001")
    alarms.suspect_clone(db, "kept-001", "takeover", {}, NOON)
    (alarm,) = alarms.open_alarms(db, scope=DEMO)
    assert alarms.open_alarms(db, scope=Scope("other", "demo")) == []
    assert not staff.clear_alarm(db, STRANGER, alarm.id, "mischief", NOON)
    assert staff.clear_alarm(db, ASKER, alarm.id, "two SIMs, one was ours", NOON)
    assert written(db, 2) == [
        ("cloud", "system", "alarm.raised", "kept-001"),
        ("ada", "staff", "alarm.cleared", "kept-001"),
    ]


def test_at_the_console_one_acts_for_whose_device_it_is(db: Db) -> None:
    staff.let_enrol(db, STRANGER, "theirs-001", NOON)
    at_console = staff.console(db, "theirs-001")
    assert (at_console.tenant, at_console.kind) == ("other", "system")
    assert at_console.name.startswith("console:")
    assert staff.revoke(db, at_console, "theirs-001", "stolen", NOON) == 0
    assert staff.console(db, "nobody").tenant == DEMO.tenant
