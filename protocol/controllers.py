"""Controllers the platform speaks to, by the name both sides use for their protocol.

The tables are here, and not with the drivers, so that the cloud can check a name and a capability
without importing the vehicle's code.
"""

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, slots=True)
class Controller:
    """One kind of battery controller.

    Attributes:
        name: name of the protocol, as in `--battery NAME` and `decode --protocol NAME`.
        title: name for people.
        transport: what it is wired to: a serial line, a CAN bus, or either of them.
        baud: speed of the serial line in baud, 8N1; None without one.
        bitrate: speed of the CAN bus in bit/s; None without one.
        reads: keys of the signal catalogue that the controller reports.
        actuators: what it can be told to do.
    """

    name: str
    title: str
    transport: Literal["serial", "can", "both"]
    reads: frozenset[str]
    actuators: frozenset[str]
    baud: int | None = None
    bitrate: int | None = None


def _temperatures(count: int) -> set[str]:
    return {f"temperature_{number}_c" for number in range(1, count + 1)}


def _cells(count: int) -> set[str]:
    return {f"cell_{number}_v" for number in range(1, count + 1)}


_BMS_READS = frozenset(
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
        *_temperatures(8),
        *_cells(32),
    }
)
_SCOOTER_READS = frozenset(
    {
        "voltage_v",
        "current_a",
        "soc_pct",
        "soh_pct",
        "remaining_ah",
        "full_ah",
        "cycles",
        "charge_fet",
        "protection_bits",
        "balancing_bits",
        "temperature_1_c",
        "temperature_2_c",
        *_cells(15),
    }
)

CONTROLLERS: dict[str, Controller] = {
    "jbd_uart": Controller(
        name="jbd_uart",
        title="JBD / Jiabaida smart BMS, serial",
        transport="serial",
        baud=9600,
        reads=_BMS_READS,
        actuators=frozenset({"charge_fet", "discharge_fet"}),
    ),
    "dock_unit": Controller(
        name="dock_unit",
        title="Our dock unit: charger, meter, bay and lamp, serial",
        transport="serial",
        baud=115_200,
        reads=frozenset(
            {
                "voltage_v",
                "current_a",
                "soc_pct",
                "temperature_1_c",
                "charger_power_w",
                "charger_energy_wh",
                "charge_cable",
                "bay_occupied",
                "connector_locked",
                "led_state",
                "charger_state",
            }
        ),
        actuators=frozenset(),
    ),
    "m365_serial": Controller(
        name="m365_serial",
        title="Xiaomi M365 scooter's battery, on the dashboard's wire",
        transport="serial",
        baud=115_200,
        reads=_SCOOTER_READS,
        actuators=frozenset(),
    ),
    "ninebot_serial": Controller(
        name="ninebot_serial",
        title="Ninebot scooter's battery, on the dashboard's wire",
        transport="serial",
        baud=115_200,
        reads=_SCOOTER_READS,
        actuators=frozenset(),
    ),
    "jk_rs485": Controller(
        name="jk_rs485",
        title="JK (Jikong) BMS, 4E57 frames on TTL or RS-485",
        transport="serial",
        baud=115_200,
        reads=frozenset(
            {
                "voltage_v",
                "current_a",
                "soc_pct",
                "full_ah",
                "cycles",
                "charge_fet",
                "discharge_fet",
                "protection_bits",
                "temperature_1_c",
                "temperature_2_c",
                *_cells(32),
            }
        ),
        actuators=frozenset({"charge_fet", "discharge_fet"}),
    ),
    "daly_uart": Controller(
        name="daly_uart",
        title="Daly smart BMS, serial or RS-485",
        transport="serial",
        baud=9600,
        reads=_BMS_READS,
        actuators=frozenset({"charge_fet", "discharge_fet"}),
    ),
    "daly_can": Controller(
        name="daly_can",
        title="Daly smart BMS, CAN",
        transport="can",
        bitrate=250_000,
        reads=_BMS_READS,
        actuators=frozenset({"charge_fet", "discharge_fet"}),
    ),
    "vesc": Controller(
        name="vesc",
        title="VESC motor controller and VESC BMS, serial or CAN",
        transport="both",
        baud=115_200,
        bitrate=500_000,
        reads=frozenset(
            {
                "voltage_v",
                "current_a",
                "soc_pct",
                "soh_pct",
                "remaining_ah",
                "full_ah",
                "charge_fet",
                "protection_bits",
                "balancing_bits",
                *_temperatures(8),
                *_cells(32),
            }
        ),
        actuators=frozenset(),
    ),
    "uds_ev": Controller(
        name="uds_ev",
        title="Electric cars asked over UDS: Hyundai/Kia, Bolt, Leaf, VW MEB, OBD",
        transport="can",
        bitrate=500_000,
        reads=frozenset(
            {
                "voltage_v",
                "current_a",
                "soc_pct",
                "soh_pct",
                "full_ah",
                *_temperatures(5),
                *_cells(32),
            }
        ),
        actuators=frozenset(),
    ),
    "nissan_leaf_ev_can": Controller(
        name="nissan_leaf_ev_can",
        title="Nissan Leaf and e-NV200, AZE0 and ZE1, broadcasts on the EV-CAN",
        transport="can",
        bitrate=500_000,
        reads=frozenset(
            {
                "voltage_v",
                "current_a",
                "soc_pct",
                "soh_pct",
                "charge_fet",
                "discharge_fet",
                "protection_bits",
                "temperature_1_c",
                "temperature_2_c",
            }
        ),
        actuators=frozenset(),
    ),
    "hyundai_kia_pcan": Controller(
        name="hyundai_kia_pcan",
        title="Hyundai Kona and Kia e-Niro, broadcasts on the P-CAN",
        transport="can",
        bitrate=500_000,
        reads=frozenset(
            {"voltage_v", "current_a", "soc_pct", "temperature_1_c", "temperature_2_c"}
        ),
        actuators=frozenset(),
    ),
    "dbc_can": Controller(
        name="dbc_can",
        title="Any broadcasts on a CAN bus, by the decoder manifest of the twin",
        transport="can",
        bitrate=500_000,
        reads=frozenset(
            {
                "voltage_v",
                "current_a",
                "soc_pct",
                "soh_pct",
                "remaining_ah",
                "full_ah",
                "cycles",
                "charge_fet",
                "discharge_fet",
                "protection_bits",
                *_temperatures(8),
            }
        ),
        actuators=frozenset(),
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
    "ninebot_serial": VehicleController(
        name="ninebot_serial",
        title="Ninebot scooter, its ESC in place of a lock",
        baud=115_200,
        capabilities=frozenset({"lock", "unlock", "immobilise", "speed_mode", "speed_limit"}),
    ),
}
