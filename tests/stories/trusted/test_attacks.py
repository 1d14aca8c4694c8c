"""The attack table: each attack on a whole cloud, refused, told once, counted once; and its twin.

The twin is the same deed done rightly: it must go through, or the refusal would prove nothing.
"""

import contextlib
import socket
import threading
import uuid
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx
import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from cloud.devices import enrolment
from cloud.kit.db import connect
from protocol.topics import MAX_PAYLOAD_BYTES
from tests.broker import CONNACK_ACCEPTED, connect_packet
from tests.certificates import TestAuthority, csr_for
from tests.cloud.sealed import signals
from tests.stories.trusted.cloud import Cloud, until
from tests.stories.trusted.intruder import Intruder, Papers

pytestmark = [pytest.mark.story, pytest.mark.slow]

DAY = timedelta(days=1)
DONE = ("done", "")


@pytest.fixture
def thief(cloud: Cloud, tmp_path: Path) -> Intruder:
    """A device with an identity of its own, and a mind of its own."""
    return Intruder(cloud, f"thief-{uuid.uuid4().hex[:8]}", tmp_path)


def foreign(thief: Intruder) -> Papers:
    made = TestAuthority(thief.folder / "other").device(thief.id)
    return Papers(made.certificate_file, made.key_file)


def revoked(thief: Intruder) -> Papers:
    papers = thief.papers
    with connect(thief.cloud.dsn) as db:
        enrolment.revoke(db, thief.id, "stolen", datetime.now(UTC))
    return papers


def comes_in(thief: Intruder) -> bool:
    return thief.knocks(thief.papers)


def enrols_anew(thief: Intruder) -> bool:
    return thief.enrol(thief.claim()).status_code == 201


def enrols_twice(thief: Intruder) -> bool:
    claim = thief.claim()
    assert thief.enrol(claim).status_code == 201
    thief.key = ec.generate_private_key(ec.SECP256R1())
    return thief.enrol(claim).is_success


def renews(thief: Intruder, papers: Papers | None) -> bool:
    return thief.post("renew", {"csr": csr_for(thief.id, thief.key)}, papers).is_success


def asks_in_plain(thief: Intruder) -> bool:
    with contextlib.suppress(httpx.TransportError):
        return httpx.post(thief.cloud.device_https.replace("https", "http")).is_success
    return False


def is_heard(thief: Intruder, leaf: str, payload: bytes, *, whose: str = "") -> bool:
    """Publish ten readings, or what claims to be; whether the cloud keeps them."""
    whose = whose or thief.id
    if whose != thief.id:
        Intruder(thief.cloud, whose, thief.folder).claim()  # so that the cloud knows it
    before = thief.cloud.stands(whose)
    thief.publishes((f"mc/1/{whose}/{leaf}", payload))
    if whose == thief.id and len(payload) <= MAX_PAYLOAD_BYTES:
        until("they are committed", lambda: thief.cloud.stands(whose) != before)
    return thief.cloud.stands(whose) != before


@dataclass(frozen=True)
class Row:
    """One attack: what is tried, as what it is counted, and the same done rightly."""

    what: str
    reason: str
    attack: Callable[[Intruder], bool]
    twin: Callable[[Intruder], bool] = comes_in


AT_THE_DOOR = {
    "a certificate of another authority": Row(
        "connect", "unknown_authority", lambda it: it.knocks(foreign(it))
    ),
    "a certificate whose time is over": Row(
        "connect",
        "expired",
        lambda it: it.knocks(it.issued_at(datetime.now(UTC) - 2 * DAY, DAY)),
    ),
    "a revoked certificate": Row(
        "connect",
        "revoked",
        lambda it: it.knocks(revoked(it)),
        lambda it: comes_in(Intruder(it.cloud, it.id, it.folder)),
    ),
    "a certificate that our authority signed and nobody noted": Row(
        "connect",
        "unknown_certificate",
        lambda it: it.knocks(it.issued_at(datetime.now(UTC), DAY)),
    ),
    "no certificate": Row("connect", "no_certificate", lambda it: it.knocks(None)),
    "a name that is not the certificate's": Row(
        "connect", "other_client_id", lambda it: it.knocks(it.papers, as_device="victim-001")
    ),
    "plain TCP": Row(
        "connect",
        "no_tls",
        lambda it: it.talks(None, connect_packet(it.id)) == CONNACK_ACCEPTED,
    ),
    "readings for another device": Row(
        "publish",
        "not_its_topic",
        lambda it: is_heard(it, "up", signals(), whose="victim-001"),
        lambda it: is_heard(it, "up", signals()),
    ),
    "a command of a device to another": Row(
        "publish",
        "not_its_topic",
        lambda it: is_heard(it, "cmd", b"x", whose="victim-001"),
    ),
    "listening to another's commands": Row(
        "subscribe",
        "not_its_topic",
        lambda it: it.subscribes("mc/1/victim-001/cmd"),
        lambda it: it.subscribes(f"mc/1/{it.id}/cmd"),
    ),
    "listening to everybody": Row(
        "subscribe",
        "not_its_topic",
        lambda it: it.subscribes("#"),
        lambda it: it.subscribes(f"mc/1/{it.id}/twin"),
    ),
    "a payload that is too large": Row(
        "publish",
        "too_large",
        lambda it: is_heard(it, "up", bytes(MAX_PAYLOAD_BYTES + 2_000)),
        lambda it: is_heard(it, "up", signals()),
    ),
    "a claim that was used": Row("enrol", "claim_used", enrols_twice, enrols_anew),
    "a claim that is another's": Row(
        "enrol",
        "claim_unknown",
        lambda it: it.enrol(Intruder(it.cloud, "other-001", it.folder).claim()).is_success,
        enrols_anew,
    ),
    "a request for another's name": Row(
        "enrol",
        "csr_refused",
        lambda it: it.enrol(it.claim(), csr=csr_for("victim-001", it.key)).is_success,
        enrols_anew,
    ),
    "a renewal without a certificate": Row(
        "renew",
        "certificate_needed",
        lambda it: renews(it, None),
        lambda it: renews(it, it.papers),
    ),
    "a renewal with a revoked certificate": Row(
        "renew", "certificate_revoked", lambda it: renews(it, revoked(it)), enrols_anew
    ),
    "plain HTTP to the device listener": Row("https", "plain_http", asks_in_plain, enrols_anew),
}


@pytest.mark.parametrize("row", AT_THE_DOOR.values(), ids=AT_THE_DOOR)
def test_an_attack_at_the_door_is_refused_told_once_and_counted_once(
    cloud: Cloud, thief: Intruder, row: Row
) -> None:
    counted, told = cloud.refused(), len(cloud.told())
    assert not row.attack(thief)
    until("it is counted", lambda: cloud.refused() != counted)
    assert row.twin(thief)
    assert cloud.refused() - counted == Counter({(row.what, row.reason): 1})
    (line,) = cloud.told()[told:]
    assert f"refused {row.what} of " in line, line
    assert row.reason.replace("_", " ") in line, line


def test_who_only_occupies_sockets_is_cut_while_others_are_served(
    cloud: Cloud, thief: Intruder
) -> None:
    counted, told = cloud.refused(), len(cloud.told())
    place = httpx.URL(cloud.device_https)

    def drip_headers() -> None:
        plain = socket.create_connection((place.host, place.port or 0), 20)
        with thief.tls(None).wrap_socket(plain, server_hostname=place.host) as link:
            link.sendall(b"POST /device/enrol HTTP/1.1\r\nhost: x\r\n")
            while link.recv(4_096):
                pass

    def say_nothing() -> None:
        thief.talks(None, b"")

    slow = [threading.Thread(target=each) for each in (drip_headers, say_nothing)]
    for each in slow:
        each.start()
    # They occupy sockets; an honest device does not notice.
    assert comes_in(Intruder(cloud, "in-time-001", thief.folder))
    for each in slow:
        each.join(30)
    expected = Counter({("connect", "too_slow"): 1, ("https", "slow_head"): 1})
    until("both are counted", lambda: cloud.refused() - counted == expected)
    assert len(cloud.told()[told:]) == len(expected)
