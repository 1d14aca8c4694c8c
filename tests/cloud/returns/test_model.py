"""The rules of returns, without a database."""

from datetime import timedelta
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cloud.returns import model
from cloud.returns.model import Bay, Evidence, Ground, Photo, Policy, Position
from tests.cloud.sealed import NOON

POLICY = Policy()
BAY = Bay(UUID(int=1), "Centre", 52.52, 13.4, 0, 1)
GOOD = Photo(1_600, 1_200, 120.0, 400.0, None, None, NOON, seen_before=False)


def a_fix(age_s: float, by: str = "vehicle", accuracy_m: float = 5.0) -> Position:
    at = NOON - timedelta(seconds=age_s)
    return Position(52.52, 13.4, accuracy_m, at, "vehicle" if by == "vehicle" else "phone")


@pytest.mark.parametrize(
    ("vehicle_s", "has_phone", "by"),
    [
        (30, True, "vehicle"),
        (31, True, "phone"),
        (31, False, "vehicle"),
        (121, False, None),
        (None, True, "phone"),
        (None, False, None),
    ],
)
def test_the_vehicle_is_believed_while_its_fix_is_young(
    vehicle_s: float | None, has_phone: bool, by: str | None
) -> None:
    vehicle = None if vehicle_s is None else a_fix(vehicle_s)
    phone = a_fix(0, "phone") if has_phone else None
    found = model.believed(vehicle, phone, NOON, POLICY)
    assert (None if found is None else found.by) == by


@pytest.mark.parametrize(
    ("ground", "step"),
    [
        (Ground("inside", BAY), ("end", "")),
        (Ground("free_floating"), ("end", "")),
        (Ground("unknown"), ("review", "position_unknown")),
        (Ground("full", BAY, (BAY,)), ("bay_full", "")),
        (Ground("full", BAY), ("review", "nowhere_to_go")),
        (Ground("outside", None, (BAY,), is_certain=True), ("move_or_accept", "")),
        (Ground("outside", None, (BAY,)), ("review", "position_uncertain")),
        (Ground("outside", zone="Town", is_certain=True), ("review", "nowhere_to_go")),
        (Ground("outside", in_service_area=False, is_certain=True), ("move_or_accept", "")),
        (Ground("no_parking", zone="Park", is_certain=True), ("move_or_accept", "")),
        # Nobody drew anything here: there is nothing to break.
        (Ground("outside", is_certain=True), ("end", "")),
    ],
)
def test_what_comes_of_a_place(ground: Ground, step: tuple[str, str]) -> None:
    assert model.step_at(ground) == step


def evidence(**changed: object) -> Evidence:
    told = {
        "ground": Ground("inside", BAY, is_certain=True),
        "position": a_fix(0),
        "ended_at": NOON,
        "has_place": True,
        "doubt": "",
        "photo": GOOD,
        "retakes_left": 2,
    }
    return Evidence(**(told | changed))  # type: ignore[arg-type]  # a test's shorthand


def test_a_good_return_is_accepted() -> None:
    assert model.judge(evidence(), POLICY) == model.Judgement("accepted")


@pytest.mark.parametrize(
    ("changed", "outcome", "reason"),
    [
        ({"photo": None}, "retake", "no_photo"),
        ({"photo": None, "retakes_left": 0}, "retake", "no_photo"),
        ({"has_place": False}, "review", "no_place"),
        ({"doubt": "nowhere_to_go"}, "review", "nowhere_to_go"),
        ({"position": a_fix(0, accuracy_m=31.0)}, "review", "position_uncertain"),
    ],
)
def test_what_is_not_sure_is_never_accepted_nor_fined(
    changed: dict[str, object], outcome: str, reason: str
) -> None:
    assert model.judge(evidence(**changed), POLICY) == model.Judgement(outcome, (reason,))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("changed", "fault"),
    [
        ({"brightness": 24.0}, "dark"),
        ({"sharpness": 24.0}, "blurred"),
        ({"width": 200}, "small"),
        ({"is_screenshot": True}, "screenshot"),
        ({"seen_before": True}, "seen_before"),
        ({"taken_at": NOON - timedelta(minutes=10, seconds=1)}, "old"),
        ({"taken_at": NOON + timedelta(minutes=6)}, "old"),
        ({"place": (52.523, 13.4)}, "elsewhere"),
    ],
)
def test_a_bad_photo_is_taken_again_and_then_looked_at(
    changed: dict[str, object], fault: str
) -> None:
    told = {name: getattr(GOOD, name) for name in GOOD.__slots__} | changed
    photo = Photo(**told)
    assert model.judge(evidence(photo=photo), POLICY) == model.Judgement("retake", (fault,))
    last = model.judge(evidence(photo=photo, retakes_left=0), POLICY)
    assert last == model.Judgement("review", (fault,))


@given(st.integers(-(2**63), 2**63 - 1), st.sets(st.integers(0, 63), max_size=3))
def test_hashes_of_one_picture_share_a_band(phash: int, flipped: set[int]) -> None:
    near = phash % 2**64
    for bit in flipped:
        near ^= 1 << bit
    assert set(model.bands_of(phash)) & set(model.bands_of(near))
    assert all(0 <= band < 2**31 for band in model.bands_of(phash))
