"""What a vehicle calls its alarms, in the facts `alarm.raised` and `alarm.cleared`.

Both have `alarm`, one of these names; raised has `priority`, what gave it away as `cause`, and
mostly a `value`; cleared has `after_s`. The vehicle decides when one is raised and when it is over
(edge/rules/alarms.py); the cloud shows it to people.
"""

from dataclasses import dataclass
from typing import Final, Literal

Priority = Literal["high", "medium", "low"]

RAISED: Final = "alarm.raised"
CLEARED: Final = "alarm.cleared"


@dataclass(frozen=True, slots=True)
class Alarm:
    """One alarm.

    Attributes:
        priority: how soon somebody must look.
        until_seen: it stays open until a person has looked; others end when the vehicle says so.
    """

    priority: Priority
    until_seen: bool


ALARMS: Final = {
    "moved": Alarm("high", until_seen=True),
    "tampered": Alarm("high", until_seen=True),
    "tipped_over": Alarm("high", until_seen=True),
    "impact": Alarm("high", until_seen=True),
    "battery_removed": Alarm("high", until_seen=True),
    "battery_hot": Alarm("high", until_seen=False),
    "battery_fault": Alarm("medium", until_seen=False),
    "controller_fault": Alarm("medium", until_seen=False),
    "power_lost": Alarm("medium", until_seen=False),
    "charger_fault": Alarm("medium", until_seen=False),
    "battery_low": Alarm("low", until_seen=False),
    "gnss_lost": Alarm("low", until_seen=False),
}
BY_THEIR_OWN_FACT: Final = {"lock.tampered": "tampered", "lock.tipped_over": "tipped_over"}
"""Facts that say the same at once; they are told by every agent, also without `alarm.raised`."""
