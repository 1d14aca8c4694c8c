"""Which positions are believed: the emulated receiver's sentences, read and judged."""

import itertools
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.gnss import to_signals
from edge.gnss.fix import JUMPS_BELIEVED, Believer, Fix
from edge.gnss.nmea import LONGEST_BYTES, Sentences
from firmware_shim.gnss import BEGAN, GnssReceiver
from protocol.signals import BY_KEY


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
    assert set(values) == {BY_KEY[key].id for key in ("latitude_deg", "longitude_deg", "speed_kmh")}


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
    rmc, gga = GnssReceiver().tick(0.0)
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
