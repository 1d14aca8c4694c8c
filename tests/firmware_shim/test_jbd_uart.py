"""The JBD shim, byte for byte against the protocol's specification."""

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from firmware_shim.faults import Faults
from firmware_shim.jbd_uart import JbdController
from firmware_shim.pack import Pack, PackDesign, Protection
from firmware_shim.replay import Replay

READ_BASIC = bytes.fromhex("DD A5 03 00 FF FD 77")
READ_CELLS = bytes.fromhex("DD A5 04 00 FF FC 77")
READ_HARDWARE = bytes.fromhex("DD A5 05 00 FF FB 77")
READ_EVENTS = bytes.fromhex("DD A5 AA 00 FF 56 77")
DISCHARGE_OFF = bytes.fromhex("DD 5A E1 02 00 02 FF 1B 77")
BOTH_ON = bytes.fromhex("DD 5A E1 02 00 00 FF 1D 77")
ENTER_FACTORY = bytes.fromhex("DD 5A 00 02 56 78 FF 30 77")
LEAVE_FACTORY = bytes.fromhex("DD 5A 01 02 00 00 FF FD 77")
LOG_IN_ZEROS = bytes.fromhex("DD 5A 06 07 06 00 00 00 00 00 00 FF ED 77")
SPECIFIED = bytes.fromhex(
    "DD 03 00 1D 06 18 FE E1 01 F2 01 F4 00 2A 2C 7C 00 00 00 00 00 00 80 64 03 04 03 "
    "0B 8B 0B 8A 0B 84 F8 84 77"
)
SPECIFIED_VALUES = {
    "voltage_v": 15.6,
    "current_a": -2.87,
    "remaining_ah": 4.98,
    "full_ah": 5.0,
    "cycles": 42,
    "soc_pct": 100,
    "temperatures_c": [22.4, 22.3, 21.7],
    "cells_v": [3.909, 3.901, 3.895, 3.895],
}


def a_board(**options: object) -> JbdController:
    design = PackDesign(cells=4, capacity_ah=5.0)
    return JbdController(Pack(design, soc_pct=60), **options)  # type: ignore[arg-type]  # a builder


def framed(op: int, register: int, data: bytes = b"") -> bytes:
    body = bytes((register, len(data))) + data
    return bytes((0xDD, op)) + body + (-sum(body) & 0xFFFF).to_bytes(2, "big") + b"\x77"


def ask(board: JbdController, request: bytes, at_s: float = 0.0) -> bytes:
    (reply,) = board.receive(request, at_s)
    return reply


def read(board: JbdController, register: int, at_s: float = 0.0) -> bytes:
    return ask(board, framed(0xA5, register), at_s)


def write(board: JbdController, register: int, data: bytes) -> bool:
    reply = ask(board, framed(0x5A, register, data))
    assert reply[1] == register
    return reply[2] == 0


def test_the_specified_values_give_the_specified_bytes() -> None:
    board = a_board()
    board.set(SPECIFIED_VALUES)
    assert ask(board, READ_BASIC) == SPECIFIED


def test_cell_voltages_are_millivolts() -> None:
    board = a_board()
    board.set({"cells_v": [3.905, 3.912, 3.89, 3.897]})
    assert ask(board, READ_CELLS).hex() == "dd0400080f410f480f320f39fec877"


def test_the_model_is_text() -> None:
    board = a_board(hardware="JBD-SP10S009-L10S-30A-B-U")
    assert ask(board, READ_HARDWARE).hex() == (
        "dd0500194a42442d53503130533030392d4c3130532d3330412d422d55fa0b77"
    )


def test_a_new_board_appends_its_full_capacity() -> None:
    board = a_board(extended=True)
    board.set(SPECIFIED_VALUES | {"temperatures_c": [22.4]})
    data = ask(board, READ_BASIC)[4:-3]
    assert len(data) == 0x22
    assert data[25:].hex() == "2d000001f401f20000"


def test_event_counters_count_trips() -> None:
    board = a_board()
    board.pack.trip(Protection.SHORT_CIRCUIT, 0.0)
    board.pack.trip(Protection.CELL_OVERVOLTAGE, 0.0)
    counts = struct.unpack(">12H", ask(board, READ_EVENTS)[4:-3])
    assert counts == (1, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0)


@pytest.mark.parametrize(
    ("request_frame", "reply"),
    [
        (DISCHARGE_OFF, "dde10000000077"),
        (ENTER_FACTORY, "dd000000000077"),
        (LEAVE_FACTORY, "dd010000000077"),
        (LOG_IN_ZEROS, "dd060000000077"),
    ],
)
def test_a_write_is_confirmed(request_frame: bytes, reply: str) -> None:
    assert ask(a_board(), request_frame).hex() == reply


def test_a_switched_off_fet_shows_in_its_byte_and_the_lock_bit() -> None:
    board = a_board()
    ask(board, DISCHARGE_OFF)
    data = ask(board, READ_BASIC)[4:-3]
    assert (data[20], data[16:18]) == (0b01, b"\x10\x00")
    ask(board, BOTH_ON)
    data = ask(board, READ_BASIC)[4:-3]
    assert (data[20], data[16:18]) == (0b11, b"\x00\x00")


def test_a_locked_pack_gives_no_current() -> None:
    board = a_board()
    board.pack.demand_a = -3
    ask(board, DISCHARGE_OFF)
    assert board.pack.current_a == 0


@pytest.mark.parametrize("data", [b"", b"\x00", b"\x00\x04", b"\x01\x00"])
def test_a_fet_write_that_makes_no_sense_is_refused(data: bytes) -> None:
    assert not write(a_board(), 0xE1, data)


def test_an_unknown_register_is_refused() -> None:
    assert read(a_board(), 0x55).hex() == "dd558000ff8077"
    assert not write(a_board(), 0x55, b"\x00\x00")


def test_config_is_open_in_factory_mode_only() -> None:
    board = a_board()
    assert read(board, 0x24)[2] == 0x80
    ask(board, ENTER_FACTORY)
    assert read(board, 0x24).hex() == "dd240002109aff5477"
    ask(board, LEAVE_FACTORY)
    assert read(board, 0x24)[2] == 0x80


def test_config_is_kept_when_saved_and_forgotten_when_not() -> None:
    board = a_board()
    for leave, kept in ((b"\x00\x00", 0x0E), (b"\x28\x28", 0x06), (b"\x00\x00", 0x06)):
        ask(board, ENTER_FACTORY)
        assert write(board, 0x2D, b"\x00\x06")
        write(board, 0x01, leave)
        ask(board, ENTER_FACTORY)
        assert read(board, 0x2D)[5] == kept
        write(board, 0x01, b"\x00\x00")


def test_saving_clears_the_event_counters() -> None:
    board = a_board()
    board.pack.trip(Protection.SHORT_CIRCUIT, 0.0)
    write(board, 0x01, b"\x28\x28")
    assert not any(ask(board, READ_EVENTS)[4:-3])


@pytest.mark.parametrize("data", [b"\x56\x79", b"", b"\x56\x78\x00"])
def test_a_wrong_factory_key_opens_nothing(data: bytes) -> None:
    board = a_board()
    assert not write(board, 0x00, data)
    assert read(board, 0x24)[2] == 0x80


def test_capacity_is_set_and_reset() -> None:
    board = a_board()
    assert write(board, 0xE0, b"\x00\x64")
    assert board.pack.remaining_ah == 1.0
    assert write(board, 0x0A, b"\x01\x00")
    assert board.pack.soc_pct == 100
    assert not write(board, 0x0A, b"\x09\x00")
    assert not write(board, 0xE0, b"\x64")


def test_alarms_are_cleared() -> None:
    board = a_board()
    board.pack.trip(Protection.SHORT_CIRCUIT, 0.0)
    assert write(board, 0x0A, b"\x04\x00")
    assert board.pack.discharge_fet


def test_a_board_with_a_password_takes_writes_after_log_in_only() -> None:
    board = a_board(password=b"123456")
    assert not write(board, 0xE1, b"\x00\x02")
    assert not write(board, 0x06, b"\x06000000")
    assert write(board, 0x06, b"\x06123456")
    assert write(board, 0xE1, b"\x00\x02")
    assert ask(board, READ_BASIC)[2] == 0


def test_numbers_run_over_remaining_capacity_and_cycles() -> None:
    board = a_board(numbered=True)
    board._number = 65_000
    seen = []
    for _ in range(1000):
        data = ask(board, READ_BASIC)[4:-3]
        seen.append(int.from_bytes(data[8:10], "big") << 16 | int.from_bytes(data[4:6], "big"))
    assert seen == list(range(65_000, 66_000))


def test_other_questions_take_no_number() -> None:
    board = a_board(numbered=True)
    ask(board, READ_CELLS)
    ask(board, READ_BASIC)
    ask(board, READ_CELLS)
    assert ask(board, READ_BASIC)[8:10] == b"\x00\x01"


@pytest.mark.parametrize(
    "broken",
    [READ_BASIC[:-2] + b"\x00\x77", READ_BASIC[:-1] + b"\xdd", bytes(20), b"\xdd\xdd\xdd"],
)
def test_a_broken_request_is_not_answered(broken: bytes) -> None:
    board = a_board()
    assert board.receive(broken, 0.0) == []
    assert len(board.receive(bytes(300) + READ_BASIC, 0.0)) == 1


def test_a_request_that_was_cut_off_is_forgotten_when_the_line_was_quiet() -> None:
    board = a_board()
    cut = bytes.fromhex("DD A5 03 40")
    assert board.receive(cut, 1.0) == []
    assert board.receive(READ_BASIC[:3], 1.3) == []
    assert len(board.receive(READ_BASIC[3:], 1.35)) == 1


@given(pieces=st.lists(st.integers(1, 7), min_size=1))
def test_requests_in_any_slices_are_answered(pieces: list[int]) -> None:
    board = a_board()
    stream = READ_BASIC + READ_CELLS + READ_HARDWARE
    replies = []
    for size in [*pieces, len(stream)]:
        replies += board.receive(stream[:size], 0.0)
        stream = stream[size:]
    assert [reply[1] for reply in replies] == [3, 4, 5]


@given(noise=st.binary(max_size=400))
def test_noise_never_breaks_the_shim(noise: bytes) -> None:
    board = a_board()
    board.receive(noise, 0.0)
    board.receive(bytes(262), 0.0)
    assert board.receive(READ_BASIC, 0.0)[-1][:3] == b"\xdd\x03\x00"


def test_a_lost_sensor_reads_zero() -> None:
    board = a_board(faults=Faults({"sensor_lost": 1}))
    assert ask(board, READ_BASIC)[27:29] == b"\x00\x00"


def test_values_outside_of_the_wire_s_words_stop_at_their_ends() -> None:
    board = JbdController(Pack(PackDesign(capacity_ah=900), soc_pct=100))
    assert ask(board, READ_BASIC)[8:12] == b"\xff\xff\xff\xff"


def test_captured_replies_go_out_in_turn_and_the_pack_answers_the_rest() -> None:
    board = a_board(replay=Replay([SPECIFIED, SPECIFIED[:-1]]))
    replies = [ask(board, READ_BASIC) for _ in range(3)]
    assert replies == [SPECIFIED, SPECIFIED[:-1], SPECIFIED]
    assert ask(board, READ_HARDWARE)[2] == 0


def test_replayed_values_come_in_their_time() -> None:
    board = a_board(replay=Replay(changes=[(1000, {"voltage_v": 14.0}), (0, {"voltage_v": 15.0})]))
    volts = [int.from_bytes(read(board, 3, 100 + at_s)[4:6], "big") for at_s in (0, 0.9, 1, 2)]
    assert volts == [1500, 1500, 1400, 1400]


def test_a_replay_of_impossible_values_is_refused_at_once() -> None:
    with pytest.raises(ValueError, match="volts"):
        a_board(replay=Replay(changes=[(0, {"volts": 14.0})]))
