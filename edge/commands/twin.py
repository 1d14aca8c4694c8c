"""Keeps to the desired twin: applied whole or refused whole, in force again after a restart."""

import asyncio
import contextlib
import logging
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple, Protocol

import msgspec

from edge.commands.actuators import Actuators, Forbids
from edge.commands.desk import CommandDesk
from edge.commands.trust import NotBelievedError, Trust
from edge.commands.wishes import Wishes
from edge.controllers.base import ControllerState, Outcome
from edge.drivers.manifest import BadDecoderError, Ready, prepare
from edge.identity.keys import KeyStoreError
from edge.journal.book import CommandBook
from edge.journal.commands import Kept, KeptTwin
from protocol.bodies import FieldValue
from protocol.commands import SPEED_LIMIT_KMH, SPEED_MODES, DesiredTwin, SignerKey, decode_twin
from protocol.messages import MessageError

_log = logging.getLogger(__name__)

TRY_AGAIN_S = 1.0
CALM = 3
"""Looks without a command before a change counts as nobody's: sensors lag behind."""

_DETAIL = 200
_CAREFUL = ("walk", "eco", "normal", "sport")


class Step(NamedTuple):
    """One thing to do for a twin, and how it was before, as far as is known."""

    kind: str
    args: Mapping[str, Any]
    before: Mapping[str, Any] | None


class _RefusedError(Exception):
    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(detail)
        self.reason = reason


class _Glance(msgspec.Struct):
    """What can be said of a document that is not one, or that nobody we know has signed."""

    version: int = 0


class TakesDecoder(Protocol):
    """A battery that can be read by another manifest from one frame to the next."""

    def use(self, ready: Ready | None) -> None:
        """Read by this manifest from now on; None goes back to the first one."""


class TwinKeeper:
    """One vehicle's twin.

    Args:
        trust: whom to believe; a twin names the keys.
        desk: counts what is not believed.
        book: where the twin is written down.
        actuators: who performs what.
        forbids: the interlock.
        wishes: takes intervals and the end of watching.
        keep_signers: hands the keys to the key store, for people to see there; may block and may
            raise KeyStoreError.

    `reads` takes a decoder manifest; None where the battery is not one that broadcasts.
    """

    def __init__(
        self,
        trust: Trust,
        desk: CommandDesk,
        book: CommandBook,
        *,
        actuators: Actuators,
        forbids: Forbids,
        wishes: Wishes,
        keep_signers: Callable[[Sequence[SignerKey]], None],
    ) -> None:
        self._trust = trust
        self._desk = desk
        self._book = book
        self._actuators = actuators
        self._forbids = forbids
        self._wishes = wishes
        self._keep_signers = keep_signers
        self._kept: KeptTwin | None = None
        self._told: tuple[int, str, int | None] = (0, "", None)
        # What a stored twin still wants must not be done behind the back of a newer one.
        self._busy = asyncio.Lock()
        self.twin: DesiredTwin | None = None
        self.reads: TakesDecoder | None = None

    def open(self, kept: Kept) -> None:
        """Put in force again what the journal remembers; `enforce` does so at the actuators."""
        self._trust.load(kept)
        self._wishes.restore(kept.intervals)
        if kept.twin is None:
            return
        try:
            self.twin = decode_twin(kept.twin.document)
        except MessageError as trouble:
            _log.error("the twin in the journal cannot be read: %s", trouble)
            return
        self._kept = kept.twin
        self._wishes.resume(self.twin.intervals_s, self.twin.live_until_ms)

    async def resume_decoder(self) -> None:
        """Read the battery again by the manifest of the twin that the journal remembers."""
        if self.twin is None or not self.twin.decoder:
            return
        try:
            put_in_force = await self._decoder_of(self.twin, None)
        except _RefusedError as why:
            _log.error("the decoder in the journal is not used: %s", why)
            return
        put_in_force()

    async def take(self, envelope: bytes) -> None:
        """Take what came on the `twin` topic."""
        try:
            twin, document = self._trust.twin(envelope)
        except NotBelievedError as distrust:
            await self._not_believed(envelope, distrust)
            return
        kept = self._kept
        if kept is not None and (twin.version, document) == (kept.version, kept.document):
            self._kept = await self._book.tell_twin_again(kept)
            return
        try:
            async with self._busy:
                await self._apply(twin, envelope, document)
        except _RefusedError as why:
            await self._refuse(twin.version, why.reason, str(why))

    async def enforce(self) -> None:
        """Keep the controller to the twin, for ever; never loosen anything.

        After a start, after its silence, and when it allows more than the twin although nobody
        told it to: it was replaced, or lost its power. What a command loosened stays loose.
        """
        if self._actuators.controller is None:
            return
        watch = Loosened()
        while True:
            twin, state = self.twin, self._actuators.seen()
            left = stricter(twin, state) if twin is not None else []
            if watch.see(twin, left, heard=state is not None, turns=self._actuators.turns):
                async with self._busy:
                    if twin is self.twin:
                        await self._try(left)
            await asyncio.sleep(TRY_AGAIN_S)

    async def _try(self, steps: Sequence[Step]) -> None:
        for step in steps:
            if self._can(step.kind) and self._forbids(step.kind, step.args) is None:
                await self._perform(step.kind, step.args)

    async def _not_believed(self, envelope: bytes, distrust: NotBelievedError) -> None:
        if distrust.reason == "bad_document":
            version = _glance(distrust.payload or b"")
            await self._refuse(version, "bad_document", str(distrust))
            return
        told = await self._desk.not_believed("twin", distrust)
        if told and distrust.reason == "unknown_key":
            # The version is only said to be so; the cloud compares it with what it has sent.
            version = _glance(_unverified(envelope))
            await self._refuse(version, "unknown_key", str(distrust))

    async def _apply(self, twin: DesiredTwin, envelope: bytes, document: bytes) -> None:
        before = self._kept.version if self._kept else 0
        if twin.version <= before:
            raise _RefusedError("old_version", f"version {before} is in force")
        signers = {one.key_id: one.public_key for one in twin.signers}
        if len(signers) != len(twin.signers):
            raise _RefusedError("bad_document", "a key id is there twice")
        use_decoder = await self._decoder_of(twin, self.twin)
        steps = self._steps(twin)
        done = await self._do(steps)
        kept = await self._book.keep_twin(
            KeptTwin(twin.version, envelope, document, 0),
            signers=signers,
            enrolled=self._trust.enrolled,
            intervals=twin.intervals_s,
            seen_ms=self._trust.seen_ms,
        )
        if kept is None:
            await self._undo(done)
            raise _RefusedError("unsafe", "it cannot be written down: the disk refuses")
        self._kept, self.twin = kept, twin
        use_decoder()
        self._trust.pin(signers)
        self._wishes.follow(twin.intervals_s, twin.live_until_ms)
        _log.info("twin %d is in force", twin.version)
        if signers != self._trust.enrolled:
            await self._hand_over(twin.signers)

    async def _decoder_of(
        self, twin: DesiredTwin, before: DesiredTwin | None
    ) -> Callable[[], None]:
        """Return what puts a twin's decoder in force; raises when it cannot be used."""
        manifest = twin.decoder or None
        if manifest == ((before.decoder or None) if before else None):
            return lambda: None
        battery = self.reads
        if battery is None:
            raise _RefusedError("unsupported", "this battery is not read by a manifest")
        if manifest is None:
            return lambda: battery.use(None)
        try:
            ready = await asyncio.to_thread(prepare, manifest)
        except BadDecoderError as trouble:
            raise _RefusedError("bad_decoder", str(trouble)) from trouble
        return lambda: battery.use(ready)

    def _steps(self, twin: DesiredTwin) -> list[Step]:
        """Return what is to be done; raises when something of it cannot or must not be."""
        state = self._actuators.seen()
        steps = [step for step in _wanted(twin, self.twin, state) if not self._is_so(step)]
        for step in steps:
            if not self._can(step.kind):
                raise _RefusedError("unsupported", f"this vehicle has no {step.kind}")
            if (reason := self._forbids(step.kind, step.args)) is not None:
                raise _RefusedError(_twin_reason(reason), f"{step.kind} now is not safe: {reason}")
        return steps

    async def _do(self, steps: Sequence[Step]) -> list[Step]:
        """Do the steps, all or none."""
        done: list[Step] = []
        for step in steps:
            outcome = await self._perform(step.kind, step.args)
            if outcome.state != "done":
                # What was refused has moved nothing; what failed may have.
                await self._undo(done if outcome.state == "refused" else [*done, step])
                said = f"{step.kind} {outcome.state}: {outcome.reason}"
                raise _RefusedError(_twin_reason(outcome.reason), said)
            done.append(step)
        return done

    async def _undo(self, done: Sequence[Step]) -> None:
        for step in reversed(done):
            if step.before is None:
                _log.warning("twin: %s stays, nobody knows how it was before", step.kind)
                continue
            outcome = await self._perform(step.kind, step.before)
            if outcome.state != "done":
                _log.error("twin: %s cannot be put back: %s", step.kind, outcome.reason)

    async def _perform(self, kind: str, args: Mapping[str, Any]) -> Outcome:
        station = self._actuators.of(kind)
        if station is None:
            return Outcome("refused", "unsupported")
        async with station.lock:
            if (reason := self._forbids(kind, args)) is not None:  # it may roll by now
                return Outcome("refused", reason)
            return await station.perform(kind, args)

    async def _refuse(self, version: int, reason: str, detail: str) -> None:
        """Say so, unless the same is on its way up already."""
        *same, seq = self._told
        if same == [version, reason] and not self._book.is_told(seq):
            return
        _log.warning("twin %d is refused, %s: %s", version, reason, detail)
        fields: dict[str, FieldValue] = {"version": version, "reason": reason}
        fields["detail"] = detail[:_DETAIL]
        seq = await self._book.refuse_twin(fields, seen_ms=self._trust.seen_ms)
        self._told = (version, reason, seq)

    async def _hand_over(self, signers: Sequence[SignerKey]) -> None:
        try:
            await asyncio.to_thread(self._keep_signers, signers)
        except KeyStoreError as error:
            # The journal has them; the folder only shows them to people.
            _log.warning("identity: %s", error)

    def _can(self, kind: str) -> bool:
        return kind in self._actuators.capabilities

    def _is_so(self, step: Step) -> bool:
        station = self._actuators.of(step.kind)
        return station is not None and station.actuator.is_so(step.kind, step.args) is True


class Loosened:
    """Tells when a controller allows more than the twin, and nobody told it to. Pure."""

    def __init__(self) -> None:
        self._twin: DesiredTwin | None = None
        self._due = True
        self._was_strict = False
        self._turns = 0
        self._calm = 0

    def see(
        self, twin: DesiredTwin | None, left: Sequence[Step], *, heard: bool, turns: int
    ) -> bool:
        """Take one look; return whether what is left must be done now.

        Args:
            twin: the twin in force.
            left: what the controller does not keep of it.
            heard: whether the controller speaks.
            turns: grows while somebody has it do something.
        """
        if not heard:
            self._due = True
            return False
        if twin is not self._twin:
            self._twin, self._was_strict = twin, False
        self._calm = self._calm + 1 if turns == self._turns else 0
        self._turns = turns
        if self._calm >= CALM and self._was_strict and left:
            self._due = True
        if not left:
            self._due, self._was_strict = False, True
        elif self._calm < CALM:
            self._was_strict = False
        return self._due and bool(left)


def stricter(twin: DesiredTwin, state: ControllerState | None) -> list[Step]:
    """Return what must be done so that the vehicle may do no more than a twin allows."""
    limits, steps = twin.limits, list[Step]()
    if twin.immobilised and not (state and state.immobilised):
        steps.append(Step("immobilise", {"on": True}, None))
    limit_kmh = limits.speed_limit_kmh
    in_force_kmh = state.speed_limit_kmh if state else None
    if limit_kmh is not None and not 0 < (in_force_kmh or 0) <= limit_kmh:
        steps.append(Step("speed_limit", {"kmh": limit_kmh}, None))
    mode = state.speed_mode if state else None
    if limits.speed_mode and _rank(mode) > _rank(limits.speed_mode):
        steps.append(Step("speed_mode", {"mode": limits.speed_mode}, None))
    return steps


def _wanted(
    twin: DesiredTwin, before: DesiredTwin | None, state: ControllerState | None
) -> list[Step]:
    """Return what a twin says of the actuators. What the one before had asked for is let go."""
    steps: list[Step] = []
    old = before.limits if before else None
    if twin.immobilised is not None:
        was = state.immobilised if state else None
        steps.append(
            Step("immobilise", {"on": twin.immobilised}, None if was is None else {"on": was})
        )
    limit_kmh = twin.limits.speed_limit_kmh
    if limit_kmh is not None or (old and old.speed_limit_kmh is not None):
        steps.append(Step("speed_limit", {"kmh": limit_kmh}, _limit_before(state)))
    mode = twin.limits.speed_mode or ("normal" if old and old.speed_mode else None)
    if mode is not None:
        was_mode = state.speed_mode if state else None
        known = was_mode in SPEED_MODES
        steps.append(Step("speed_mode", {"mode": mode}, {"mode": was_mode} if known else None))
    return steps


def _limit_before(state: ControllerState | None) -> Mapping[str, Any] | None:
    if state is None:
        return None
    low, high = SPEED_LIMIT_KMH
    kmh = round(state.speed_limit_kmh or 0)
    return {"kmh": kmh if low <= kmh <= high else None}


def _rank(mode: str | None) -> int:
    return _CAREFUL.index(mode) if mode in _CAREFUL else len(_CAREFUL)


def _twin_reason(reason: str) -> str:
    """Return a command's reason as one of those of a twin."""
    return reason if reason in {"moving", "unsupported"} else "unsafe"


def _glance(document: bytes) -> int:
    with contextlib.suppress(msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return max(0, min(msgspec.json.decode(document, type=_Glance).version, 2**53))
    return 0


def _unverified(envelope: bytes) -> bytes:
    import base64
    import binascii

    body = envelope.split(b".")[1] if envelope.count(b".") >= 1 else b""
    with contextlib.suppress(binascii.Error, ValueError):
        return base64.urlsafe_b64decode(body + b"=" * (-len(body) % 4))
    return b""
