"""Which positions are believed: the emulated receiver's sentences, read and judged."""

import functools
import itertools
import operator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.gnss import to_signals
from edge.gnss.fix import JUMPS_BELIEVED, UERE_M, Believer, Fix, distance_m
from edge.gnss.nmea import LONGEST_BYTES, Gsa, Gst, Sentences
from firmware_shim.faults import Faults
from firmware_shim.gnss import BEGAN, GnssReceiver
from protocol.signals import BY_KEY


def sentence(text: str) -> bytes:
    checksum = functools.reduce(operator.xor, text.encode())
    return f"${text}*{checksum:02X}\r\n".encode()


class Ears:
    """A receiver and who listens to it, a second at a time."""

    def __init__(self, began: datetime = BEGAN) -> None:
        self.receiver = GnssReceiver(began=began)
        self.sentences = Sentences()
        self.believer = Believer()
        self.now_s = 0.0

    def second(self, **dials: Any) -> Fix | None:
        """Turn the dials, let a second pass and return what is believed of it."""
        self.receiver.set(dials)
        found = None
        for line in self.receiver.tick(self.now_s):
            for sentence in self.sentences.feed(line):
                found = self.believer.take(sentence, self.now_s) or found
        self.now_s += 1.0
        return found


def test_a_moving_vehicle_is_seen_where_it_is_and_how_fast() -> None:
    ears = Ears()
    assert ears.second(speed_kmh=18.0) is not None
    fix = ears.second()
    assert fix is not None
    assert fix.latitude_deg == pytest.approx(52.520008, abs=1e-6)
    assert fix.longitude_deg > 13.404954
    assert fix.speed_kmh == pytest.approx(18.0, abs=0.01)
    assert (fix.hdop, fix.seen_at_s) == (0.9, 1.0)
    values = to_signals(fix)
    keys = ("latitude_deg", "longitude_deg", "speed_kmh", "accuracy_m", "altitude_m", "heading_deg")
    assert set(values) == {BY_KEY[key].id for key in keys}
    assert values[BY_KEY["altitude_m"].id] == 74
    assert values[BY_KEY["heading_deg"].id] == 90


def test_the_accuracy_is_the_receivers_word_or_else_follows_hdop() -> None:
    first, said = (ears := Ears()).second(hdop=2.0), ears.second()
    assert first is not None
    assert said is not None
    assert first.accuracy_m == pytest.approx(2.0 * UERE_M)
    assert said.accuracy_m == pytest.approx(5.0, abs=0.02)


def test_a_word_on_the_accuracy_that_is_old_is_forgotten() -> None:
    believer = Believer()
    believer.take(Gst(3.0, 4.0), 0.0)
    for now_s, accuracy_m in ((2.0, 5.0), (3.0, 0.9 * UERE_M)):
        found = None
        for sentence in Sentences().feed(b"".join(GnssReceiver().tick(now_s)[:3])):
            found = believer.take(sentence, now_s) or found
        assert found is not None
        assert found.accuracy_m == pytest.approx(accuracy_m)


def test_a_receiver_that_does_not_know_how_far_off_it_is_says_so_with_empty_fields() -> None:
    sentences = Sentences().feed(sentence("GNGST,120000.00,,,,,,,"))
    assert sentences == [Gst(None, None)]


def test_a_fix_without_height_has_none_and_a_standing_one_no_heading() -> None:
    ears = Ears()
    ears.believer.take(Gsa(2, 0.9), 0.0)
    fix = ears.second()
    assert fix is not None
    assert (fix.altitude_m, fix.heading_deg) == (None, None)


def test_the_hdop_of_gsa_stands_in_for_an_empty_one() -> None:
    believer = Believer()
    at = "120000.00,5231.20048,N,01324.29724,E"
    time, place = at.split(",", 1)
    said = sentence(f"GPRMC,{time},A,{place},0.0,,011226,,,A") + sentence(
        f"GPGGA,{time},{place},1,07,,34.0,M,39.6,M,,"
    )
    assert [believer.take(one, 1.0) for one in Sentences().feed(said)] == [None, None]
    assert believer.refused["incomplete"] == 1
    believer.take(Gsa(3, 1.2), 1.0)
    found = [believer.take(one, 1.0) for one in Sentences().feed(said)]
    assert isinstance(found[1], Fix)
    assert found[1].hdop == 1.2


@pytest.mark.parametrize("mode", ["A", "N"])
@pytest.mark.parametrize("status", ["A", "V"])
@pytest.mark.parametrize("talker", ["GP", "GL", "GA", "GB", "BD", "GQ", "GN"])
def test_every_talker_is_heard_and_only_status_a_with_a_fixed_mode_is_believed(
    talker: str, status: str, mode: str
) -> None:
    time, place = "120000.00", "5231.20048,N,01324.29724,E"
    said = sentence(f"{talker}RMC,{time},{status},{place},0.0,,011226,,,{mode}") + sentence(
        f"{talker}GGA,{time},{place},1,07,0.9,34.0,M,39.6,M,,"
    )
    believer = Believer()
    fixes = [believer.take(one, 1.0) for one in Sentences().feed(said)]
    assert len(fixes) == 2
    assert (fixes[1] is not None) == ((status, mode) == ("A", "A"))


def test_a_position_between_houses_is_believed_with_the_accuracy_it_has() -> None:
    ears = Ears()
    ears.second(urban=True)
    fixes = [ears.second() for _ in range(60)]
    here = Fix(ears.receiver.sky.latitude_deg, ears.receiver.sky.longitude_deg, 0, 0, 0)
    for fix in fixes:
        assert fix is not None
        assert fix.accuracy_m is not None
        assert distance_m(here, fix) <= fix.accuracy_m * 1.5


def test_after_a_cold_start_the_first_fix_is_believed() -> None:
    ears = Ears()
    ears.receiver.set({"cold_start_s": 5})
    assert [ears.second() is not None for _ in range(7)] == [False] * 5 + [True] * 2


@pytest.mark.parametrize(("north", "east"), [(-33.856784, 151.215297), (40.6892, -74.0445)])
def test_south_and_west_are_negative(north: float, east: float) -> None:
    fix = Ears().second(latitude_deg=north, longitude_deg=east)
    assert fix is not None
    assert fix.latitude_deg == pytest.approx(north, abs=1e-6)
    assert fix.longitude_deg == pytest.approx(east, abs=1e-6)


@pytest.mark.parametrize(("dials", "reason"), [({"fix": False}, "no_fix"), ({"hdop": 5.1}, "hdop")])
def test_a_bad_sky_is_not_believed_and_a_good_one_is_again(
    dials: dict[str, Any], reason: str
) -> None:
    ears = Ears()
    assert ears.second(**dials) is None
    assert ears.believer.refused[reason] >= 1
    assert ears.second(**dict.fromkeys(dials)) is not None


def test_a_receiver_whose_week_rolled_over_is_not_believed() -> None:
    ears = Ears()
    assert ears.second(rollovers=1) is None
    assert ears.believer.refused == {"date": 1}
    assert ears.second(rollovers=None) is not None
    assert Ears(BEGAN - timedelta(weeks=1024)).second() is None
    assert Ears(datetime(2026, 7, 1, tzinfo=UTC)).second() is not None


def test_a_jump_is_refused_until_it_stays() -> None:
    ears = Ears()
    assert ears.second() is not None
    away = [ears.second(latitude_deg=53.0) for _ in range(JUMPS_BELIEVED)]
    assert [fix is not None for fix in away] == [False] * (JUMPS_BELIEVED - 1) + [True]
    assert ears.second() is not None


def test_one_jump_and_back_is_forgotten() -> None:
    ears = Ears()
    ears.second()
    for _ in range(2 * JUMPS_BELIEVED):
        assert ears.second(latitude_deg=53.0) is None
        assert ears.second(latitude_deg=None) is not None


def test_a_wrong_checksum_is_counted_and_costs_one_sentence() -> None:
    sentences = Sentences()
    rmc, _, gga, *_ = GnssReceiver().tick(0.0)
    assert sentences.feed(rmc.replace(b",A,", b",B,", 1) + gga)
    assert (sentences.good, sentences.bad["checksum"]) == (1, 1)


@given(cuts=st.lists(st.integers(0, 200), max_size=8))
def test_slicing_changes_nothing(cuts: list[int]) -> None:
    stream = b"".join(GnssReceiver().tick(0.0))
    sentences, whole = Sentences(), Sentences().feed(stream)
    edges = [0, *sorted(min(cut, len(stream)) for cut in cuts), len(stream)]
    parts = [stream[a:b] for a, b in itertools.pairwise(edges)]
    assert [one for part in parts for one in sentences.feed(part)] == whole


@given(noise=st.binary(max_size=2 * LONGEST_BYTES))
def test_noise_is_survived_and_forgotten(noise: bytes) -> None:
    sentences = Sentences()
    sentences.feed(noise)
    assert len(sentences._pending) <= LONGEST_BYTES
    assert len(sentences.feed(b"\r\n" + b"".join(GnssReceiver().tick(0.0)))) >= 2


@pytest.mark.parametrize("fault", ["bad_checksum", "noise", "half_frame", "split", "joined"])
def test_no_fault_of_the_line_moves_the_vehicle(fault: str) -> None:
    faults = Faults({fault: 0.5}, seed=3)
    receiver, sentences, believer = GnssReceiver(faults=faults), Sentences(), Believer()
    here = Fix(receiver.sky.latitude_deg, receiver.sky.longitude_deg, 0, 0, 0)
    seen = []
    for now_s in range(100):
        for piece in faults.on_line(receiver.tick(float(now_s))):
            found = [believer.take(one, float(now_s)) for one in sentences.feed(piece.data)]
            seen += [fix for fix in found if fix is not None]
    assert len(seen) > 10
    assert all(distance_m(here, fix) < 0.1 for fix in seen)
