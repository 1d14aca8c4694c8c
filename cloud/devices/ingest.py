"""From the link into Postgres and back: receive, open, commit, and only then ack."""

import asyncio
import contextlib
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor

import nats.errors
from nats.aio.client import Client
from nats.aio.msg import Msg

from cloud.devices import metrics
from cloud.devices.batch import Arrival, LaneKey
from cloud.devices.commit import Outcome, Parts
from cloud.devices.committer import Committer, Opened
from cloud.devices.inbox import Inbox
from cloud.devices.model import Progress
from cloud.devices.opening import open_all
from cloud.devices.store.commands import CommandRow
from cloud.devices.traces import BatchTrace
from cloud.kit import tracing
from cloud.kit.clock import Clock
from protocol.messages import Ack, LaneAck, encode
from protocol.segment import Lane, body_size, lane_name
from protocol.topics import check_device_id, subject

PARTITIONS = 16
BATCH_SEGMENTS = 256
_BATCH_BYTES = 512 * 1024
_LINGER_S = 0.005
_AT_ONCE_SEGMENTS, _AT_ONCE_BYTES = 4, 4 * 1024
_MAX_WAITING_SEGMENTS = 8192
_MAX_WAITING_BYTES = 64 * 1024 * 1024

Acks = Mapping[str, Sequence[LaneAck]]
CommitStep = Callable[[], Awaitable[Outcome | None]]
AckStep = Callable[[Acks], Awaitable[None]]
Settle = Callable[[Opened, CommitStep, AckStep], Awaitable[None]]


async def commit_then_ack(_: Opened, commit: CommitStep, ack: AckStep) -> None:
    """The promise: what is acked is what committed ledger rows say."""
    outcome = await commit()
    if outcome is not None:
        await ack(acks_of(outcome.progress))


def acks_of(progress: Mapping[LaneKey, Progress]) -> dict[str, list[LaneAck]]:
    """Return the acks that ledger rows stand for, by device."""
    acks: dict[str, list[LaneAck]] = {}
    for (device_id, lane, epoch), done in progress.items():
        acks.setdefault(device_id, []).append(
            LaneAck(
                lane="fact" if lane == Lane.FACT else "signal",
                epoch=epoch,
                through_seq=done.through_seq,
                have=list(done.have),
            )
        )
    return acks


class Ingest:
    """One worker. Any number of them may run, here and elsewhere: NATS shares the work out.

    `told` is called after a commit with the commands that devices have answered in it.
    """

    def __init__(
        self,
        client: Client,
        dsn: str,
        clock: Clock,
        parts: Parts,
        *,
        settle: Settle = commit_then_ack,
        told: Callable[[Sequence[CommandRow]], None] = lambda _: None,
    ) -> None:
        self._client = client
        self._clock = clock
        self._settle = settle
        self._told = told
        self._committer = Committer(dsn, clock, parts)
        self._inbox: Inbox[Arrival] = Inbox(
            lambda arrival: arrival.device_id,
            lambda arrival: body_size(arrival.payload),
            max_items=_MAX_WAITING_SEGMENTS,
            max_weight=_MAX_WAITING_BYTES,
        )
        self._ready: asyncio.Queue[Opened] = asyncio.Queue()
        self._room = asyncio.Semaphore(1)

    async def run(self) -> None:
        """Serve until cancelled. What is in hand then is not acked and comes again."""
        async with contextlib.AsyncExitStack() as stack:
            stack.callback(self._committer.close)
            for partition in range(PARTITIONS):
                for letter, lane in (("f", Lane.FACT), ("s", Lane.SIGNAL)):
                    await self._subscribe(stack, f"{letter}.{partition}.*", partition, lane)
            await self._client.flush()
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(self._open(), name="ingest-open")
                tasks.create_task(self._commit(), name="ingest-commit")

    async def _subscribe(
        self, stack: contextlib.AsyncExitStack, subjects: str, partition: int, lane: Lane
    ) -> None:
        async def receive(message: Msg) -> None:
            self.receive(message.subject.rpartition(".")[2], lane, message.data)

        async def leave() -> None:
            with contextlib.suppress(nats.errors.Error):
                await subscription.unsubscribe()

        queue = f"ingest-{lane_name(lane)}-{partition}"
        subscription = await self._client.subscribe(subjects, queue=queue, cb=receive)
        stack.push_async_callback(leave)

    def receive(self, device_id: str, lane: Lane, payload: bytes) -> None:
        """Take one payload off the link. Never waits: what does not fit is dropped and counted."""
        try:
            check_device_id(device_id)
        except ValueError:
            metrics.DROPPED.labels("device id").inc()
            return
        arrival = Arrival(device_id, payload, self._clock.now(), time.monotonic())
        dropped = self._inbox.offer(arrival, urgent=lane is Lane.FACT)
        if dropped:
            metrics.DROPPED.labels("queue full").inc(dropped)

    async def _open(self) -> None:
        """Open the next batch while the last one is being committed, and no more than that one."""
        loop = asyncio.get_running_loop()
        with ThreadPoolExecutor(1, "ingest-open") as thread:
            while True:
                await self._room.acquire()
                arrivals = await self._inbox.take(
                    BATCH_SEGMENTS, most_weight=_BATCH_BYTES, linger_s=_LINGER_S
                )
                metrics.QUEUE.set(len(self._inbox))
                trace = BatchTrace(self._clock) if tracing.is_on() else None
                committed = self._committer.committed
                if _is_small(arrivals):
                    # Waking a thread takes longer than to open a few facts.
                    candidates, unreadable = open_all(arrivals, committed)
                else:
                    candidates, unreadable = await loop.run_in_executor(
                        thread, open_all, arrivals, committed
                    )
                if trace is not None:
                    trace.opened()
                self._ready.put_nowait(Opened(arrivals, candidates, unreadable, trace))

    async def _commit(self) -> None:
        while True:
            opened = await self._ready.get()
            self._room.release()

            async def commit(opened: Opened = opened) -> Outcome | None:
                if opened.trace is not None:
                    opened.trace.committing()
                outcome = await self._committer.commit(opened)
                if outcome is not None:
                    self._told(outcome.commands)
                    self._observe(opened)
                    if opened.trace is not None:
                        opened.trace.committed(outcome.traced)
                return outcome

            await self._settle(opened, commit, self._ack)
            if opened.trace is not None:
                opened.trace.tell()

    async def _ack(self, acks: Acks) -> None:
        at_ms = int(self._clock.now().timestamp() * 1000)
        for device_id, lanes in acks.items():
            message = encode(Ack(at_ms=at_ms, lanes=list(lanes)))
            try:
                await self._client.publish(subject(device_id, "ack"), message)
            except nats.errors.Error:
                metrics.DROPPED.labels("ack").inc()

    def _observe(self, opened: Opened) -> None:
        now = time.monotonic()
        metrics.BATCH_SEGMENTS.observe(len(opened.arrivals))
        for arrival in opened.arrivals:
            metrics.ACK_LAG.observe(now - arrival.arrived_s)


def _is_small(arrivals: Sequence[Arrival]) -> bool:
    if len(arrivals) > _AT_ONCE_SEGMENTS:
        return False
    return sum(body_size(arrival.payload) for arrival in arrivals) <= _AT_ONCE_BYTES
