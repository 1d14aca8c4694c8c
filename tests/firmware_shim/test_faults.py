"""Faults as plain values: rates, seeds, pieces."""

import pytest

from firmware_shim.faults import FAULTS, LATE_S, Faults, Piece, parse

REPLY = bytes.fromhex("dde10000000077")


def test_without_faults_a_reply_goes_out_as_it_is() -> None:
    assert Faults().on_line([REPLY, REPLY]) == [Piece(0, REPLY), Piece(0, REPLY)]


def test_a_rate_is_how_often_it_strikes() -> None:
    faults = Faults({"no_reply": 0.25}, seed=5)
    sent = sum(len(faults.on_line([REPLY])) for _ in range(2000))
    assert 1400 < sent < 1600


def test_one_seed_is_one_history() -> None:
    rates = {"noise": 0.5, "split": 0.5, "half_frame": 0.2}
    first, again, other = (Faults(rates, seed=seed).on_line([REPLY] * 50) for seed in (1, 1, 2))
    assert first == again
    assert first != other


def test_a_late_reply_is_late_by_more_than_the_time_out() -> None:
    assert Faults({"late_reply": 1}).on_line([REPLY]) == [Piece(LATE_S, REPLY)]
    assert LATE_S > 0.3


def test_a_split_reply_is_whole_when_put_together() -> None:
    pieces = Faults({"split": 1}).on_line([REPLY])
    assert len(pieces) > 1
    assert b"".join(piece.data for piece in pieces) == REPLY


def test_a_joined_reply_waits_for_the_next() -> None:
    faults = Faults({"joined": 1})
    assert faults.on_line([REPLY]) == []
    assert faults.on_line([REPLY]) == [Piece(0, REPLY * 2)]


def test_only_the_first_request_after_a_pause_is_lost() -> None:
    faults = Faults({"drop_first_after_idle": 1}, idle_s=1.0)
    assert [faults.loses_request(at_s) for at_s in (0, 0.3, 1.2, 2.3, 2.4)] == [
        True,
        False,
        False,
        True,
        False,
    ]


@pytest.mark.parametrize("name", FAULTS)
def test_a_fault_is_written_with_and_without_its_rate(name: str) -> None:
    assert parse(name) == (name, 1.0)
    assert parse(f"{name}=0.25") == (name, 0.25)


@pytest.mark.parametrize("text", ["fire", "noise=2", "noise=-1", "noise=often", "noise=nan", ""])
def test_a_fault_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"known ones are|from 0 to 1|outside"):
        parse(text)
