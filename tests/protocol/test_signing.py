"""Signatures: what we sign is believed, everything else is refused by its own name."""

import base64
import json
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given
from hypothesis import strategies as st

from protocol.signing import (
    COMMAND_TYPE,
    TWIN_TYPE,
    SignatureError,
    key_id_of,
    sign,
    verify,
)

GOLDEN = Path(__file__).parents[2] / "protocol" / "golden" / "v1"
OURS = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
THEIRS = Ed25519PrivateKey.from_private_bytes(bytes(range(1, 33)))
KEYS = {"k1": OURS.public_key().public_bytes_raw()}
PAYLOAD = b'{"kind":"unlock"}'
GOOD = sign(PAYLOAD, COMMAND_TYPE, "k1", OURS.sign)


def with_header(**changes: object) -> bytes:
    """Return an envelope whose header differs and which is truly signed all the same."""
    header = {"alg": "EdDSA", "kid": "k1", "typ": COMMAND_TYPE} | changes
    signed = b".".join(
        base64.urlsafe_b64encode(part).rstrip(b"=")
        for part in (json.dumps(header).encode(), PAYLOAD)
    )
    return signed + b"." + base64.urlsafe_b64encode(OURS.sign(signed)).rstrip(b"=")


def refusal(envelope: bytes, typ: str = COMMAND_TYPE) -> str:
    with pytest.raises(SignatureError) as refused:
        verify(envelope, typ, KEYS)
    return refused.value.reason


def test_what_we_signed_is_believed() -> None:
    assert verify(GOOD, COMMAND_TYPE, KEYS) == PAYLOAD
    assert verify(with_header(), COMMAND_TYPE, KEYS) == PAYLOAD
    assert key_id_of(GOOD) == "k1"


def test_a_command_cannot_pass_for_a_twin() -> None:
    assert refusal(GOOD, TWIN_TYPE) == "wrong_type"
    assert refusal(with_header(typ=TWIN_TYPE)) == "wrong_type"


def test_a_key_that_is_not_pinned_is_unknown() -> None:
    assert refusal(sign(PAYLOAD, COMMAND_TYPE, "k2", OURS.sign)) == "unknown_key"


def test_somebody_elses_signature_under_our_key_id_is_bad() -> None:
    assert refusal(sign(PAYLOAD, COMMAND_TYPE, "k1", THEIRS.sign)) == "bad_signature"


@pytest.mark.parametrize("algorithm", ["none", "HS256", "ES256", "Ed25519", ""])
def test_no_other_algorithm_is_accepted(algorithm: str) -> None:
    assert refusal(with_header(alg=algorithm)) == "malformed"


def test_an_extension_that_must_be_understood_is_refused() -> None:
    assert refusal(with_header(crit=["exp"])) == "malformed"


def test_a_payload_that_was_exchanged_is_bad() -> None:
    head, _, tail = GOOD.split(b".")
    other = base64.urlsafe_b64encode(PAYLOAD.replace(b"unlock", b"reboot")).rstrip(b"=")
    assert refusal(b".".join((head, other, tail))) == "bad_signature"


@pytest.mark.parametrize("name", ["command", "twin"])
def test_a_golden_envelope_verifies_for_ever(name: str) -> None:
    case = json.loads((GOLDEN / f"signed-{name}.json").read_text())
    keys = {case["key_id"]: bytes.fromhex(case["public_key"])}
    payload = verify(case["envelope"].encode(), case["typ"], keys)
    assert json.loads(payload) == case["json"]


@given(st.binary(max_size=400))
def test_noise_is_refused_and_never_raises_anything_else(noise: bytes) -> None:
    with pytest.raises(SignatureError):
        verify(noise, COMMAND_TYPE, KEYS)
    key_id_of(noise)


@given(st.integers(0, len(GOOD) - 1), st.integers(0, 7))
def test_not_one_bit_can_be_flipped(at: int, bit: int) -> None:
    flipped = bytearray(GOOD)
    flipped[at] ^= 1 << bit
    with pytest.raises(SignatureError):
        verify(bytes(flipped), COMMAND_TYPE, KEYS)
