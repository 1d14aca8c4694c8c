"""A cloud that signs, a lock that counts its moves, and the agent's part between the two."""

import asyncio
import uuid
from collections import Counter
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from edge.clock import ManualClock
from edge.commands.remote import Remote, build_remote
from edge.commands.twin import TakesDecoder
from edge.controllers.base import DONE, ControllerState, Outcome
from edge.identity.keys import FileKeyStore
from edge.journal import Journal
from protocol.bodies import Fact
from protocol.commands import Command, DesiredTwin, Limits, SignerKey, encode
from protocol.segment import Lane, open_segment
from protocol.signing import COMMAND_TYPE, TWIN_TYPE, sign

DEVICE = "demo-001"
NOW_MS = 1_800_000_000_000
PATIENCE_S = 10.0


class TestSigner:
    """The cloud's signing key."""

    __test__ = False

    def __init__(self, key_id: str = "k1") -> None:
        self.key_id = key_id
        self._key = Ed25519PrivateKey.generate()

    @property
    def public(self) -> SignerKey:
        return SignerKey(self.key_id, self._key.public_key().public_bytes_raw().hex())

    def command(self, kind: str = "lock", **more: Any) -> bytes:
        """A signed command; anything of it can be said otherwise."""
        typ, key_id = more.pop("typ", COMMAND_TYPE), more.pop("key_id", self.key_id)
        fields: dict[str, Any] = {
            "id": str(uuid.uuid4()),
            "device_id": DEVICE,
            "kind": kind,
            "issued_at_ms": NOW_MS,
            "not_after_ms": NOW_MS + 60_000,
        }
        return sign(encode(Command(**fields | more)), typ, key_id, self._key.sign)

    def twin(self, version: int = 1, **more: Any) -> bytes:
        """A signed twin."""
        fields: dict[str, Any] = {
            "device_id": DEVICE,
            "version": version,
            "issued_at_ms": NOW_MS,
            "signers": [self.public],
        }
        if "speed_limit_kmh" in more or "speed_mode" in more:
            names = ("speed_limit_kmh", "speed_mode")
            fields["limits"] = Limits(**{name: more.pop(name, None) for name in names})
        return self.raw(encode(DesiredTwin(**fields | more)), TWIN_TYPE)

    def raw(self, payload: bytes, typ: str) -> bytes:
        return sign(payload, typ, self.key_id, self._key.sign)


@dataclass
class FakeLock:
    """A `VehicleController` in memory, which outlives the agent. `moved` counts by kind."""

    clock: ManualClock
    locked: bool | None = True
    immobilised: bool | None = False
    limit_kmh: int = 0
    mode: str = "normal"
    speed_kmh: float = 0.0
    silent: bool = False
    able: frozenset[str] = frozenset(
        {"lock", "unlock", "immobilise", "locate", "speed_limit", "speed_mode", "open_battery"}
    )
    answers: dict[str, Outcome] = field(default_factory=dict)
    moved: Counter[str] = field(default_factory=Counter)
    limits: list[int | None] = field(default_factory=list)
    gate: asyncio.Event | None = None
    at_gate: bool = False
    on_change: Callable[[ControllerState], None] | None = None

    @property
    def capabilities(self) -> frozenset[str]:
        return self.able

    async def run(self) -> None:
        await asyncio.Event().wait()

    def seen(self) -> ControllerState | None:
        if self.silent:
            return None
        return ControllerState(
            seen_at_s=self.clock.mono_s(),
            locked=self.locked,
            immobilised=self.immobilised,
            speed_kmh=self.speed_kmh,
            speed_limit_kmh=float(self.limit_kmh),
            speed_mode=self.mode,
        )

    def is_so(self, kind: str, args: Mapping[str, Any]) -> bool | None:
        if self.silent:
            return None
        return {
            "lock": self.locked is True,
            "unlock": self.locked is False,
            "immobilise": self.immobilised is args.get("on"),
            "speed_limit": self.limit_kmh == (args.get("kmh") or 0),
            "speed_mode": self.mode == args.get("mode"),
        }.get(kind)

    async def perform(self, kind: str, args: Mapping[str, Any]) -> Outcome:
        if self.gate is not None:
            self.at_gate = True
            await self.gate.wait()
            self.at_gate = False
        if kind in self.answers:
            return self.answers[kind]
        self.moved[kind] += 1
        if kind in ("lock", "unlock"):
            self.locked = kind == "lock"
        elif kind == "immobilise":
            self.immobilised = args["on"]
        elif kind == "speed_limit":
            self.limits.append(args["kmh"])
            self.limit_kmh = args["kmh"] or 0
        elif kind == "speed_mode":
            self.mode = args["mode"]
        return DONE


class Enrolled(FileKeyStore):
    """A key store as enrolment left it, without the certificate."""

    def __init__(self, folder: Path, signers: Sequence[SignerKey]) -> None:
        super().__init__(folder)
        self.known = list(signers)
        self.handed: list[list[SignerKey]] = []
        self.power_goes = False

    def signers(self) -> list[SignerKey]:
        return self.known

    def keep_signers(self, signers: Sequence[SignerKey]) -> None:
        if self.power_goes:
            return
        self.handed.append(list(signers))
        self.known = list(signers)


@dataclass
class Vehicle:
    """The agent's part at work, and what it told."""

    journal: Journal
    remote: Remote
    lock: FakeLock
    clock: ManualClock
    work: "asyncio.Task[None]"

    async def command(self, envelope: bytes) -> None:
        await self.remote.desk.take(envelope)

    async def twin(self, envelope: bytes) -> None:
        await self.remote.twin.take(envelope)

    async def facts(self, kind: str) -> list[dict[str, Any]]:
        return [dict(fact.fields) for fact in await facts(self.journal) if fact.kind == kind]

    async def result(self) -> dict[str, Any]:
        """The newest result, once nothing is on its way any more."""
        await self.quiet()
        return (await self.facts("command.result"))[-1]

    async def quiet(self) -> None:
        """Wait until no command is on its way."""
        await until(lambda: not self.remote.desk._open)

    async def acked(self) -> None:
        """Let the cloud commit and acknowledge all facts."""
        view = self.journal.lane(Lane.FACT)
        await self.journal.acknowledge(Lane.FACT, view.epoch, view.last_seq)


@asynccontextmanager
async def a_vehicle(
    path: Path,
    signers: Sequence[SignerKey] = (),
    *,
    lock: FakeLock | None = None,
    clock: ManualClock | None = None,
    keys: Enrolled | None = None,
    forbids: Callable[[str, Mapping[str, Any]], str | None] = lambda _kind, _args: None,
    boot_id: int = 1,
    reads: TakesDecoder | None = None,
) -> AsyncIterator[Vehicle]:
    """An agent's journal and commands at work, on a lock that may have been used before."""
    clock = clock or ManualClock(NOW_MS)
    lock = lock or FakeLock(clock)
    journal = await Journal.open(path, clock, boot_id=boot_id)
    remote = build_remote(
        DEVICE,
        journal,
        clock,
        offset=lambda: 0,
        keys=keys or Enrolled(path.parent, signers),
        enroller=None,
        controller=lock,
        battery=None,
        forbids=forbids,
    )
    remote.twin.reads = reads
    await remote.open()
    work = asyncio.create_task(remote.run())
    try:
        yield Vehicle(journal, remote, lock, clock, work)
    finally:
        work.cancel()
        await asyncio.wait({work})
        await journal.close()


async def facts(journal: Journal) -> list[Fact]:
    """Every fact that is not acknowledged."""
    found = await journal.unacked(Lane.FACT, limit=1_000_000, max_bytes=1 << 30)
    return [fact for one in found for fact in open_segment(one.payload).facts or ()]


async def until(true: Callable[[], bool]) -> None:
    async with asyncio.timeout(PATIENCE_S):
        while not true():  # noqa: ASYNC110 - what is waited for has no event
            await asyncio.sleep(0.002)
