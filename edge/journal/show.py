"""A journal for people and scripts: figures, and the readings that are not acknowledged."""

import csv
import json
from pathlib import Path
from typing import IO

import msgspec

from edge.journal.inspect import ExportedReading, JournalStats, readings
from edge.times import rfc3339
from protocol.signals import BY_ID


def as_json(stats: JournalStats) -> str:
    """Return the figures as one JSON object."""
    return msgspec.json.encode(stats).decode() + "\n"


def as_text(stats: JournalStats) -> str:
    """Return the figures for a person."""
    size = f"{stats.file_bytes / 1e6:.1f} MB, {stats.unsealed_readings} readings not sealed yet"
    numbers = ("floor", "last", "segments", "records", "kB")
    heads = "".join(f"{head:>10}" for head in numbers)
    lines = [f"{stats.path}  {size}", f"{'lane':<7} {'epoch':<17}{heads}"]
    lines += [
        f"{lane.lane:<7} {lane.epoch:<17}{lane.floor_seq:>10}{lane.last_seq:>10}"
        f"{lane.unacked_segments:>10}{lane.unacked_records:>10}{lane.bytes / 1e3:>10.1f}"
        for lane in stats.lanes
    ]
    waiting = sum(lane.unacked_records for lane in stats.lanes)
    lines.append(
        f"{waiting} records wait for their acknowledgement." if waiting else "All is acked."
    )
    return "\n".join(lines) + "\n"


def write_jsonl(path: Path, out: IO[str]) -> None:
    """Write one JSON object a reading, as `mobility-cloud telemetry export` does."""
    for reading in readings(path):
        row = {
            "lane": "signal",
            "epoch": reading.epoch,
            "seq": reading.seq,
            "time": rfc3339(reading.time_ms),
            "values": {_name(key): _value(key, raw) for key, raw in reading.values.items()},
        }
        out.write(json.dumps(row) + "\n")


def write_csv(path: Path, out: IO[str]) -> None:
    """Write a table with a column for each signal there is; reads the journal twice."""
    ids = sorted({key for reading in readings(path) for key in reading.values})
    table = csv.writer(out)
    table.writerow(["lane", "epoch", "seq", "time", *map(_name, ids)])
    for reading in readings(path):
        table.writerow(_csv_row(reading, ids))


def _csv_row(reading: ExportedReading, ids: list[int]) -> list[object]:
    cells = (_value(key, reading.values[key]) if key in reading.values else None for key in ids)
    return ["signal", reading.epoch, reading.seq, rfc3339(reading.time_ms), *cells]


def _name(signal_id: int) -> str:
    signal = BY_ID.get(signal_id)
    return signal.name if signal else f"signal_{signal_id}"


def _value(signal_id: int, raw: int) -> float:
    signal = BY_ID.get(signal_id)
    return signal.from_raw(raw) if signal else raw
