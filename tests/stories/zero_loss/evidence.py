"""What the database holds, read twice: row by row, and through the export command."""

import json
import os
import subprocess
from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime

from cloud.devices.store import parse_ranges
from cloud.kit.db import Db, connect
from protocol.segment import Lane, lane_name, open_segment
from protocol.signals import BY_NAME
from tests.stories.zero_loss.processes import ROOT, script
from tests.stories.zero_loss.verdict import (
    MINUTE_MS,
    Evidence,
    Key,
    LaneEnd,
    MinuteKey,
    Part,
    Stored,
)


def gather(dsn: str, data_dir: str, device: str) -> Evidence:
    """Read everything of a device; nobody may be writing."""
    with connect(dsn) as db:
        return Evidence(
            records=list(_records(db, device)),
            exported=list(_export(dsn, data_dir, device)),
            minutes=_minutes(db, device),
            ledger=_ledger(db, device),
            quarantined=_quarantined(db, device),
        )


def committed_through(dsn: str) -> int:
    """Return the sum of every lane's watermark: it grows as long as the cloud commits."""
    with connect(dsn) as db:
        row = db.execute("SELECT coalesce(sum(through_seq), 0)::bigint FROM devices.ledger")
        return int(next(row)[0])


def repeats(dsn: str) -> int:
    """Return how many segments came again and were recognised."""
    with connect(dsn) as db:
        row = db.execute("SELECT coalesce(sum(repeats), 0)::bigint FROM devices.ledger")
        return int(next(row)[0])


def _quarantined(db: Db, device: str) -> int:
    row = db.execute(
        "SELECT count(*) FROM telemetry.segment WHERE device_id = %s AND quarantine IS NOT NULL",
        (device,),
    )
    return int(next(row)[0])


def _records(db: Db, device: str) -> Iterator[Stored]:
    rows = db.execute(
        "SELECT lane, epoch, first_seq, n, offset_ms, payload FROM telemetry.segment"
        " WHERE device_id = %s AND quarantine IS NULL",
        (device,),
    )
    for lane, epoch, first_seq, n, offset_ms, payload in rows:
        seqs = range(first_seq, first_seq + n)
        yield from _opened(device, lane, epoch, seqs, offset_ms, bytes(payload))


def _opened(
    device: str, lane: int, epoch: str, seqs: range, offset_ms: int, payload: bytes
) -> Iterator[Stored]:
    segment = open_segment(payload)
    header, name = segment.header, lane_name(Lane(lane))
    said = (
        lane_name(header.lane),
        f"{header.epoch:016x}",
        range(header.first_seq, header.last_seq + 1),
    )
    if said != (name, epoch, seqs):
        raise ValueError(f"the row of {device} {name} {epoch} {seqs} holds {said}")
    if segment.signals is not None:
        for index, seq in enumerate(seqs):
            values = {
                signal: raw
                for signal, column in segment.signals.columns.items()
                if (raw := column[index]) is not None
            }
            time_ms = segment.signals.times_ms[index] + offset_ms
            yield Stored(Key(device, name, epoch, seq), time_ms, values)
    for seq, fact in zip(seqs, segment.facts or (), strict=False):
        time_ms = header.t0_ms + fact.dt_ms + offset_ms
        yield Stored(Key(device, name, epoch, seq), time_ms, {})


def _export(dsn: str, data_dir: str, device: str) -> Iterator[Stored]:
    command = [script("mobility-cloud"), "telemetry", "export", "--device", device]
    done = subprocess.run(
        [*command, "--format", "jsonl", "--data-dir", data_dir],
        cwd=ROOT,
        env={**os.environ, "DATABASE_URL": dsn},
        capture_output=True,
        check=False,
    )
    if done.returncode != 0:
        raise RuntimeError(f"export of {device} failed: {done.stderr.decode(errors='replace')}")
    for line in done.stdout.splitlines():
        found = json.loads(line)
        if found["lane"] == "signal":
            yield _exported(device, found)


def _exported(device: str, line: Mapping[str, object]) -> Stored:
    key = Key(device, str(line["lane"]), str(line["epoch"]), int(str(line["seq"])))
    at = datetime.fromisoformat(str(line["time"]))
    values = line["values"]
    assert isinstance(values, dict)
    raws = {
        BY_NAME[name].id: round(value * BY_NAME[name].per_unit)
        for name, value in values.items()
        if value is not None
    }
    return Stored(key, round(at.timestamp() * 1000), raws)


def _minutes(db: Db, device: str) -> dict[MinuteKey, Part]:
    found: dict[MinuteKey, Part] = {}
    rows = db.execute(
        "SELECT minute, signals, counts, sums, lows, highs FROM telemetry.minute_part"
        " WHERE device_id = %s",
        (device,),
    )
    for minute, *arrays in rows:
        for signal, *numbers in zip(*arrays, strict=True):
            at = MinuteKey(device, round(minute.timestamp() * 1000) // MINUTE_MS, signal)
            part = Part(*numbers)
            found[at] = found[at] + part if at in found else part
    return found


def _ledger(db: Db, device: str) -> list[LaneEnd]:
    rows: Iterable[tuple[int, str, int, str, int]] = db.execute(
        "SELECT l.lane, l.epoch, l.through_seq, l.have::text,"
        " coalesce(sum(g.to_seq - g.from_seq + 1), 0)::bigint"
        " FROM devices.ledger l LEFT JOIN devices.gap g USING (device_id, lane, epoch)"
        " WHERE l.device_id = %s GROUP BY l.device_id, l.lane, l.epoch",
        (device,),
    )
    return [
        LaneEnd(device, lane_name(Lane(lane)), epoch, through, parse_ranges(have), missing)
        for lane, epoch, through, have, missing in rows
    ]
