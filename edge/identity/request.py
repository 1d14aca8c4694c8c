"""A new key and its signing request (PKCS #10). Imports cryptography.

As a program, `python -m edge.identity.request FOLDER DEVICE`, it writes FOLDER/key.pem and prints
the request: an agent that made its key itself would keep 5 MB of libraries for ever after.
"""

import sys
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from edge.identity.files import write_private


def make_request(folder: Path, device_id: str) -> str:
    """Write an EC P-256 key to `folder`/key.pem and return its request for `device_id`, PEM."""
    key = ec.generate_private_key(ec.SECP256R1())
    pem = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    write_private(folder / "key.pem", pem)
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, device_id)])
    request = x509.CertificateSigningRequestBuilder().subject_name(name).sign(key, hashes.SHA256())
    return request.public_bytes(serialization.Encoding.PEM).decode()


if __name__ == "__main__":
    sys.stdout.write(make_request(Path(sys.argv[1]), sys.argv[2]))
