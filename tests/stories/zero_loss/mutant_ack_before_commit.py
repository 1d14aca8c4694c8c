"""A broken ingest, for the story to convict: it acks what it is about to commit, and writes behind.

The delay makes the mistake's window wide enough to be hit by every kill; the mistake is the order.
"""

import asyncio
import sys

from cloud.app import Promise
from cloud.devices import model
from cloud.devices.batch import LaneKey
from cloud.devices.committer import Opened
from cloud.devices.ingest import AckStep, CommitStep, acks_of
from cloud.devices.model import Progress
from cloud.kit.settings import CloudSettings
from cloud.serve import serve
from tests.stories.zero_loss.cluster import CONTEXTS

_BEHIND_S = 0.3


class AckThenCommit:
    """Believes that a commit which will begin is a commit."""

    def __init__(self) -> None:
        self._promised: dict[LaneKey, Progress] = {}
        self._writes: set[asyncio.Task[None]] = set()
        self._in_turn = asyncio.Lock()

    async def __call__(self, opened: Opened, commit: CommitStep, ack: AckStep) -> None:
        """Ack the batch now and commit it later."""
        news: dict[LaneKey, Progress] = {}
        for candidate in opened.candidates:
            first, last = candidate.header.first_seq, candidate.header.last_seq
            done = self._promised.get(candidate.key, Progress())
            done = done if done.covers(first, last) else model.add(done, first, last)
            self._promised[candidate.key] = news[candidate.key] = done
        await ack(acks_of(news))
        write = asyncio.create_task(self._write(commit))
        self._writes.add(write)
        write.add_done_callback(self._writes.discard)

    async def _write(self, commit: CommitStep) -> None:
        await asyncio.sleep(_BEHIND_S)
        async with self._in_turn:
            await commit()


if __name__ == "__main__":
    settings = CloudSettings.from_env(contexts=CONTEXTS)
    sys.exit(serve(settings, promise=Promise(settle=AckThenCommit())))
