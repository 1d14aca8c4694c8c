"""Signatures on what the cloud sends down: JWS compact (RFC 7515) with EdDSA (RFC 8037).

    BASE64URL(header) . BASE64URL(payload) . BASE64URL(Ed25519 signature over the first two)

The header is `{"alg":"EdDSA","kid":KEY ID,"typ":TYPE}`. The type is signed too, so that a command
cannot pass for a twin. Every other algorithm, "none" above all, is refused.
"""

import base64
import binascii
from collections.abc import Callable, Mapping
from typing import Literal

import msgspec

COMMAND_TYPE = "mc-command+jws"
TWIN_TYPE = "mc-twin+jws"
PUBLIC_KEY_BYTES = 32

SignatureFault = Literal["malformed", "wrong_type", "unknown_key", "bad_signature"]


class SignatureError(ValueError):
    """Not signed by anybody we trust; `reason` is the one word to count it under."""

    def __init__(self, reason: SignatureFault, detail: str) -> None:
        super().__init__(f"{reason}: {detail}")
        self.reason = reason


class _Header(msgspec.Struct, frozen=True):
    alg: str
    kid: str
    typ: str
    crit: msgspec.Raw | None = None


_HEADER = msgspec.json.Decoder(_Header)


def sign(payload: bytes, typ: str, key_id: str, sign_bytes: Callable[[bytes], bytes]) -> bytes:
    """Return `payload` signed; `sign_bytes` gives the Ed25519 signature of what it is handed."""
    header = msgspec.json.encode(_Named(alg="EdDSA", kid=key_id, typ=typ))
    signed = _encode(header) + b"." + _encode(payload)
    return signed + b"." + _encode(sign_bytes(signed))


class _Named(msgspec.Struct, frozen=True):
    alg: str
    kid: str
    typ: str


def verify(envelope: bytes, typ: str, keys: Mapping[str, bytes]) -> bytes:
    """Return the payload of an envelope of type `typ` that one of `keys` signed.

    Args:
        envelope: what came on the topic.
        typ: COMMAND_TYPE or TWIN_TYPE.
        keys: raw Ed25519 public keys, 32 bytes, by key id.

    Raises:
        SignatureError: it is none, or not of that type, or nobody we know signed it.
    """
    signed, _, tail = envelope.rpartition(b".")
    head, _, body = signed.partition(b".")
    try:
        header = _HEADER.decode(_decode(head))
        payload, signature = _decode(body), _decode(tail)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError, ValueError) as trouble:
        raise SignatureError("malformed", "not a compact JWS") from trouble
    if header.alg != "EdDSA" or header.crit is not None:
        raise SignatureError("malformed", f"algorithm {header.alg!r} is not EdDSA")
    if header.typ != typ:
        raise SignatureError("wrong_type", f"{header.typ!r} is not {typ!r}")
    public = keys.get(header.kid)
    if public is None:
        raise SignatureError("unknown_key", f"no key {header.kid!r} is pinned")
    if not _is_signed(public, signature, signed):
        raise SignatureError("bad_signature", f"key {header.kid!r} did not sign this")
    return payload


def key_id_of(envelope: bytes) -> str | None:
    """Return the key id an envelope names, unverified; None when it cannot be read."""
    try:
        return _HEADER.decode(_decode(envelope.partition(b".")[0])).kid
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError, ValueError):
        return None


def _is_signed(public: bytes, signature: bytes, signed: bytes) -> bool:
    # libsodium: 1 MB of a vehicle's memory, where `cryptography` keeps 7.
    from nacl.exceptions import BadSignatureError
    from nacl.signing import VerifyKey

    try:
        VerifyKey(public).verify(signed, signature)
    except (BadSignatureError, ValueError):
        return False
    return True


def _encode(data: bytes) -> bytes:
    return base64.urlsafe_b64encode(data).rstrip(b"=")


def _decode(text: bytes) -> bytes:
    """Decode base64url without padding; whatever is not exactly that raises ValueError."""
    try:
        data = base64.b64decode(text + b"=" * (-len(text) % 4), altchars=b"-_", validate=True)
    except binascii.Error as trouble:
        raise ValueError(str(trouble)) from trouble
    if _encode(data) != text:
        raise ValueError("not the one way to write these bytes")
    return data
