"""MDS states: every legal step, and no other."""

import itertools
import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cloud.fleet.happenings import Happening, events_for
from cloud.fleet.mds import EVENTS, LOST, STATES, IllegalTransitionError, VehicleState, transition
from cloud.fleet.mds_rows import ROWS, Mode, Row

EVERY_ROW = [(mode, *row) for mode, rows in sorted(ROWS.items()) for row in sorted(rows)]
MODES: list[Mode] = ["micromobility", "car-share"]


def a_state(shown: str) -> VehicleState:
    """A vehicle in this state; one that is not there comes back to being available."""
    if shown in LOST:
        return VehicleState(shown, "available")
    return VehicleState(shown, shown, "available" if shown == "elsewhere" else None)


@pytest.mark.parametrize(("mode", "before", "event", "after"), EVERY_ROW)
def test_a_legal_step_is_made(mode: Mode, before: str, event: str, after: str) -> None:
    step = transition(mode, a_state(before), event, after)
    assert (step.before, step.event, step.after) == (before, event, after)
    assert step.state.shown == after


@given(
    mode=st.sampled_from(MODES),
    before=st.sampled_from(sorted(STATES["micromobility"] | STATES["car-share"])),
    event=st.sampled_from(sorted(EVENTS["micromobility"] | EVENTS["car-share"])),
    after=st.sampled_from([None, *sorted(STATES["micromobility"] | STATES["car-share"])]),
)
def test_no_other_step_is_made(mode: Mode, before: str, event: str, after: str | None) -> None:
    try:
        step = transition(mode, a_state(before), event, after)
    except IllegalTransitionError:
        assert (before, event, after) not in ROWS[mode]
    else:
        assert (step.before, step.event, step.after) in ROWS[mode]
        if before not in LOST:
            assert (before, event, step.state.shown) in ROWS[mode]


@given(data=st.data(), mode=st.sampled_from(MODES))
def test_any_walk_shows_only_legal_steps_or_stays_lost(data: st.DataObject, mode: Mode) -> None:
    state = VehicleState.of("available")
    for _ in range(12):
        event = data.draw(st.sampled_from(sorted(EVENTS[mode])))
        try:
            step = transition(mode, state, event)
        except IllegalTransitionError:
            continue
        legal = (state.shown, event, step.state.shown) in ROWS[mode]
        beneath = state.is_lost and (state.life, event, step.state.life) in ROWS[mode]
        assert legal or (beneath and step.state.shown == state.shown)
        assert step.state.life not in LOST
        assert (step.state.home is None) == (step.state.life != "elsewhere")
        state = step.state


def test_every_pair_of_state_and_event_was_tried_against_the_table() -> None:
    for mode in MODES:
        for before, event in itertools.product(sorted(STATES[mode] - LOST), sorted(EVENTS[mode])):
            targets = {after for b, e, after in ROWS[mode] if (b, e) == (before, event)}
            for after in STATES[mode]:
                if after in targets:
                    assert transition(mode, a_state(before), event, after).after == after
                else:
                    with pytest.raises(IllegalTransitionError):
                        transition(mode, a_state(before), event, after)


def test_our_table_is_the_specifications(shared: Path) -> None:
    told = json.loads((shared / "standards/mds/transitions.json").read_text("utf-8"))
    rows: dict[str, set[Row]] = {
        mode: {(before, event, after) for before, event, after in rows}
        for mode, rows in told["modes"].items()
    }
    assert {mode: set(rows) for mode, rows in ROWS.items()} == rows


@pytest.mark.parametrize("life", ["available", "reserved", "on_trip", "non_operational", "removed"])
def test_a_vehicle_that_is_heard_again_is_as_it_was(life: str) -> None:
    lost = transition("micromobility", VehicleState.of(life), "comms_lost").state
    assert lost == VehicleState("non_contactable", life)
    assert transition("micromobility", lost, "comms_restored").state == VehicleState.of(life)
    missing = transition("micromobility", lost, "not_located").state
    assert transition("micromobility", missing, "located").state == VehicleState.of(life)


def test_what_happens_while_nobody_hears_shows_when_it_is_heard() -> None:
    lost = VehicleState("non_contactable", "on_trip")
    step = transition("micromobility", lost, "trip_end")
    assert (step.before, step.after) == ("on_trip", "available")
    assert step.state == VehicleState("non_contactable", "available")
    assert transition("micromobility", step.state, "comms_restored").after == "available"


def test_a_car_that_leaves_the_city_comes_back_to_what_it_was() -> None:
    away = transition("car-share", VehicleState.of("reserved"), "trip_leave_jurisdiction").state
    lost = transition("car-share", away, "comms_lost").state
    back = transition("car-share", lost, "comms_restored").state
    assert (away, back) == (VehicleState("elsewhere", "elsewhere", "reserved"), away)
    assert transition("car-share", back, "trip_enter_jurisdiction").after == "reserved"


def test_an_event_to_several_states_has_to_say_which() -> None:
    with pytest.raises(IllegalTransitionError, match="say to which"):
        transition("micromobility", VehicleState.of("available"), "unspecified")
    step = transition("micromobility", VehicleState.of("available"), "unspecified", "removed")
    assert step.after == "removed"


STORIES: list[tuple[Mode, tuple[Happening, ...], tuple[str, ...]]] = [
    (
        "micromobility",
        ("held", "started", "paused", "resumed", "ended"),
        ("reservation_start", "trip_start", "trip_end"),
    ),
    ("micromobility", ("held", "hold_over"), ("reservation_start", "reservation_cancel")),
    ("micromobility", ("held", "cancelled"), ("reservation_start", "reservation_cancel")),
    (
        "micromobility",
        ("held", "started", "cancelled"),
        ("reservation_start", "trip_start", "trip_cancel"),
    ),
    (
        "car-share",
        ("held", "started", "paused", "resumed", "ended"),
        (
            "reservation_start",
            "reservation_stop",
            "trip_start",
            "trip_stop",
            "trip_resume",
            "trip_stop",
            "trip_end",
        ),
    ),
    ("car-share", ("held", "hold_cancelled"), ("reservation_start", "customer_cancellation")),
    ("car-share", ("held", "hold_over"), ("reservation_start", "provider_cancellation")),
    (
        "car-share",
        ("started", "paused", "cancelled"),
        (
            "reservation_start",
            "reservation_stop",
            "trip_start",
            "trip_stop",
            "customer_cancellation",
        ),
    ),
]


@pytest.mark.parametrize(("mode", "story", "events"), STORIES)
def test_a_rentals_story_is_told_in_legal_events(
    mode: Mode, story: tuple[Happening, ...], events: tuple[str, ...]
) -> None:
    state, told = VehicleState.of("available"), list[str]()
    for happening in story:
        for event in events_for(mode, happening, state.life):
            state = transition(mode, state, event).state
            told.append(event)
    assert (tuple(told), state) == (events, VehicleState.of("available"))


def test_what_cannot_have_happened_is_refused() -> None:
    with pytest.raises(IllegalTransitionError, match="cannot be ended"):
        events_for("micromobility", "ended", "reserved")
