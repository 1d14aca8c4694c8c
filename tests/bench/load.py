"""The load on ingest, in a process of its own: segments sealed in advance, a window on acks.

`python -m tests.bench.load …` says `ready` when everything is sealed, waits for a line on stdin,
publishes, and prints what it did as one JSON line.
"""

import argparse
import asyncio
import json
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime

import nats
from nats.aio.client import Client
from nats.aio.msg import Msg

from models.segment_dictionary.rides import Ride
from protocol.messages import decode_ack
from protocol.topics import device_of, subject
from tests.bench.codec import seal
from tests.bench.rides import ending_at, rides

_RESEND_S = 3.0
_CHAINS = 8


@dataclass(frozen=True, slots=True)
class Sealed:
    """One payload and what it covers."""

    payload: bytes
    last_seq: int


@dataclass(slots=True)
class Vehicle:
    """One device: its chain of segments, how far it sent and how far it is acked."""

    device_id: str
    chain: Sequence[Sealed]
    sent: int = 0
    acked: int = 0
    progress_s: float = 0.0

    @property
    def done(self) -> bool:
        return self.acked == len(self.chain)


@dataclass(slots=True)
class Load:
    """Publishes every vehicle's chain, at most `window` segments of each unacked."""

    client: Client
    vehicles: dict[str, Vehicle]
    window: int
    deadline_s: float
    resent: int = 0
    last_ack_s: float = 0.0
    finished: asyncio.Event = field(default_factory=asyncio.Event)

    async def run(self) -> None:
        await self.client.subscribe("mc.1.*.ack", cb=self._acked)
        await self.client.flush()
        for step in range(self.window):
            for vehicle in self.vehicles.values():
                await self._fill(vehicle, step + 1)
        while not self.finished.is_set():
            await asyncio.sleep(0.5)
            await self._resend()

    async def _acked(self, message: Msg) -> None:
        now = time.perf_counter()
        vehicle = self.vehicles[device_of(message.subject)]
        through = decode_ack(message.data).lanes[0].through_seq
        before = vehicle.acked
        while vehicle.acked < vehicle.sent and vehicle.chain[vehicle.acked].last_seq <= through:
            vehicle.acked += 1
        if vehicle.acked == before:
            return
        self.last_ack_s = vehicle.progress_s = now
        if now < self.deadline_s:
            await self._fill(vehicle, self.window)
        if all(v.done or (now >= self.deadline_s and v.acked == v.sent) for v in self._all()):
            self.finished.set()

    async def _fill(self, vehicle: Vehicle, window: int) -> None:
        until = min(len(vehicle.chain), vehicle.acked + window)
        while vehicle.sent < until:
            await self._publish(vehicle, vehicle.sent)
            vehicle.sent += 1

    async def _publish(self, vehicle: Vehicle, index: int) -> None:
        vehicle.progress_s = time.perf_counter()
        payload = vehicle.chain[index].payload
        await self.client.publish(subject(vehicle.device_id, "up"), payload)

    async def _resend(self) -> None:
        """What the pipe lost comes again, as a vehicle would send it."""
        now = time.perf_counter()
        for vehicle in self._all():
            if vehicle.acked < vehicle.sent and now - vehicle.progress_s > _RESEND_S:
                self.resent += 1
                await self._publish(vehicle, vehicle.acked)

    def _all(self) -> Sequence[Vehicle]:
        return list(self.vehicles.values())


def device_ids(count: int, name: str) -> list[str]:
    """Return the ids of the vehicles of one load."""
    return [f"{name}-{index:04d}" for index in range(count)]


def chains(segments: int, n: int) -> list[list[Sealed]]:
    """Seal a few vehicles' histories that end now, of `segments` segments of `n` readings."""
    now_ms = int(datetime.now(UTC).timestamp() * 1000)
    return [_chain(ending_at(ride, now_ms), n) for ride in rides(_CHAINS, segments * n)]


def _chain(ride: Ride, n: int) -> list[Sealed]:
    return [
        Sealed(seal(Ride(*ride.cut(start, n)), start + 1, floor_seq=1), start + n)
        for start in range(0, len(ride.times_ms), n)
    ]


async def _run(chosen: argparse.Namespace) -> None:
    sealed = chains(chosen.segments, chosen.readings)
    ids = device_ids(chosen.vehicles, chosen.name)
    vehicles = {
        device_id: Vehicle(device_id, sealed[index % _CHAINS])
        for index, device_id in enumerate(ids)
    }
    client = await nats.connect(chosen.nats, pending_size=64 * 1024 * 1024)
    print("ready", flush=True)
    await asyncio.get_running_loop().run_in_executor(None, sys.stdin.readline)
    started, cpu = time.perf_counter(), time.process_time()
    load = Load(client, vehicles, chosen.window, started + chosen.seconds)
    await load.run()
    spent_s = load.last_ack_s - started
    await client.close()
    result = {
        "readings": sum(v.acked for v in vehicles.values()) * chosen.readings,
        "segments": sum(v.acked for v in vehicles.values()),
        "seconds": spent_s,
        "cpu_share": (time.process_time() - cpu) / spent_s,
        "resent": load.resent,
    }
    print(json.dumps(result), flush=True)


def main() -> int:
    """Seal, wait for the word, publish, report."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench.load", description=__doc__)
    parser.add_argument("--nats", required=True)
    parser.add_argument("--name", default="bench")
    parser.add_argument("--vehicles", type=int, default=128)
    parser.add_argument("--segments", type=int, default=60, help="for each vehicle")
    parser.add_argument("--readings", type=int, default=512, help="in each segment")
    parser.add_argument("--window", type=int, default=8)
    parser.add_argument("--seconds", type=float, default=15)
    asyncio.run(_run(parser.parse_args()))
    return 0


if __name__ == "__main__":
    sys.exit(main())
