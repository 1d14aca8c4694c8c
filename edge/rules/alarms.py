"""When somebody must look at the vehicle: alarms with hysteresis. Pure, the time is passed in.

A rule says True (it is so), False (it is over) or None (neither: between its two thresholds, or
nobody knows). What is so for `after_s` raises the alarm, what is over for `clear_s` ends it, and
then it can be raised again. An alarm with several causes is one alarm: it ends with the last.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from typing import Final, Literal

from edge.gnss.fix import Fix, distance_m
from edge.rules.battery import NewFact
from protocol.alarms import ALARMS, CLEARED, RAISED, Priority
from protocol.bodies import FieldValue
from protocol.commands import STANDSTILL_KMH

MOVED_M: Final = 30.0
BACK_M: Final = 15.0
SURE_M: Final = 20.0
"""A position less certain than this tells nothing about having been moved."""

SHAKEN_G: Final = 1.5
IMPACT_G: Final = 4.0
IMPACT_OVER_G: Final = 2.0
TIPPED_DEG: Final = 50.0
RIGHTED_DEG: Final = 30.0
HOT_C: Final = 60.0
COOL_C: Final = 55.0
LOW_PCT: Final = (20, 10, 5)
REARM_PCT: Final = 2.0
NO_FIX_S: Final = 600.0

_LEVEL_PRIORITY: Final[dict[int, Priority]] = {20: "low", 10: "medium", 5: "high"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Observed:
    """Everything the alarms look at, at one moment. None is unknown, or no such sensor.

    Attributes:
        mono_s: when, monotonic.
        locked: as the latch says.
        speed_kmh: the fastest fresh word; either direction.
        fix: where it is, as the receiver says.
        has_gnss: whether there is a receiver at all.
        acceleration_g: the largest since the last look, without gravity.
        tip_deg: how far it leans; `tipped` is the flag of a sensor that gives no angle.
        tipped: see `tip_deg`.
        tamper: its case is open, or a cable is cut.
        compartment_open: of the battery.
        may_open: somebody entitled has opened the compartment, and it has not been closed since.
        battery_offline: it counts as absent.
        soc_pct: state of charge.
        charging: the vehicle stands and is charged; braking that feeds the battery is not.
        hottest_c: of the battery's sensors.
        protection_bits: of the battery, without those that tell what somebody switched.
        controller_silent: there is one, and it says nothing.
        controller_fault: as it says itself.
        external_power: whether the agent is fed from outside.
        moved_m: how far it is from where it was locked; `AlarmWatch` fills it in.
    """

    mono_s: float
    locked: bool | None = None
    speed_kmh: float | None = None
    fix: Fix | None = None
    has_gnss: bool = False
    acceleration_g: float | None = None
    tip_deg: float | None = None
    tipped: bool | None = None
    tamper: bool | None = None
    compartment_open: bool | None = None
    may_open: bool = False
    battery_offline: bool = False
    soc_pct: float | None = None
    charging: bool = False
    hottest_c: float | None = None
    protection_bits: int | None = None
    controller_silent: bool = False
    controller_fault: bool | None = None
    external_power: bool | None = None
    moved_m: float | None = None


Says = Callable[[Observed], bool | None]
Value = Callable[[Observed], FieldValue]


@dataclass(frozen=True, slots=True)
class Rule:
    """One cause of one alarm; `value` is told along, under the name of `unit`."""

    alarm: str
    cause: str
    says: Says
    after_s: float
    clear_s: float
    unit: str = ""
    value: Value = lambda _seen: None


def _between(value: float | None, *, raise_above: float, clear_below: float) -> bool | None:
    if value is None:
        return None
    return True if value > raise_above else False if value < clear_below else None


def _while_locked(seen: Observed, word: bool | None) -> bool | None:
    """An unlocked vehicle may; of one that says nothing about its lock nobody knows."""
    return False if seen.locked is False else word if seen.locked else None


def _moved(seen: Observed) -> bool | None:
    return _while_locked(seen, _between(seen.moved_m, raise_above=MOVED_M, clear_below=BACK_M))


def _rolls(seen: Observed) -> bool | None:
    speed_kmh = None if seen.speed_kmh is None else abs(seen.speed_kmh)
    word = None if speed_kmh is None else speed_kmh > STANDSTILL_KMH
    return _while_locked(seen, word)


def _shaken(seen: Observed) -> bool | None:
    word = None if seen.acceleration_g is None else seen.acceleration_g > SHAKEN_G
    return _while_locked(seen, word)


def _hit(seen: Observed) -> bool | None:
    return _between(seen.acceleration_g, raise_above=IMPACT_G, clear_below=IMPACT_OVER_G)


def _tipped(seen: Observed) -> bool | None:
    if seen.tip_deg is None:
        return seen.tipped
    return _between(abs(seen.tip_deg), raise_above=TIPPED_DEG, clear_below=RIGHTED_DEG)


def _opened(seen: Observed) -> bool | None:
    if seen.may_open:
        return False
    return _while_locked(seen, seen.compartment_open)


def _gone(seen: Observed) -> bool | None:
    if seen.may_open:
        return False
    return _while_locked(seen, seen.battery_offline)


def _hot(seen: Observed) -> bool | None:
    return _between(seen.hottest_c, raise_above=HOT_C, clear_below=COOL_C)


def _protects(seen: Observed) -> bool | None:
    return None if seen.protection_bits is None else seen.protection_bits != 0


def _no_power(seen: Observed) -> bool | None:
    return None if seen.external_power is None else not seen.external_power


def _no_fix(seen: Observed) -> bool | None:
    return seen.fix is None if seen.has_gnss else None


RULES: Final = (
    Rule("moved", "distance", _moved, 2.0, 10.0, "moved_m", lambda seen: _round(seen.moved_m)),
    Rule("moved", "speed", _rolls, 3.0, 60.0, "speed_kmh", lambda seen: _round(seen.speed_kmh)),
    Rule("moved", "acceleration", _shaken, 3.0, 60.0, "g", lambda seen: seen.acceleration_g),
    Rule("tampered", "tamper", lambda seen: seen.tamper, 0.0, 3.0),
    Rule("tipped_over", "tip", _tipped, 5.0, 3.0, "tip_deg", lambda seen: _round(seen.tip_deg)),
    Rule("impact", "acceleration", _hit, 0.0, 10.0, "g", lambda seen: seen.acceleration_g),
    Rule("battery_removed", "compartment", _opened, 0.0, 3.0),
    Rule("battery_removed", "offline", _gone, 5.0, 3.0),
    Rule("battery_hot", "cell", _hot, 0.0, 0.0, "temperature_c", lambda seen: seen.hottest_c),
    Rule("battery_fault", "protection", _protects, 2.0, 10.0, "bits", lambda s: s.protection_bits),
    Rule("controller_fault", "silent", lambda seen: seen.controller_silent, 10.0, 3.0),
    Rule("controller_fault", "fault", lambda seen: seen.controller_fault, 0.0, 10.0),
    Rule("power_lost", "external", _no_power, 3.0, 3.0),
    Rule("gnss_lost", "no_fix", _no_fix, NO_FIX_S, 10.0),
)


@dataclass(slots=True)
class _Cause:
    """What a rule has said: since when it says otherwise than it counts."""

    is_on: bool = False
    since_s: float | None = None

    def see(self, rule: Rule, seen: Observed) -> None:
        word = rule.says(seen)
        if word is None or word is self.is_on:
            self.since_s = None
            return
        if self.since_s is None:
            self.since_s = seen.mono_s
        if seen.mono_s - self.since_s >= (rule.after_s if word else rule.clear_s):
            self.is_on, self.since_s = word, None


@dataclass(slots=True)
class _Anchor:
    """Where the vehicle was locked: the first good position after that."""

    at: Fix | None = None

    def see(self, seen: Observed) -> float | None:
        """Return how far it is from there, in metres."""
        if seen.locked is False:
            self.at = None
        fix = seen.fix
        if fix is None or (fix.accuracy_m or 0.0) > SURE_M:
            return None
        if self.at is None:
            self.at = fix if seen.locked else None
        return distance_m(self.at, fix) if self.at is not None else None


@dataclass(slots=True)
class LowBattery:
    """One fact for each level that is reached from above.

    A level can be reached again when the charge has risen 2 % above it, or after charging.
    """

    _level: int | None = None

    def see(self, seen: Observed) -> int | Literal["over"] | None:
        """Return a level that is reached, "over" when none is left, None when nothing changed."""
        if seen.soc_pct is None:
            return None
        before, soc_pct = self._level, seen.soc_pct
        now = min((level for level in LOW_PCT if soc_pct <= level), default=None)
        lower = now is not None and (before is None or now < before)
        rearmed = before is not None and soc_pct >= before + REARM_PCT
        if seen.charging:
            self._level = None
        elif lower or rearmed:
            self._level = now
        after = self._level
        if after is None and before is not None:
            return "over"
        return after if after is not None and (before is None or after < before) else None


@dataclass(slots=True)
class AlarmWatch:
    """Remembers what is raised; one fact when an alarm begins, one when it is over.

    A restart begins anew: what is still so is told again.
    """

    _causes: dict[Rule, _Cause] = field(default_factory=lambda: {rule: _Cause() for rule in RULES})
    _raised_at_s: dict[str, float] = field(default_factory=dict)
    _anchor: _Anchor = field(default_factory=_Anchor)
    _low: LowBattery = field(default_factory=LowBattery)

    @property
    def raised(self) -> frozenset[str]:
        """Alarms that are not over."""
        return frozenset(self._raised_at_s)

    def see(self, seen: Observed) -> list[NewFact]:
        """Take one look and return the facts it makes."""
        seen = replace(seen, moved_m=self._anchor.see(seen))
        for rule, cause in self._causes.items():
            cause.see(rule, seen)
        facts = [*self._begun(seen), *self._over(seen)]
        level = self._low.see(seen)
        return facts if level is None else [*facts, self._battery(level, seen)]

    def _begun(self, seen: Observed) -> Iterator[NewFact]:
        for rule, cause in self._causes.items():
            if cause.is_on and rule.alarm not in self._raised_at_s:
                self._raised_at_s[rule.alarm] = seen.mono_s
                told: dict[str, FieldValue] = {
                    "alarm": rule.alarm,
                    "priority": ALARMS[rule.alarm].priority,
                    "cause": rule.cause,
                }
                value = rule.value(seen)
                yield RAISED, told if value is None else {**told, rule.unit: value}

    def _over(self, seen: Observed) -> Iterator[NewFact]:
        on = {rule.alarm for rule, cause in self._causes.items() if cause.is_on}
        known = {rule.alarm for rule in self._causes}
        for alarm in [one for one in self._raised_at_s if one in known and one not in on]:
            yield CLEARED, self._ended(alarm, seen)

    def _battery(self, level: int | Literal["over"], seen: Observed) -> NewFact:
        if level == "over":
            return CLEARED, self._ended("battery_low", seen)
        self._raised_at_s.setdefault("battery_low", seen.mono_s)
        return RAISED, {
            "alarm": "battery_low",
            "priority": _LEVEL_PRIORITY[level],
            "cause": "soc",
            "level_pct": level,
            "soc_pct": seen.soc_pct,
        }

    def _ended(self, alarm: str, seen: Observed) -> dict[str, FieldValue]:
        return {"alarm": alarm, "after_s": round(seen.mono_s - self._raised_at_s.pop(alarm))}


def _round(value: float | None) -> float | None:
    return None if value is None else round(value, 1)
