"""The signer of a data folder."""

import json
import stat
from pathlib import Path

import pytest
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from cloud.kit.clock import ManualClock
from cloud.kit.ports.signing import FileSigner, Signer, SignerError, signer_keys
from protocol.signing import COMMAND_TYPE, TWIN_TYPE, SignatureError, sign, verify
from tests.cloud.sealed import NOON


def file_of(folder: Path) -> Path:
    return folder / "pki" / "signer.json"


def test_keys_are_made_once_for_a_folder_and_private_to_its_owner(tmp_path: Path) -> None:
    signer = FileSigner(tmp_path, ManualClock(NOON))
    assert not signer.exists
    assert signer.public_keys() == FileSigner(tmp_path).public_keys() == signer_keys(tmp_path)
    assert signer.exists
    assert stat.S_IMODE(file_of(tmp_path).stat().st_mode) == 0o600
    assert stat.S_IMODE(file_of(tmp_path).parent.stat().st_mode) == 0o700
    assert signer.next_made_at == NOON


def test_what_it_signs_its_public_key_verifies(tmp_path: Path) -> None:
    signer: Signer = FileSigner(tmp_path)
    public = Ed25519PublicKey.from_public_bytes(signer.public_key)
    public.verify(signer.sign(b"unlock"), b"unlock")
    with pytest.raises(InvalidSignature):
        public.verify(signer.sign(b"unlock"), b"lock")


def test_envelopes_name_the_key_that_signed_them(tmp_path: Path) -> None:
    signer = FileSigner(tmp_path)
    keys = {key.key_id: bytes.fromhex(key.public_key) for key in signer.public_keys()}
    envelope = sign(b"{}", COMMAND_TYPE, signer.key_id, signer.sign)
    assert verify(envelope, COMMAND_TYPE, keys) == b"{}"
    with pytest.raises(SignatureError, match="wrong_type"):
        verify(envelope, TWIN_TYPE, keys)
    del keys[signer.key_id]
    with pytest.raises(SignatureError, match="unknown_key"):
        verify(envelope, COMMAND_TYPE, keys)


def test_a_rotation_makes_the_announced_key_the_current_one(tmp_path: Path) -> None:
    signer = FileSigner(tmp_path)
    old, announced = signer.public_keys()
    assert signer.rotate() == announced
    current, following = signer.public_keys()
    assert current == announced
    assert following.key_id not in {old.key_id, announced.key_id}
    assert signer.public_key.hex() == announced.public_key


def test_a_rotation_elsewhere_is_seen_when_it_is_looked_for(tmp_path: Path) -> None:
    signer = FileSigner(tmp_path)
    before = signer.public_keys()
    assert not signer.refresh()
    FileSigner(tmp_path).rotate()
    assert signer.public_keys() == before
    assert signer.refresh()
    assert signer.public_keys() != before
    assert not signer.refresh()


def test_the_private_half_is_shown_nowhere(tmp_path: Path) -> None:
    signer = FileSigner(tmp_path)
    signer.refresh()
    secrets = {key["private_key"] for key in json.loads(file_of(tmp_path).read_text()).values()}
    shown = repr(signer._keys) + repr(signer.public_keys())
    assert len(secrets) == 2
    assert not any(secret in shown for secret in secrets)


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"current": {"key_id": "a"}}', "not json"])
def test_a_broken_file_is_not_replaced_but_told(tmp_path: Path, text: str) -> None:
    FileSigner(tmp_path).refresh()
    file_of(tmp_path).write_text(text)
    with pytest.raises(SignerError, match="restore it from a backup"):
        FileSigner(tmp_path).refresh()
    assert file_of(tmp_path).read_text() == text
