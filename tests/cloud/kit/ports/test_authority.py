"""The authority signs what devices ask for, and nothing else they say about themselves."""

import stat
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from cloud.kit.clock import ManualClock
from cloud.kit.ports.authority import (
    AuthorityError,
    CertificateError,
    CsrError,
    FileAuthority,
    Issued,
    read_shown,
)
from tests.certificates import TestAuthority, csr_for
from tests.cloud.csrs import RSA_512_CSR, Key, der_of, pem, signed_by, with_broken_signature

NOW = datetime(2026, 7, 1, 12, tzinfo=UTC)
LIFETIME = timedelta(days=90)


@pytest.fixture
def authority(tmp_path: Path) -> FileAuthority:
    return FileAuthority(tmp_path, ManualClock(NOW))


def issue(authority: FileAuthority, csr: str, device_id: str = "demo-001") -> Issued:
    return authority.issue_device(csr, device_id, "demo", NOW, LIFETIME)


def test_a_certificate_names_the_device_and_belongs_to_the_requests_key(
    authority: FileAuthority,
) -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    issued = issue(authority, csr_for("demo-001", key))
    found = x509.load_pem_x509_certificate(issued.certificate_pem.encode())
    found.verify_directly_issued_by(x509.load_pem_x509_certificate(authority.ca_pem.encode()))
    assert found.public_key() == key.public_key()
    assert found.subject.rfc4514_string() == "O=demo,CN=demo-001"
    purpose = found.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    assert list(purpose) == [ExtendedKeyUsageOID.CLIENT_AUTH]
    assert issued.not_after == NOW + LIFETIME
    shown = read_shown(der_of(issued.certificate_pem))
    assert shown.device_id == "demo-001"
    assert shown.serial_hex == issued.serial_hex
    assert shown.fingerprint_sha256_hex == issued.fingerprint_sha256_hex


def test_nothing_a_request_says_beside_its_key_and_name_is_copied(authority: FileAuthority) -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    names = [
        x509.NameAttribute(NameOID.COMMON_NAME, "demo-001"),
        x509.NameAttribute(NameOID.ORGANIZATION_NAME, "somebody else's tenant"),
    ]
    greedy = (
        x509.CertificateSigningRequestBuilder()
        .subject_name(x509.Name(names))
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("cloud.example")]), critical=False)
        .sign(key, hashes.SHA256())
    )
    issued = issue(authority, pem(greedy))
    found = x509.load_pem_x509_certificate(issued.certificate_pem.encode())
    assert found.subject.rfc4514_string() == "O=demo,CN=demo-001"
    assert not found.extensions.get_extension_for_class(x509.BasicConstraints).value.ca
    told = found.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert [name.value for name in told] == ["urn:mobilitycorp:device:demo-001"]


@pytest.mark.parametrize(
    "key",
    [
        ec.generate_private_key(ec.SECP256R1()),
        ed25519.Ed25519PrivateKey.generate(),
        rsa.generate_private_key(65_537, 2048),
    ],
    ids=["P-256", "Ed25519", "RSA-2048"],
)
def test_a_strong_key_is_certified(authority: FileAuthority, key: Key) -> None:
    assert issue(authority, signed_by(key)).serial_hex


@pytest.mark.parametrize(
    "key",
    [
        ec.generate_private_key(ec.SECP384R1()),
        rsa.generate_private_key(65_537, 1024),
        rsa.generate_private_key(3, 2048),
    ],
    ids=["P-384", "RSA-1024", "RSA with exponent 3"],
)
def test_a_weak_or_strange_key_is_refused(authority: FileAuthority, key: Key) -> None:
    with pytest.raises(CsrError, match="P-256"):
        issue(authority, signed_by(key))


def test_an_rsa_512_key_is_refused(authority: FileAuthority) -> None:
    with pytest.raises(CsrError):
        issue(authority, RSA_512_CSR)


def test_a_request_for_another_device_is_refused(authority: FileAuthority) -> None:
    with pytest.raises(CsrError, match="CN=demo-001"):
        issue(authority, csr_for("demo-002"))


def test_a_request_with_two_names_is_refused(authority: FileAuthority) -> None:
    names = [x509.NameAttribute(NameOID.COMMON_NAME, name) for name in ("demo-001", "demo-002")]
    builder = x509.CertificateSigningRequestBuilder().subject_name(x509.Name(names))
    request = builder.sign(ec.generate_private_key(ec.SECP256R1()), hashes.SHA256())
    with pytest.raises(CsrError, match="another device"):
        issue(authority, pem(request))


def test_a_request_not_signed_by_its_key_is_refused(authority: FileAuthority) -> None:
    with pytest.raises(CsrError, match="not signed by its own key"):
        issue(authority, with_broken_signature(csr_for("demo-001")))


@pytest.mark.parametrize(
    "text", ["", "no PEM", "-----BEGIN CERTIFICATE REQUEST-----\nAAAA\n", "é" * 100, "x" * 20_000]
)
def test_what_is_no_request_is_refused(authority: FileAuthority, text: str) -> None:
    with pytest.raises(CsrError):
        issue(authority, text)


def test_serials_are_random(authority: FileAuthority) -> None:
    csr = csr_for("demo-001")
    serials = {issue(authority, csr).serial_hex for _ in range(20)}
    assert len(serials) == 20
    assert min(len(serial) for serial in serials) > 30


def test_the_key_is_private_to_its_owner(authority: FileAuthority, tmp_path: Path) -> None:
    authority.server("https", [], NOW)
    for name in ("ca.key", "https.key"):
        assert stat.S_IMODE((tmp_path / "pki" / name).stat().st_mode) == 0o600
    assert stat.S_IMODE((tmp_path / "pki").stat().st_mode) == 0o700


@pytest.mark.slow
def test_processes_that_start_together_agree_on_one_authority(tmp_path: Path) -> None:
    script = (
        "import sys; from pathlib import Path;"
        "from cloud.kit.ports.authority import FileAuthority;"
        "print(FileAuthority(Path(sys.argv[1])).ca_pem)"
    )
    started = [
        subprocess.Popen([sys.executable, "-c", script, tmp_path], stdout=subprocess.PIPE)
        for _ in range(4)
    ]
    assert len({process.communicate()[0] for process in started}) == 1
    assert all(process.returncode == 0 for process in started)


def test_a_certificate_cut_short_by_a_crash_is_made_again_for_the_same_key(tmp_path: Path) -> None:
    before = FileAuthority(tmp_path).ca_pem
    (tmp_path / "pki" / "ca.pem").unlink()
    after = FileAuthority(tmp_path).ca_pem
    keys = [x509.load_pem_x509_certificate(text.encode()).public_key() for text in (before, after)]
    assert keys[0] == keys[1]


@pytest.mark.parametrize("lost", ["gone", "foreign", "broken"])
def test_a_lost_key_is_an_error_and_never_a_silent_new_authority(tmp_path: Path, lost: str) -> None:
    _ = FileAuthority(tmp_path).ca_pem
    key = tmp_path / "pki" / "ca.key"
    if lost == "gone":
        key.unlink()
    else:
        key.write_text("no key" if lost == "broken" else TestAuthority(tmp_path).server().key_pem)
    with pytest.raises(AuthorityError, match="restore"):
        _ = FileAuthority(tmp_path).ca_pem


def test_a_servers_certificate_is_kept_while_it_has_a_third_of_its_life(
    authority: FileAuthority,
) -> None:
    files = authority.server("broker", ["cloud.example"], NOW)
    first = files.certificate.read_text()
    authority.server("broker", ["cloud.example"], NOW + timedelta(days=240))
    assert files.certificate.read_text() == first
    authority.server("broker", ["cloud.example"], NOW + timedelta(days=250))
    second = files.certificate.read_text()
    assert second != first
    keys = [x509.load_pem_x509_certificate(text.encode()).public_key() for text in (first, second)]
    assert keys[0] == keys[1]


def test_a_servers_certificate_is_renewed_when_its_hosts_change(authority: FileAuthority) -> None:
    files = authority.server("https", [], NOW)
    first = files.certificate.read_text()
    authority.server("https", ["2001:db8::1", "cloud.example"], NOW)
    found = x509.load_pem_x509_certificate(files.certificate.read_bytes())
    assert files.certificate.read_text() != first
    told = found.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    hosts = [str(name.value) for name in told]
    assert hosts == ["2001:db8::1", "cloud.example", "127.0.0.1", "localhost"]


def test_a_certificate_whose_two_names_differ_names_nobody(tmp_path: Path) -> None:
    made = TestAuthority(tmp_path)
    der = made.device("demo-001", san="demo-002").x509
    with pytest.raises(CertificateError):
        read_shown(der.public_bytes(serialization.Encoding.DER))
    twin = made.device("demo-001").x509
    assert read_shown(twin.public_bytes(serialization.Encoding.DER)).device_id == "demo-001"


@pytest.mark.parametrize("der", [b"", b"no certificate"])
def test_what_is_no_certificate_names_nobody(der: bytes) -> None:
    with pytest.raises(CertificateError):
        read_shown(der)
