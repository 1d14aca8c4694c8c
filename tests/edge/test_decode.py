"""`mobility-edge decode` as a process: lines in, lines out."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from edge.drivers.jbd_frames import READ, request
from tests.edge.drivers.vectors import NEW_BOARD, READ_BASIC, REFUSAL, RIDING

COMMAND = [sys.executable, "-m", "edge", "decode"]
REQUEST = {
    "ok": True,
    "frame": {"op": "read", "register": 3, "data": ""},
    "reading": None,
}


def decode(stdin: bytes) -> list[dict[str, Any]]:
    done = subprocess.run(
        [*COMMAND, "--protocol", "jbd_uart"],
        input=stdin,
        capture_output=True,
        check=True,
        timeout=60,
    )
    assert done.stderr == b""
    return [json.loads(line) for line in done.stdout.splitlines()]


def line(frame: bytes) -> bytes:
    return json.dumps({"hex": frame.hex()}).encode() + b"\n"


def test_a_reply_becomes_a_frame_and_a_reading() -> None:
    (answer,) = decode(line(RIDING))
    assert answer == {
        "ok": True,
        "frame": {
            "register": 3,
            "status": 0,
            "pack_voltage_v": 15.6,
            "current_a": -2.87,
            "remaining_ah": 4.98,
            "nominal_ah": 5.0,
            "cycles": 42,
            "production_date": "2022-03-28",
            "balance_bits_1_16": 0,
            "balance_bits_17_32": 0,
            "protection_bits": 0,
            "software_version": "8.0",
            "soc_pct": 100,
            "charge_fet": True,
            "discharge_fet": True,
            "cell_count": 4,
            "ntc_count": 3,
            "temperatures_c": [22.4, 22.3, 21.7],
            "trailing_bytes": "",
        },
        "reading": {
            "time": None,
            "voltage_v": 15.6,
            "current_a": -2.87,
            "soc_pct": 100,
            "soh_pct": None,
            "remaining_ah": 4.98,
            "full_ah": 5.0,
            "temperatures_c": [22.4, 22.3, 21.7],
            "cells_v": None,
            "cycles": 42,
            "charge_fet": True,
            "discharge_fet": True,
            "alarms": [],
            "raw_quality": [],
        },
    }


def test_every_kind_of_line_gets_its_answer_in_order() -> None:
    deep = b"[" * 100_000
    huge = b'{"hex": "' + b"dd" * 1_000_000 + b'"}'
    lines = {
        line(READ_BASIC): "",
        b"\n": "bad_json",
        b"hello\n": "bad_json",
        b"\xff\xfe\n": "bad_json",
        b"[]\n": "bad_json",
        b"null\n": "bad_json",
        b"{}\n": "bad_json",
        b'{"hex": 5}\n': "bad_json",
        b'{"hex": NaN}\n': "bad_json",
        b'{"hex": "abc"}\n': "bad_json",
        b'{"hex": "zz"}\n': "bad_json",
        deep + b"\n": "bad_json",
        b"9" * 10_000 + b"\n": "bad_json",
        huge + b"\n": "bad_json",
        b'{"hex": ""}\n': "length",
        line(RIDING[:20]): "length",
        line(RIDING[1:]): "start",
        line(RIDING[:-1] + b"\xdd"): "terminator",
        line(RIDING[:-3] + b"\x00\x00\x77"): "checksum",
        line(REFUSAL): "status",
        line(NEW_BOARD): "",
        line(b"\xdd\x83" + RIDING[2:]): "unsupported",
        line(request(READ, 0x83)): "unsupported",
    }
    answers = decode(b"".join(lines) + line(READ_BASIC).rstrip())
    reasons = [answer.get("reason", "").partition(":")[0] for answer in answers]
    assert reasons == [*lines.values(), ""]
    assert answers[0] == answers[-1] == REQUEST


def test_each_answer_is_there_before_the_next_line_comes() -> None:
    with subprocess.Popen(
        [*COMMAND, "--protocol", "jbd_uart"], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as running:
        assert running.stdin is not None
        assert running.stdout is not None
        for _ in range(3):
            running.stdin.write(line(READ_BASIC))
            running.stdin.flush()
            assert json.loads(running.stdout.readline()) == REQUEST
        running.stdin.close()
        assert running.wait(10) == 0


def test_an_unknown_protocol_is_a_usage_error_that_lists_the_known_ones() -> None:
    done = subprocess.run(
        [*COMMAND, "--protocol", "vela"], input=b"", capture_output=True, check=False, timeout=60
    )
    assert (done.returncode, done.stdout) == (2, b"")
    assert b"jbd_uart" in done.stderr


def test_a_reader_that_goes_away_ends_it_quietly() -> None:
    with subprocess.Popen(
        [*COMMAND, "--protocol", "jbd_uart"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    ) as running:
        assert running.stdin is not None
        assert running.stdout is not None
        assert running.stderr is not None
        running.stdout.close()
        running.stdin.write(line(READ_BASIC))
        running.stdin.close()
        assert running.wait(10) == 1
        assert running.stderr.read() == b""


@pytest.mark.parametrize("key", ["frame", "reading"])
def test_the_captured_frames_decode(shared: Path, key: str) -> None:
    document = json.loads((shared / "data/battery/frames/jbd_uart.json").read_text("utf-8"))
    items = document["items"]
    answers = decode(b"".join(line(bytes.fromhex(item["hex"])) for item in items))
    assert len(answers) == len(items)
    for item, answer in zip(items, answers, strict=True):
        expected = item["expected"]
        if "error" in expected:
            assert not answer["ok"]
        elif key == "frame":
            assert answer["frame"] == expected
        elif "pack_voltage_v" in expected:
            assert answer["reading"]["voltage_v"] == expected["pack_voltage_v"]
            assert answer["reading"]["full_ah"] == expected["nominal_ah"]
        elif "cell_voltages_v" in expected:
            assert answer["reading"]["cells_v"] == expected["cell_voltages_v"]
        else:
            assert answer["reading"] is None


@pytest.mark.parametrize("can_id", ["-5", "20000000", "zz"])
def test_an_identifier_that_no_bus_has_is_refused_and_the_next_line_is_read(can_id: str) -> None:
    good = {"can_id": "18904001", "extended": True, "hex": "0212000075300200"}
    lines = "".join(json.dumps(line) + "\n" for line in (good | {"can_id": can_id}, good))
    done = subprocess.run(
        [*COMMAND, "--protocol", "daly_can"],
        input=lines.encode(),
        capture_output=True,
        check=True,
        timeout=60,
    )
    refused, answer = (json.loads(line) for line in done.stdout.splitlines())
    assert (refused["ok"], answer["ok"]) == (False, True)
