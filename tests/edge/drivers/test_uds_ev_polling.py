"""How cars are asked: one question at a time, slowly, and not at all while they sleep."""

import itertools
import math
from collections.abc import Iterator
from itertools import pairwise

import pytest

from edge.drivers.can import CanFrame
from edge.drivers.isotp import segment
from edge.drivers.uds import Address, Client, Outcome, parse
from edge.drivers.uds_ev import UdsEvDecoder, UnknownCarError
from firmware_shim.uds_ev import CarUnit, Id4, Ioniq5, Leaf
from tests.edge.drivers.uds_bus import BEGAN_S, Bus

CELLS = ["220102", "220103", "220104", "22010a", "22010b", "22010c"]
UNIT = Address(0x7E4, 0x7EC)


def bus(car: str | None = "ioniq5", unit: CarUnit | None = None) -> Bus:
    return Bus(UdsEvDecoder(car), unit or Ioniq5())


def test_a_poll_reads_charge_current_and_health_in_one() -> None:
    unit = Ioniq5()
    unit.set({"current_a": -50.0, "soc_pct": 60.0})
    reading = bus(unit=unit).poll()
    assert reading is not None
    assert reading.current_a == -50.0
    assert reading.soc_pct == 61.0
    assert reading.soh_pct == 96.4
    assert reading.voltage_v == pytest.approx(sum(unit.pack.sample().cells_v), rel=0.01)
    assert reading.temperatures_c is not None
    assert len(reading.temperatures_c) == 5


def test_the_cells_come_once_a_minute_and_only_beside_their_voltage() -> None:
    hyundai = bus()
    first, second, *_, later = hyundai.poll_for(63)
    assert first is not None
    assert second is not None
    assert later is not None
    assert len(first.cells_v or ()) == 180
    assert "voltage_v" not in first.raw_quality
    assert second.cells_v is None
    assert hyundai.asked()[:8] == ["220101", "220105", *CELLS]
    assert hyundai.asked().count("22010c") == 2


def test_no_more_than_five_questions_a_second_and_never_two_at_once() -> None:
    hyundai = bus()
    hyundai.poll_for(30, every_s=0.1)
    times = [at_s for at_s, _ in hyundai.questions]
    assert len(times) > 100
    assert min(after - before for before, after in pairwise(times)) >= 0.2 - 1e-9


def test_a_question_waits_for_the_answer_to_the_one_before() -> None:
    decoder = UdsEvDecoder("ioniq5")
    (question,) = decoder.begin(BEGAN_S)
    assert question == CanFrame(0x7E4, bytes.fromhex("0322010100000000"))
    assert decoder.tick(BEGAN_S + 0.3) == []
    assert decoder.begin(BEGAN_S + 0.3) == []
    first, *rest = segment(bytes.fromhex("620101") + bytes(59))
    assert decoder.feed([CanFrame(0x7EC, first)], BEGAN_S + 0.4) == [
        CanFrame(0x7E4, bytes.fromhex("3000000000000000"))
    ]
    assert decoder.tick(BEGAN_S + 0.6) == []
    sent = decoder.feed([CanFrame(0x7EC, frame) for frame in rest], BEGAN_S + 0.7)
    assert [frame.data[:4].hex() for frame in sent] == ["03220105"]


def test_only_services_that_read_are_ever_asked_for() -> None:
    for car, unit in [("ioniq5", Ioniq5()), ("leaf", Leaf()), ("id4", Id4()), (None, Leaf())]:
        car_bus = bus(car, unit)
        unit.set({"busy": 2})
        car_bus.poll_for(5)
        services = {bytes.fromhex(question)[0] for question in car_bus.asked()}
        assert services <= {0x01, 0x09, 0x21, 0x22}


@pytest.mark.parametrize(
    ("unit", "car", "questions"),
    [
        (Ioniq5(), "ioniq5", ["220101"]),
        (Leaf(), "leaf", ["220101", "228334", "2101"]),
        (Id4(), "id4", ["220101", "228334", "2101", "221e3b"]),
    ],
)
def test_without_a_name_the_car_is_found_out(unit: CarUnit, car: str, questions: list[str]) -> None:
    """A unit that says nothing is asked once for each kind of car: it may be another one's."""
    found = bus(None, unit)
    reading = found.poll()
    assert found.decoder.about["car"] == car
    assert found.asked()[: len(questions)] == questions
    assert reading is not None
    assert reading.voltage_v is not None
    before = len(found.asked())
    assert found.poll() is not None
    assert questions[0] == "220101" or questions[0] not in found.asked()[before:]


def test_a_unit_that_refuses_one_cars_question_is_tried_as_the_next() -> None:
    found = bus(None, Ioniq5())
    assert isinstance(found.node, Ioniq5)
    found.node.set({"unsupported": ["220101"]})
    found.poll()
    assert found.asked()[:3] == ["220101", "228334", "2101"]
    assert "car" not in found.decoder.about


def test_nobody_there_ends_the_poll_soon_and_reads_none() -> None:
    silent = Bus(UdsEvDecoder("ioniq5"), None)
    assert silent.poll() is None
    assert silent.asked() == ["220101", "220101"]
    assert silent.now_s - BEGAN_S == pytest.approx(1.0)
    unknown = Bus(UdsEvDecoder(), None)
    assert unknown.poll() is None
    assert unknown.asked() == ["220101", "228334", "2101", "221e3b", "015b"]
    assert unknown.now_s - BEGAN_S < UdsEvDecoder.policy.answers_s


def test_a_busy_unit_is_asked_again() -> None:
    hyundai = bus()
    assert isinstance(hyundai.node, Ioniq5)
    hyundai.node.set({"busy": 2})
    assert hyundai.poll() is not None
    assert hyundai.asked()[:4] == ["220101"] * 3 + ["220105"]


def test_a_pending_answer_is_waited_for_five_seconds() -> None:
    hyundai = bus()
    assert isinstance(hyundai.node, Ioniq5)
    hyundai.node.set({"pending_s": 4.9, "unsupported": ["220105", *CELLS]})
    assert hyundai.poll() is not None
    assert hyundai.asked()[:2] == ["220101", "220105"]
    assert hyundai.now_s - BEGAN_S > 4.9
    hyundai.node.set({"pending_s": 5.1})
    hyundai.sent.clear()
    assert hyundai.poll(at_most_s=6.0) is None
    assert hyundai.asked() == ["220101"] * 2


@pytest.mark.parametrize("nrc", [0x11, 0x12, 0x31, 0x33])
def test_what_is_not_supported_is_not_asked_again(nrc: int) -> None:
    client = Client(UNIT)
    client.ask([b"\x22\x01\x05", b"\x22\x01\x05"])
    client.tick(0.0)
    client.feed(CanFrame(0x7EC, bytes((3, 0x7F, 0x22, nrc, 0, 0, 0, 0))), 0.1)
    assert list(client.outcomes()) == [Outcome(b"\x22\x01\x05", nrc=nrc)]
    client.ask([b"\x22\x01\x05"])
    assert not client.waiting


def test_conditions_that_are_not_correct_may_be_so_next_time() -> None:
    client = Client(UNIT)
    for at_s in (0.0, 1.0):
        client.ask([b"\x22\x01\x05"])
        assert len(client.tick(at_s)) == 1
        client.feed(CanFrame(0x7EC, bytes.fromhex("037f222200000000")), at_s + 0.1)
        assert not client.waiting
    assert client.refusals == {0x22: 2}


def test_cells_that_a_car_does_not_have_are_left_alone() -> None:
    hyundai = bus()
    assert isinstance(hyundai.node, Ioniq5)
    hyundai.node.set({"unsupported": ["22010a", "22010b", "22010c"]})
    hyundai.poll_for(200)
    assert hyundai.asked().count("220102") == 1
    assert hyundai.decoder.counters.bad["status"] == 3


def test_a_car_that_falls_silent_is_looked_after_once_in_five_minutes() -> None:
    hyundai = bus()
    hyundai.poll()
    assert isinstance(hyundai.node, Ioniq5)
    hyundai.node.set({"asleep": True})
    hyundai.poll_for(65)
    before = len(hyundai.asked())
    assert hyundai.poll_for(950, every_s=10) == [None] * 95
    assert hyundai.asked()[before:] == ["220101"] * 6, "three looks, each put twice"
    assert hyundai.decoder.about["asleep"]
    hyundai.node.set({"asleep": None})
    readings = hyundai.poll_for(310, every_s=10)
    assert readings[-1] is not None
    assert not hyundai.decoder.about["asleep"]


def test_a_car_that_answers_with_the_high_voltage_off_is_let_sleep() -> None:
    hyundai = bus()
    assert isinstance(hyundai.node, Ioniq5)
    hyundai.node.set({"ready": False})
    hyundai.poll_for(70)
    before = len(hyundai.asked())
    hyundai.poll_for(200, every_s=10)
    assert len(hyundai.asked()) == before
    hyundai.node.set({"ready": True})
    hyundai.poll_for(200, every_s=10)
    assert hyundai.poll() is not None


def test_a_low_12_v_battery_stops_the_questions_at_once_and_for_an_hour() -> None:
    hyundai = bus()
    hyundai.poll()
    assert isinstance(hyundai.node, Ioniq5)
    hyundai.node.set({"aux_v": 12.1})
    hyundai.poll()
    before = len(hyundai.asked())
    hyundai.poll_for(3500, every_s=10)
    assert len(hyundai.asked()) == before
    hyundai.poll_for(200, every_s=10)
    assert hyundai.asked()[before:] == ["220101"]
    hyundai.node.set({"aux_v": 13.9})
    hyundai.decoder.look()
    hyundai.poll()
    assert hyundai.poll() is not None
    assert hyundai.asked()[before + 1 : before + 3] == ["220101"] * 2


def test_whoever_polls_rarely_is_answered_also_by_a_car_that_slept() -> None:
    hyundai = bus()
    assert isinstance(hyundai.node, Ioniq5)
    hyundai.node.set({"ready": False})
    hyundai.poll_for(100)
    hyundai.now_s += 121
    assert hyundai.poll() is not None
    hyundai.node.set({"aux_v": 12.0})
    hyundai.now_s += 121
    hyundai.poll()
    hyundai.now_s += 121
    assert hyundai.poll() is None


def test_a_question_lost_costs_a_try_and_no_reading() -> None:
    hyundai = bus()
    times = itertools.count()

    def loses_the_first(frame: CanFrame) -> Iterator[CanFrame]:
        if next(times):
            yield frame

    hyundai.spoils = loses_the_first
    assert hyundai.poll() is not None
    assert hyundai.asked()[:3] == ["220101", "220101", "220105"]


def test_a_lost_frame_of_an_answer_is_counted_and_never_read() -> None:
    hyundai = bus()
    hyundai.poll()
    times = itertools.count()

    def loses_every_fifth(frame: CanFrame) -> Iterator[CanFrame]:
        if next(times) % 5:
            yield frame

    hyundai.spoils = loses_every_fifth
    assert set(hyundai.poll_for(20)) == {None}
    assert hyundai.decoder.counters.bad["length"] > 5


def test_an_old_reading_is_not_given_for_a_poll_that_failed() -> None:
    hyundai = bus()
    assert hyundai.poll() is not None
    assert isinstance(hyundai.node, Ioniq5)
    hyundai.node.set({"asleep": True})
    assert hyundai.poll() is None


def test_answers_of_others_are_not_taken_for_ours() -> None:
    decoder = UdsEvDecoder("ioniq5")
    decoder.begin(BEGAN_S)
    answer = CanFrame(0x7EC, bytes.fromhex("0462833480aaaaaa"))
    for other in (answer, answer._replace(can_id=0x7EB), answer._replace(extended=True)):
        assert decoder.feed([other], BEGAN_S + 0.1) == []
    assert decoder.waiting
    assert decoder.reading(BEGAN_S + 0.1) is None


def test_flow_control_to_7df_goes_to_the_unit_that_answers() -> None:
    client = Client(Address(0x7DF, 0x7E8, broadcast=True))
    client.ask([b"\x09\x02"])
    client.tick(0.0)
    first, *rest = segment(b"\x49\x02\x01" + b"W" * 17)
    assert client.feed(CanFrame(0x7EF, bytes.fromhex("037f091100000000")), 0.1) == []
    (flow_control,) = client.feed(CanFrame(0x7EA, first), 0.1)
    assert flow_control.can_id == 0x7E2
    for frame in rest:
        client.feed(CanFrame(0x7EA, frame), 0.2)
    (outcome,) = client.outcomes()
    assert outcome.answer == parse(b"\x49\x02\x01" + b"W" * 17)


def test_a_long_question_goes_out_as_flow_control_lets_it() -> None:
    client = Client(UNIT)
    client.ask([bytes.fromhex("220101010501020103")])
    (first,) = client.tick(0.0)
    assert first.data.hex() == "1009220101010501"
    assert client.tick(0.1) == []
    (rest,) = client.feed(CanFrame(0x7EC, bytes.fromhex("3000000000000000")), 0.2)
    assert rest == CanFrame(0x7E4, bytes.fromhex("2102010300000000"))
    client.feed(CanFrame(0x7EC, bytes.fromhex("0462010155000000")), 0.3)
    assert [outcome.answer is not None for outcome in client.outcomes()] == [True]


def test_a_session_is_opened_first_and_kept_while_there_are_questions() -> None:
    client = Client(UNIT, session=3)
    sent: list[tuple[float, str]] = []
    for tenth in range(80):
        now_s = tenth / 10
        client.ask([b"\x22\x01\x01"])
        for frame in client.tick(now_s):
            question = frame.data[1 : 1 + frame.data[0]]
            sent.append((now_s, question.hex()))
            if question != b"\x3e\x80":
                reply = bytes((question[0] | 0x40,)) + question[1:] + b"\x00"
                client.feed(CanFrame(0x7EC, bytes((len(reply),)) + reply), now_s)
    assert [question for _, question in sent[:2]] == ["1003", "220101"]
    presents = [at_s for at_s, question in sent if question == "3e80"]
    assert [after - before for before, after in pairwise([0.0, *presents])] == pytest.approx(
        [2.0] * len(presents), abs=0.21
    )
    assert len(presents) >= 3


def test_no_session_is_kept_that_was_refused_or_never_needed() -> None:
    client = Client(UNIT, session=3)
    client.ask([b"\x22\x01\x01"])
    client.tick(0.0)
    client.feed(CanFrame(0x7EC, bytes.fromhex("037f101200000000")), 0.1)
    sent = [frame.data[1] for at_s in (0.3, 2.5, 3.0) for frame in client.tick(at_s)]
    assert 0x3E not in sent
    assert "3e80" not in bus().asked()


def test_a_capture_is_read_without_asking() -> None:
    decoder = UdsEvDecoder()
    frames = [CanFrame(0x7BB, frame) for frame in segment(b"\x61\x01" + bytes(51))]
    assert decoder.feed(frames, 1.0) == []
    assert decoder.about["car"] == "leaf"
    reading = decoder.reading(1.0)
    assert reading is not None
    assert reading.voltage_v == 0.0
    assert decoder.due_s == math.inf


def test_an_unknown_car_is_refused_with_the_known_ones() -> None:
    with pytest.raises(UnknownCarError, match="ioniq5"):
        UdsEvDecoder("trabant")
