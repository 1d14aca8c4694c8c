"""Passwords as Argon2id hashes (RFC 9106), never more than a few hashed at once."""

import contextlib
import secrets
import threading
import unicodedata
from collections.abc import Iterator

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError

_AT_ONCE = 2
_WAITING = 16

# Hashes to nothing anybody knows: what an unknown user's password is compared with.
_SALT = "bW9iaWxpdHljb3Jw"
_DIGEST = "A" * 43


class BusyError(RuntimeError):
    """Too many wait to have a password hashed; trying again in a second is the way out."""


class Passwords:
    """Hashes and checks passwords.

    One hash takes 64 MiB and some tens of milliseconds: two are made at once, sixteen wait, and
    beyond that BusyError is raised, so that a flood of sign-ins takes neither memory nor the
    threads that everybody else needs.
    """

    def __init__(self, hasher: PasswordHasher | None = None) -> None:
        self._hasher = hasher or PasswordHasher()
        self._turns = threading.BoundedSemaphore(_AT_ONCE)
        self._places = threading.BoundedSemaphore(_AT_ONCE + _WAITING)
        h = self._hasher
        self._nobody = (
            f"$argon2id$v=19$m={h.memory_cost},t={h.time_cost},p={h.parallelism}${_SALT}${_DIGEST}"
        )

    def hash(self, password: str) -> str:
        """Return the encoded hash, parameters and salt included; raises BusyError."""
        with self._turn():
            return self._hasher.hash(_normal(password))

    def matches(self, password_hash: str | None, password: str) -> bool:
        """Tell whether it is the password; of nobody, None, it takes as long and is not.

        Raises BusyError.
        """
        with self._turn():
            try:
                return self._hasher.verify(password_hash or self._nobody, _normal(password))
            except (VerificationError, InvalidHashError):
                return False

    def is_outdated(self, password_hash: str) -> bool:
        """Tell whether it was made with other parameters than are used now."""
        return self._hasher.check_needs_rehash(password_hash)

    @contextlib.contextmanager
    def _turn(self) -> Iterator[None]:
        if not self._places.acquire(blocking=False):
            raise BusyError("too many sign in at once; try again in a second")
        try:
            with self._turns:
                yield
        finally:
            self._places.release()


PASSWORDS = Passwords()
"""The process's own: the bound holds for all of it."""


def generated() -> str:
    """Return a password nobody guesses."""
    return secrets.token_urlsafe(18)


def _normal(password: str) -> bytes:
    """The same bytes however a keyboard composes an accent."""
    return unicodedata.normalize("NFC", password).encode("utf-8", "replace")
