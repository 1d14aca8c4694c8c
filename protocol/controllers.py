"""Battery controllers the platform speaks to, by the name both sides use for their protocol.

The table is here, and not with the drivers, so that the cloud can check a name and a capability
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
