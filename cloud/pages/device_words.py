"""What a person reads about a device: what can be asked of it, and what came of that. Pure."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Literal

from cloud.devices.api import CertificateRow, CommandRow, TwinRow
from cloud.kit.principal import Principal
from protocol.commands import INTERVAL_NAMES, SPEED_LIMIT_KMH, SPEED_MODES

Field = Literal["", "mode", "kmh", "interval"]
INTERVALS = tuple(sorted(INTERVAL_NAMES))
MODES = SPEED_MODES
KMH = SPEED_LIMIT_KMH
_SOON = 0.25
_MS_UP_TO = 10_000


@dataclass(frozen=True, slots=True)
class Action:
    """A button: what it asks for.

    Attributes:
        kind: kind of the command.
        label: on the button.
        args: of the command, as far as they are fixed.
        field: what else is asked for in the form.
        sure: the question that is asked again before it is sent; empty for harmless ones.
    """

    kind: str
    label: str
    args: Mapping[str, Any]
    field: Field = ""
    sure: str = ""


ACTIONS = (
    Action("unlock", "Unlock", {}),
    Action("lock", "Lock", {}),
    Action("locate", "Beep and flash", {}),
    Action("lights", "Lights on", {"on": True}),
    Action("lights", "Lights off", {"on": False}),
    Action(
        "immobilise",
        "Immobilise",
        {"on": True},
        sure="Its motor stays off for everybody until it is released. Immobilise it?",
    ),
    Action("immobilise", "Release the motor", {"on": False}),
    Action("speed_mode", "Speed mode", {}, field="mode"),
    Action("speed_limit", "Speed limit", {}, field="kmh"),
    Action(
        "open_battery",
        "Open the battery",
        {},
        sure="Anybody beside it can then take the battery out. Open the compartment?",
    ),
    Action("charge_enable", "Allow charging", {"on": True}),
    Action("charge_enable", "Forbid charging", {"on": False}),
    Action("read_now", "Read everything now", {}),
    Action("set_intervals", "Set an interval", {}, field="interval"),
    Action("rotate_keys", "New key and certificate", {}),
    Action(
        "reboot",
        "Start the agent again",
        {},
        sure="It obeys nothing until it is back, some seconds later. Start the agent again?",
    ),
)


@dataclass(frozen=True, slots=True)
class AlarmWords:
    """An alarm in words: on the list, on the device's page, and what to do."""

    short: str
    what: str
    advice: str


_ALARMS = {
    "clone": AlarmWords(
        "Clone",
        "The same identity seems to be in two places.",
        "Find out which device is the right one, revoke the certificates if the other is not"
        " yours, then clear the alarm.",
    ),
    "tampered": AlarmWords(
        "Tampered with",
        "Somebody tampers with the vehicle.",
        "Look where it is, immobilise it when it should stand, send somebody, then clear the"
        " alarm.",
    ),
    "tipped_over": AlarmWords(
        "Tipped over",
        "The vehicle has tipped over.",
        "Ask its rider or send somebody to set it up, then clear the alarm.",
    ),
    "moved": AlarmWords(
        "Moved while locked",
        "The vehicle is moved although it is locked.",
        "Look where it is, immobilise it, send somebody, then clear the alarm.",
    ),
    "impact": AlarmWords(
        "Hit",
        "The vehicle was hit hard.",
        "Ask its rider whether somebody is hurt, have it looked at, then clear the alarm.",
    ),
    "battery_removed": AlarmWords(
        "Battery removed",
        "The battery of a locked vehicle was taken out, or its compartment opened.",
        "Ask the crew; if nobody of ours was there, report a theft, then clear the alarm.",
    ),
    "battery_hot": AlarmWords(
        "Battery hot",
        "The battery is hotter than 60 °C.",
        "Let nobody ride or charge it and keep away from fire until it is below 55 °C; it then"
        " ends by itself.",
    ),
    "battery_fault": AlarmWords(
        "Battery fault",
        "The battery protects itself.",
        "Look at its protections below; change the battery when it does not end by itself.",
    ),
    "controller_fault": AlarmWords(
        "Lock silent",
        "The part that locks the vehicle does not answer.",
        "Have its cable and power looked at; it ends by itself when it answers.",
    ),
    "power_lost": AlarmWords(
        "Power lost",
        "The agent runs on its own battery.",
        "Have the vehicle's cable and battery looked at; it ends by itself when power is back.",
    ),
    "charger_fault": AlarmWords(
        "Charger fault",
        "The charger of a dock has a fault and gives no current.",
        "Have the dock looked at, its mains and its connector first; it ends by itself.",
    ),
    "battery_low": AlarmWords(
        "Battery low",
        "The battery is low.",
        "Plan a swap or a charge; it ends by itself.",
    ),
    "gnss_lost": AlarmWords(
        "No position",
        "The vehicle has not known where it is for ten minutes.",
        "Look for it where it was seen last: indoors, or jammed; it ends by itself.",
    ),
}

_SAID = {
    "awaiting_approval": ("waits for a second person", "Another member of staff must approve it."),
    "accepted": ("accepted by the vehicle", ""),
    "executing": ("the vehicle is at it", ""),
    "done": ("done", ""),
}
_WHY: Mapping[tuple[str, str], tuple[str, str]] = {
    ("refused", "moving"): (
        "refused: the vehicle was moving",
        "Wait until it stands still, then ask again.",
    ),
    ("refused", "expired"): (
        "refused: it came too late",
        "Ask again; when that repeats, look at the vehicle's connection and clock.",
    ),
    ("refused", "unsupported"): (
        "refused: the vehicle cannot do that now",
        "See under Versions what it can do, and look at its parts when that is too little.",
    ),
    ("refused", "bad_args"): (
        "refused: the vehicle does not take this value",
        "Choose another one and ask again.",
    ),
    ("refused", "busy"): (
        "refused: the vehicle was busy with another command",
        "Wait a few seconds, then ask again.",
    ),
    ("refused", "unsafe"): (
        "refused: the vehicle holds it for unsafe",
        "Look at its values and alarms; send somebody when you cannot see why.",
    ),
    ("refused", "jammed"): (
        "refused: the lock is jammed",
        "Send somebody to free it, then ask again.",
    ),
    ("failed", "interrupted"): (
        "failed: the vehicle restarted in the middle of it",
        "See whether it has happened before you ask again.",
    ),
    ("failed", "no_answer"): (
        "failed: the part that should do it did not answer",
        "Ask again; when that repeats, have its cable and power looked at.",
    ),
    ("failed", "not_confirmed"): (
        "failed: the part did not show that it was done",
        "Look at the vehicle before you ask again.",
    ),
    ("failed", "error"): (
        "failed: something went wrong on the vehicle",
        "Ask again; when that repeats, read the log of its agent.",
    ),
    ("expired", "not_approved"): (
        "over: nobody approved it within ten minutes",
        "Ask anew if it is still wanted.",
    ),
}


@dataclass(frozen=True, slots=True)
class Step:
    """One step of a command: a word, when, and how long after it was asked for (empty: then)."""

    word: str
    at: datetime
    after: str


@dataclass(frozen=True, slots=True)
class Told:
    """A command in words.

    Attributes:
        row: the command.
        what: what was asked for.
        how: how it stands.
        advice: what to do next; empty when nothing is to be done.
        steps: how it got there.
        tone: "good", "bad", "warn" or empty.
    """

    row: CommandRow
    what: str
    how: str
    advice: str
    steps: Sequence[Step]
    tone: str

    @property
    def said(self) -> str:
        """Everything in one sentence, to be read aloud when it changes."""
        after = f" {self.steps[-1].after} after it was asked for" if self.tone == "good" else ""
        return f"{self.what}: {self.how}{after}. {self.advice}".rstrip()


def alarm_words(kind: str) -> AlarmWords:
    """Put an alarm into words."""
    words = kind.replace("_", " ").capitalize()
    return _ALARMS.get(
        kind, AlarmWords(words, f"{words}.", "Have somebody look at it, then clear the alarm.")
    )


def actions(
    who: Principal, scopes: Mapping[str, str], capabilities: Collection[str]
) -> list[Action]:
    """Return the buttons for what somebody may ask for and this vehicle can do.

    Args:
        who: looks at the page.
        scopes: the scope each kind needs; kinds that the vehicle's type has nothing for left out.
        capabilities: kinds that the device said it can do.
    """
    return [
        action
        for action in ACTIONS
        if action.kind in capabilities and action.kind in scopes and who.may(scopes[action.kind])
    ]


def may_approve(who: Principal, row: CommandRow) -> bool:
    """Tell whether somebody can be the second person a command waits for."""
    return (
        row.state == "awaiting_approval"
        and who.kind == "staff"
        and who.may("commands:approve")
        and who.account_id != row.actor_id
    )


def told(row: CommandRow) -> Told:
    """Put a command into words."""
    how, advice = _how(row)
    tone = {"done": "good", "refused": "bad", "failed": "bad", "expired": "bad"}.get(row.state, "")
    if row.state == "awaiting_approval":
        tone = "warn"
    return Told(row, what(row.kind, row.args), how, advice, list(_steps(row)), tone)


def what(kind: str, args: Mapping[str, Any]) -> str:
    """What was asked for: `Unlock`, `Speed limit 20 km/h`."""
    same = [action for action in ACTIONS if action.kind == kind]
    fits = [action for action in same if action.args == args]
    if fits and not fits[0].field:
        return fits[0].label
    label = same[0].label if same else kind.replace("_", " ").capitalize()
    if kind == "speed_limit":
        kmh = args.get("kmh")
        return f"{label} lifted" if kmh is None else f"{label} {kmh} km/h"
    if kind == "speed_mode":
        return f"{label} {args.get('mode')}"
    if kind == "set_intervals":
        given = args.get("intervals_s") or {}
        return "Set " + ", ".join(f"{name} to {value:g} s" for name, value in given.items())
    return label


def after(start: datetime, at: datetime) -> str:
    """How long after: `23 ms`, `12.3 s`."""
    ms = max(0, round((at - start) / timedelta(milliseconds=1)))
    return f"{ms:,} ms" if ms < _MS_UP_TO else f"{ms / 1000:,.1f} s"


def validity(row: CertificateRow, now: datetime) -> tuple[str, str]:
    """Say until when a certificate is good: words, and "good", "warn" or "bad"."""
    day = f"{row.not_after:%Y-%m-%d}"
    if row.revoked_at is not None:
        return f"revoked on {row.revoked_at:%Y-%m-%d}: {row.revoked_reason}", "bad"
    left = row.not_after - now
    if left <= timedelta(0):
        return f"expired on {day}", "bad"
    days = left.days
    words = f"until {day}, {_days(days)} left"
    if left < (row.not_after - row.not_before) * _SOON:
        return f"{words}; its agent should have renewed it", "warn"
    return words, "good"


def twin_state(row: TwinRow | None) -> tuple[str, str]:
    """Say how far a device is with what is wanted of it: words, and a tone."""
    if row is None or row.version == 0:
        return "Nothing is wanted beyond what it does by itself.", ""
    if row.reported_version is None or row.reported_version < row.version:
        before = "" if row.reported_version is None else f"; it has version {row.reported_version}"
        return f"Version {row.version} is not confirmed yet{before}.", "warn"
    if row.reported_state == "refused":
        why = row.reported_detail or row.reported_reason.replace("_", " ")
        return f"Version {row.reported_version} was refused: {why}.", "bad"
    return f"Version {row.reported_version} is in force.", "good"


def wanted(row: TwinRow | None) -> list[tuple[str, str]]:
    """Return what a twin wants, by name, in words."""
    document = {} if row is None else row.document
    limits = document.get("limits") or {}
    found = []
    if limits.get("speed_limit_kmh") is not None:
        found.append(("Speed limit", f"{limits['speed_limit_kmh']} km/h"))
    if limits.get("speed_mode") is not None:
        found.append(("Speed mode", str(limits["speed_mode"])))
    if document.get("immobilised") is not None:
        found.append(("Motor", "off" if document["immobilised"] else "may run"))
    if zones := document.get("zones"):
        found.append(("Zones it keeps to by itself", f"{len(zones)}"))
    if decoder := document.get("decoder"):
        found.append(("Reads its bus by", f"{decoder['name']} {decoder['version']}"))
    intervals = document.get("intervals_s") or {}
    found += [(name, f"{seconds:g} s") for name, seconds in sorted(intervals.items())]
    return found


def _how(row: CommandRow) -> tuple[str, str]:
    if row.state == "pending":
        return ("sent, no answer yet", "") if row.sent_at else ("about to be sent", "")
    if row.state == "expired" and not row.state_reason:
        return (
            "no answer came in time",
            "Look at its connection, then ask again; an answer that comes later shows here.",
        )
    known = _SAID.get(row.state) or _WHY.get((row.state, row.state_reason))
    return known or (f"{row.state}: {row.state_reason.replace('_', ' ')}".rstrip(": "), "")


def _steps(row: CommandRow) -> Iterator[Step]:
    yield Step("asked", row.created_at, "")
    reached = (
        ("approved", row.approved_at),
        ("sent", row.sent_at),
        ("accepted", row.accepted_at),
        ("executing", row.executing_at),
        (row.state, row.ended_at),
    )
    for word, at in reached:
        if at is not None:
            yield Step(word, at, after(row.created_at, at))


def _days(days: int) -> str:
    return "less than a day" if days < 1 else "1 day" if days == 1 else f"{days:,} days"
