"""A process with the agent's part that obeys, on a real lock unit's line, to be killed by tests.

    python -m tests.edge.commands.obedient JOURNAL PORT PUBLIC_KEY ENVELOPE

It first answers for what an earlier run began, then takes the command, and prints every result
that is in the journal, a JSON line each.
"""

import asyncio
import json
import os
import sys
from pathlib import Path

from edge.clock import SystemClock
from edge.commands.remote import build_remote
from edge.controllers.lock_unit import LockUnit
from edge.journal import Journal
from edge.links.opening import open_link
from protocol.commands import SignerKey
from tests.edge.commands.parts import DEVICE, Enrolled, facts, until


async def obey(path: Path, port: str, public_key: str, envelope: bytes) -> None:
    clock = SystemClock()
    lock = LockUnit(open_link(port, baud=115_200))
    journal = await Journal.open(path, clock, boot_id=os.getpid())
    remote = build_remote(
        DEVICE,
        journal,
        clock,
        offset=lambda: 0,
        keys=Enrolled(path.parent, [SignerKey("k1", public_key)]),
        enroller=None,
        controller=lock,
        battery=None,
        forbids=lambda _kind, _args: None,
    )
    await remote.open()
    async with asyncio.TaskGroup() as tasks:
        work = [tasks.create_task(lock.run()), tasks.create_task(remote.run())]
        await until(lambda: lock.seen() is not None)
        await until(lambda: not remote.desk._open)
        await remote.desk.take(envelope)
        await until(lambda: not remote.desk._open)
        for fact in await facts(journal):
            if fact.kind == "command.result":
                print(json.dumps(fact.fields))
        for task in work:
            task.cancel()
    await journal.close()


asyncio.run(obey(Path(sys.argv[1]), sys.argv[2], sys.argv[3], sys.argv[4].encode()))
