"""A claim is redeemed once, in time, by its device; what is revoked proves nothing."""

import threading
from datetime import timedelta
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from cloud.devices import enrolment, service
from cloud.devices.enrolment import CertificateRefusedError, ClaimError, NotEnrolledError
from cloud.kit.clock import ManualClock
from cloud.kit.db import Db, connect
from cloud.kit.ports.authority import CsrError, FileAuthority, Issued, Shown, read_shown
from protocol.messages import Hello
from tests.certificates import csr_for
from tests.cloud.csrs import der_of, with_broken_signature
from tests.cloud.sealed import NOON

LIFETIME = timedelta(days=90)
MINUTE = timedelta(minutes=1)


@pytest.fixture
def authority(tmp_path: Path) -> FileAuthority:
    return FileAuthority(tmp_path, ManualClock(NOON))


def shown(issued: Issued) -> Shown:
    return read_shown(der_of(issued.certificate_pem))


def enrolled(db: Db, authority: FileAuthority, device_id: str = "demo-001") -> Issued:
    claim = enrolment.make_claim(db, device_id, NOON, battery="jbd_uart")
    csr = csr_for(device_id)
    return enrolment.redeem(db, authority, device_id, claim.claim, csr, NOON, LIFETIME)


def redeem(
    db: Db,
    authority: FileAuthority,
    claim: str,
    device_id: str = "demo-001",
    after: timedelta = MINUTE,
    key: ec.EllipticCurvePrivateKey | None = None,
) -> Issued:
    csr = csr_for(device_id, key)
    return enrolment.redeem(db, authority, device_id, claim, csr, NOON + after, LIFETIME)


def told(db: Db, device_id: str = "demo-001") -> list[tuple[str, str]]:
    """What was told of this device: other tests of the module commit events of theirs."""
    return db.execute(
        "SELECT type, data->>'reason' FROM kit.event"
        " WHERE starts_with(type, 'devices.cert') AND subject = %s ORDER BY id",
        (device_id,),
    ).fetchall()


def test_a_claim_becomes_a_certificate_that_stands(db: Db, authority: FileAuthority) -> None:
    claim = enrolment.make_claim(db, "demo-001", NOON)
    issued = redeem(db, authority, claim.claim)
    row = enrolment.check_certificate(db, shown(issued), NOON + MINUTE)
    assert (row.device_id, row.tenant, row.city) == ("demo-001", "demo", "demo")
    assert told(db) == [("devices.certificate_issued.v1", "enrolled")]


def test_a_claim_is_kept_only_as_its_hash(db: Db) -> None:
    claim = enrolment.make_claim(db, "demo-001", NOON)
    rows = db.execute("SELECT c::text FROM devices.claim c").fetchall()
    assert claim.claim not in str(rows)
    assert len(claim.claim) >= 32


def test_a_claim_is_redeemed_once(db: Db, authority: FileAuthority) -> None:
    claim = enrolment.make_claim(db, "demo-001", NOON)
    issued = redeem(db, authority, claim.claim)
    with pytest.raises(ClaimError) as refused:
        redeem(db, authority, claim.claim)
    assert refused.value.fault == "used"
    assert enrolment.check_certificate(db, shown(issued), NOON).serial == issued.serial_hex


def test_a_lost_answer_is_given_again_to_the_same_key(db: Db, authority: FileAuthority) -> None:
    claim = enrolment.make_claim(db, "demo-001", NOON, ttl=15 * MINUTE)
    key = ec.generate_private_key(ec.SECP256R1())
    first = redeem(db, authority, claim.claim, key=key)
    enrolment.make_claim(db, "demo-001", NOON + 2 * MINUTE)
    assert redeem(db, authority, claim.claim, key=key, after=14 * MINUTE) == first
    assert told(db) == [("devices.certificate_issued.v1", "enrolled")]
    with pytest.raises(ClaimError) as refused:
        redeem(db, authority, claim.claim)
    assert refused.value.fault == "used"


def test_a_lost_answer_is_not_given_to_who_only_has_its_request(
    db: Db, authority: FileAuthority
) -> None:
    claim = enrolment.make_claim(db, "demo-001", NOON)
    key = ec.generate_private_key(ec.SECP256R1())
    redeem(db, authority, claim.claim, key=key)
    stolen = with_broken_signature(csr_for("demo-001", key))
    with pytest.raises(ClaimError) as refused:
        enrolment.redeem(db, authority, "demo-001", claim.claim, stolen, NOON + MINUTE, LIFETIME)
    assert refused.value.fault == "used"


@pytest.mark.parametrize("ended", ["claim", "certificate", "superseded"])
def test_no_answer_is_given_again_once_claim_or_certificate_ended(
    db: Db, authority: FileAuthority, ended: str
) -> None:
    claim = enrolment.make_claim(db, "demo-001", NOON, ttl=15 * MINUTE)
    key = ec.generate_private_key(ec.SECP256R1())
    redeem(db, authority, claim.claim, key=key)
    if ended == "certificate":
        enrolment.revoke(db, "demo-001", "stolen", NOON + 2 * MINUTE)
    elif ended == "superseded":
        enrolled(db, authority)
    after = 15 * MINUTE if ended == "claim" else 3 * MINUTE
    with pytest.raises(ClaimError) as refused:
        redeem(db, authority, claim.claim, key=key, after=after)
    assert refused.value.fault == "used"


def test_a_claim_ends_in_time(db: Db, authority: FileAuthority) -> None:
    claim = enrolment.make_claim(db, "demo-001", NOON, ttl=15 * MINUTE)
    with pytest.raises(ClaimError) as refused:
        redeem(db, authority, claim.claim, after=15 * MINUTE)
    assert refused.value.fault == "expired"
    assert redeem(db, authority, claim.claim, after=14 * MINUTE).serial_hex


@pytest.mark.parametrize("device_id", ["demo-002", "demo-003"], ids=["enrolled", "unheard of"])
def test_a_claim_serves_no_other_device(db: Db, authority: FileAuthority, device_id: str) -> None:
    claim = enrolment.make_claim(db, "demo-001", NOON)
    enrolment.make_claim(db, "demo-002", NOON)
    with pytest.raises(ClaimError) as refused:
        redeem(db, authority, claim.claim, device_id)
    assert refused.value.fault == "unknown"
    assert redeem(db, authority, claim.claim).serial_hex


def test_an_invented_claim_is_unknown(db: Db, authority: FileAuthority) -> None:
    enrolment.make_claim(db, "demo-001", NOON)
    with pytest.raises(ClaimError) as refused:
        redeem(db, authority, "invented")
    assert refused.value.fault == "unknown"


def test_a_new_claim_voids_the_older_one(db: Db, authority: FileAuthority) -> None:
    old = enrolment.make_claim(db, "demo-001", NOON)
    new = enrolment.make_claim(db, "demo-001", NOON + MINUTE)
    with pytest.raises(ClaimError) as refused:
        redeem(db, authority, old.claim)
    assert refused.value.fault == "expired"
    assert redeem(db, authority, new.claim).serial_hex


@pytest.mark.parametrize("csr", [csr_for("demo-002"), with_broken_signature(csr_for("demo-001"))])
def test_a_refused_request_spends_no_claim(db: Db, authority: FileAuthority, csr: str) -> None:
    claim = enrolment.make_claim(db, "demo-001", NOON)
    with pytest.raises(CsrError):
        enrolment.redeem(db, authority, "demo-001", claim.claim, csr, NOON, LIFETIME)
    assert redeem(db, authority, claim.claim).serial_hex


@pytest.mark.parametrize("ttl", [timedelta(0), timedelta(hours=24, seconds=1)])
def test_a_claim_lives_for_a_day_at_most(db: Db, ttl: timedelta) -> None:
    with pytest.raises(ValueError, match="24 hours"):
        enrolment.make_claim(db, "demo-001", NOON, ttl=ttl)
    assert enrolment.make_claim(db, "demo-001", NOON, ttl=timedelta(hours=24)).claim


def test_two_who_redeem_at_once_get_one_certificate(dsn: str, authority: FileAuthority) -> None:
    with connect(dsn) as db:
        claim = enrolment.make_claim(db, "race-001", NOON)
    outcomes: list[str] = []

    def try_it() -> None:
        with connect(dsn) as db:
            try:
                redeem(db, authority, claim.claim, "race-001")
                outcomes.append("certificate")
            except ClaimError as refused:
                outcomes.append(refused.fault)

    threads = [threading.Thread(target=try_it) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(outcomes) == ["certificate", "used", "used", "used"]
    with connect(dsn) as db:
        assert len(enrolment.certificates_of(db, "race-001")) == 1


def test_a_device_that_enrols_anew_loses_its_earlier_certificate(
    db: Db, authority: FileAuthority
) -> None:
    old = enrolled(db, authority)
    new = enrolled(db, authority)
    with pytest.raises(CertificateRefusedError) as refused:
        enrolment.check_certificate(db, shown(old), NOON)
    assert refused.value.fault == "revoked"
    assert enrolment.check_certificate(db, shown(new), NOON)
    assert ("devices.certificate_revoked.v1", "superseded") in told(db)


def test_after_a_renewal_both_certificates_stand(db: Db, authority: FileAuthority) -> None:
    old = enrolled(db, authority)
    new = enrolment.renew(db, authority, shown(old), csr_for("demo-001"), NOON, LIFETIME)
    for issued in (old, new):
        assert enrolment.check_certificate(db, shown(issued), NOON)


def test_a_device_has_two_certificates_at_most(db: Db, authority: FileAuthority) -> None:
    old = enrolled(db, authority)
    lost = enrolment.renew(db, authority, shown(old), csr_for("demo-001"), NOON, LIFETIME)
    enrolment.renew(db, authority, shown(old), csr_for("demo-001"), NOON, LIFETIME)
    with pytest.raises(CertificateRefusedError):
        enrolment.check_certificate(db, shown(lost), NOON)
    rows = enrolment.certificates_of(db, "demo-001")
    assert [row.revoked_reason for row in rows].count(None) == 2


def test_a_certificate_renews_no_other_device(db: Db, authority: FileAuthority) -> None:
    mine = enrolled(db, authority)
    enrolled(db, authority, "demo-002")
    with pytest.raises(CsrError):
        enrolment.renew(db, authority, shown(mine), csr_for("demo-002"), NOON, LIFETIME)


def test_a_certificate_that_is_not_in_the_table_proves_nothing(
    db: Db, authority: FileAuthority
) -> None:
    enrolled(db, authority)
    unknown = authority.issue_device(csr_for("demo-001"), "demo-001", "demo", NOON, LIFETIME)
    with pytest.raises(CertificateRefusedError) as refused:
        enrolment.renew(db, authority, shown(unknown), csr_for("demo-001"), NOON, LIFETIME)
    assert refused.value.fault == "unknown"


def test_a_known_serial_with_another_fingerprint_proves_nothing(
    db: Db, authority: FileAuthority
) -> None:
    found = shown(enrolled(db, authority))
    forged = Shown(found.device_id, found.serial_hex, "0" * 64)
    with pytest.raises(CertificateRefusedError):
        enrolment.check_certificate(db, forged, NOON)


def test_a_certificate_past_its_end_proves_nothing(db: Db, authority: FileAuthority) -> None:
    found = shown(enrolled(db, authority))
    with pytest.raises(CertificateRefusedError):
        enrolment.check_certificate(db, found, NOON + LIFETIME)
    assert enrolment.check_certificate(db, found, NOON + LIFETIME - MINUTE)


def test_revoking_takes_certificates_and_claims_and_says_so(
    db: Db, authority: FileAuthority
) -> None:
    issued, other = enrolled(db, authority), enrolled(db, authority, "demo-002")
    claim = enrolment.make_claim(db, "demo-001", NOON)
    assert enrolment.revoke(db, "demo-001", "stolen", NOON) == 1
    with pytest.raises(CertificateRefusedError):
        enrolment.renew(db, authority, shown(issued), csr_for("demo-001"), NOON, LIFETIME)
    with pytest.raises(ClaimError):
        redeem(db, authority, claim.claim)
    assert ("devices.certificate_revoked.v1", "stolen") in told(db)
    assert enrolment.check_certificate(db, shown(other), NOON)


def test_watchers_hear_of_a_revocation_when_it_is_committed(
    dsn: str, authority: FileAuthority
) -> None:
    with connect(dsn) as watcher, connect(dsn) as db:
        watcher.execute("LISTEN devices_revoked")
        enrolled(db, authority, "watch-001")
        enrolment.revoke(db, "watch-001", "stolen", NOON)
        [notice] = watcher.notifies(timeout=10, stop_after=1)
        assert (notice.channel, notice.payload) == ("devices_revoked", "watch-001")


def test_a_revocation_needs_a_device_and_a_reason(db: Db, authority: FileAuthority) -> None:
    enrolled(db, authority)
    with pytest.raises(NotEnrolledError):
        enrolment.revoke(db, "demo-009", "stolen", NOON)
    with pytest.raises(ValueError, match="say why"):
        enrolment.revoke(db, "demo-001", "  ", NOON)


def test_a_device_without_a_battery_gets_the_one_of_its_hello(db: Db) -> None:
    enrolment.make_claim(db, "demo-001", NOON)
    enrolment.make_claim(db, "demo-002", NOON, battery="jbd_uart")
    for device_id, battery in (("demo-001", "jbd_uart"), ("demo-002", "")):
        hello = Hello("nonce-0001", 0, 1, [], "1.0", battery)
        service.greet(db, [service.Greeting(device_id, hello, NOON)], NOON)
    rows = db.execute(
        "SELECT battery FROM devices.device WHERE id LIKE 'demo-%' ORDER BY id"
    ).fetchall()
    assert rows == [("jbd_uart",), ("jbd_uart",)]
