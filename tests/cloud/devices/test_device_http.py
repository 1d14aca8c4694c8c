"""What devices ask over HTTPS: who gets a certificate, a newer one, a file. Each with its twin."""

import hashlib
from datetime import timedelta

import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from cloud.devices import enrolment
from cloud.kit.ports.authority import read_shown
from tests.certificates import csr_for
from tests.cloud.csrs import RSA_512_CSR, der_of, with_broken_signature
from tests.cloud.devices.door import CLOCK, DAY, House, Identity, counted, problem

# Enrolment.


async def test_a_claim_is_answered_with_an_identity(house: House) -> None:
    answer = await house.enrol(house.claim())
    assert answer.status_code == 201
    told = answer.json()
    assert told["device_id"] == "demo-001"
    assert told["ca"] == house.authority.ca_pem
    assert told["signers"] == [{"key_id": "a" * 16, "public_key": "0" * 64}]
    assert told["mqtt"] == {"host": "127.0.0.1", "port": 18830}
    assert told["not_after"].endswith("Z")
    shown = read_shown(der_of(told["certificate"]))
    assert enrolment.check_certificate(house.db, shown, CLOCK.now()).device_id == "demo-001"


async def test_a_claim_enrols_once(house: House) -> None:
    claim, before = house.claim(), counted("enrol", "claim_used")
    assert (await house.enrol(claim)).status_code == 201
    assert problem(await house.enrol(claim)) == (403, "claim-used")
    assert counted("enrol", "claim_used") == before + 1


async def test_an_expired_claim_is_refused(house: House) -> None:
    late = enrolment.make_claim(house.db, "demo-001", CLOCK.now() - DAY, ttl=timedelta(hours=1))
    assert problem(await house.enrol(late.claim)) == (403, "claim-expired")
    assert (await house.enrol(house.claim())).status_code == 201


async def test_an_unknown_claim_is_refused(house: House) -> None:
    claim = house.claim()
    assert problem(await house.enrol("invented")) == (403, "claim-unknown")
    assert (await house.enrol(claim)).status_code == 201


async def test_the_claim_of_another_device_is_refused(house: House) -> None:
    mine, other = house.claim(), house.claim("demo-002")
    assert problem(await house.enrol(other)) == (403, "claim-unknown")
    assert (await house.enrol(mine)).status_code == 201


@pytest.mark.parametrize(
    "csr",
    [csr_for("demo-002"), with_broken_signature(csr_for("demo-001")), RSA_512_CSR, "no request"],
    ids=["another id", "broken signature", "RSA-512", "unreadable"],
)
async def test_a_bad_request_is_refused_and_spends_no_claim(house: House, csr: str) -> None:
    claim = house.claim()
    assert problem(await house.enrol(claim, csr=csr)) == (422, "csr-refused")
    assert (await house.enrol(claim)).status_code == 201


@pytest.mark.parametrize("device_id", ["", "UPPER", "demo-001\n", "x" * 37])
async def test_an_id_that_cannot_be_is_not_looked_up(house: House, device_id: str) -> None:
    answer = await house.enrol(house.claim(), device_id=device_id)
    assert answer.status_code == 422


# Renewal.


async def test_a_certificate_renews_itself(house: House) -> None:
    old = house.identity()
    answer = await house.post("renew", {"csr": csr_for("demo-001")}, old)
    assert answer.status_code == 200
    new = read_shown(der_of(answer.json()["certificate"]))
    assert new.device_id == "demo-001"
    assert new.serial_hex != old.issued.serial_hex


async def test_nothing_is_renewed_without_a_certificate(house: House) -> None:
    house.identity()
    answer = await house.post("renew", {"csr": csr_for("demo-001")})
    assert problem(answer) == (401, "certificate-needed")


async def test_a_revoked_certificate_renews_nothing(house: House) -> None:
    identity, before = house.identity(), counted("renew", "certificate_revoked")
    enrolment.revoke(house.db, "demo-001", "stolen", CLOCK.now())
    answer = await house.post("renew", {"csr": csr_for("demo-001")}, identity)
    assert problem(answer) == (403, "certificate-revoked")
    assert counted("renew", "certificate_revoked") == before + 1


async def test_a_certificate_we_never_issued_renews_nothing(house: House) -> None:
    house.identity()
    key = ec.generate_private_key(ec.SECP256R1())
    csr = csr_for("demo-001", key)
    issued = house.authority.issue_device(csr, "demo-001", "demo", CLOCK.now(), DAY)
    answer = await house.post("renew", {"csr": csr}, Identity(issued, key, house.folder))
    assert problem(answer) == (403, "certificate-unknown")


async def test_a_certificate_renews_no_other_device(house: House) -> None:
    answer = await house.post("renew", {"csr": csr_for("demo-002")}, house.identity())
    assert problem(answer) == (422, "csr-refused")


# Big files.


def blob(house: House, content: bytes) -> str:
    name = hashlib.sha256(content).hexdigest()
    (house.folder / "blobs" / name).write_bytes(content)
    return name


async def test_a_file_comes_whole_or_in_part(house: House) -> None:
    content = bytes(range(256)) * 1_000
    name = blob(house, content)
    async with house.client(house.identity()) as client:
        whole = await client.get(f"/device/blobs/{name}")
        rest = await client.get(f"/device/blobs/{name}", headers={"range": "bytes=1000-"})
        head = await client.head(f"/device/blobs/{name}")
    assert whole.content == content
    assert whole.headers["etag"] == f'"{name}"'
    assert (rest.status_code, rest.content) == (206, content[1000:])
    assert rest.headers["content-range"] == f"bytes 1000-{len(content) - 1}/{len(content)}"
    assert (head.content, head.headers["content-length"]) == (b"", str(len(content)))


async def test_a_file_is_resumed_only_if_it_is_the_same(house: House) -> None:
    name = blob(house, b"a file of the cloud")
    async with house.client(house.identity()) as client:
        for etag, status in ((f'"{name}"', 206), ('"another"', 200)):
            headers = {"range": "bytes=2-", "if-range": etag}
            answer = await client.get(f"/device/blobs/{name}", headers=headers)
            assert answer.status_code == status


async def test_a_file_that_is_not_there_is_not_found(house: House) -> None:
    async with house.client(house.identity()) as client:
        absent = await client.get(f"/device/blobs/{'0' * 64}")
        outside = await client.get("/device/blobs/..%2Fpki%2Fca.key")
        odd = await client.get("/device/blobs/ca.key")
    assert absent.status_code == 404
    assert outside.status_code in (404, 422)
    assert odd.status_code == 422


async def test_a_file_needs_a_certificate_that_stands(house: House) -> None:
    name, identity = blob(house, b"a file"), house.identity()
    async with house.client() as client:
        assert problem(await client.get(f"/device/blobs/{name}")) == (401, "certificate-needed")
    enrolment.revoke(house.db, "demo-001", "stolen", CLOCK.now())
    async with house.client(identity) as client:
        assert problem(await client.get(f"/device/blobs/{name}")) == (403, "certificate-revoked")
