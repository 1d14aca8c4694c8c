"""The private certificate authority: who signs what devices and servers show each other.

`Authority` is the door; `FileAuthority` keeps its key in the data folder, a hardware module or a
cloud's CA service would take its place. X.509 throughout: EC P-256, SHA-256, random serials.
"""

import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from ipaddress import ip_address
from pathlib import Path
from typing import Literal, Protocol, TypeAlias

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.asymmetric.types import CertificateIssuerPublicKeyTypes
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from cloud.kit.clock import Clock, SystemClock
from cloud.kit.folder import DataFolder, write_private

ServerName: TypeAlias = Literal["broker", "https"]
DeviceKey: TypeAlias = ec.EllipticCurvePublicKey | ed25519.Ed25519PublicKey | rsa.RSAPublicKey

DEVICE_URN = "urn:mobilitycorp:device:"
ALWAYS_HOSTS = ("127.0.0.1", "localhost")
MAX_CSR_BYTES = 16 * 1024

_CA_LIFETIME = timedelta(days=20 * 365)
_SERVER_LIFETIME = timedelta(days=365)
# A vehicle's clock may be behind ours when it checks a certificate made a moment ago.
_SERVER_HEAD_START = timedelta(days=1)
_DEVICE_HEAD_START = timedelta(minutes=5)
_RSA_BITS = range(2048, 4097)
_RSA_EXPONENT = 65_537
_HASHES = (hashes.SHA256, hashes.SHA384, hashes.SHA512)


class CsrError(ValueError):
    """A signing request is refused; the message is the reason, and what to send instead."""


class CertificateError(ValueError):
    """A certificate names no device; the message says why."""


class AuthorityError(RuntimeError):
    """The authority's files are not whole; the message says what to do."""


@dataclass(frozen=True, slots=True)
class Issued:
    """A certificate for a device, as PEM, and how our tables name it (lower hex)."""

    certificate_pem: str
    serial_hex: str
    fingerprint_sha256_hex: str
    not_before: datetime
    not_after: datetime


@dataclass(frozen=True, slots=True)
class ServerFiles:
    """A server's certificate and key, both PEM."""

    certificate: Path
    key: Path


@dataclass(frozen=True, slots=True)
class Shown:
    """Whom a certificate names, and how our tables name the certificate (lower hex)."""

    device_id: str
    serial_hex: str
    fingerprint_sha256_hex: str


class Authority(Protocol):
    """Signs certificates. Its private key never leaves it."""

    @property
    def ca_pem(self) -> str:
        """The certificate both sides trust."""
        ...

    @property
    def ca_file(self) -> Path:
        """A file that holds `ca_pem`."""
        ...

    def issue_device(
        self, csr_pem: str, device_id: str, tenant: str, now: datetime, lifetime: timedelta
    ) -> Issued:
        """Sign a device's request; of the request only the public key is taken.

        Raises:
            CsrError: unreadable, not signed by its own key, a weak key, or another device's name.
        """
        ...

    def server(self, name: ServerName, hosts: Sequence[str], now: datetime) -> ServerFiles:
        """Return a server's files: made on first use, renewed when near its end or renamed.

        `hosts` are names or addresses beside 127.0.0.1 and localhost.
        """
        ...


class FileAuthority:
    """The authority of one data folder: `pki/ca.key` (0600) and `pki/ca.pem`, made on first use."""

    def __init__(self, data_dir: Path, clock: Clock | None = None) -> None:
        self._folder = DataFolder(data_dir)
        self._home = self._folder.path / "pki"
        self._clock = clock or SystemClock()
        self._ca: tuple[ec.EllipticCurvePrivateKey, x509.Certificate] | None = None

    @property
    def ca_file(self) -> Path:
        """Where the trusted certificate lies; makes the authority on first use."""
        self._load()
        return self._home / "ca.pem"

    @property
    def ca_pem(self) -> str:
        """The trusted certificate; makes the authority on first use."""
        return _pem(self._load()[1])

    def issue_device(
        self, csr_pem: str, device_id: str, tenant: str, now: datetime, lifetime: timedelta
    ) -> Issued:
        """Sign a device's request; of the request only the public key is taken.

        Raises:
            CsrError: unreadable, not signed by its own key, a weak key, or another device's name.
            ValueError: a lifetime that is no time at all.
        """
        if lifetime < timedelta(seconds=1):
            raise ValueError("a certificate must live for a second at least; ask for more")
        key = requested_key(csr_pem, device_id)
        subject = x509.Name(
            [
                x509.NameAttribute(NameOID.COMMON_NAME, device_id),
                x509.NameAttribute(NameOID.ORGANIZATION_NAME, tenant),
            ]
        )
        made = self._sign(
            subject,
            key,
            [x509.UniformResourceIdentifier(DEVICE_URN + device_id)],
            ExtendedKeyUsageOID.CLIENT_AUTH,
            (now - _DEVICE_HEAD_START, now + lifetime),
        )
        return Issued(
            _pem(made),
            f"{made.serial_number:x}",
            made.fingerprint(hashes.SHA256()).hex(),
            made.not_valid_before_utc,
            made.not_valid_after_utc,
        )

    def server(self, name: ServerName, hosts: Sequence[str], now: datetime) -> ServerFiles:
        """Return a server's files: made on first use, renewed when near its end or renamed."""
        self._load()
        files = ServerFiles(self._home / f"{name}.pem", self._home / f"{name}.key")
        names = [_general_name(host) for host in dict.fromkeys((*hosts, *ALWAYS_HOSTS))]
        with self._folder.locked("pki"):
            # The key stays, so that a renewal replaces one file: both always belong together.
            key = _read_key(files.key) or _make_key(files.key)
            if not self._still_serves(files.certificate, key, names, now):
                subject = x509.Name(
                    [x509.NameAttribute(NameOID.COMMON_NAME, f"MobilityCorp {name}")]
                )
                life = (now - _SERVER_HEAD_START, now + _SERVER_LIFETIME)
                made = self._sign(
                    subject, key.public_key(), names, ExtendedKeyUsageOID.SERVER_AUTH, life
                )
                write_private(files.certificate, _pem(made))
        return files

    def _still_serves(
        self,
        file: Path,
        key: ec.EllipticCurvePrivateKey,
        names: list[x509.GeneralName],
        now: datetime,
    ) -> bool:
        try:
            found = x509.load_pem_x509_certificate(file.read_bytes())
            found.verify_directly_issued_by(self._load()[1])
        except (FileNotFoundError, ValueError, InvalidSignature):
            return False
        try:
            told = found.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        except x509.ExtensionNotFound:
            return False
        life = found.not_valid_after_utc - found.not_valid_before_utc
        fresh = found.not_valid_after_utc - now >= life / 3
        return fresh and list(told) == names and found.public_key() == key.public_key()

    def _load(self) -> tuple[ec.EllipticCurvePrivateKey, x509.Certificate]:
        if self._ca is None:
            self._home.mkdir(mode=0o700, exist_ok=True)
            with self._folder.locked("pki"):
                self._ca = _read_ca(self._home) or _make_ca(self._home, self._clock.now())
        return self._ca

    def _sign(
        self,
        subject: x509.Name,
        key: CertificateIssuerPublicKeyTypes,
        names: Sequence[x509.GeneralName],
        purpose: x509.ObjectIdentifier,
        life: tuple[datetime, datetime],
    ) -> x509.Certificate:
        ca_key, ca = self._load()
        return (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(ca.subject)
            .public_key(key)
            .serial_number(x509.random_serial_number())
            .not_valid_before(life[0])
            .not_valid_after(min(life[1], ca.not_valid_after_utc))
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(_usage(signs=False), critical=True)
            .add_extension(x509.ExtendedKeyUsage([purpose]), critical=True)
            .add_extension(x509.SubjectAlternativeName(names), critical=False)
            .add_extension(
                x509.AuthorityKeyIdentifier.from_issuer_public_key(ca_key.public_key()),
                critical=False,
            )
            .sign(ca_key, hashes.SHA256())
        )


def requested_key(csr_pem: str, device_id: str) -> DeviceKey:
    """Return the public key of a device's signing request (PKCS #10, PEM), having checked it.

    EC P-256 is what our agent makes; Ed25519 and RSA 2048 to 4096 are taken for the sake of secure
    elements that have nothing else. The signature over the request proves possession of the key.

    Raises:
        CsrError: unreadable, not signed by its own key, a weak key, or another device's name.
    """
    if len(csr_pem) > MAX_CSR_BYTES:
        raise CsrError(f"the request is longer than {MAX_CSR_BYTES} bytes; send a PKCS #10 in PEM")
    try:
        request = x509.load_pem_x509_csr(csr_pem.encode())
        key = request.public_key()
        common_names = request.subject.get_attributes_for_oid(NameOID.COMMON_NAME)
    except (ValueError, UnsupportedAlgorithm):
        raise CsrError("the request cannot be read; send a PKCS #10 in PEM") from None
    if not isinstance(key, DeviceKey) or not _is_strong(key):
        raise CsrError("the key is too weak or of another kind; make an EC key on curve P-256")
    if [name.value for name in common_names] != [device_id]:
        raise CsrError(f"the request names another device; its subject must be CN={device_id}")
    if not _proves_possession(request):
        raise CsrError("the request is not signed by its own key; sign it with SHA-256 or better")
    return key


def is_for_key(issued: Issued, csr_pem: str, device_id: str) -> bool:
    """Tell whether a certificate is for the key of a request that proves to hold it."""
    try:
        key = requested_key(csr_pem, device_id)
    except CsrError:
        return False
    certificate = x509.load_pem_x509_certificate(issued.certificate_pem.encode())
    return certificate.public_key() == key


def read_shown(der: bytes) -> Shown:
    """Return whom a certificate (DER) names. Whether to trust it, TLS has to say.

    Raises:
        CertificateError: CN and URI do not name one and the same device.
    """
    try:
        found = x509.load_der_x509_certificate(der)
        common_names = found.subject.get_attributes_for_oid(NameOID.COMMON_NAME)
        names = found.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except (ValueError, x509.ExtensionNotFound):
        raise CertificateError("the certificate names no device") from None
    uris = names.get_values_for_type(x509.UniformResourceIdentifier)
    device_ids = [str(name.value) for name in common_names]
    if len(device_ids) != 1 or uris != [DEVICE_URN + device_ids[0]]:
        raise CertificateError("the certificate does not name one device")
    return Shown(
        device_ids[0],
        f"{found.serial_number:x}",
        found.fingerprint(hashes.SHA256()).hex(),
    )


def _is_strong(key: DeviceKey) -> bool:
    match key:
        case ec.EllipticCurvePublicKey():
            return isinstance(key.curve, ec.SECP256R1)
        case rsa.RSAPublicKey():
            return key.key_size in _RSA_BITS and key.public_numbers().e == _RSA_EXPONENT
        case _:
            return True


def _proves_possession(request: x509.CertificateSigningRequest) -> bool:
    try:
        digest = request.signature_hash_algorithm  # None: Ed25519 has its own
        signed = request.is_signature_valid
    except (ValueError, UnsupportedAlgorithm):
        return False
    return signed and (digest is None or isinstance(digest, _HASHES))


def _read_ca(home: Path) -> tuple[ec.EllipticCurvePrivateKey, x509.Certificate] | None:
    """Return the authority in a folder; None before its first use."""
    key = _read_key(home / "ca.key")
    try:
        ca = x509.load_pem_x509_certificate((home / "ca.pem").read_bytes())
    except FileNotFoundError:
        return None
    except ValueError:
        raise AuthorityError(
            f"{home / 'ca.pem'} is no certificate; restore the folder from a backup"
        ) from None
    if key is None or key.public_key() != ca.public_key():
        raise AuthorityError(
            f"{home / 'ca.key'} does not belong to ca.pem; restore the folder from a backup"
        )
    return key, ca


def _make_ca(home: Path, now: datetime) -> tuple[ec.EllipticCurvePrivateKey, x509.Certificate]:
    # A key without a certificate is one of a process that ended between the two.
    key = _read_key(home / "ca.key") or _make_key(home / "ca.key")
    name = x509.Name(
        [x509.NameAttribute(NameOID.COMMON_NAME, f"MobilityCorp CA {secrets.token_hex(4)}")]
    )
    ca = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - _SERVER_HEAD_START)
        .not_valid_after(now + _CA_LIFETIME)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_usage(signs=True), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .sign(key, hashes.SHA256())
    )
    write_private(home / "ca.pem", _pem(ca))
    return key, ca


def _read_key(path: Path) -> ec.EllipticCurvePrivateKey | None:
    try:
        key = serialization.load_pem_private_key(path.read_bytes(), password=None)
    except FileNotFoundError:
        return None
    except ValueError:
        key = None
    if not isinstance(key, ec.EllipticCurvePrivateKey):
        raise AuthorityError(f"{path} is no EC key; restore the folder from a backup")
    return key


def _make_key(path: Path) -> ec.EllipticCurvePrivateKey:
    key = ec.generate_private_key(ec.SECP256R1())
    pem = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    write_private(path, pem.decode())
    return key


def _pem(certificate: x509.Certificate) -> str:
    return certificate.public_bytes(serialization.Encoding.PEM).decode()


def _general_name(host: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ip_address(host))
    except ValueError:
        return x509.DNSName(host)


def _usage(*, signs: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not signs,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=signs,
        crl_sign=signs,
        encipher_only=False,
        decipher_only=False,
    )
