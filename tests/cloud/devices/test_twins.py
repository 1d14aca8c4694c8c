"""How a device is wanted: versions, keys announced ahead, what the device said."""

from collections.abc import Mapping
from datetime import datetime, timedelta
from itertools import count
from pathlib import Path
from typing import Any

import pytest

from cloud.devices import api, metrics, twins
from cloud.devices.api import TwinRow
from cloud.devices.command_problems import CommandRefusedError
from cloud.devices.commit import Parts, commit_batch
from cloud.devices.opening import open_all
from cloud.devices.store import certificates
from cloud.devices.twins import Announced
from cloud.identity import api as identity
from cloud.kit.clock import ManualClock
from cloud.kit.db import Db, connect
from cloud.kit.ports.authority import Issued
from cloud.kit.ports.signing import FileSigner
from cloud.kit.scope import DEMO
from cloud.telemetry import api as telemetry
from protocol.commands import DesiredTwin, decode_twin
from tests.broker import OpenNats
from tests.cloud.devices.commanded import (
    ASKER,
    an_able_device,
    ask,
    hello_of,
    obedient,
    relaying,
    seconds,
    told,
)
from tests.cloud.devices.conftest import Connect, eventually, workers
from tests.cloud.sealed import NOON, arrival

_numbers = count(1)


@pytest.fixture(autouse=True)
def _empty(dsn: str) -> None:
    """Nothing is left of tests that commit."""
    with connect(dsn) as db:
        db.execute("TRUNCATE devices.twin, devices.certificate, devices.asked")


@pytest.fixture
def signer(tmp_path: Path) -> FileSigner:
    return FileSigner(tmp_path, ManualClock(NOON))


@pytest.fixture
def device_id() -> str:
    return f"twin-{next(_numbers):03d}"


def change(db: Db, device_id: str, at: datetime = NOON, **changes: Any) -> TwinRow:
    return api.change_twin(
        db,
        ASKER,
        device_id=device_id,
        vehicle_id=device_id,
        changes=changes,
        reason="a test wants it",
        at=at,
    )


def refused(db: Db, device_id: str, **changes: Any) -> str:
    with pytest.raises(CommandRefusedError) as refusal:
        change(db, device_id, **changes)
    return refusal.value.fault


def sent(db: Db, signer: FileSigner, *greeted: str) -> dict[str, DesiredTwin]:
    ready = twins.prepare(db, signer.public_keys(), greeted, NOON)
    return {device_id: decode_twin(document) for device_id, document in ready}


def say(db: Db, device_id: str, seq: int, kind: str, **fields: Any) -> None:
    telemetry.prepare_partitions(db, NOON)
    segment = told(seq, (kind, fields), at=NOON + seconds(seq))
    candidates, _ = open_all([arrival(segment, device_id)], {})
    commit_batch(db, candidates, (), Parts(telemetry.keep), NOON + seconds(seq))


def certify(db: Db, device_id: str, at: datetime) -> None:
    """Note a certificate that was issued then."""
    day = timedelta(days=1)
    issued = Issued("", f"{device_id}-{at:%H%M%S}", f"{device_id}{at}", at - day, at + 90 * day)
    certificates.add_certificate(db, DEMO, device_id, issued, at)


def announced(signer: FileSigner) -> Announced:
    return Announced(signer.public_keys(), signer.next_made_at)


def reported(db: Db, device_id: str) -> tuple[int | None, str | None, str]:
    """Version, state and reason of the last report."""
    row = api.twin(db, DEMO, device_id)
    if row is None:
        return None, None, ""
    return row.reported_version, row.reported_state, row.reported_reason


def test_only_what_is_given_changes_and_the_version_rises(db: Db, device_id: str) -> None:
    an_able_device(db, device_id)
    assert api.twin(db, DEMO, device_id) is None
    assert change(db, device_id, limits={"speed_limit_kmh": 20}).version == 1
    change(db, device_id, intervals_s={"poll_riding_s": 2, "poll_parked_s": 30})
    change(db, device_id, limits={"speed_mode": "eco"})
    row = change(db, device_id, intervals_s={"poll_riding_s": None}, immobilised=False)
    assert row.version == 4
    assert row.document == {
        "limits": {"speed_limit_kmh": 20, "speed_mode": "eco"},
        "intervals_s": {"poll_parked_s": 30.0},
        "immobilised": False,
        "live_until_ms": None,
    }
    assert change(db, device_id, limits=None).document["limits"] == {
        "speed_limit_kmh": None,
        "speed_mode": None,
    }


@pytest.mark.parametrize(
    "changes",
    [
        {"limits": {"speed_limit_kmh": 99}},
        {"limits": {"speed_mode": "ludicrous"}},
        {"intervals_s": {"poll_never_s": 1.0}},
        {"intervals_s": {"poll_riding_s": 0.0}},
        {"intervals_s": {"poll_riding_s": float("nan")}},
        {"live_until_ms": int((NOON + timedelta(hours=25)).timestamp() * 1000)},
    ],
)
def test_what_no_device_would_take_is_refused(
    db: Db, device_id: str, changes: Mapping[str, Any]
) -> None:
    an_able_device(db, device_id)
    assert refused(db, device_id, **changes) == "args-refused"
    assert api.twin(db, DEMO, device_id) is None
    ok: dict[str, Any] = {"limits": {"speed_limit_kmh": 25}, "intervals_s": {"poll_riding_s": 1.0}}
    soon = int((NOON + timedelta(hours=23)).timestamp() * 1000)
    assert change(db, device_id, NOON, **ok, live_until_ms=soon).version == 1


def test_a_stranger_has_no_twin(db: Db) -> None:
    assert refused(db, "twin-nobody", immobilised=False) == "device-unknown"


def test_immobilisations_are_counted_with_those_by_command(db: Db, device_id: str) -> None:
    an_able_device(db, device_id)
    for minute in range(9):
        ask(db, device_id, "immobilise", at=NOON + timedelta(minutes=minute), on=True)
    assert change(db, device_id, NOON + timedelta(minutes=10), immobilised=True).version == 1
    at = NOON + timedelta(minutes=11)
    assert ask(db, device_id, "immobilise", at=at, on=True).state == "awaiting_approval"
    with pytest.raises(CommandRefusedError) as refusal:
        change(db, device_id, at, immobilised=True)
    assert refusal.value.fault == "approval-needed"
    assert change(db, device_id, at, immobilised=False).version == 2


def test_a_change_is_in_the_audit_chain(db: Db, device_id: str) -> None:
    an_able_device(db, device_id)
    change(db, device_id, immobilised=False)
    (entry,) = identity.newest(db, 1)
    assert (entry.action, entry.actor, entry.target) == ("twin.changed", "ada", device_id)
    assert entry.detail == {
        "version": 1,
        "changes": {"immobilised": False},
        "reason": "a test wants it",
    }


def test_a_version_is_one_document_however_often_it_is_sent(
    db: Db, device_id: str, signer: FileSigner
) -> None:
    an_able_device(db, device_id)
    change(db, device_id, limits={"speed_limit_kmh": 20})
    first = sent(db, signer)[device_id]
    assert (first.version, first.device_id, first.limits.speed_limit_kmh) == (1, device_id, 20)
    assert first.signers == signer.public_keys()
    assert sent(db, signer) == {}
    assert sent(db, signer, device_id)[device_id] == first
    signer.rotate()
    assert sent(db, signer, device_id)[device_id] == first


def test_a_reported_version_is_not_sent_again_but_one_nobody_could_read_is(
    db: Db, device_id: str, signer: FileSigner
) -> None:
    an_able_device(db, device_id)
    change(db, device_id, immobilised=False)
    sent(db, signer)
    say(db, device_id, 1, "twin.refused", version=1, reason="unknown_key", detail="no such key")
    assert reported(db, device_id) == (1, "refused", "unknown_key")
    assert device_id in sent(db, signer, device_id)
    say(db, device_id, 2, "twin.applied", version=1)
    assert reported(db, device_id) == (1, "applied", "")
    assert sent(db, signer, device_id) == {}


def test_a_refusal_stays_with_its_reason_until_the_next_version(
    db: Db, device_id: str, signer: FileSigner
) -> None:
    an_able_device(db, device_id)
    change(db, device_id, immobilised=True)
    sent(db, signer)
    say(db, device_id, 1, "twin.refused", version=1, reason="moving", detail="20 km/h")
    row = api.twin(db, DEMO, device_id)
    assert row is not None
    assert (row.reported_state, row.reported_reason, row.reported_detail, row.reported_at) == (
        "refused",
        "moving",
        "20 km/h",
        NOON + seconds(1),
    )
    assert sent(db, signer, device_id) == {}
    change(db, device_id, NOON + seconds(5), immobilised=False)
    assert sent(db, signer)[device_id].version == 2


def ignored(why: str) -> float:
    return float(metrics.ANSWERS_IGNORED.labels(why)._value.get())


def test_reports_only_move_forward(db: Db, device_id: str, signer: FileSigner) -> None:
    an_able_device(db, device_id)
    for _ in range(2):
        change(db, device_id, immobilised=False)
    sent(db, signer)
    say(db, device_id, 1, "twin.applied", version=2)
    late, unknown, malformed = ignored("late"), ignored("unknown"), ignored("malformed")
    say(db, device_id, 2, "twin.applied", version=1)
    say(db, device_id, 3, "twin.refused", version=2, reason="unsafe")
    say(db, device_id, 4, "twin.applied", version=3)
    say(db, device_id, 5, "twin.refused", version=0, reason="bad_document")
    say(db, device_id, 6, "twin.applied", version="two")
    assert reported(db, device_id) == (2, "applied", "")
    assert (ignored("late"), ignored("unknown")) == (late + 2, unknown + 2)
    assert ignored("malformed") == malformed + 1


def test_a_device_that_enrolled_before_the_next_key_is_told_of_it(
    db: Db, device_id: str, signer: FileSigner
) -> None:
    an_able_device(db, device_id)
    certify(db, device_id, NOON - timedelta(hours=1))
    assert twins.not_told(db, announced(signer), NOON) == [device_id]
    assert twins.announce(db, announced(signer), NOON) == 1
    assert twins.announce(db, announced(signer), NOON) == 0
    twin = sent(db, signer)[device_id]
    assert (twin.version, twin.signers) == (1, signer.public_keys())
    assert twins.not_told(db, announced(signer), NOON) == [device_id]
    say(db, device_id, 1, "twin.applied", version=1)
    assert twins.not_told(db, announced(signer), NOON) == []


def test_a_device_that_enrolled_after_it_knows_it_already(
    db: Db, device_id: str, signer: FileSigner
) -> None:
    an_able_device(db, device_id)
    certify(db, device_id, signer.next_made_at + seconds(1))
    assert twins.announce(db, announced(signer), NOON) == 0
    assert twins.not_told(db, announced(signer), NOON) == []


def test_a_device_without_a_certificate_in_force_holds_nobody_up(
    db: Db, device_id: str, signer: FileSigner
) -> None:
    an_able_device(db, device_id)
    certify(db, device_id, NOON - timedelta(days=89))
    assert twins.not_told(db, announced(signer), NOON) == [device_id]
    assert twins.not_told(db, announced(signer), NOON + timedelta(days=2)) == []
    certificates.revoke(db, device_id, "stolen", NOON)
    assert twins.not_told(db, announced(signer), NOON) == []


def test_after_a_rotation_every_twin_gets_a_version_with_the_new_next_key(
    db: Db, device_id: str, signer: FileSigner
) -> None:
    an_able_device(db, device_id)
    certify(db, device_id, NOON + seconds(1))
    change(db, device_id, limits={"speed_limit_kmh": 15})
    sent(db, signer)
    say(db, device_id, 1, "twin.applied", version=1)
    before = signer.next_key
    signer.rotate()
    assert twins.not_told(db, announced(signer), NOON + seconds(1)) == [device_id]
    assert twins.announce(db, announced(signer), NOON + seconds(2)) == 1
    twin = sent(db, signer)[device_id]
    assert (twin.version, twin.limits.speed_limit_kmh) == (2, 15)
    assert twin.signers == [before, signer.next_key]


def test_a_device_that_enrolled_anew_gets_its_twin_again(
    db: Db, device_id: str, signer: FileSigner
) -> None:
    an_able_device(db, device_id)
    change(db, device_id, immobilised=False)
    first = sent(db, signer)[device_id]
    say(db, device_id, 1, "twin.applied", version=1)
    twins.forget_report(db, device_id)
    assert reported(db, device_id) == (None, None, "")
    assert sent(db, signer, device_id)[device_id] == first


async def test_a_twin_is_sent_when_it_is_wanted_and_reported_back(
    dsn: str, nats: OpenNats, signer: FileSigner, clock: ManualClock, row: Db, device_id: str
) -> None:
    an_able_device(row, device_id)
    async with (
        workers(dsn, nats, clock=clock),
        relaying(dsn, nats, signer, clock),
        obedient(nats, signer, device_id) as device,
    ):
        change(row, device_id, limits={"speed_limit_kmh": 20}, immobilised=False)
        await eventually(lambda: reported(row, device_id) == (1, "applied", ""))
        change(row, device_id, limits={"speed_limit_kmh": None})
        await eventually(lambda: reported(row, device_id) == (2, "applied", ""))
    assert [(twin.version, twin.limits.speed_limit_kmh) for twin in device.twins] == [
        (1, 20),
        (2, None),
    ]


async def test_an_unreported_twin_is_sent_when_the_device_says_hello(
    dsn: str,
    nats: OpenNats,
    signer: FileSigner,
    clock: ManualClock,
    row: Db,
    device: Connect,
    device_id: str,
) -> None:
    an_able_device(row, device_id)

    def was_sent() -> bool:
        found = api.twin(row, DEMO, device_id)
        return found is not None and found.sent_at is not None

    async with relaying(dsn, nats, signer, clock) as relay:
        change(row, device_id, immobilised=False)
        await eventually(was_sent)
        async with (
            workers(dsn, nats, clock=clock, greeted=relay.greeted),
            device(device_id, enrolled=False) as link,
            obedient(nats, signer, device_id) as there,
        ):
            await link.say(hello_of())
            await eventually(lambda: reported(row, device_id) == (1, "applied", ""))
            await link.say(hello_of(nonce="nonce-0002"))
            while (await link.ack()).nonce != "nonce-0002":
                pass
    assert [twin.version for twin in there.twins] == [1]


@pytest.mark.slow
async def test_keys_are_rotated_under_a_running_fleet(
    dsn: str, nats: OpenNats, signer: FileSigner, clock: ManualClock, row: Db, device_id: str
) -> None:
    an_able_device(row, device_id)
    certify(row, device_id, NOON - timedelta(hours=1))
    async with (
        workers(dsn, nats, clock=clock),
        relaying(dsn, nats, signer, clock),
        obedient(nats, signer, device_id) as device,
    ):
        for version in (1, 2, 3):
            await eventually(lambda v=version: reported(row, device_id)[0] == v)  # type: ignore[misc]
            elsewhere = FileSigner(signer._folder.path, clock)
            assert twins.not_told(row, announced(elsewhere), NOON) == []
            elsewhere.rotate()
    assert device.disbelieved == []
    used = [[key.key_id for key in twin.signers] for twin in device.twins]
    assert [first for first, _ in used[1:]] == [last for _, last in used[:-1]]
