"""A vehicle's MDS state: which event leads from which state to which. Pure.

A vehicle that is not heard has a state beneath `non_contactable` or `missing`; it comes back to
it. Likewise one that left the city comes back to the state it left in.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace

from cloud.fleet.mds_rows import ROWS, Mode

LOST = frozenset({"non_contactable", "missing"})
"""States of a vehicle that nobody hears or finds."""

ELSEWHERE = "elsewhere"

STATES: Mapping[Mode, frozenset[str]] = {
    mode: frozenset({state for before, _, after in rows for state in (before, after)})
    for mode, rows in ROWS.items()
}
EVENTS: Mapping[Mode, frozenset[str]] = {
    mode: frozenset({event for _, event, _ in rows}) for mode, rows in ROWS.items()
}


class IllegalTransitionError(ValueError):
    """MDS knows no such step, or several and nobody said which."""


@dataclass(frozen=True, slots=True)
class VehicleState:
    """Where a vehicle is in its life.

    Attributes:
        shown: its MDS state.
        life: the state beneath lost contact; the same as `shown` while it is heard.
        home: the state it left the city in; None while it is there.
    """

    shown: str
    life: str
    home: str | None = None

    @classmethod
    def of(cls, state: str) -> "VehicleState":
        """Return the state of a vehicle that is heard and in the city."""
        return cls(state, state)

    @property
    def is_lost(self) -> bool:
        """Whether nobody hears or finds it."""
        return self.shown in LOST


@dataclass(frozen=True, slots=True)
class Step:
    """One legal step: `before` and `after` are a row of the table with its event."""

    before: str
    event: str
    after: str
    state: VehicleState


def transition(mode: Mode, state: VehicleState, event: str, to: str | None = None) -> Step:
    """Return the step that an event makes.

    What happens to a vehicle that is not heard moves the state beneath, and shows when it is heard
    again.

    Args:
        mode: of its type.
        state: before.
        event: MDS event type.
        to: which state, where the event may lead to several; else the one it came from.

    Raises:
        IllegalTransitionError: there is no such step.
    """
    targets = _targets(mode, state.shown, event)
    if targets:
        after = _chosen(mode, state, event, targets, to)
        return Step(state.shown, event, after, _moved(state, after))
    if state.is_lost and state.life not in LOST:
        heard = replace(state, shown=state.life)
        step = transition(mode, heard, event, to)
        if not step.state.is_lost:
            return replace(step, state=replace(step.state, shown=state.shown))
    raise IllegalTransitionError(
        f"{event} does not exist from {state.shown} for {mode};"
        f" from there: {', '.join(sorted(_events_from(mode, state.shown))) or 'nothing'}"
    )


def _targets(mode: Mode, before: str, event: str) -> frozenset[str]:
    return _TARGETS[mode].get((before, event), frozenset())


def _chosen(
    mode: Mode, state: VehicleState, event: str, targets: frozenset[str], to: str | None
) -> str:
    if to is None and len(targets) == 1:
        return next(iter(targets))
    wanted = to or (state.life if state.is_lost else state.home)
    if wanted in targets:
        return wanted
    raise IllegalTransitionError(
        f"{event} from {state.shown} leads to {', '.join(sorted(targets))} for {mode},"
        f" not to {wanted or 'an unknown state'}; say to which"
    )


def _moved(state: VehicleState, after: str) -> VehicleState:
    if after in LOST:
        return replace(state, shown=after)
    if after != ELSEWHERE:
        return VehicleState.of(after)
    return VehicleState(after, after, state.home if state.life == ELSEWHERE else state.life)


def _events_from(mode: Mode, before: str) -> set[str]:
    return {event for known, event in _TARGETS[mode] if known == before}


def _by_step(mode: Mode) -> dict[tuple[str, str], frozenset[str]]:
    found: dict[tuple[str, str], frozenset[str]] = {}
    for before, event, after in ROWS[mode]:
        found[before, event] = found.get((before, event), frozenset()) | {after}
    return found


_TARGETS: Mapping[Mode, Mapping[tuple[str, str], frozenset[str]]] = {
    mode: _by_step(mode) for mode in ROWS
}
