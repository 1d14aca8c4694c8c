"""Certificates for tests: a CA, servers, devices, and everything a stranger may show instead.

Same shapes as the real authority: EC P-256, CN and URI SAN of the device, clientAuth/serverAuth.
"""

import secrets
import ssl
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cached_property
from ipaddress import ip_address
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

DAY = timedelta(days=1)


@dataclass(frozen=True)
class Certificate:
    """A certificate with its private key and, when written, their files."""

    x509: x509.Certificate
    key: ec.EllipticCurvePrivateKey
    certificate_file: Path
    key_file: Path

    @cached_property
    def pem(self) -> str:
        return self.x509.public_bytes(serialization.Encoding.PEM).decode()

    @property
    def key_pem(self) -> str:
        return self.key_file.read_text()

    @property
    def serial_hex(self) -> str:
        """The serial number as the table `devices.certificate` keeps it: lower hex."""
        return f"{self.x509.serial_number:x}"

    @property
    def fingerprint(self) -> str:
        """SHA-256 of the DER, lower hex."""
        return self.x509.fingerprint(hashes.SHA256()).hex()

    @property
    def not_after(self) -> datetime:
        return self.x509.not_valid_after_utc


class TestAuthority:
    """A CA whose files lie in `folder`; `ca_file` is what its clients trust."""

    __test__ = False

    def __init__(self, folder: Path, name: str = "test CA") -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._folder = folder
        self._name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        self._key = ec.generate_private_key(ec.SECP256R1())
        now = datetime.now(UTC)
        self._certificate = (
            x509.CertificateBuilder()
            .subject_name(self._name)
            .issuer_name(self._name)
            .public_key(self._key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - DAY)
            .not_valid_after(now + 3650 * DAY)
            .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
            .add_extension(_usage(signs=True), critical=True)
            .add_extension(
                x509.SubjectKeyIdentifier.from_public_key(self._key.public_key()), critical=False
            )
            .sign(self._key, hashes.SHA256())
        )
        self.ca_pem = self._certificate.public_bytes(serialization.Encoding.PEM).decode()
        self.ca_file = folder / "ca.pem"
        self.ca_file.write_text(self.ca_pem)

    def server(self, hosts: Sequence[str] = ("127.0.0.1", "localhost")) -> Certificate:
        """Make a server's certificate for host names and addresses."""
        names = [_general_name(host) for host in hosts]
        return self._make(hosts[0], "", names, ExtendedKeyUsageOID.SERVER_AUTH)

    def device(
        self,
        device_id: str,
        *,
        tenant: str = "demo",
        san: str | None = None,
        not_before: datetime | None = None,
        not_after: datetime | None = None,
    ) -> Certificate:
        """Make a device's certificate; `san` puts another device's id into the URI."""
        uri = x509.UniformResourceIdentifier(f"urn:mobilitycorp:device:{san or device_id}")
        return self._make(
            device_id, tenant, [uri], ExtendedKeyUsageOID.CLIENT_AUTH, not_before, not_after
        )

    def expired(self, device_id: str) -> Certificate:
        """Make a device's certificate that ended a minute ago."""
        end = datetime.now(UTC) - timedelta(minutes=1)
        return self.device(device_id, not_before=end - DAY, not_after=end)

    def _make(
        self,
        common_name: str,
        organization: str,
        names: Sequence[x509.GeneralName],
        purpose: x509.ObjectIdentifier,
        not_before: datetime | None = None,
        not_after: datetime | None = None,
    ) -> Certificate:
        key = ec.generate_private_key(ec.SECP256R1())
        made = self._issue(
            key.public_key(), common_name, organization, names, purpose, not_before, not_after
        )
        stem = f"{common_name}-{secrets.token_hex(4)}"
        files = self._folder / f"{stem}.pem", self._folder / f"{stem}.key"
        files[0].write_bytes(made.public_bytes(serialization.Encoding.PEM))
        files[1].touch(mode=0o600)
        files[1].write_bytes(
            key.private_bytes(
                serialization.Encoding.PEM,
                serialization.PrivateFormat.PKCS8,
                serialization.NoEncryption(),
            )
        )
        return Certificate(made, key, *files)

    def certify(
        self,
        csr_pem: str,
        device_id: str,
        *,
        not_before: datetime | None = None,
        not_after: datetime | None = None,
    ) -> str:
        """Sign a device's request, as PEM; of the request only the key is taken."""
        key = x509.load_pem_x509_csr(csr_pem.encode()).public_key()
        assert isinstance(key, ec.EllipticCurvePublicKey)
        names = [x509.UniformResourceIdentifier(f"urn:mobilitycorp:device:{device_id}")]
        purpose = ExtendedKeyUsageOID.CLIENT_AUTH
        made = self._issue(key, device_id, "demo", names, purpose, not_before, not_after)
        return made.public_bytes(serialization.Encoding.PEM).decode()

    def _issue(
        self,
        key: ec.EllipticCurvePublicKey,
        common_name: str,
        organization: str,
        names: Sequence[x509.GeneralName],
        purpose: x509.ObjectIdentifier,
        not_before: datetime | None,
        not_after: datetime | None,
    ) -> x509.Certificate:
        now = datetime.now(UTC)
        subject = [x509.NameAttribute(NameOID.COMMON_NAME, common_name)]
        if organization:
            subject.append(x509.NameAttribute(NameOID.ORGANIZATION_NAME, organization))
        return (
            x509.CertificateBuilder()
            .subject_name(x509.Name(subject))
            .issuer_name(self._name)
            .public_key(key)
            .serial_number(x509.random_serial_number())
            .not_valid_before(not_before or now - timedelta(minutes=5))
            .not_valid_after(not_after or now + 90 * DAY)
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(_usage(signs=False), critical=True)
            .add_extension(x509.ExtendedKeyUsage([purpose]), critical=False)
            .add_extension(x509.SubjectAlternativeName(names), critical=False)
            .add_extension(
                x509.AuthorityKeyIdentifier.from_issuer_public_key(self._key.public_key()),
                critical=False,
            )
            .sign(self._key, hashes.SHA256())
        )


def client_context(ca_file: Path, shown: Certificate | None = None) -> ssl.SSLContext:
    """Return what a device speaks TLS with; without `shown` it has no certificate."""
    context = ssl.create_default_context(cafile=str(ca_file))
    if shown is not None:
        context.load_cert_chain(shown.certificate_file, shown.key_file)
    return context


def server_context(ca_file: Path, own: Certificate, *, demand: bool = True) -> ssl.SSLContext:
    """Return a server's side; with `demand` a client without a certificate is refused."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=str(ca_file))
    context.verify_mode = ssl.CERT_REQUIRED if demand else ssl.CERT_OPTIONAL
    context.load_cert_chain(own.certificate_file, own.key_file)
    return context


def csr_for(device_id: str, key: ec.EllipticCurvePrivateKey | None = None) -> str:
    """Return a certificate signing request for a device, as PEM."""
    key = key or ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, device_id)])
    request = x509.CertificateSigningRequestBuilder().subject_name(name).sign(key, hashes.SHA256())
    return request.public_bytes(serialization.Encoding.PEM).decode()


def _general_name(host: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ip_address(host))
    except ValueError:
        return x509.DNSName(host)


def _usage(*, signs: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=True,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=signs,
        crl_sign=signs,
        encipher_only=False,
        decipher_only=False,
    )
