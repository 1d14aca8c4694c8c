"""Controllers the platform speaks to, by the name both sides use for their protocol.

The tables are here, and not with the drivers, so that the cloud can check a name and a capability
without importing the vehicle's code.
"""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Controller:
    """One kind of battery controller.

    Attributes:
        name: name of the protocol, as in `--battery NAME` and `decode --protocol NAME`.
        title: name for people.
        transport: "serial" or "can".
        baud: line speed in baud, 8N1.
        reads: keys of the signal catalogue that the controller reports.
        actuators: what it can be told to do.
    """

    name: str
    title: str
    transport: str
    baud: int
    reads: frozenset[str]
    actuators: frozenset[str]


CONTROLLERS: dict[str, Controller] = {
    "jbd_uart": Controller(
        name="jbd_uart",
        title="JBD / Jiabaida smart BMS, serial",
        transport="serial",
        baud=9600,
        reads=frozenset(
            {
                "voltage_v",
                "current_a",
                "soc_pct",
                "remaining_ah",
                "full_ah",
                "cycles",
                "charge_fet",
                "discharge_fet",
                "protection_bits",
                "balancing_bits",
                *(f"temperature_{number}_c" for number in range(1, 9)),
                *(f"cell_{number}_v" for number in range(1, 33)),
            }
        ),
        actuators=frozenset({"charge_fet", "discharge_fet"}),
    ),
}


@dataclass(frozen=True, slots=True)
class VehicleController:
    """One kind of part that locks a vehicle.

    Attributes:
        name: name of the protocol, as in the agent's `[controller] protocol`.
        title: name for people.
        baud: line speed in baud, 8N1; None when it is reached over the battery's line.
        capabilities: kinds of commands it can perform, names of `protocol.commands.KINDS`.
    """

    name: str
    title: str
    baud: int | None
    capabilities: frozenset[str]


VEHICLE_CONTROLLERS: dict[str, VehicleController] = {
    "lock_unit": VehicleController(
        name="lock_unit",
        title="Our lock unit, serial",
        baud=115_200,
        capabilities=frozenset(
            {
                "lock",
                "unlock",
                "immobilise",
                "locate",
                "speed_mode",
                "speed_limit",
                "open_battery",
                "lights",
            }
        ),
    ),
    "jbd_fet": VehicleController(
        name="jbd_fet",
        title="JBD / Jiabaida smart BMS, its switches in place of a lock",
        baud=None,
        capabilities=frozenset({"lock", "unlock", "charge_enable"}),
    ),
    "m365_serial": VehicleController(
        name="m365_serial",
        title="Xiaomi M365 scooter, its ESC in place of a lock",
        baud=115_200,
        capabilities=frozenset(
            {"lock", "unlock", "immobilise", "speed_mode", "speed_limit", "lights"}
        ),
    ),
}
