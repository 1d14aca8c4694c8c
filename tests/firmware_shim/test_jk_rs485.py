"""The JK shim, byte for byte against the protocol's specification."""

from collections.abc import Mapping

import pytest
from hypothesis import given
from hypothesis import strategies as st

from firmware_shim.faults import Faults
from firmware_shim.jk_rs485 import JkController
from firmware_shim.pack import Pack, PackDesign, Protection
from tests.edge.drivers import jk_vectors as jk

RESTING_SETTINGS = {
    0x8E: "1547",
    0x8F: "0f3c",
    0x90: "105e",
    0x91: "1018",
    0x92: "0004",
    0x93: "0b86",
    0x94: "0c4e",
    0x95: "0006",
    0x96: "00fa",
    0x97: "002d",
    0x98: "003c",
    0x99: "000c",
    0x9A: "0014",
    0x9B: "0d48",
    0x9C: "0008",
    0x9E: "0055",
    0x9F: "004b",
    0xA0: "005f",
    0xA1: "005a",
    0xA2: "000f",
    0xA3: "0037",
    0xA4: "003c",
    0xA5: "fffb",
    0xA6: "fffe",
    0xA7: "fff1",
    0xA8: "fff4",
    0xAD: "03f2",
    0xB0: "001e",
    0xB1: "0f",
    0xB2: b"246810\0\0\0\0".hex(),
    0xB4: b"Input Us".hex(),
    0xB5: b"2309".hex(),
    0xB7: b"12.XQ_S12.02___".hex(),
    0xBA: b"Input User__JK-B1A20S15P".hex(),
}
RESTING_CELLS_MV = (
    *(3791, 3788, 3790, 3792, 3789, 3786, 3790),
    *(3793, 3791, 3787, 3790, 3785, 3788),
)


def a_board(
    *,
    cells: int = 13,
    settings: Mapping[int, bytes] | None = None,
    needs_password: bool = False,
    faults: Faults | None = None,
) -> JkController:
    pack = Pack(PackDesign(cells=cells, capacity_ah=15.0))
    return JkController(pack, settings=settings, needs_password=needs_password, faults=faults)


def asked(command: int, body: bytes) -> bytes:
    size = (18 + len(body)).to_bytes(2, "big")
    frame = b"NW" + size + bytes(4) + bytes((command, 3, 0)) + body + bytes(4) + b"h\0\0"
    return frame + sum(frame).to_bytes(2, "big")


def bodies(board: JkController, request: bytes, at_s: float = 0.0) -> list[bytes]:
    return [reply[11:-9] for reply in board.receive(request, at_s)]


def register(board: JkController, tag: int) -> bytes:
    """The value under a tag, as a single register is read."""
    (body,) = bodies(board, asked(3, bytes((tag,))))
    assert body[0] == tag
    return body[1:]


def test_the_values_of_a_frame_give_its_bytes() -> None:
    settings = {tag: bytes.fromhex(value) for tag, value in RESTING_SETTINGS.items()}
    board = a_board(settings=settings)
    board.pack.charge_allowed = board.pack.discharge_allowed = False
    board.set(
        {
            "cells_v": [cell_mv / 1000 for cell_mv in RESTING_CELLS_MV],
            "temperatures_c": [17.0, 18.0, 24.0],
            "voltage_v": 49.25,
            "soc_pct": 71,
            "cycles": 3,
            "balancing_bits": 1,
        }
    )
    assert board.receive(jk.READ_ALL, 0.0) == [jk.RESTING]


@pytest.mark.parametrize(
    ("amps", "version", "raw"),
    [
        (3.17, b"\x01", 0x813D),
        (-3.17, b"\x01", 0x013D),
        (0.001, b"\x01", 0),
        (3.17, b"\x00", 9683),
        (-3.17, b"\x00", 10317),
    ],
)
def test_the_current_is_told_as_the_version_says(amps: float, version: bytes, raw: int) -> None:
    board = a_board(settings={0xC0: version})
    board.set({"current_a": amps})
    assert int.from_bytes(register(board, 0x84), "big") == raw


@pytest.mark.parametrize(
    ("celsius", "raw"), [(0.4, 0), (99.0, 99), (120.0, 100), (-1.0, 101), (-60.0, 140)]
)
def test_frost_is_told_from_100_on(celsius: float, raw: int) -> None:
    board = a_board()
    board.set({"temperatures_c": celsius})
    assert int.from_bytes(register(board, 0x82), "big") == raw


def test_a_pack_with_one_sensor_has_two_lost_ones() -> None:
    board = a_board()
    board.set({"temperatures_c": [20.0]})
    assert (register(board, 0x82), register(board, 0x81)) == (b"\x00\x14", b"\xff\xff")


def test_a_switch_is_confirmed_and_acts() -> None:
    board = a_board()
    assert board.receive(jk.DISCHARGE_OFF, 0.0) == [jk.DISCHARGE_WRITTEN]
    board.pack.demand_a = -3
    assert board.pack.current_a == 0
    assert (register(board, 0xAC), register(board, 0x8C)) == (b"\x00", b"\x00\x01")
    bodies(board, asked(2, b"\xab\x00"))
    assert register(board, 0x8C) == b"\x00\x00"
    bodies(board, asked(2, b"\xac\x01"))
    assert register(board, 0x8C) == b"\x00\x02"


def test_a_board_that_ignores_a_switch_confirms_it_all_the_same() -> None:
    board = a_board(faults=Faults({"fet_ignored": 1}))
    assert bodies(board, jk.DISCHARGE_OFF) == [b"\xac"]
    assert board.pack.discharge_allowed


@pytest.mark.parametrize("body", [b"", b"\xac", b"\xac\x02", b"\xac\x00\x00", b"\x83\x00\x00"])
def test_a_write_that_makes_no_sense_is_not_answered(body: bytes) -> None:
    board = a_board()
    assert board.receive(asked(2, body), 0.0) == []
    assert board.pack.discharge_allowed


def test_a_setting_is_kept() -> None:
    board = a_board()
    assert bodies(board, asked(2, b"\xb1\x1e")) == [b"\xb1"]
    assert register(board, 0xB1) == b"\x1e"


def test_a_board_with_a_password_takes_writes_after_it_only() -> None:
    board = a_board(needs_password=True)
    assert board.receive(jk.DISCHARGE_OFF, 0.0) == []
    assert board.receive(asked(5, b"000000"), 0.0) == []
    assert board.receive(asked(5, b""), 0.0) == []
    assert len(board.receive(asked(5, b"123456") + jk.DISCHARGE_OFF, 0.0)) == 2
    assert not board.pack.discharge_allowed


def test_a_board_is_woken_and_has_no_unknown_register() -> None:
    board = a_board()
    assert len(board.receive(asked(1, b"\0"), 0.0)) == 1
    assert board.receive(asked(3, b"\x7f"), 0.0) == []


def test_protections_and_low_charge_are_alarm_bits() -> None:
    board = a_board()
    board.pack.trip(Protection.CELL_OVERVOLTAGE | Protection.SHORT_CIRCUIT, 0.0)
    board.set({"soc_pct": 5})
    assert register(board, 0x8B) == (1 | 1 << 6 | 1 << 10).to_bytes(2, "big")


def test_what_another_board_answers_is_no_request() -> None:
    board = a_board()
    assert len(board.receive(jk.RESTING + jk.READ_ALL, 0.0)) == 1


@pytest.mark.parametrize(
    "broken", [jk.READ_ALL[:-1] + b"\0", jk.READ_ALL[:-5] + b"i" + jk.READ_ALL[-4:], bytes(70)]
)
def test_a_broken_request_is_not_answered(broken: bytes) -> None:
    board = a_board()
    assert board.receive(broken, 0.0) == []
    assert len(board.receive(jk.READ_ALL, 0.0)) == 1


def test_a_request_that_was_cut_off_is_forgotten_when_the_line_was_quiet() -> None:
    board = a_board()
    assert board.receive(jk.READ_ALL[:15], 1.0) == []
    assert board.receive(jk.READ_ALL[:5], 1.3) == []
    assert len(board.receive(jk.READ_ALL[5:], 1.35)) == 1


@given(pieces=st.lists(st.integers(1, 7), min_size=1))
def test_requests_in_any_slices_are_answered(pieces: list[int]) -> None:
    board = a_board()
    stream = jk.READ_ALL + jk.DISCHARGE_OFF + asked(3, b"\x85")
    replies = []
    for size in [*pieces, len(stream)]:
        replies += board.receive(stream[:size], 0.0)
        stream = stream[size:]
    assert [reply[8] for reply in replies] == [6, 2, 3]


@given(noise=st.binary(max_size=400))
def test_noise_never_breaks_the_shim(noise: bytes) -> None:
    board = a_board()
    board.receive(noise, 0.0)
    assert len(board.receive(jk.READ_ALL, 1.0)) == 1
