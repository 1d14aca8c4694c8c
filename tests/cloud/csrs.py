"""Signing requests a device should not send."""

import ssl
from base64 import b64encode
from typing import TypeAlias

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.x509.oid import NameOID

Key: TypeAlias = ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey | rsa.RSAPrivateKey

# Made by `openssl req`: libraries of today make no key that weak.
RSA_512_CSR = """-----BEGIN CERTIFICATE REQUEST-----
MIHMMHgCAQAwEzERMA8GA1UEAwwIZGVtby0wMDEwXDANBgkqhkiG9w0BAQEFAANL
ADBIAkEA7QKGxUe7cgtI7PgfAnAcN8aIIYcrzbdHTgt/AsaDlBpPCp7XCGoNJhZh
pAylQVNYa6qXo17AkVuwpuFTtDqrPQIDAQABoAAwDQYJKoZIhvcNAQELBQADQQCP
FUr6w6/QsNrBw1FL9JJCm2w1Pfk8JmLOEgD/UBDA3ytqHEQmbVs0dIsix95XpdYE
HreVpwFDDu5Ui2bmVBGW
-----END CERTIFICATE REQUEST-----
"""


def pem(request: x509.CertificateSigningRequest) -> str:
    """Return a request as PEM."""
    return request.public_bytes(serialization.Encoding.PEM).decode()


def signed_by(key: Key, device_id: str = "demo-001") -> str:
    """Return a request for a key of any kind."""
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, device_id)])
    builder = x509.CertificateSigningRequestBuilder().subject_name(name)
    digest = None if isinstance(key, ed25519.Ed25519PrivateKey) else hashes.SHA256()
    return pem(builder.sign(key, digest))


def with_broken_signature(csr: str) -> str:
    """Return a request whose last signature byte differs."""
    der = bytearray(x509.load_pem_x509_csr(csr.encode()).public_bytes(serialization.Encoding.DER))
    der[-1] ^= 1
    head, foot = (f"-----{word} CERTIFICATE REQUEST-----" for word in ("BEGIN", "END"))
    return f"{head}\n{b64encode(bytes(der)).decode()}\n{foot}\n"


def der_of(certificate_pem: str) -> bytes:
    """Return a certificate's DER."""
    return ssl.PEM_cert_to_DER_cert(certificate_pem)
