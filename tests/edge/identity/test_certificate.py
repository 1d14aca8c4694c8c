"""Reading a certificate's own words: compared with cryptography, and never a crash."""

import base64
import contextlib
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.identity.certificate import (
    CertificateUnreadableError,
    read_certificate,
    read_certificates,
)
from tests.certificates import TestAuthority


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> TestAuthority:
    return TestAuthority(tmp_path_factory.mktemp("ca"))


@pytest.mark.parametrize("year", [2026, 2049, 2050, 2300])
def test_names_serial_and_times_are_what_cryptography_reads(
    authority: TestAuthority, year: int
) -> None:
    ends = datetime(year, 7, 1, 12, 30, 59, tzinfo=UTC)
    shown = authority.device("demo-001", not_before=ends - timedelta(days=90), not_after=ends)
    info = read_certificate(shown.pem)
    assert info.serial == shown.serial_hex
    assert info.common_name == "demo-001"
    assert info.not_after_ms == ends.timestamp() * 1000
    assert info.renew_from_ms == (ends - timedelta(days=30)).timestamp() * 1000
    assert info.subject == shown.x509.subject.public_bytes()[2:]
    assert info.issuer == shown.x509.issuer.public_bytes()[2:]


def test_every_certificate_of_a_bundle_is_read(authority: TestAuthority, tmp_path: Path) -> None:
    other = TestAuthority(tmp_path / "ca", "another CA")
    found = read_certificates(authority.ca_pem + "\n" + other.ca_pem)
    assert [each.common_name for each in found] == ["test CA", "another CA"]


@pytest.mark.parametrize("text", ["", "hello", "-----BEGIN CERTIFICATE-----\nAAAA\n"])
def test_what_is_no_certificate_is_said_to_be_none(text: str) -> None:
    with pytest.raises(CertificateUnreadableError):
        read_certificate(text)


@given(at=st.integers(0, 10_000), value=st.integers(0, 255), cut=st.booleans())
def test_a_damaged_certificate_is_unreadable_or_read_and_nothing_else(
    authority: TestAuthority, at: int, value: int, cut: bool
) -> None:
    body = authority.ca_pem.split("-----")[2]
    der = bytearray(base64.b64decode(body))
    der[at % len(der)] = value
    text = base64.b64encode(der[: at % len(der)] if cut else der).decode()
    pem = f"-----BEGIN CERTIFICATE-----\n{text}\n-----END CERTIFICATE-----\n"
    with contextlib.suppress(CertificateUnreadableError):
        assert read_certificate(pem).serial
