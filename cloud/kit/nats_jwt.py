"""The two JWTs of a NATS auth callout, and the nkeys that sign them (Ed25519).

An nkey is base32 of a prefix byte, 32 raw bytes and a CRC-16/XMODEM, as `nkeys` of NATS writes it.
"""

import base64
import binascii
import hashlib
import json
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

_ACCOUNT: Final = 0 << 3
_SEED: Final = 18 << 3
_SEED_BYTES = 32
_CRC_BYTES = 2
_HEADER: Final = b'{"typ":"JWT","alg":"ed25519-nkey"}'


@dataclass(frozen=True, slots=True)
class AccountKey:
    """The issuer of a callout's answers: its public half stands in the server's configuration."""

    seed: str = field(repr=False)
    public: str
    _private: Ed25519PrivateKey = field(repr=False)

    @classmethod
    def from_seed(cls, seed: str) -> "AccountKey":
        """Read a seed such as `SAA…`; raises ValueError when it is no account's seed."""
        try:
            raw = base64.b32decode(seed + "=" * (-len(seed) % 8))
        except binascii.Error as wrong:
            raise ValueError("the seed of an account key is base32 and begins with SA") from wrong
        body, check = raw[:-_CRC_BYTES], raw[-_CRC_BYTES:]
        is_account = len(body) == 2 + _SEED_BYTES and body[:2] == bytes((_SEED, _ACCOUNT << 3))
        if not is_account or _crc(body) != check:
            raise ValueError("this is not the seed of an account key; it begins with SA")
        return cls._of(body[2:])

    @classmethod
    def from_secret(cls, secret: str) -> "AccountKey":
        """Derive the key of a generated secret: the same one for ever."""
        return cls._of(hashlib.sha256(f"nats account key\0{secret}".encode()).digest())

    @classmethod
    def _of(cls, raw: bytes) -> "AccountKey":
        private = Ed25519PrivateKey.from_private_bytes(raw)
        public = private.public_key().public_bytes_raw()
        return cls(
            _nkey(bytes((_SEED, _ACCOUNT << 3)) + raw), _nkey(bytes((_ACCOUNT,)) + public), private
        )

    def sign(self, message: bytes) -> bytes:
        """Return the Ed25519 signature."""
        return self._private.sign(message)


@dataclass(frozen=True, slots=True)
class Permissions:
    """What a connection may do, as NATS subjects; everything else is refused."""

    publish: Sequence[str]
    subscribe: Sequence[str]


def user_jwt(
    key: AccountKey,
    *,
    user_nkey: str,
    account: str,
    name: str,
    permissions: Permissions,
    issued_s: int,
    expires_s: int,
) -> str:
    """Return the JWT of one connection's user, MQTT only.

    Args:
        key: the callout's issuer.
        user_nkey: the key NATS made for this connection.
        account: name of the account it is placed in.
        name: shown in the server's status pages and events.
        permissions: what it may do.
        issued_s: now, seconds since 1970.
        expires_s: when NATS cuts the connection.
    """
    claims = {
        "sub": user_nkey,
        "aud": account,
        "name": name,
        "iat": issued_s,
        "exp": expires_s,
        "nats": {
            "type": "user",
            "version": 2,
            "pub": {"allow": list(permissions.publish)},
            "sub": {"allow": list(permissions.subscribe)},
            "subs": -1,
            "data": -1,
            "payload": -1,
            "allowed_connection_types": ["MQTT"],
        },
    }
    return _signed(key, claims)


def callout_answer(
    key: AccountKey,
    *,
    user_nkey: str,
    server_id: str,
    issued_s: int,
    jwt: str = "",
    error: str = "",
) -> bytes:
    """Return what the server waits for: a user's JWT, or why there is none."""
    verdict = {"error": error} if error else {"jwt": jwt}
    nats = {"type": "authorization_response", "version": 2, **verdict}
    claims = {"sub": user_nkey, "aud": server_id, "iat": issued_s, "nats": nats}
    return _signed(key, claims).encode()


def claims_of(token: bytes) -> Mapping[str, Any]:
    """Read a JWT's claims without checking who signed it; raises ValueError."""
    parts = token.split(b".")
    if len(parts) != 3:  # noqa: PLR2004 - header, claims, signature
        raise ValueError("not a JWT")
    claims = json.loads(base64.urlsafe_b64decode(parts[1] + b"=" * (-len(parts[1]) % 4)))
    if isinstance(claims, dict):
        return claims
    raise ValueError("not a JWT: its claims are no object")


def _signed(key: AccountKey, claims: Mapping[str, Any]) -> str:
    body = {"jti": secrets.token_hex(16), "iss": key.public, **claims}
    signed = _base64(_HEADER) + b"." + _base64(json.dumps(body, separators=(",", ":")).encode())
    return (signed + b"." + _base64(key.sign(signed))).decode()


def _base64(content: bytes) -> bytes:
    return base64.urlsafe_b64encode(content).rstrip(b"=")


def _nkey(body: bytes) -> str:
    return base64.b32encode(body + _crc(body)).rstrip(b"=").decode()


def _crc(body: bytes) -> bytes:
    return binascii.crc_hqx(body, 0).to_bytes(_CRC_BYTES, "little")
