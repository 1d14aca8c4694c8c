"""All SQL of the context fleet."""

from cloud.fleet.store.vehicles import (
    StateEvent,
    StateRow,
    add,
    add_types,
    assign,
    carrier,
    everywhere,
    history,
    is_logged,
    lock_state,
    log,
    move,
    state_at,
    vehicle,
    vehicle_types,
    vehicles,
)

__all__ = [
    "StateEvent",
    "StateRow",
    "add",
    "add_types",
    "assign",
    "carrier",
    "everywhere",
    "history",
    "is_logged",
    "lock_state",
    "log",
    "move",
    "state_at",
    "vehicle",
    "vehicle_types",
    "vehicles",
]
