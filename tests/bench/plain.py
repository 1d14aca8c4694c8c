"""The plain way, for comparison: one JSON message a reading, one INSERT a message.

`python -m tests.bench.plain work|load …` are its two processes: a worker with several autocommit
connections, and a publisher that keeps a window of messages in flight.
"""

import argparse
import asyncio
import json
import subprocess
import sys
import time
from collections.abc import Iterator
from datetime import UTC, datetime

import nats
import psycopg
from nats.aio.msg import Msg

from cloud.kit.db import connect
from protocol.signals import BY_ID
from tests.bench.house import Cloud
from tests.bench.processes import ROOT, cpu_s, module
from tests.bench.rides import rides
from tests.bench.rows import Row, cost, rate

CONNECTIONS = 8
WINDOW = 2_000
_TOLD_EVERY = 100
_COLUMNS = [BY_ID[signal_id].key for signal_id in sorted(rides(1, 1)[0].columns)]
_TABLE = (
    "CREATE TABLE plain.reading (device_id text, seq bigint, at timestamptz, "
    + ", ".join(f"{name} double precision" for name in _COLUMNS)
    + ", PRIMARY KEY (device_id, seq))"
)
_INSERT = (
    f"INSERT INTO plain.reading VALUES (%(device_id)s, %(seq)s, %(at)s, "
    f"{', '.join(f'%({name})s' for name in _COLUMNS)}) ON CONFLICT DO NOTHING"
)


def measure_plain(cloud: Cloud, seconds: float) -> Iterator[Row]:
    """Yield the rows of the plain way on `cloud`'s database and broker."""
    with connect(cloud.dsn) as db:
        db.execute("CREATE SCHEMA plain")
        db.execute(_TABLE)
    worker = _start("work", cloud, seconds)
    load = _start("load", cloud, seconds)
    try:
        for child in (worker, load):
            assert child.stdout is not None
            child.stdout.readline()
        before = cpu_s(worker.pid)
        out, _ = load.communicate("go\n", timeout=seconds + 60)
        spent = cpu_s(worker.pid) - before
    finally:
        for child in (worker, load):
            child.kill()
            child.wait()
    with connect(cloud.dsn) as db:
        kept, size = _kept(db)
    spent_s = json.loads(out)["seconds"]
    note = f"{CONNECTIONS} connections, one autocommit INSERT a message, wide row, dedup by key"
    yield rate("plain way: committed", kept / spent_s, note=note)
    yield cost("plain way: CPU", spent / kept * 1e6, note="one process")
    yield Row("plain way: on disk", size / kept, "B/reading")


def _kept(db: psycopg.Connection[tuple[int, int]]) -> tuple[int, int]:
    row = db.execute(
        "SELECT count(*), pg_total_relation_size('plain.reading') FROM plain.reading"
    ).fetchone()
    assert row is not None
    return row


def _start(role: str, cloud: Cloud, seconds: float) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        module("tests.bench.plain", role, cloud.nats_url, cloud.dsn, str(seconds)),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        cwd=ROOT,
    )


async def _work(nats_url: str, dsn: str) -> None:
    client = await nats.connect(nats_url)
    queue: asyncio.Queue[bytes] = asyncio.Queue()
    done = 0

    async def receive(message: Msg) -> None:
        queue.put_nowait(message.data)

    async def insert() -> None:
        nonlocal done
        async with await psycopg.AsyncConnection.connect(dsn, autocommit=True) as db:
            while True:
                await db.execute(_INSERT, json.loads(await queue.get()))
                done += 1
                if done % _TOLD_EVERY == 0:
                    await client.publish("plain.done", str(done).encode())

    await client.subscribe("plain.reading.*", queue="plain", cb=receive)
    await client.flush()
    async with asyncio.TaskGroup() as tasks:
        for _ in range(CONNECTIONS):
            tasks.create_task(insert())
        print("ready", flush=True)


async def _load(nats_url: str, seconds: float) -> None:
    client = await nats.connect(nats_url)
    messages = list(_messages(4, 10_000))
    done = 0
    moved = asyncio.Event()

    async def told(message: Msg) -> None:
        nonlocal done
        done = int(message.data)
        moved.set()

    await client.subscribe("plain.done", cb=told)
    await client.flush()
    print("ready", flush=True)
    await asyncio.get_running_loop().run_in_executor(None, sys.stdin.readline)
    started = time.perf_counter()
    for sent, (subject, data) in enumerate(messages):
        while sent - done >= WINDOW:
            moved.clear()
            await moved.wait()
        if time.perf_counter() - started > seconds:
            break
        await client.publish(subject, data)
    while done < sent - _TOLD_EVERY:
        moved.clear()
        await moved.wait()
    await asyncio.sleep(0.05)
    print(json.dumps({"seconds": time.perf_counter() - started}), flush=True)
    await client.close()


def _messages(vehicles: int, each: int) -> Iterator[tuple[str, bytes]]:
    found = rides(vehicles, each)
    for index in range(each):
        for number, ride in enumerate(found):
            device_id = f"plain-{number:04d}"
            at = datetime.fromtimestamp(ride.times_ms[index] / 1000, UTC)
            values = {
                BY_ID[signal_id].key: None if (raw := column[index]) is None
                else BY_ID[signal_id].from_raw(raw)
                for signal_id, column in ride.columns.items()
            }  # fmt: skip
            document = {"device_id": device_id, "seq": index, "at": at.isoformat(), **values}
            yield f"plain.reading.{device_id}", json.dumps(document).encode()


def main() -> int:
    """Be one of the two processes."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench.plain")
    parser.add_argument("role", choices=("work", "load"))
    parser.add_argument("nats")
    parser.add_argument("dsn")
    parser.add_argument("seconds", type=float)
    chosen = parser.parse_args()
    if chosen.role == "work":
        asyncio.run(_work(chosen.nats, chosen.dsn))
    else:
        asyncio.run(_load(chosen.nats, chosen.seconds))
    return 0


if __name__ == "__main__":
    sys.exit(main())
