"""Identities for tests: folders as an enrolled vehicle has them."""

from pathlib import Path

from edge.identity.keys import FileKeyStore
from protocol.commands import SignerKey
from tests.certificates import Certificate, TestAuthority

SIGNERS = [SignerKey("k1", "11" * 32), SignerKey("k2", "22" * 32)]


def enrolled(folder: Path, authority: TestAuthority, device_id: str) -> FileKeyStore:
    """Return the identity of a vehicle that the authority knows."""
    keys = FileKeyStore(folder)
    csr = keys.new_request(device_id)
    keys.keep(authority.certify(csr, device_id), authority.ca_pem, SIGNERS)
    return keys


def holding(folder: Path, shown: Certificate, ca_pem: str) -> FileKeyStore:
    """Return an identity made of a certificate that comes from anywhere."""
    keys = FileKeyStore(folder)
    keys.new_request("somebody")
    pair = folder / "pending"
    (pair / "key.pem").write_text(shown.key_pem)
    (pair / "certificate.pem").write_text(shown.pem)
    (pair / "ca.pem").write_text(ca_pem)
    (pair / "signers.json").write_text('{"keys":[]}')
    (pair / "claim").touch()
    pair.rename(folder / "1")
    (folder / "current").symlink_to("1")
    return keys
