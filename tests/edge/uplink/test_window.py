"""What is sent when: the rules of the window, one by one."""

import itertools

import pytest

from edge.uplink.window import FIRST, LARGEST, Window
from protocol.segment import Lane
from tests.edge.uplink.network import EPOCH, segments


def a_window(*, size: int = 16, chance: float = 0.0) -> Window:
    window = Window(lambda: chance)
    for lane in Lane:
        window.follow(lane, EPOCH)
    seq = 0
    while window.size < size:
        seq += 1
        window.take(segments(Lane.FACT, seq)[-1:])
        window.due(0.0)
        window.acknowledge(Lane.FACT, EPOCH, seq, [], 0.1)
    return window


def send(window: Window, lane: Lane, count: int, now_s: float = 0.0) -> list[int]:
    window.take(segments(lane, count))
    return [segment.first_seq for segment in window.due(now_s)]


def seqs(window: Window, now_s: float) -> list[int]:
    return [segment.first_seq for segment in window.due(now_s)]


def test_a_segment_is_sent_once_and_then_waits() -> None:
    window = a_window()
    assert send(window, Lane.SIGNAL, 3) == [1, 2, 3]
    assert seqs(window, 0.01) == []
    assert window.in_flight == 3


def test_facts_go_before_signals() -> None:
    window = Window(lambda: 0.0)
    window.take(segments(Lane.SIGNAL, 2))
    window.take(segments(Lane.FACT, 1))
    assert [segment.lane for segment in window.due(0.0)] == [Lane.FACT, Lane.SIGNAL, Lane.SIGNAL]


def test_a_window_full_of_signals_leaves_room_for_facts() -> None:
    window = a_window()
    window.take(segments(Lane.SIGNAL, window.room(Lane.SIGNAL)))
    assert window.room(Lane.SIGNAL) == 0
    assert window.room(Lane.FACT) >= 2
    window.take(segments(Lane.FACT, window.room(Lane.FACT)))
    assert window.in_flight == LARGEST


def test_the_window_begins_small_and_grows_on_progress() -> None:
    window = Window(lambda: 0.0)
    window.follow(Lane.SIGNAL, EPOCH)
    assert window.room(Lane.SIGNAL) == FIRST
    send(window, Lane.SIGNAL, 2)
    window.acknowledge(Lane.SIGNAL, EPOCH, 2, [], 0.05)
    assert window.room(Lane.SIGNAL) == FIRST + 2


def test_the_window_halves_when_acks_take_more_than_a_second() -> None:
    window = a_window(size=16)
    send(window, Lane.SIGNAL, 2, 10.0)
    window.acknowledge(Lane.SIGNAL, EPOCH, 2, [], 11.5)
    assert window.size == 8


def test_a_burst_of_late_acks_halves_the_window_only_once() -> None:
    window = a_window(size=16)
    send(window, Lane.SIGNAL, 4, 10.0)
    for through in (1, 2, 3, 4):
        window.acknowledge(Lane.SIGNAL, EPOCH, through, [], 12.0)
    assert window.size == 8


def test_a_hole_below_what_the_cloud_has_is_sent_again_after_a_round_trip() -> None:
    window = a_window()
    send(window, Lane.SIGNAL, 4, 10.0)
    window.acknowledge(Lane.SIGNAL, EPOCH, 1, [(3, 3)], 10.05)
    assert seqs(window, 10.05) == []
    assert window.next_due_s() == pytest.approx(10.0 + window.round_trip.hole_s)
    assert seqs(window, 10.2) == [2]
    assert seqs(window, 10.21) == []


def test_what_lies_beyond_the_cloud_s_highest_seq_is_no_hole() -> None:
    window = a_window()
    send(window, Lane.SIGNAL, 4, 10.0)
    window.acknowledge(Lane.SIGNAL, EPOCH, 2, [], 10.05)
    assert seqs(window, 10.5) == []


def test_only_the_oldest_segment_is_sent_again_when_acks_stop() -> None:
    window = a_window()
    send(window, Lane.SIGNAL, 8, 10.0)
    assert seqs(window, 10.9) == []
    assert seqs(window, window.next_due_s()) == [1]


def test_silence_makes_the_device_more_patient_each_time() -> None:
    window = a_window()
    send(window, Lane.SIGNAL, 4, 10.0)
    moments = []
    for _ in range(4):
        moments.append(window.next_due_s())
        assert seqs(window, moments[-1]) == [1]
    waits = [later - earlier for earlier, later in itertools.pairwise(moments)]
    assert waits == sorted(waits)
    assert waits[-1] > 3 * waits[0]


def test_jitter_keeps_vehicles_from_repeating_in_step() -> None:
    calm, late = a_window(chance=0.0), a_window(chance=1.0)
    for window in (calm, late):
        send(window, Lane.SIGNAL, 1, 10.0)
        window.due(window.next_due_s())
    assert late.next_due_s() > calm.next_due_s()


def test_a_lost_window_comes_back_one_segment_an_ack() -> None:
    window = a_window()
    send(window, Lane.SIGNAL, 4, 10.0)
    timeout_s = window.next_due_s()
    assert seqs(window, timeout_s) == [1]
    window.acknowledge(Lane.SIGNAL, EPOCH, 1, [], timeout_s + 0.1)
    assert seqs(window, timeout_s + 0.1) == [2]
    assert seqs(window, timeout_s + 0.11) == []


def test_a_late_ack_of_the_first_sending_repeats_nothing() -> None:
    window = a_window()
    send(window, Lane.SIGNAL, 4, 10.0)
    timeout_s = window.next_due_s()
    window.due(timeout_s)
    window.acknowledge(Lane.SIGNAL, EPOCH, 1, [], timeout_s + 0.001)
    assert seqs(window, timeout_s + 0.002) == []


def test_a_repeated_segment_tells_nothing_about_the_round_trip() -> None:
    window = a_window()
    before = window.round_trip.smooth_s
    send(window, Lane.SIGNAL, 1, 10.0)
    again_s = window.next_due_s()
    window.due(again_s)
    window.acknowledge(Lane.SIGNAL, EPOCH, 1, [], again_s + 0.3)
    assert window.round_trip.smooth_s == before


def test_an_ack_of_another_epoch_changes_nothing() -> None:
    window = a_window()
    send(window, Lane.SIGNAL, 2)
    assert window.acknowledge(Lane.SIGNAL, EPOCH + 1, 2, [], 0.1) == 0
    assert window.in_flight == 2


def test_a_new_epoch_of_the_journal_is_read_from_its_start() -> None:
    window = a_window()
    send(window, Lane.SIGNAL, 3)
    window.follow(Lane.SIGNAL, EPOCH + 1)
    assert window.in_flight == 0
    assert window.next_seq(Lane.SIGNAL) == 0


def test_a_new_connection_reads_the_journal_from_its_start() -> None:
    window = a_window()
    send(window, Lane.SIGNAL, 3)
    window.reset()
    assert (window.in_flight, window.next_seq(Lane.SIGNAL), window.size) == (0, 0, FIRST)


def test_an_answered_hello_ends_the_back_off() -> None:
    window = a_window()
    send(window, Lane.SIGNAL, 2, 10.0)
    for _ in range(5):
        window.due(window.next_due_s())
    patient_s = window.next_due_s()
    window.answered()
    assert window.next_due_s() < patient_s - 5


def test_a_frozen_link_long_ago_does_not_make_a_lost_window_wait_for_silence_each_time() -> None:
    window = a_window()
    window.round_trip.sample(20.0)
    for _ in range(8):
        window.round_trip.sample(0.02)
    assert window.round_trip.smooth_s is not None
    assert window.round_trip.smooth_s > 0.5
    send(window, Lane.SIGNAL, 4, 10.0)
    timeout_s = window.next_due_s()
    assert seqs(window, timeout_s) == [1]
    window.acknowledge(Lane.SIGNAL, EPOCH, 1, [], timeout_s + 0.02)
    assert seqs(window, timeout_s + 0.02) == [2]
