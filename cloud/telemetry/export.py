"""A device's readings as files: JSON lines, CSV, Parquet. Streams; one segment in memory."""

import csv
import json
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import islice
from typing import IO, Any

from cloud.kit.clock import rfc3339
from cloud.telemetry.api import Reading
from protocol.signals import BY_ID, CATALOGUE

_ROW_GROUP = 65_536

Writer = Callable[[Iterable[Reading], IO[bytes]], int]


def write_jsonl(readings: Iterable[Reading], out: IO[bytes]) -> int:
    """Write a JSON object a line; return how many.

    A record of the fact lane has no values and carries the fact as well.
    """
    count = 0
    for reading in readings:
        line: dict[str, Any] = {
            "lane": reading.lane,
            "epoch": reading.epoch,
            "seq": reading.seq,
            "time": rfc3339(reading.at),
            "values": _values(reading.raws),
        }
        if reading.fact is not None:
            fact = reading.fact
            line["fact"] = {"kind": fact.kind, "v": fact.v, "fields": fact.fields}
        out.write(json.dumps(line, ensure_ascii=False, separators=(",", ":")).encode() + b"\n")
        count += 1
    return count


def write_csv(readings: Iterable[Reading], out: IO[bytes]) -> int:
    """Write a line a record with a column for every signal of the catalogue; return how many."""
    rows = csv.writer(_Text(out), lineterminator="\n")
    rows.writerow(["lane", "epoch", "seq", "time", "fact", *(s.name for s in CATALOGUE)])
    count = 0
    for reading in readings:
        values = _values(reading.raws)
        rows.writerow(
            [
                reading.lane,
                reading.epoch,
                reading.seq,
                rfc3339(reading.at),
                "" if reading.fact is None else reading.fact.kind,
                *(values.get(s.name) for s in CATALOGUE),
            ]
        )
        count += 1
    return count


def write_parquet(readings: Iterable[Reading], out: IO[bytes]) -> int:
    """Write a Parquet file with a column for every signal of the catalogue; return the rows."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    head = [("lane", pa.string()), ("epoch", pa.string()), ("seq", pa.int64())]
    head += [("time", pa.timestamp("ms", tz="UTC")), ("fact", pa.string())]
    schema = pa.schema([*head, *((s.name, pa.float64()) for s in CATALOGUE)])
    count = 0
    with pq.ParquetWriter(out, schema, compression="zstd") as file:
        for rows in _chunks(readings):
            records = [
                {
                    "lane": reading.lane,
                    "epoch": reading.epoch,
                    "seq": reading.seq,
                    "time": reading.at,
                    "fact": None if reading.fact is None else reading.fact.kind,
                    **_values(reading.raws),
                }
                for reading in rows
            ]
            file.write_table(pa.Table.from_pylist(records, schema=schema))
            count += len(records)
    return count


WRITERS: dict[str, Writer] = {"jsonl": write_jsonl, "csv": write_csv, "parquet": write_parquet}


class Quarantined:
    """Counts what an export leaves out, by reason."""

    def __init__(self) -> None:
        self.segments: Counter[str] = Counter()
        self.records = 0

    def __call__(self, reason: str, records: int) -> None:
        """Count one segment that is in quarantine."""
        self.segments[reason] += 1
        self.records += records

    def __str__(self) -> str:
        reasons = ", ".join(f"{count} {reason}" for reason, count in sorted(self.segments.items()))
        total = self.segments.total()
        return f"left out {total} segments of {self.records} records in quarantine: {reasons}"


class _Text:
    """What csv writes to: text into a binary stream that stays open."""

    def __init__(self, out: IO[bytes]) -> None:
        self._out = out

    def write(self, text: str) -> int:
        return self._out.write(text.encode())


def _values(raws: Mapping[int, int | None]) -> dict[str, float | None]:
    """Return values in their units by VSS name, without signals this catalogue does not know."""
    values: dict[str, float | None] = {}
    for signal_id, raw in raws.items():
        signal = BY_ID.get(signal_id)
        if signal is not None:
            values[signal.name] = None if raw is None else signal.from_raw(raw)
    return values


def _chunks(readings: Iterable[Reading]) -> Iterator[list[Reading]]:
    source = iter(readings)
    while rows := list(islice(source, _ROW_GROUP)):
        yield rows
