"""What goes wrong, and when: drawn from one seed, so that a bad day can be had again."""

import random
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

Victim = Literal["agent", "ingest", "nats", "postgres"]
Kind = Literal["kill", "freeze", "deafen"]
_DEAD_S = (0.1, 1.0)
_DEAF_S = (2.0, 4.0)
_HESITATION_S = 0.25


@dataclass(frozen=True, slots=True)
class Fault:
    """One thing that goes wrong.

    Attributes:
        at_s: when, in seconds after the load began; late is fine, early is not.
        kind: kill -9, or what happens to a link.
        victim: what is killed; "" for a link.
        vehicle: which agent or link, by number.
        lasts_s: how long the victim stays dead, or the link frozen or deaf.
        hesitates_s: how long after there is work in flight an agent is killed: its moment has to
            be anywhere between two fsyncs. The others are killed at once.
    """

    at_s: float
    kind: Kind
    victim: Victim | Literal[""] = ""
    vehicle: int = 0
    lasts_s: float = 0.0
    hesitates_s: float = 0.0


def make_plan(
    seed: int,
    *,
    vehicles: int,
    seconds: float,
    kills: Mapping[Victim, int],
    deaf_links: int = 0,
    freezes: int = 0,
    freeze_s: float = 20.0,
) -> list[Fault]:
    """Spread the faults over the time, in random order, and freeze some links meanwhile.

    Args:
        seed: the same seed makes the same plan.
        vehicles: how many there are to choose from.
        seconds: length of the load.
        kills: how many of each victim.
        deaf_links: how many links lose the broker's answers for a while and are then cut; never
            a frozen one.
        freezes: how many links are frozen, one after the other.
        freeze_s: for how long.
    """
    dice = random.Random(seed)
    icy = dice.sample(range(vehicles), freezes)
    wanted: list[Victim | Literal[""]] = [name for name in kills for _ in range(kills[name])]
    wanted += [""] * deaf_links
    dice.shuffle(wanted)
    slot_s = seconds / (len(wanted) + 1)
    faults = []
    for number, victim in enumerate(wanted):
        at_s = (number + dice.uniform(0.5, 1.0)) * slot_s
        if victim == "":
            hearing = [vehicle for vehicle in range(vehicles) if vehicle not in icy]
            faults.append(Fault(at_s, "deafen", "", dice.choice(hearing), dice.uniform(*_DEAF_S)))
        else:
            hesitates_s = dice.uniform(0, _HESITATION_S) if victim == "agent" else 0.0
            dead_s, vehicle = dice.uniform(*_DEAD_S), dice.randrange(vehicles)
            faults.append(Fault(at_s, "kill", victim, vehicle, dead_s, hesitates_s))
    for number, vehicle in enumerate(icy):
        at_s = (number + dice.uniform(0.1, 0.3)) * seconds / freezes
        faults.append(Fault(at_s, "freeze", "", vehicle, freeze_s))
    return sorted(faults, key=lambda fault: fault.at_s)
