"""Values a person pins on a shim."""

from pathlib import Path
from typing import Any

import pytest

from firmware_shim.dials import Dials
from firmware_shim.pack import Pack, PackSample
from firmware_shim.replay import Replay


def shown(values: dict[str, Any]) -> PackSample:
    pack = Pack()
    dials = Dials(pack)
    dials.set(values)
    return dials.apply(pack.sample())


def test_a_pinned_value_is_shown_until_it_is_let_go() -> None:
    pack = Pack()
    dials = Dials(pack)
    dials.set({"voltage_v": 40.1, "cycles": 7})
    assert (dials.apply(pack.sample()).voltage_v, dials.apply(pack.sample()).cycles) == (40.1, 7)
    dials.set({"voltage_v": None})
    assert dials.apply(pack.sample()).voltage_v != 40.1
    assert dials.apply(pack.sample()).cycles == 7


def test_cells_follow_a_pinned_voltage() -> None:
    assert sum(shown({"voltage_v": 36.0}).cells_v) == pytest.approx(36.0)
    assert shown({"voltage_v": 36.0, "cells_v": [3.7]}).cells_v == (3.7,)


def test_charge_and_state_of_charge_follow_each_other() -> None:
    assert shown({"soc_pct": 50}).remaining_ah == pytest.approx(5.2)
    assert shown({"remaining_ah": 2.6}).soc_pct == pytest.approx(25)
    assert shown({"remaining_ah": 2.6, "soc_pct": 90}).soc_pct == 90
    assert shown({"remaining_ah": 20}).soc_pct == 100


def test_one_temperature_is_for_all_sensors_and_a_list_for_each() -> None:
    assert shown({"temperatures_c": 30}).temperatures_c == (30.0, 30.0, 30.0)
    assert shown({"temperatures_c": [21, None]}).temperatures_c == (21.0, None)


def test_demand_drives_the_pack_itself() -> None:
    pack = Pack()
    dials = Dials(pack)
    dials.set({"demand_a": -6})
    assert pack.current_a == -6
    dials.set({"demand_a": None})
    assert pack.current_a == 0


@pytest.mark.parametrize(
    "values",
    [
        {"volts": 1},
        {"voltage_v": "40"},
        {"voltage_v": True},
        {"voltage_v": 656},
        {"voltage_v": float("nan")},
        {"current_a": -400},
        {"soc_pct": 101},
        {"cycles": 1.5},
        {"cycles": 70_000},
        {"charge_fet": 1},
        {"temperatures_c": [20] * 9},
        {"temperatures_c": ["warm"]},
        {"cells_v": []},
        {"cells_v": 3.6},
        {"protection_bits": -1},
    ],
)
def test_a_value_that_cannot_be_shown_changes_nothing(values: dict[str, Any]) -> None:
    dials = Dials(Pack())
    with pytest.raises(ValueError, match=next(iter(values))):
        dials.set({"cycles": 5} | values)
    assert dials.apply(Pack().sample()).cycles == 0


def test_a_replay_file_holds_replies_and_values(tmp_path: Path) -> None:
    file = tmp_path / "ride.jsonl"
    file.write_text(
        '{"note": "bench 3"}\n\n{"direction": "request", "hex": "dda50300fffd77"}\n'
        '{"direction": "response", "hex": "dd030000000077"}\n'
        '{"t_ms": 500, "set": {"soc_pct": 50}}\n',
        "utf-8",
    )
    replay = Replay.from_file(file)
    assert replay.reply(3) == bytes.fromhex("dd030000000077")
    assert replay.reply(0xA5) is None
    assert [replay.due(at_s) for at_s in (10, 10.4, 10.5, 11)] == [[], [], [{"soc_pct": 50}], []]


@pytest.mark.parametrize(
    "line",
    [
        b"dd03",
        b'{"hex": "dd0"}',
        b'{"hex": "dd"}',
        b'{"set": 5}',
        b"[1]",
        b'{"t_ms": NaN, "set": {"soc_pct": 50}}',
        b'{"note": "\xff"}',
    ],
)
def test_a_line_that_is_no_replay_is_named(tmp_path: Path, line: bytes) -> None:
    file = tmp_path / "ride.jsonl"
    file.write_bytes(b"{}\n" + line)
    with pytest.raises(ValueError, match=f"Line 2 of {file}"):
        Replay.from_file(file)
