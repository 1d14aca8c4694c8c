"""Who signs what the cloud sends down: commands and twins, with Ed25519.

`Signer` is the door; `FileSigner` keeps its keys in the data folder, a KMS or a separate machine
would take its place. Only the devices relay signs; enrolment hands out the public halves.

There are two keys: the current one signs, the next one is announced and signs nothing yet.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any, Protocol

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from cloud.kit.clock import Clock, SystemClock, rfc3339
from cloud.kit.folder import DataFolder, write_private
from protocol.commands import SignerKey

_KEY_ID_DIGITS = 16
_LOCK = "signer"


class SignerError(RuntimeError):
    """The signer's file is not whole; the message says what to do."""


class Signer(Protocol):
    """Signs with a private key that never leaves it.

    The keys stay the same between two calls of `refresh`, so that a key id and a signature belong
    together. `sign` is called on the event loop: it must not take long.
    """

    @property
    def key_id(self) -> str:
        """Name of the key that signs now."""
        ...

    @property
    def public_key(self) -> bytes:
        """Its public half, raw, 32 bytes."""
        ...

    @property
    def next_key(self) -> SignerKey:
        """The public half of the key that will sign after the next rotation."""
        ...

    @property
    def next_made_at(self) -> datetime:
        """Since when the next key is handed out."""
        ...

    def public_keys(self) -> list[SignerKey]:
        """Return what devices are to believe: the current key and the next one."""
        ...

    def sign(self, data: bytes) -> bytes:
        """Return the Ed25519 signature of `data`, 64 bytes."""
        ...

    def refresh(self) -> bool:
        """Look whether somebody rotated the keys; True when they are others than before."""
        ...


@dataclass(frozen=True, slots=True)
class SigningKey:
    """A key with its private half, raw in hex."""

    key_id: str
    private_key: str = field(repr=False)
    made_at: str

    @property
    def private(self) -> Ed25519PrivateKey:
        """The half that signs."""
        return Ed25519PrivateKey.from_private_bytes(bytes.fromhex(self.private_key))

    @property
    def public(self) -> SignerKey:
        """The half that may be shown."""
        return SignerKey(self.key_id, self.private.public_key().public_bytes_raw().hex())

    @classmethod
    def make(cls, now: datetime) -> "SigningKey":
        """Return a fresh key; its id is the begin of its public half's sha256."""
        private = Ed25519PrivateKey.generate()
        digest = hashlib.sha256(private.public_key().public_bytes_raw()).hexdigest()
        return cls(digest[:_KEY_ID_DIGITS], private.private_bytes_raw().hex(), rfc3339(now))


@dataclass(frozen=True, slots=True)
class KeyPair:
    """The key that signs and the one that will."""

    current: SigningKey
    next: SigningKey


class FileSigner:
    """The signer of one data folder: `pki/signer.json` (0600), made on first use."""

    def __init__(self, data_dir: Path, clock: Clock | None = None) -> None:
        self._folder = DataFolder(data_dir)
        self._path = self._folder.path / "pki" / "signer.json"
        self._clock = clock or SystemClock()
        self._keys: KeyPair | None = None
        self._private: Ed25519PrivateKey | None = None
        self._mark: tuple[int, int] | None = None

    @property
    def exists(self) -> bool:
        """Whether the keys were made already; whatever needs them makes them."""
        return self._path.is_file()

    @property
    def key_id(self) -> str:
        """Name of the key that signs now."""
        return self._loaded().current.key_id

    @property
    def public_key(self) -> bytes:
        """Its public half, raw, 32 bytes."""
        return bytes.fromhex(self._loaded().current.public.public_key)

    @property
    def next_key(self) -> SignerKey:
        """The public half of the key that will sign after the next rotation."""
        return self._loaded().next.public

    @property
    def next_made_at(self) -> datetime:
        """Since when the next key is handed out."""
        return datetime.fromisoformat(self._loaded().next.made_at)

    def public_keys(self) -> list[SignerKey]:
        """Return what devices are to believe: the current key and the next one."""
        keys = self._loaded()
        return [keys.current.public, keys.next.public]

    def sign(self, data: bytes) -> bytes:
        """Return the Ed25519 signature of `data`, 64 bytes."""
        self._loaded()
        assert self._private is not None
        return self._private.sign(data)

    def refresh(self) -> bool:
        """Look whether somebody rotated the keys; True when they are others than before.

        Raises:
            SignerError: the file cannot be read.
        """
        before = self._keys
        if before is not None and self._mark == self._mark_now():
            return False
        with self._folder.locked(_LOCK):
            self._take(self._read() or self._write(self._fresh()))
        return self._keys != before

    def rotate(self) -> SignerKey:
        """Make the next key the current one and a new key the next; return the one that signs now.

        Whoever was not told of the next key believes nothing from now on: ask that before.
        """
        with self._folder.locked(_LOCK):
            keys = self._read() or self._fresh()
            self._take(self._write(KeyPair(keys.next, SigningKey.make(self._clock.now()))))
        return self._loaded().current.public

    def _loaded(self) -> KeyPair:
        if self._keys is None:
            self.refresh()
        assert self._keys is not None
        return self._keys

    def _take(self, keys: KeyPair) -> None:
        self._keys, self._mark, self._private = keys, self._mark_now(), keys.current.private

    def _mark_now(self) -> tuple[int, int] | None:
        """Return what changes whenever the file is replaced."""
        try:
            found = self._path.stat()
        except FileNotFoundError:
            return None
        return found.st_ino, found.st_mtime_ns

    def _fresh(self) -> KeyPair:
        now = self._clock.now()
        return KeyPair(SigningKey.make(now), SigningKey.make(now))

    def _write(self, keys: KeyPair) -> KeyPair:
        self._path.parent.mkdir(mode=0o700, exist_ok=True)
        write_private(self._path, json.dumps(asdict(keys), indent=2) + "\n")
        return keys

    def _read(self) -> KeyPair | None:
        try:
            text = self._path.read_text("utf-8")
        except FileNotFoundError:
            return None
        try:
            told = json.loads(text)
            return KeyPair(_key(told["current"]), _key(told["next"]))
        except (LookupError, TypeError, ValueError) as broken:
            raise SignerError(
                f"{self._path} cannot be read; restore it from a backup: without it devices"
                " believe nothing until they enrol anew"
            ) from broken


def _key(told: Mapping[str, Any]) -> SigningKey:
    """Read one key; raises LookupError, TypeError or ValueError when it is none."""
    key = SigningKey(str(told["key_id"]), str(told["private_key"]), str(told["made_at"]))
    datetime.fromisoformat(key.made_at)
    bytes.fromhex(key.public.public_key)
    return key


def signer_keys(data_dir: Path) -> list[SignerKey]:
    """Return the public halves that the signer of a data folder announces now."""
    return FileSigner(data_dir).public_keys()
