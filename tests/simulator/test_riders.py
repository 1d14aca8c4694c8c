"""The demo's customers, apart from any cloud."""

import io
import random
from collections import Counter
from datetime import UTC, datetime
from pathlib import Path

import pytest
from PIL import Image

from cloud.kit.clock import SystemClock
from simulator.figures import Figures
from simulator.photo import take_photo
from simulator.ride import Done
from simulator.riders import Riders, Tally, kind_of_ride, served_at
from simulator.vehicles import NoCloudError

NOW = datetime(2026, 11, 24, 12, 0, 5, tzinfo=UTC)


def test_rides_of_every_kind_come_up_and_most_are_plain() -> None:
    chance = random.Random(1)
    kinds = Counter(kind_of_ride(chance) for _ in range(500))
    assert set(kinds) == {"plain", "late", "misparked", "cancelled", "called_off", "declined"}
    assert kinds["plain"] > 250


def test_the_line_says_what_became_of_the_rides() -> None:
    tally = Tally()
    assert str(tally) == "0 rides done · 0 cancelled or declined · 0.00 EUR captured"
    tally.add(Done("ended", "demo-001", paid={"amount_minor": 244, "currency": "EUR"}))
    tally.add(Done("declined", "demo-002"))
    tally.troubles += 1
    assert str(tally) == ("1 rides done · 1 cancelled or declined · 2.44 EUR captured · 1 failed")


def test_the_line_says_what_the_vehicles_do() -> None:
    states = {"on_trip": 3, "reserved": 1, "available": 15, "non_contactable": 1}
    assert Figures(20, 1, 0, None, states=states).use == "3 riding · 1 held · 15 free · 1 others"
    assert Figures(20, 1, 0, None, states={"available": 2}).use == "0 riding · 0 held · 2 free"


def test_accounts_are_new_ones_at_first_and_a_torn_file_is_forgotten(tmp_path: Path) -> None:
    (tmp_path / "riders.json").write_text('[{"email": "ada@example.org", "password": "p"}]')
    kept = Riders(tmp_path, 2, 0, SystemClock()).accounts
    assert kept[0].email == "ada@example.org"
    assert kept[1].email.startswith("rider-")
    (tmp_path / "riders.json").write_text("torn")
    assert len({each.email for each in Riders(tmp_path, 3, 0, SystemClock()).accounts}) == 3
    assert Riders(tmp_path, 0, 0, SystemClock()).accounts == []


def test_without_a_cloud_the_next_step_is_told(tmp_path: Path) -> None:
    with pytest.raises(NoCloudError, match="make demo DATA_DIR="):
        served_at(tmp_path)


def test_no_photo_is_like_another_and_each_says_when_it_was_taken() -> None:
    chance = random.Random(1)
    one, two = (Image.open(io.BytesIO(take_photo(chance, NOW))) for _ in range(2))
    assert one.format == "JPEG"
    assert one.tobytes() != two.tobytes()
    details = one.getexif().get_ifd(0x8769)
    assert (details[36867], details[36881]) == ("2026:11:24 12:00:05", "+00:00")
