"""Which MDS events stand for what booking does with a vehicle (rental.md §1). Pure."""

from collections.abc import Mapping
from typing import Literal

from cloud.fleet.mds import IllegalTransitionError
from cloud.fleet.mds_rows import Mode

Happening = Literal[
    "held", "hold_over", "hold_cancelled", "started", "paused", "resumed", "ended", "cancelled"
]
Events = tuple[str, ...]

_MICROMOBILITY: Mapping[Happening, Mapping[str, Events]] = {
    "held": {"available": ("reservation_start",)},
    "hold_over": {"reserved": ("reservation_cancel",)},
    "hold_cancelled": {"reserved": ("reservation_cancel",)},
    "started": {"reserved": ("trip_start",), "available": ("trip_start",)},
    "paused": {"on_trip": (), "elsewhere": ()},
    "resumed": {"on_trip": (), "elsewhere": ()},
    "ended": {
        "on_trip": ("trip_end",),
        "elsewhere": ("trip_enter_jurisdiction", "trip_end"),
    },
    "cancelled": {
        "on_trip": ("trip_cancel",),
        "reserved": ("reservation_cancel",),
        "available": (),
    },
}
_CAR_SHARE: Mapping[Happening, Mapping[str, Events]] = {
    "held": {"available": ("reservation_start",)},
    "hold_over": {"reserved": ("provider_cancellation",)},
    "hold_cancelled": {"reserved": ("customer_cancellation",)},
    "started": {
        "reserved": ("reservation_stop", "trip_start"),
        "available": ("reservation_start", "reservation_stop", "trip_start"),
    },
    "paused": {"on_trip": ("trip_stop",), "elsewhere": ()},
    "resumed": {"stopped": ("trip_resume",), "elsewhere": ()},
    "ended": {
        "on_trip": ("trip_stop", "trip_end"),
        "stopped": ("trip_end",),
        "elsewhere": ("trip_enter_jurisdiction", "trip_stop", "trip_end"),
    },
    "cancelled": {
        "on_trip": ("trip_stop", "customer_cancellation"),
        "stopped": ("customer_cancellation",),
        "reserved": ("customer_cancellation",),
        "available": (),
    },
}
_PATHS: Mapping[Mode, Mapping[Happening, Mapping[str, Events]]] = {
    "micromobility": _MICROMOBILITY,
    "car-share": _CAR_SHARE,
}


def events_for(mode: Mode, happening: Happening, life: str) -> Events:
    """Return the MDS events of what happened to a vehicle in this state, in order; maybe none.

    Raises:
        IllegalTransitionError: it cannot have happened in this state.
    """
    paths = _PATHS[mode][happening]
    if life not in paths:
        raise IllegalTransitionError(
            f"a vehicle that is {life} cannot be {happening.replace('_', ' ')}"
            f" ({mode}); it would have to be {' or '.join(paths)}"
        )
    return paths[life]
