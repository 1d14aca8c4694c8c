"""The Daly decoder against the specification's vectors, made frames, and shared captures."""

import json
import math
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.drivers.base import BatteryReading, Frame, FrameError, to_signals
from edge.drivers.daly_answers import Answers, CycleCounter, Series, SignJudge
from edge.drivers.daly_frames import PROTECTIONS, alarm_names, protection_bits
from edge.drivers.daly_uart import PART, DalyDecoder, switch_request
from protocol.signals import BY_KEY
from tests.edge.drivers import daly_vectors as daly

FIRST_CYCLE = (daly.SWITCHES, daly.CELL_RANGE, daly.TEMPERATURE_RANGE, daly.ALARMS)


def reason_of(frame: bytes) -> str:
    with pytest.raises(FrameError) as caught:
        DalyDecoder.explain(frame)
    return caught.value.reason


def fed(*frames: bytes) -> DalyDecoder:
    decoder = DalyDecoder()
    decoder.feed(b"".join(frames))
    return decoder


def reading_after(*frames: bytes) -> BatteryReading:
    reading = fed(*frames).reading()
    assert reading is not None
    return reading


def giving(amps: float) -> bytes:
    """An answer to 90 with a current as the wire has it."""
    return daly.reply(
        0x90, bytes.fromhex("02070000") + round(30_000 + amps * 10).to_bytes(2, "big") + b"\3\x09"
    )


def in_mode(mode: int) -> bytes:
    return daly.reply(0x93, bytes((mode, 1, 1)))


def test_questions_are_asked_byte_for_byte() -> None:
    assert DalyDecoder.policy.main.request == daly.READ_PACK
    asks = switch_request(charge=True, discharge=True)
    assert [ask.request for ask in asks] == [daly.CHARGE_ON, daly.DISCHARGE_ON]
    (off,) = switch_request(discharge=False)
    assert off.request.hex() == "a540d9080000000000000000c6"


def test_every_captured_frame_decodes_to_what_its_source_says(shared: Path) -> None:
    document = json.loads((shared / "data/battery/frames/daly_uart.json").read_text("utf-8"))
    wrong = {}
    for item in document["items"]:
        try:
            fields = DalyDecoder.explain(bytes.fromhex(item["hex"])).fields
        except FrameError as trouble:
            fields = {"error": f"reject frame (bad {trouble.reason}; correct is 0x50)"}
        if fields != item["expected"]:
            wrong[item["id"]] = fields
    assert wrong == {}


def test_a_resting_pack_reads_as_its_frames_say() -> None:
    frames = (daly.RESTING, *FIRST_CYCLE, daly.STATUS, *daly.CELLS, daly.TEMPERATURES, daly.BALANCE)
    assert reading_after(*frames) == BatteryReading(
        voltage_v=53.0,
        current_a=0.0,
        soc_pct=51.2,
        remaining_ah=40.96,
        temperatures_c=(18.0, 17.0),
        cells_v=(
            *(3.786, 3.789, 3.784, 3.787, 3.785, 3.792, 3.788),
            *(3.786, 3.783, 3.79, 3.781, 3.785, 3.787, 3.791),
        ),
        cycles=58,
        charge_fet=True,
        discharge_fet=True,
        alarms=(),
        protection_bits=0,
        balancing_bits=0b1_0001_0010,
    )


def test_a_current_that_leaves_the_pack_is_negative() -> None:
    assert reading_after(daly.GIVING_50_A, daly.GIVING_SWITCHES).current_a == -50.0
    explained = DalyDecoder.explain(daly.GIVING_50_A)
    assert explained.fields["current_a"] == 50.0
    assert explained.reading == BatteryReading(voltage_v=51.9, current_a=-50.0, soc_pct=77.7)


def test_no_current_is_no_negative_zero() -> None:
    reading = reading_after(daly.RESTING)
    assert math.copysign(1, reading.current_a or 0.0) == 1


def test_all_ones_are_unknown() -> None:
    assert reading_after(daly.reply(0x90, b"\xff" * 8)) == BatteryReading()
    switches = daly.reply(0x93, b"\0\1\1\0\xff\xff\xff\xff")
    assert reading_after(daly.RESTING, switches).remaining_ah is None
    cells = [daly.reply(0x95, bytes((number,)) + b"\xff" * 6) for number in range(1, 6)]
    assert reading_after(daly.RESTING, daly.STATUS, *cells).cells_v is None


def test_a_torn_sensor_is_unknown_and_keeps_its_place() -> None:
    torn = daly.reply(0x96, b"\x01\x00\x38")
    assert reading_after(daly.RESTING, daly.STATUS, torn).temperatures_c == (None, 16.0)


def test_the_rated_capacity_is_the_full_one() -> None:
    rated = daly.reply(0x50, bytes.fromhex("0000a00000000e10"))
    assert DalyDecoder.explain(rated).fields == {
        "command": 0x50,
        "rated_capacity_ah": 40.96,
        "nominal_cell_v": 3.6,
    }
    assert reading_after(daly.RESTING, rated).full_ah == 40.96


def test_type_date_and_code_are_kept_beside_the_readings() -> None:
    text = b"DL-R24TS-14S40A".ljust(35)
    code = [daly.reply(0x57, bytes((n + 1,)) + text[7 * n : 7 * n + 7]) for n in range(5)]
    decoder = fed(daly.STATUS, daly.CELL_RANGE, daly.reply(0x53, bytes((0, 1, 22, 3, 28))), *code)
    assert decoder.about["production_date"] == "2022-03-28"
    assert decoder.about["battery_type"] == 1
    assert decoder.about["hardware"] == "DL-R24TS-14S40A"
    assert decoder.about["max_cell_v"] == 3.792
    assert decoder.about["cell_count"] == 14
    assert DalyDecoder().about == {}


def test_a_date_that_cannot_be_is_unknown() -> None:
    assert DalyDecoder.explain(daly.reply(0x53, b"")).fields["production_date"] is None


def test_a_write_is_echoed_with_the_new_state() -> None:
    assert DalyDecoder.explain(daly.reply(0xD9, b"\x01")).fields == {
        "command": 0xD9,
        "discharge_mos": True,
    }
    assert DalyDecoder.explain(daly.reply(0xDA, b"\x00")).fields["charge_mos"] is False
    assert DalyDecoder.explain(daly.reply(0x21, bytes(6) + b"\3\xe8")).fields["soc_pct"] == 100.0


def test_cut_offs_are_protections_and_warnings_are_alarms_alone() -> None:
    data = bytes((0b0000_1001, 0, 0b0000_1000, 0, 0, 1, 0b100, 0))
    bits = 1 << 1 | 1 << 9 | 1 << 10 | 1 << 11
    reading = reading_after(daly.RESTING, daly.reply(0x98, data))
    assert reading.protection_bits == bits
    assert reading.alarms == (
        "cell_undervoltage",
        "discharge_overcurrent",
        "short_circuit",
        "front_end_error",
        "cell_overvoltage_warning",
    )


@given(data=st.binary(min_size=8, max_size=8))
def test_there_is_one_name_for_each_protection_bit_in_its_order(data: bytes) -> None:
    bits = protection_bits(data)
    assert bits <= BY_KEY["protection_bits"].high
    names = [name for number, name in enumerate(PROTECTIONS) if bits >> number & 1]
    assert list(alarm_names(data)[: len(names)]) == names
    assert all(name.endswith("_warning") for name in alarm_names(data)[len(names) :])


def test_all_alarms_at_once_set_all_bits() -> None:
    assert protection_bits(b"\xff" * 8) == 2**32 - 1
    assert len(set(PROTECTIONS)) == 32


def test_balance_bits_begin_with_the_first_cell_and_end_with_the_last() -> None:
    balance = daly.reply(0x97, b"\x01\xff\0\0\0\x80")
    assert DalyDecoder.explain(balance).fields["balance_bits"] == 1 | 0xFF << 8 | 1 << 47
    assert reading_after(daly.RESTING, daly.STATUS, balance).balancing_bits == 1 | 0x3F << 8


def test_only_the_last_frame_of_an_answer_has_its_key() -> None:
    decoder = fed(daly.STATUS)
    keys = [frame.key for frame in decoder.feed(b"".join(daly.CELLS))]
    assert keys == [PART | 0x95] * 4 + [0x95]


def test_an_answer_with_a_hole_is_no_answer() -> None:
    decoder = fed(daly.RESTING, daly.STATUS)
    first, second, _, fourth, fifth = daly.CELLS
    frames = decoder.feed(first + second + fourth + fifth)
    assert {frame.key for frame in frames} == {PART | 0x95}
    reading = decoder.reading()
    assert reading is not None
    assert reading.cells_v is None


def test_frames_may_be_numbered_from_nought() -> None:
    cells = [daly.reply(0x95, bytes((number,)) + daly.CELLS[number][5:11]) for number in range(5)]
    one = reading_after(daly.RESTING, daly.STATUS, *daly.CELLS)
    nought = reading_after(daly.RESTING, daly.STATUS, *cells)
    assert nought.cells_v == one.cells_v


def test_what_follows_the_last_cell_is_a_left_over() -> None:
    more = [daly.reply(0x95, bytes((number,)) + b"\x12" * 7) for number in range(6, 17)]
    decoder = fed(daly.RESTING, daly.STATUS, *daly.CELLS, *more, *daly.CELLS)
    reading = decoder.reading()
    assert reading is not None
    assert reading.cells_v is not None
    assert len(reading.cells_v) == 14
    assert max(reading.cells_v) == 3.792


def test_cells_are_unknown_until_the_board_told_how_many() -> None:
    decoder = fed(daly.RESTING)
    assert decoder.feed(daly.CELLS[0])[0].key == 0x95
    reading = decoder.reading()
    assert reading is not None
    assert reading.cells_v is None


def test_another_number_of_cells_forgets_the_old_ones() -> None:
    reading = reading_after(daly.RESTING, daly.STATUS, *daly.CELLS, daly.GIVING_STATUS)
    assert reading.cells_v is None
    assert reading.cycles == 41


@given(st.permutations(range(1, 6)))
def test_a_series_is_whole_only_with_every_number(order: list[int]) -> None:
    series = Series()
    wholes = [series.add(bytes((number,)) * 3, 5) for number in order]
    assert [whole for whole in wholes if whole] in (
        [],
        [bytes(n for number in range(1, 6) for n in (number,) * 2)],
    )
    assert (wholes[-1] is not None) == (order == sorted(order))


def test_details_are_forgotten_and_the_nameplate_once_the_board_is_silent() -> None:
    rated = daly.reply(0x50, bytes.fromhex("0000a00000000e10"))
    decoder = fed(daly.RESTING, daly.SWITCHES, rated)
    decoder.forget_details()
    assert decoder.reading() == BatteryReading(
        voltage_v=53.0, current_a=0.0, soc_pct=51.2, full_ah=40.96
    )
    decoder.forget_details()
    reading = decoder.reading()
    assert reading is not None
    assert reading.full_ah is None


def test_a_missed_detail_costs_nothing_but_itself() -> None:
    decoder = fed(daly.RESTING, daly.SWITCHES)
    before = decoder.reading()
    for missed in (0x91, 0x92, 0x91):
        decoder.forget_details(missed)
    assert decoder.reading() == before
    decoder.forget_details(0x93)
    assert decoder.reading() != before


def test_an_answer_that_thirty_newer_ones_outlived_is_forgotten() -> None:
    decoder = fed(daly.RESTING, daly.SWITCHES)
    for readings, known in ((30, True), (1, None)):
        decoder.feed(daly.RESTING * readings)
        reading = decoder.reading()
        assert reading is not None
        assert reading.charge_fet is known


def test_a_board_that_sends_the_current_the_other_way_is_found_out() -> None:
    decoder = DalyDecoder()
    seen = []
    for _ in range(4):
        decoder.feed(giving(50) + in_mode(1))
        reading = decoder.reading()
        assert reading is not None
        seen.append(reading.current_a)
    assert seen == [None, None, 50.0, 50.0]
    assert decoder.about["current_sign"] == "charge_positive"


def test_one_contradiction_or_a_small_current_turns_nothing() -> None:
    judge = SignJudge("learn")
    for charging_a, mode in ((-9, 1), (-9, 1), (-9, 2), (-9, 1), (-9, 1), (-1.9, 1), (-9, 0)):
        judge.judge(charging_a, mode)
        assert not judge.turned
    judge.judge(-9, 1)
    assert judge.turned
    for _ in range(3):
        judge.judge(-9, 2)
    assert not judge.turned


def test_a_current_is_judged_once_with_the_mode_beside_it() -> None:
    decoder = fed(giving(50), *[in_mode(1)] * 5)
    reading = decoder.reading()
    assert reading is not None
    assert reading.current_a is None
    assert "current_sign" not in decoder.about


@pytest.mark.parametrize(("sign", "amps"), [("discharge_positive", -5.0), ("charge_positive", 5.0)])
def test_a_sign_that_was_set_is_kept(sign: str, amps: float) -> None:
    decoder = DalyDecoder(sign)  # type: ignore[arg-type]  # from a table
    decoder.feed((giving(5) + in_mode(1)) * 9 + (giving(5) + in_mode(2)) * 9)
    reading = decoder.reading()
    assert reading is not None
    assert reading.current_a == amps


def test_cycles_are_in_the_last_two_bytes_of_some_boards() -> None:
    assert DalyDecoder.explain(daly.STATUS).fields["cycles"] == 58
    assert DalyDecoder.explain(daly.FOUR_CELLS_STATUS).fields["cycles"] == 0
    assert DalyDecoder.explain(daly.GIVING_STATUS).fields["cycles"] == 41


def test_a_left_over_is_no_count_of_cycles() -> None:
    left = daly.reply(0x96, b"\x01" + b"\x3a" * 7)
    assert reading_after(daly.RESTING, left, daly.STATUS).cycles is None
    assert reading_after(daly.RESTING, daly.ALARMS, daly.STATUS).cycles == 58


def test_where_the_cycles_are_is_learnt_and_can_be_set() -> None:
    over_255 = bytes.fromhex("0e02000000000102")
    early, learnt, late = CycleCounter("d5"), CycleCounter("learn"), CycleCounter("d6")
    learnt.see(daly.STATUS[4:12], 0)
    for counter, count in ((early, 1), (learnt, 258), (late, 258)):
        counter.see(over_255, 0)
        assert counter.count == count


@pytest.mark.parametrize(
    ("frame", "reason"),
    [
        (b"", "length"),
        (daly.RESTING[:-1], "length"),
        (daly.RESTING[1:], "start"),
        (daly.RESTING[:3] + b"\x07" + daly.RESTING[4:], "length"),
        (daly.BAD_SUM, "checksum"),
        (daly.reply(0x99, b""), "unsupported"),
        (daly.reply(0x90, b"", board=0x30), "unsupported"),
    ],
)
def test_a_bad_frame_is_refused_with_its_reason(frame: bytes, reason: str) -> None:
    assert reason_of(frame) == reason


@pytest.mark.parametrize(
    ("command", "data"),
    [
        (0x90, b"\2\3\0\0\x75\x30\3\xe9"),
        (0x93, b"\x03\1\1"),
        (0x93, b"\0\2\1"),
        (0x94, b"\0\2"),
        (0x95, b"\x11"),
    ],
)
def test_a_reply_that_cannot_be_is_counted_and_changes_nothing(command: int, data: bytes) -> None:
    decoder = fed(daly.RESTING, daly.STATUS, daly.SWITCHES)
    before = decoder.reading()
    assert decoder.feed(daly.reply(command, data)) == []
    assert decoder.counters.bad == {"status": 1}
    assert decoder.reading() == before


def test_another_board_s_reply_changes_nothing_and_answers_nothing() -> None:
    decoder = fed(daly.RESTING)
    before = decoder.reading()
    (frame,) = decoder.feed(daly.reply(0x90, b"\1\1", board=2))
    assert frame == Frame(PART | 0x90, b"\1\1" + bytes(6))
    assert decoder.reading() == before


def test_readings_become_signals_of_the_catalogue() -> None:
    signals = to_signals(reading_after(daly.GIVING_50_A, daly.GIVING_SWITCHES, daly.ALARMS))
    assert signals[BY_KEY["current_a"].id] == -5000
    assert signals[BY_KEY["protection_bits"].id] == 0


def test_an_answer_that_nobody_knows_is_kept_without_harm() -> None:
    answers = Answers("learn", "learn")
    assert answers.keep(0xD9, bytes(8))
    assert answers.reading() is None
    assert answers.about == {}
