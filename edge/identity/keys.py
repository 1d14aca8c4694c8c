"""Where the vehicle's key and certificate are, behind a port: files now, a TPM later.

The folder of `FileKeyStore`, 0700, its files 0600:

    3/key.pem certificate.pem ca.pem signers.json claim    what belongs together
    current -> 3                                           which one counts: switched atomically
    key.pem -> current/key.pem …                           the same under names that never change
    pending/key.pem HASH.csr                               a new key that has no certificate yet

HASH names the claim that the key is to be certified for. A claim is good for one key, so whatever
happens before its certificate counts, the same key asks again.
"""

import contextlib
import fcntl
import hashlib
import os
import shutil
import ssl
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Protocol, TypeVar

import msgspec

from edge.faultpoint import reach
from edge.identity.certificate import (
    CertificateInfo,
    CertificateUnreadableError,
    read_certificate,
    read_certificates,
)
from edge.identity.files import replace_private, sync_folder, write_private
from protocol.commands import SignerKey

_T = TypeVar("_T")

REQUEST_S = 60.0
_FILES = ("key.pem", "certificate.pem", "ca.pem", "signers.json")
_OTHERS = 0o077


class KeyStoreError(Exception):
    """The identity cannot be used as it lies there; the text says what to do."""


class NoCertificateError(KeyStoreError):
    """There is no certificate yet: the vehicle has to enrol."""


class Signers(msgspec.Struct, frozen=True):
    """The keys whose commands and twins the vehicle believes."""

    keys: list[SignerKey]


class KeyStore(Protocol):
    """Holds one vehicle's identity. The private key never leaves it. Every call may block."""

    def held(self) -> CertificateInfo | None:
        """Return what the certificate says; None when there is none. Raises KeyStoreError."""

    def signers(self) -> list[SignerKey]:
        """Return the keys to believe, newest word; empty before enrolment. Raises KeyStoreError."""

    def tls_context(self) -> ssl.SSLContext:
        """Return what to speak TLS with: our certificate, our authority alone, host name checked.

        Raises NoCertificateError, and KeyStoreError for a key that others may read.
        """

    def redeemed(self, claim: str) -> bool:
        """Tell whether the identity was had for this claim."""

    def alone(self) -> AbstractContextManager[None]:
        """Hold it from the request to `keep`: a second request would spoil the first one's answer.

        Raises KeyStoreError when another process holds it.
        """

    def new_request(self, device_id: str, *, claim: str | None = None) -> str:
        """Make a new key beside the one in use and return its signing request, PEM.

        The key is kept before this returns. For a claim that was asked with before and whose
        answer was not kept, it is the key and the request of then. Raises KeyStoreError.
        """

    def keep(
        self, certificate: str, ca: str, signers: Sequence[SignerKey], *, claim: str | None = None
    ) -> None:
        """Put the requested key and its certificate in the place of the old pair, both or neither.

        Args:
            certificate: what the request was answered with, PEM.
            ca: certificates of the authority, PEM.
            signers: keys to believe.
            claim: what it was had for; None leaves the memory of the last one.

        Raises KeyStoreError when they do not belong together: the old pair stays.
        """

    def keep_signers(self, signers: Sequence[SignerKey]) -> None:
        """Believe these keys from now on. Raises KeyStoreError, also before enrolment."""


class FileKeyStore:
    """The identity in a folder, which is made when it is needed."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def has_certificate(self) -> bool:
        """Tell whether the vehicle is enrolled."""
        return (self.folder / "current" / "certificate.pem").exists()

    def held(self) -> CertificateInfo | None:
        """Return what the certificate says; None when there is none. Raises KeyStoreError."""
        try:
            return self._use(lambda home: read_certificate(_text(home / "certificate.pem")))
        except NoCertificateError:
            return None
        except CertificateUnreadableError as trouble:
            raise self._damaged("certificate.pem", trouble) from trouble

    def signers(self) -> list[SignerKey]:
        """Return the keys to believe, newest word; empty before enrolment. Raises KeyStoreError."""
        try:
            return self._use(lambda home: _signers(home / "signers.json"))
        except NoCertificateError:
            return []
        except msgspec.MsgspecError as trouble:
            raise self._damaged("signers.json", trouble) from trouble

    def tls_context(self) -> ssl.SSLContext:
        """Return what to speak TLS with. Raises NoCertificateError, KeyStoreError."""
        return self._use(lambda home: _context(home, _text(home / "ca.pem")))

    def redeemed(self, claim: str) -> bool:
        """Tell whether the identity was had for this claim."""
        try:
            return self._use(lambda home: _text(home / "claim")) == _hash(claim)
        except KeyStoreError:
            return False

    @contextlib.contextmanager
    def alone(self) -> Iterator[None]:
        """Hold the folder from the request to `keep`. Raises KeyStoreError."""
        with self._telling("use"):
            self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            lock = _open_lock(self.folder / ".enrolling")
        try:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as error:
                raise KeyStoreError(
                    f"another process is enrolling with {self.folder}; wait a minute and look again"
                ) from error
            yield
        finally:
            os.close(lock)

    def new_request(self, device_id: str, *, claim: str | None = None) -> str:
        """Make a new key in `pending`, or take the one of this claim, and return its request.

        Raises KeyStoreError.
        """
        name = "" if claim is None else f"{_hash(f'{device_id} {claim}')}.csr"
        with self._writing("make a key in"):
            if name and (home := self._asked_with(name)) is not None:
                return _text(home / name)
            pending = self._empty_pending()
            request = _make(pending, device_id)
            if name:
                sync_folder(pending)
                replace_private(pending / name, request.encode())
                sync_folder(self.folder)
            return request

    def keep(
        self, certificate: str, ca: str, signers: Sequence[SignerKey], *, claim: str | None = None
    ) -> None:
        """Put the pending key and its certificate in the place of the old pair, both or neither.

        A process killed at any step leaves the old pair or the new one. Raises KeyStoreError.
        """
        pending = self.folder / "pending"
        with self._writing("keep the certificate in"):
            remembered = self._remembered() if claim is None else _hash(claim)
            write_private(pending / "certificate.pem", certificate.encode())
            write_private(pending / "ca.pem", ca.encode())
            write_private(pending / "signers.json", _encoded(signers))
            write_private(pending / "claim", remembered.encode())
            _check(pending, certificate, ca)
            sync_folder(pending)
            reach("keep.written")
            number = 1 + max(self._numbers(), default=0)
            pending.rename(self.folder / str(number))
            sync_folder(self.folder)
            reach("keep.named")
            fresh = self.folder / "next"
            fresh.unlink(missing_ok=True)
            fresh.symlink_to(str(number))
            reach("keep.linked")
            fresh.replace(self.folder / "current")
            sync_folder(self.folder)
            reach("keep.switched")
            for old in self._numbers():
                if old != number:
                    shutil.rmtree(self.folder / str(old))
            for asked in (self.folder / str(number)).glob("*.csr"):
                asked.unlink()
            reach("keep.cleared")

    def keep_signers(self, signers: Sequence[SignerKey]) -> None:
        """Believe these keys from now on. Raises KeyStoreError, also before enrolment."""
        with self._writing("keep the signers in"):
            replace_private(self._current() / "signers.json", _encoded(signers))

    def _current(self) -> Path:
        try:
            return self.folder / (self.folder / "current").readlink()
        except OSError as error:
            if (self.folder / "current").is_symlink():
                raise self._unreadable(error) from error
            raise NoCertificateError(
                f"there is no certificate in {self.folder} yet; the vehicle has to enrol"
            ) from error

    def _use(self, use: Callable[[Path], _T]) -> _T:
        """Return `use` of the folder that counts. Raises NoCertificateError, KeyStoreError."""
        home = self._current()
        try:
            try:
                return use(home)
            except FileNotFoundError:
                # A renewal may have cleared this pair away meanwhile.
                return use(self._current())
        except (OSError, UnicodeDecodeError) as error:
            raise self._unreadable(error) from error

    def _remembered(self) -> str:
        try:
            return self._use(lambda home: _text(home / "claim"))
        except KeyStoreError:
            return ""

    def _numbers(self) -> list[int]:
        return [int(path.name) for path in self.folder.iterdir() if path.name.isdecimal()]

    def _asked_with(self, name: str) -> Path | None:
        """Return the folder of a key that has asked with this request and does not count yet."""
        pending = self.folder / "pending"
        try:
            now = int(self._current().name)
        except KeyStoreError:
            now = 0
        # A kill while the answer was kept leaves a pair that has a number and does not count.
        for number in self._numbers():
            if number > now and (self.folder / str(number) / name).exists():
                shutil.rmtree(pending, ignore_errors=True)
                (self.folder / str(number)).rename(pending)
        return pending if (pending / name).exists() else None

    def _empty_pending(self) -> Path:
        self.folder.chmod(0o700)
        for name in _FILES:
            if not (link := self.folder / name).is_symlink():
                link.symlink_to(Path("current") / name)
        pending = self.folder / "pending"
        if pending.exists():
            shutil.rmtree(pending)
        pending.mkdir(mode=0o700)
        return pending

    @contextlib.contextmanager
    def _writing(self, doing: str) -> Iterator[None]:
        """Keep others from writing at the same time, and say what the disk refuses."""
        with self._telling(doing):
            self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            lock = _open_lock(self.folder / ".lock")
            try:
                fcntl.flock(lock, fcntl.LOCK_EX)
                yield
            finally:
                os.close(lock)

    @contextlib.contextmanager
    def _telling(self, doing: str) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise KeyStoreError(
                f"cannot {doing} {self.folder}: {(error.strerror or str(error)).lower()}; "
                "check the folder, its owner and the room on its disk"
            ) from error

    def _unreadable(self, error: Exception) -> KeyStoreError:
        reason = error.strerror if isinstance(error, OSError) else error
        return KeyStoreError(
            f"the identity in {self.folder} cannot be read ({reason}); "
            "make it readable for the agent, or remove the folder and enrol with a new claim"
        )

    def _damaged(self, name: str, trouble: Exception) -> KeyStoreError:
        return KeyStoreError(
            f"{self.folder / name} is damaged: {trouble}; "
            "remove the folder and enrol with a new claim"
        )


def trusting_context(ca: str) -> ssl.SSLContext:
    """Return a context that trusts the certificates in `ca` alone; raises KeyStoreError."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    try:
        context.load_verify_locations(cadata=ca)
    except (ssl.SSLError, ValueError) as error:
        raise KeyStoreError(
            "the authority's certificate cannot be read; put its PEM under [identity] ca"
        ) from error
    return context


def _context(home: Path, ca: str) -> ssl.SSLContext:
    context = trusting_context(ca)
    key = home / "key.pem"
    try:
        if (mode := key.stat().st_mode) & _OTHERS:
            raise KeyStoreError(
                f"{key} may be read by others (mode {mode & 0o777:04o}); it may be known: "
                f"run chmod 600 {key} and then mobility-edge enrol with a new claim"
            )
        context.load_cert_chain(home / "certificate.pem", key)
    except ssl.SSLError as error:
        reason = (error.reason or "unreadable").lower().replace("_", " ")
        raise KeyStoreError(
            f"key and certificate in {home} cannot be used ({reason}); "
            "remove the folder and enrol with a new claim"
        ) from error
    return context


def _check(home: Path, certificate: str, ca: str) -> None:
    """Refuse what would not work: a pair that is none, an authority that did not sign."""
    try:
        issuer = read_certificate(certificate).issuer
        known = [each.subject for each in read_certificates(ca)]
    except CertificateUnreadableError as trouble:
        raise KeyStoreError(f"the certificate from the cloud is unusable: {trouble}") from trouble
    if issuer not in known:
        raise KeyStoreError(
            "the certificate from the cloud is not of the authority that came with it; "
            "ask whoever runs the cloud to look at its pki folder"
        )
    _context(home, ca)


def _make(pending: Path, device_id: str) -> str:
    if "cryptography.x509" in sys.modules:  # its memory is spent already
        from edge.identity.request import make_request

        return make_request(pending, device_id)
    return _apart(pending, device_id)


def _apart(pending: Path, device_id: str) -> str:
    try:
        made = subprocess.run(  # noqa: S603 - our own module, our own interpreter
            [sys.executable, "-m", "edge.identity.request", str(pending), device_id],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=REQUEST_S,
            check=False,
            text=True,
        )
    except subprocess.TimeoutExpired as error:
        raise KeyStoreError(
            f"cannot make a key: it took more than {REQUEST_S:.0f} s; try again when less is to do"
        ) from error
    if made.returncode:
        last = (made.stderr.strip().splitlines() or ["it was killed"])[-1]
        raise KeyStoreError(f"cannot make a key: {last}; check the installation and the disk")
    return made.stdout


def _open_lock(path: Path) -> int:
    return os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)


def _text(path: Path) -> str:
    return path.read_text("utf-8")


def _signers(path: Path) -> list[SignerKey]:
    return msgspec.json.decode(path.read_bytes(), type=Signers).keys


def _encoded(signers: Sequence[SignerKey]) -> bytes:
    return msgspec.json.encode(Signers(list(signers))) + b"\n"


def _hash(claim: str) -> str:
    return hashlib.sha256(claim.encode()).hexdigest()
