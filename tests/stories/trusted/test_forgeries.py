"""Forgeries and replays: what nobody signed, what was true once, and what another device said.

The broker's own password has been stolen here; the vehicle believes signatures alone. Each attack
has its twin that goes through. The rows at the door are in test_attacks.py.
"""

import uuid
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from firmware_shim.lock_unit import LockUnit
from protocol.bodies import FieldValue
from protocol.commands import DesiredTwin, encode
from protocol.messages import Hello, LaneState
from protocol.messages import encode as encode_status
from protocol.segment import Fact, seal_facts
from protocol.signing import COMMAND_TYPE, TWIN_TYPE, sign
from tests.cloud.sealed import EPOCH, EPOCH_HEX, signals
from tests.stories.trusted.cloud import Cloud, until
from tests.stories.trusted.intruder import Intruder, a_command, slip_in, truly_signed
from tests.stories.trusted.vehicle import Vehicle, Workbench

pytestmark = [pytest.mark.story, pytest.mark.slow]

DONE = ("done", "")
NOTHING = {"records": 0, "repeats": 0}


@pytest.fixture
def thief(cloud: Cloud, tmp_path: Path) -> Intruder:
    """A device with an identity of its own, and a mind of its own."""
    return Intruder(cloud, f"thief-{uuid.uuid4().hex[:8]}", tmp_path)


@pytest.fixture(scope="module")
def victim(
    cloud: Cloud, bench: Workbench, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Vehicle]:
    """An honest vehicle at work."""
    folder = tmp_path_factory.mktemp("victim")
    with Vehicle(cloud, bench, folder, "victim-001", lock=LockUnit()) as vehicle:
        vehicle.start_and_greet()
        yield vehicle


def forged(victim: Vehicle) -> bytes:
    command = a_command(victim.id, "unlock", str(uuid.uuid4()))
    key = Ed25519PrivateKey.generate()
    return sign(encode(command), COMMAND_TYPE, victim.cloud.signer.key_id, key.sign)


def of_an_unknown_key(victim: Vehicle) -> bytes:
    command = a_command(victim.id, "unlock", str(uuid.uuid4()))
    return sign(encode(command), COMMAND_TYPE, "nobodys-key", Ed25519PrivateKey.generate().sign)


def of_another_device(victim: Vehicle) -> bytes:
    return truly_signed(victim.cloud, a_command("other-001", "unlock", str(uuid.uuid4())))


def of_another_type(victim: Vehicle) -> bytes:
    signer = victim.cloud.signer
    command = a_command(victim.id, "unlock", str(uuid.uuid4()))
    return sign(encode(command), TWIN_TYPE, signer.key_id, signer.sign)


def unsigned(victim: Vehicle) -> bytes:
    return encode(a_command(victim.id, "unlock", str(uuid.uuid4())))


DISBELIEVED = {
    "a forged signature": (forged, "bad_signature"),
    "a key that is not pinned": (of_an_unknown_key, "unknown_key"),
    "a command for another vehicle": (of_another_device, "other_device"),
    "a signature made for a twin": (of_another_type, "wrong_type"),
    "no signature": (unsigned, "malformed"),
}


@pytest.mark.parametrize(("make", "reason"), DISBELIEVED.values(), ids=DISBELIEVED)
def test_a_command_that_nobody_signed_moves_nothing_and_is_told_once(
    victim: Vehicle, make: Callable[[Vehicle], bytes], reason: str
) -> None:
    lock = victim.lock
    assert isinstance(lock, LockUnit)
    victim.turn(locked=True)
    moves = lock.moves
    slip_in(victim.cloud, victim.id, "cmd", make(victim))
    until("the vehicle tells of it", lambda: bool(distrusted(victim, "command", reason)))
    assert distrusted(victim, "command", reason) == [1]
    assert len(victim.told(f"a command is not believed: {reason}")) == 1
    assert (lock.moves, lock.sensors.latch) == (moves, 1)
    # The twin: the same command, signed by the cloud.
    good = a_command(victim.id, "unlock", str(uuid.uuid4()))
    slip_in(victim.cloud, victim.id, "cmd", truly_signed(victim.cloud, good))
    until("it is done", lambda: results(victim, good.id) == [("done", "", False)])
    assert (lock.moves, lock.sensors.latch) == (moves + 1, 0)


def distrusted(vehicle: Vehicle, what: str, reason: str) -> list[int]:
    """How often each `security.refused` of a vehicle counts what was not believed."""
    told = vehicle.says("security.refused")
    return [one["times"] for one in told if (one["what"], one["reason"]) == (what, reason)]


def results(vehicle: Vehicle, command_id: str) -> list[tuple[str, str, bool]]:
    """What a vehicle said of a command: state, reason, whether it was said before."""
    return [
        (one["state"], one["reason"], one.get("repeat", False))
        for one in vehicle.says("command.result")
        if one["id"] == command_id
    ]


def test_an_expired_command_is_refused(victim: Vehicle) -> None:
    lock = victim.lock
    assert isinstance(lock, LockUnit)
    victim.turn(locked=True)
    moves = lock.moves
    old = a_command(victim.id, "unlock", str(uuid.uuid4()), age_ms=3_600_000)
    slip_in(victim.cloud, victim.id, "cmd", truly_signed(victim.cloud, old))
    until("it is answered", lambda: bool(results(victim, old.id)))
    assert results(victim, old.id) == [("refused", "expired", False)]
    assert lock.moves == moves
    assert victim.does("unlock") == DONE
    assert lock.moves == moves + 1


def test_a_command_that_was_heard_before_is_answered_and_not_done_again(victim: Vehicle) -> None:
    lock = victim.lock
    assert isinstance(lock, LockUnit)
    victim.turn(locked=True)
    moves = lock.moves
    good = a_command(victim.id, "unlock", str(uuid.uuid4()))
    heard = truly_signed(victim.cloud, good)
    slip_in(victim.cloud, victim.id, "cmd", heard)
    until("it is done", lambda: bool(results(victim, good.id)))
    assert victim.does("lock") == DONE
    slip_in(victim.cloud, victim.id, "cmd", heard)
    until("it is answered again", lambda: len(results(victim, good.id)) == 2)
    assert results(victim, good.id) == [("done", "", False), ("done", "", True)]
    assert (lock.moves, lock.sensors.latch) == (moves + 2, 1)


def test_an_old_twin_is_refused_and_a_newer_one_applied(victim: Vehicle) -> None:
    lock, signer = victim.lock, victim.cloud.signer
    assert isinstance(lock, LockUnit)
    version = victim.cloud.wish(victim.id, limits={"speed_limit_kmh": 12})
    assert victim.cloud.reported(victim.id, version) == ("applied", "")
    old = DesiredTwin(
        device_id=victim.id,
        version=version - 1 or 1,
        issued_at_ms=int(datetime.now(UTC).timestamp() * 1000),
        signers=signer.public_keys(),
    )
    slip_in(
        victim.cloud, victim.id, "twin", sign(encode(old), TWIN_TYPE, signer.key_id, signer.sign)
    )
    until("it is refused", lambda: bool(victim.says("twin.refused")))
    assert victim.says("twin.refused")[-1]["reason"] == "old_version"
    assert lock.sensors.limit_kmh == 12
    version = victim.cloud.wish(victim.id, limits={"speed_limit_kmh": 15})
    assert victim.cloud.reported(victim.id, version) == ("applied", "")
    assert lock.sensors.limit_kmh == 15


def test_a_forged_twin_changes_nothing_and_is_told_once(victim: Vehicle) -> None:
    lock, signer = victim.lock, victim.cloud.signer
    assert isinstance(lock, LockUnit)
    key = Ed25519PrivateKey.generate()
    twin = DesiredTwin(
        device_id=victim.id,
        version=1_000,
        issued_at_ms=int(datetime.now(UTC).timestamp() * 1000),
        signers=signer.public_keys(),
        immobilised=True,
    )
    slip_in(victim.cloud, victim.id, "twin", sign(encode(twin), TWIN_TYPE, signer.key_id, key.sign))
    until("the vehicle tells of it", lambda: bool(distrusted(victim, "twin", "bad_signature")))
    assert distrusted(victim, "twin", "bad_signature") == [1]
    assert len(victim.told("a twin is not believed: bad_signature")) == 1
    assert not lock.sensors.immobilised
    for on in (True, False):
        version = victim.cloud.wish(victim.id, immobilised=on)
        assert victim.cloud.reported(victim.id, version) == ("applied", "")
        assert lock.sensors.immobilised is on


# In the data: what was true once is played again.


def test_a_segment_that_is_played_again_counts_once_and_never_for_another(
    cloud: Cloud, thief: Intruder
) -> None:
    honest = Intruder(cloud, f"honest-{uuid.uuid4().hex[:8]}", thief.folder)
    recorded = signals(first=1, n=10)
    honest.publishes((f"mc/1/{honest.id}/up", recorded))
    until("it is kept", lambda: cloud.stands(honest.id) != NOTHING)
    assert cloud.stands(honest.id) == {"records": 10, "repeats": 0}
    honest.publishes((f"mc/1/{honest.id}/up", recorded))
    until("it is known", lambda: cloud.stands(honest.id)["repeats"] == 1)
    # The thief says it under its own name: the topic says whose it is, not the bytes.
    thief.publishes((f"mc/1/{thief.id}/up", recorded))
    until("it is kept", lambda: cloud.stands(thief.id) != NOTHING)
    assert cloud.stands(honest.id) == {"records": 10, "repeats": 1}
    assert cloud.stands(thief.id) == {"records": 10, "repeats": 0}
    # The twin: what comes next from the honest device is counted.
    honest.publishes((f"mc/1/{honest.id}/up", signals(first=11, n=10)))
    until("the next is kept", lambda: cloud.stands(honest.id) == {"records": 20, "repeats": 1})


def test_a_device_cannot_answer_for_another(cloud: Cloud, thief: Intruder) -> None:
    honest = Intruder(cloud, f"honest-{uuid.uuid4().hex[:8]}", thief.folder)
    honest.publishes((f"mc/1/{honest.id}/status", hello("unlock")))
    until("it is known", lambda: cloud.can(honest.id, "unlock"))
    command_id = cloud.ask(honest.id, "unlock")
    answer = an_answer(command_id)
    unknown = 'mobility_answers_ignored_total{why="unknown"}'
    before = cloud.metric(unknown)
    thief.publishes((f"mc/1/{thief.id}/fact", answer))
    until("it is ignored", lambda: cloud.metric(unknown) == before + 1)
    state = cloud.api.get(f"/api/v1/commands/{command_id}").json()["state"]
    assert state == "pending"
    honest.publishes((f"mc/1/{honest.id}/fact", answer))
    assert cloud.end(command_id) == DONE


def hello(*capabilities: str) -> bytes:
    return encode_status(
        Hello(
            nonce="nonce-0001",
            sent_at_ms=int(datetime.now(UTC).timestamp() * 1000),
            boot_id=7,
            lanes=[LaneState("fact", EPOCH_HEX, 1, 0)],
            agent_version="1.2.3",
            battery="jbd_uart",
            capabilities=list(capabilities),
        )
    )


def an_answer(command_id: str) -> bytes:
    fields: dict[str, FieldValue] = {
        "id": command_id,
        "kind": "unlock",
        "state": "done",
        "reason": "",
    }
    return seal_facts(
        epoch=EPOCH,
        first_seq=1,
        floor_seq=1,
        boot_id=7,
        clock_offset_ms=0,
        t0_ms=int(datetime.now(UTC).timestamp() * 1000),
        facts=[Fact("command.result", 1, 0, 1_000, fields)],
    )
