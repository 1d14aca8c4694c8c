"""What a field engineer does, against a real line: capture, replay, probe, and the table."""

import asyncio
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from edge.cli import main
from firmware_shim.pty import Controller, serve
from firmware_shim.registry import build_shim
from protocol.controllers import CONTROLLERS, VEHICLE_CONTROLLERS
from protocol.signals import BY_KEY

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Run:
    def on(controller: Controller | None, *argv: str) -> tuple[int, str, str]:
        async def served() -> int:
            assert controller is not None
            async with serve(controller) as port:
                ports = {"PORT": port.path, "BUS": f"slcan:{port.path}"}
                words = [ports.get(word, word) for word in argv]
                return await asyncio.to_thread(main, words)

        code = asyncio.run(served()) if controller is not None else main(argv)
        out, err = capsys.readouterr()
        return code, out, err

    return on


def lines(text: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in text.splitlines()]


def test_the_table_has_every_controller_with_its_units(run: Run) -> None:
    code, out, _ = run(None, "protocols", "--json")
    told = json.loads(out)
    assert code == 0
    assert [one["name"] for one in told["batteries"]] == sorted(CONTROLLERS)
    assert [one["name"] for one in told["controllers"]] == sorted(VEHICLE_CONTROLLERS)
    for one in told["batteries"]:
        assert one["reads"] == {key: BY_KEY[key].unit for key in CONTROLLERS[one["name"]].reads}


def test_the_table_for_people_names_line_units_and_switches(run: Run) -> None:
    code, out, _ = run(None, "protocols", "jbd_uart")
    assert code == 0
    assert "serial 9600 8N1" in out
    assert "cell_1_v to cell_32_v (V)" in out
    assert "switches charge_fet, discharge_fet" in out
    assert "lock_unit" not in out


def test_an_unknown_name_is_refused_with_the_known_ones(run: Run) -> None:
    code, out, err = run(None, "protocols", "vela")
    assert (code, out) == (2, "")
    assert "jbd_uart" in err


def test_what_is_captured_with_questions_replays_as_what_was_read(run: Run, tmp_path: Path) -> None:
    shim, file = build_shim("jbd"), tmp_path / "line.jsonl"
    shim.set({"voltage_v": 40.1, "current_a": -2.5})
    capture = ["capture", "--port", "PORT", "--protocol", "jbd_uart", "--ask", "--seconds", "0.6"]
    code, _, err = run(shim, *capture, "--out", str(file))
    assert (code, "captured" in err) == (0, True)
    about, *rows = lines(file.read_text())
    assert about["protocol"] == "jbd_uart"
    assert {row["direction"] for row in rows} == {"request", "response"}
    assert all(row["t_ms"] >= 0 for row in rows)
    code, out, err = run(None, "replay", "--protocol", "jbd_uart", str(file))
    assert code == 0
    newest = lines(out)[-1]["reading"]
    assert (newest["voltage_v"], newest["current_a"]) == (40.1, -2.5)
    assert "frames" in err


def test_a_capture_without_questions_says_nothing_on_the_line(run: Run, tmp_path: Path) -> None:
    heard: list[bytes] = []

    class Ear:
        faults = build_shim("jbd").faults

        def receive(self, data: bytes, now_s: float) -> list[bytes]:
            del now_s
            heard.append(data)
            return []

    file = tmp_path / "line.jsonl"
    code, _, _ = run(
        Ear(), "capture", "--port", "PORT", "--baud", "9600", "--seconds", "0.3", "--out", str(file)
    )
    assert (code, heard) == (1, [])


def test_a_capture_overwrites_nothing(run: Run, tmp_path: Path) -> None:
    file = tmp_path / "line.jsonl"
    file.write_text("mine")
    code, _, err = run(None, "capture", "--port", "x", "--baud", "9600", "--out", str(file))
    assert (code, file.read_text()) == (1, "mine")
    assert "choose another file" in err


@pytest.mark.parametrize("text", ["nonsense", '{"hex": "zz"}', "(1.0) can0"])
def test_what_is_no_capture_is_named_by_its_line(run: Run, tmp_path: Path, text: str) -> None:
    file = tmp_path / "line.jsonl"
    file.write_text(f'{{"t_ms": 0, "hex": "dd"}}\n{text}\n')
    code, _, err = run(None, "replay", "--protocol", "jbd_uart", str(file))
    assert (code, "Line 2 of" in err) == (1, True)


def test_probe_recognises_who_answers(run: Run) -> None:
    shim = build_shim("jbd")
    shim.set({"voltage_v": 40.1})
    code, out, _ = run(shim, "probe", "--port", "PORT", "--json")
    found = json.loads(out)["found"]
    assert (code, found[0]["protocol"]) == (0, "jbd_uart")
    assert found[0]["reading"]["voltage_v"] == 40.1


def test_probe_that_only_listens_says_nothing_on_the_line(run: Run) -> None:
    shim = build_shim("jbd")
    code, out, err = run(shim, "probe", "--port", "PORT", "--listen-only")
    assert (code, out) == (1, "")
    assert "Nobody known" in err
    assert shim.pack.discharge_allowed


@pytest.mark.parametrize("name", ["nissan_leaf_ev_can", "hyundai_kia_pcan"])
def test_a_bus_that_talks_is_recognised_without_a_word(run: Run, name: str) -> None:
    code, out, _ = run(build_shim(name), "probe", "--port", "BUS", "--listen-only", "--json")
    found = json.loads(out)["found"]
    assert (code, [one["protocol"] for one in found]) == (0, [name])
    assert found[0]["reading"]["voltage_v"] > 300


def test_a_capture_of_nothing_leaves_no_file_behind(run: Run, tmp_path: Path) -> None:
    file = tmp_path / "line.jsonl"
    code, _, err = run(
        None, "capture", "--port", "slcan:/nowhere", "--protocol", "uds_ev", "--out", str(file)
    )
    assert (code, file.exists(), "Cannot open" in err) == (1, False, True)


def test_who_reads_no_further_gets_no_traceback() -> None:
    script = "import sys; from edge.cli import main; sys.exit(main(['protocols']))"
    with subprocess.Popen(
        [sys.executable, "-c", script], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as running:
        assert running.stdout is not None
        assert running.stderr is not None
        running.stdout.close()
        assert running.wait(20) == 1
        assert running.stderr.read() == b""
