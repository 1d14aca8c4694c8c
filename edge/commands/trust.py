"""Whom the vehicle believes, and the time that it is at least."""

import logging
from collections.abc import Callable, Mapping, Sequence
from typing import Literal

from edge.clock import Clock
from edge.identity.keys import KeyStoreError
from edge.journal.commands import Kept
from protocol.commands import Command, DesiredTwin, SignerKey, decode_command, decode_twin
from protocol.messages import MessageError
from protocol.signing import COMMAND_TYPE, TWIN_TYPE, SignatureError, verify

_log = logging.getLogger(__name__)

Distrust = Literal[
    "malformed", "wrong_type", "unknown_key", "bad_signature", "other_device", "bad_document"
]


class NotBelievedError(ValueError):
    """This is not for us to obey; `reason` is the one word to count it under.

    `payload` is what a pinned key signed all the same; None when nobody did.
    """

    def __init__(self, reason: Distrust, detail: str, payload: bytes | None = None) -> None:
        super().__init__(f"{reason}: {detail}")
        self.reason = reason
        self.payload = payload


class Trust:
    """Opens what comes down, and knows the trusted time.

    Args:
        device_id: what is for another device is refused.
        clock: both clocks.
        offset: milliseconds to add to the wall clock, as learned from the cloud.
        enrolled: the signing keys that enrolment gave; believed until a twin names others, and
            again after a later enrolment or renewal. May raise KeyStoreError.
    """

    def __init__(
        self,
        device_id: str,
        clock: Clock,
        *,
        offset: Callable[[], int],
        enrolled: Callable[[], Sequence[SignerKey]],
    ) -> None:
        self._device_id = device_id
        self._clock = clock
        self._offset = offset
        self._read_enrolled = enrolled
        self._pinned: Mapping[str, str] = {}
        self._pinned_over: Mapping[str, str] = {}
        self._keys: Mapping[str, bytes] = {}
        self.enrolled: Mapping[str, str] = {}
        self.seen_ms = 0

    def load(self, kept: Kept) -> None:
        """Begin with what the journal remembers."""
        self.seen_ms = max(self.seen_ms, kept.seen_ms)
        self._pinned, self._pinned_over = kept.signers, kept.enrolled
        self.refresh()

    def pin(self, signers: Mapping[str, str]) -> None:
        """Believe these keys, raw in hex by key id, from now on."""
        self._pinned, self._pinned_over = signers, self.enrolled
        self._choose()

    def refresh(self) -> None:
        """Read again what enrolment gives: there may be a new certificate."""
        try:
            self.enrolled = {one.key_id: one.public_key for one in self._read_enrolled()}
        except KeyStoreError as error:
            _log.warning("identity: %s", error)
        self._choose()

    def now_ms(self) -> int:
        """Return the trusted time: never before anything that was signed."""
        return max(self._clock.wall_ms() + self._offset(), self.seen_ms)

    def command(self, envelope: bytes) -> Command:
        """Open a command. Raises NotBelievedError."""
        payload = self._verified(envelope, COMMAND_TYPE)
        try:
            command = decode_command(payload)
        except MessageError as trouble:
            raise NotBelievedError("malformed", str(trouble), payload) from trouble
        self._seen(command)
        return command

    def twin(self, envelope: bytes) -> tuple[DesiredTwin, bytes]:
        """Open a twin; return it and its payload. Raises NotBelievedError."""
        payload = self._verified(envelope, TWIN_TYPE)
        try:
            twin = decode_twin(payload)
        except MessageError as trouble:
            raise NotBelievedError("bad_document", str(trouble), payload) from trouble
        self._seen(twin)
        return twin, payload

    def _verified(self, envelope: bytes, typ: str) -> bytes:
        try:
            return verify(envelope, typ, self._keys)
        except SignatureError as trouble:
            raise NotBelievedError(trouble.reason, str(trouble)) from trouble

    def _seen(self, signed: Command | DesiredTwin) -> None:
        self.seen_ms = max(self.seen_ms, signed.issued_at_ms)
        if signed.device_id != self._device_id:
            raise NotBelievedError("other_device", f"it is for {signed.device_id}")

    def _choose(self) -> None:
        """An enrolment later than the twin is the newest word; the one it was applied over is not.

        Enrolment's keys that equal the twin's are the twin's, handed to the key store.
        """
        known = self.enrolled in (self._pinned_over, self._pinned, {})
        signers = self._pinned if self._pinned and known else self.enrolled
        self._keys = {key_id: bytes.fromhex(public) for key_id, public in signers.items()}
