"""Builders for commands: a device that said what it can do, one that obeys, a relay at work."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from nats.aio.client import Client
from nats.aio.msg import Msg

from cloud.devices import api, store
from cloud.devices.api import CommandRow, Wish
from cloud.devices.link import connect_link
from cloud.devices.relay import Relay
from cloud.kit.clock import Clock
from cloud.kit.db import Db
from cloud.kit.ports.signing import FileSigner
from cloud.kit.principal import Principal
from cloud.kit.scope import DEMO
from protocol.bodies import Fact, FieldValue
from protocol.commands import KINDS, Command, DesiredTwin, decode_command, decode_twin
from protocol.messages import Hello, LaneState
from protocol.segment import seal_facts
from protocol.signing import COMMAND_TYPE, TWIN_TYPE, SignatureError, verify
from protocol.topics import subject
from tests.broker import OpenNats
from tests.cloud.sealed import EPOCH, EPOCH_HEX, NOON, NOON_MS
from tests.cloud.signed_in import a_principal

ASKER = a_principal("supervisor", name="ada")
SECOND = replace(a_principal("supervisor", name="bob"), account_id=UUID(int=2))
PROGRAM = replace(ASKER, account_id=UUID(int=3), name="nightly", kind="service", role="")


def hello_of(capabilities: list[str] | None = None, nonce: str = "nonce-0001") -> Hello:
    return Hello(
        nonce=nonce,
        sent_at_ms=NOON_MS,
        boot_id=7,
        lanes=[LaneState("fact", EPOCH_HEX, 1, 0)],
        agent_version="1.2.3",
        battery="jbd_uart",
        capabilities=sorted(KINDS) if capabilities is None else capabilities,
    )


def an_able_device(db: Db, device_id: str, capabilities: list[str] | None = None) -> str:
    """Enrol a device that has said hello, and can do everything unless told otherwise."""
    api.enrol(db, device_id, "jbd_uart", NOON)
    with db.transaction():
        store.greet(db, DEMO, device_id, hello_of(capabilities), NOON)
    return device_id


def ask(
    db: Db,
    device_id: str,
    kind: str = "lock",
    *,
    who: Principal = ASKER,
    at: datetime = NOON,
    limits: api.Limits | None = None,
    **args: Any,
) -> CommandRow:
    """Ask a device for something."""
    wish = Wish(device_id, device_id, kind, args, "a test wants it")
    return api.request_command(db, who, wish, at, limits)


def now_of(db: Db, row: CommandRow) -> CommandRow:
    """How a command stands now."""
    found = api.command(db, DEMO, row.id)
    assert found is not None
    return found


def told(
    seq: int,
    *said: tuple[str, Mapping[str, FieldValue]],
    at: datetime = NOON,
    epoch: int = EPOCH,
) -> bytes:
    """A sealed segment of the fact lane."""
    return seal_facts(
        epoch=epoch,
        first_seq=seq,
        floor_seq=1,
        boot_id=7,
        clock_offset_ms=0,
        t0_ms=int(at.timestamp() * 1000),
        facts=[Fact(kind, 1, 0, 1_000, dict(fields)) for kind, fields in said],
    )


def result(row: CommandRow, state: str = "done", reason: str = "", **more: FieldValue) -> Any:
    """The fact that ends a command."""
    fields = {"id": str(row.id), "kind": row.kind, "state": state, "reason": reason}
    return "command.result", fields | more


@dataclass
class Obedient:
    """A device on the NATS side that believes the keys it was enrolled with and what twins say.

    Attributes:
        id: of the device.
        client: its connection.
        keys: whom it believes, raw by key id.
        answers: whether it answers commands.
    """

    id: str
    client: Client
    keys: dict[str, bytes]
    answers: bool = True
    commands: list[Command] = field(default_factory=list)
    twins: list[DesiredTwin] = field(default_factory=list)
    disbelieved: list[str] = field(default_factory=list)
    heard: asyncio.Event = field(default_factory=asyncio.Event)
    seq: int = 0

    async def say(self, *said: tuple[str, Mapping[str, FieldValue]]) -> None:
        self.seq += len(said)
        segment = told(self.seq - len(said) + 1, *said)
        await self.client.publish(subject(self.id, "fact"), segment)

    async def take_command(self, message: Msg) -> None:
        try:
            command = decode_command(verify(message.data, COMMAND_TYPE, self.keys))
        except SignatureError as trouble:
            self.disbelieved.append(trouble.reason)
        else:
            known = command.id in {each.id for each in self.commands}
            self.commands.append(command)
            if self.answers and not known:
                fields = {"id": command.id, "kind": command.kind, "state": "done", "reason": ""}
                await self.say(("command.result", {**fields, "accepted_ago_ms": 4}))
        self.heard.set()

    async def take_twin(self, message: Msg) -> None:
        try:
            twin = decode_twin(verify(message.data, TWIN_TYPE, self.keys))
        except SignatureError as trouble:
            self.disbelieved.append(trouble.reason)
        else:
            self.twins.append(twin)
            self.keys = {key.key_id: bytes.fromhex(key.public_key) for key in twin.signers}
            if self.answers:
                await self.say(("twin.applied", {"version": twin.version}))
        self.heard.set()


@contextlib.asynccontextmanager
async def obedient(
    nats: OpenNats, signer: FileSigner, device_id: str, *, answers: bool = True
) -> AsyncIterator[Obedient]:
    """Connect a device that was enrolled with the signer's present keys."""
    client = await connect_link(nats.url)
    keys = {key.key_id: bytes.fromhex(key.public_key) for key in signer.public_keys()}
    device = Obedient(device_id, client, keys, answers)
    await client.subscribe(subject(device_id, "cmd"), cb=device.take_command)
    await client.subscribe(subject(device_id, "twin"), cb=device.take_twin)
    await client.flush()
    try:
        yield device
    finally:
        await client.close()


@contextlib.asynccontextmanager
async def relaying(
    dsn: str, nats: OpenNats, signer: FileSigner, clock: Clock
) -> AsyncIterator[Relay]:
    """Run a relay as the broker's user `commands`."""
    client = await connect_link(nats.url_of("commands"))
    relay = Relay(client, dsn, signer, clock)
    work = asyncio.create_task(relay.run())
    try:
        yield relay
    finally:
        work.cancel()
        await asyncio.gather(work, return_exceptions=True)
        await client.close()


def seconds(number: float) -> timedelta:
    return timedelta(seconds=number)
