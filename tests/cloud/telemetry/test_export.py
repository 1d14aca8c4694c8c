"""What an export writes, read back by what people read it with."""

import csv
import io
import json

import pyarrow.parquet as pq

from cloud.kit.db import Db
from cloud.telemetry import api
from cloud.telemetry.export import Quarantined, write_csv, write_jsonl, write_parquet
from protocol.signals import BY_KEY
from tests.cloud.sealed import DEVICE, EPOCH_HEX, NOON, NOON_MS, facts, signals
from tests.cloud.telemetry.conftest import Store

VOLTAGE, SOC = BY_KEY["voltage_v"].name, BY_KEY["soc_pct"].name
PAYLOAD = signals(1, 2, start_ms=NOON_MS, columns={1: [3601, None], 3: [800, 799]})


def test_json_lines_say_lane_epoch_seq_time_and_values_by_name(db: Db, store: Store) -> None:
    store(PAYLOAD)
    out = io.BytesIO()
    assert write_jsonl(api.readings(db, DEVICE), out) == 2
    assert [json.loads(line) for line in out.getvalue().splitlines()] == [
        {
            "lane": "signal",
            "epoch": EPOCH_HEX,
            "seq": 1,
            "time": "2026-07-01T12:00:00.000Z",
            "values": {VOLTAGE: 36.01, SOC: 80.0},
        },
        {
            "lane": "signal",
            "epoch": EPOCH_HEX,
            "seq": 2,
            "time": "2026-07-01T12:00:01.000Z",
            "values": {VOLTAGE: None, SOC: 79.9},
        },
    ]


def test_a_fact_is_a_line_without_values(db: Db, store: Store) -> None:
    store(facts(1, ["battery.offline"]))
    out = io.BytesIO()
    write_jsonl(api.readings(db, DEVICE), out)
    line = json.loads(out.getvalue())
    assert (line["lane"], line["values"]) == ("fact", {})
    assert line["fact"] == {"kind": "battery.offline", "v": 1, "fields": {"n": 0}}


def test_csv_has_a_column_for_each_signal(db: Db, store: Store) -> None:
    store(PAYLOAD)
    out = io.BytesIO()
    assert write_csv(api.readings(db, DEVICE), out) == 2
    rows = list(csv.DictReader(io.StringIO(out.getvalue().decode())))
    assert [(row["seq"], row[VOLTAGE], row[SOC]) for row in rows] == [
        ("1", "36.01", "80.0"),
        ("2", "", "79.9"),
    ]


def test_parquet_has_true_types(db: Db, store: Store) -> None:
    store(PAYLOAD)
    out = io.BytesIO()
    assert write_parquet(api.readings(db, DEVICE), out) == 2
    table = pq.read_table(io.BytesIO(out.getvalue()))
    assert table.column(VOLTAGE).to_pylist() == [36.01, None]
    assert table.column("time").to_pylist()[0] == NOON
    assert table.column("epoch").to_pylist() == [EPOCH_HEX] * 2


def test_an_export_of_nothing_is_a_valid_file() -> None:
    out = io.BytesIO()
    assert write_parquet([], out) == 0
    assert pq.read_table(io.BytesIO(out.getvalue())).num_rows == 0


def test_what_is_left_out_is_said_by_reason() -> None:
    left_out = Quarantined()
    for reason, records in (("overlap", 10), ("crc", 5), ("crc", 5)):
        left_out(reason, records)
    assert str(left_out) == ("left out 3 segments of 20 records in quarantine: 2 crc, 1 overlap")
