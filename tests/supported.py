"""Write docs/supported.md: `python -m tests.supported [--check]`."""

import argparse
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Final

from edge.drivers.base import BatteryReading
from edge.drivers.registry import DRIVERS, driver
from edge.field.protocols import line_of, short_names
from protocol.controllers import CONTROLLERS, VEHICLE_CONTROLLERS
from protocol.signals import BY_KEY
from tests.edge.drivers.test_every_can_decoder import BEGAN_S, CAN_SAMPLES, STEP_S
from tests.edge.drivers.test_every_decoder import SAMPLES

PAGE: Final = Path(__file__).resolve().parent.parent / "docs" / "supported.md"
HEAD: Final = """\
# What the agent reads and switches

Made from the registry of drivers and their vectors by `make schema`; do not edit.
`mobility-edge protocols` tells the same on the vehicle. Whatever the sign on the wire, a positive
current charges; what a controller does not know is null, never zero. Names and units are those of
the [signal catalogue](../protocol/signals.json). Switches are those that a controller has; of them
the agent itself turns those of JBD.
"""


def page() -> str:
    """Return the whole page."""
    return "".join((HEAD, *batteries(), *examples(), *locks()))


def batteries() -> Iterator[str]:
    """One row a protocol."""
    yield "\n## Batteries and chargers, `[battery] protocol`\n\n"
    yield "| name | controller | line | reads | switches | sample frames |\n"
    yield "| --- | --- | --- | --- | --- | ---: |\n"
    for name in sorted(DRIVERS):
        one = CONTROLLERS[name]
        keys = sorted(one.reads, key=lambda key: BY_KEY[key].id)
        reads, switches = ", ".join(short_names(keys)), ", ".join(sorted(one.actuators)) or "none"
        count = len(SAMPLES.get(name, ())) + len(CAN_SAMPLES.get(name, ()))
        yield f"| `{name}` | {one.title} | {line_of(one)} | {reads} | {switches} | {count} |\n"


def examples() -> Iterator[str]:
    """What each driver makes of its first samples."""
    yield "\n## An example of each\n\n| name | frame | becomes |\n| --- | --- | --- |\n"
    for name in sorted(DRIVERS):
        found = driver(name)
        if found.serial is not None:
            on_line = found.serial()
            on_line.feed(SAMPLES[name][0])
            frame = SAMPLES[name][0].hex()
            yield f"| `{name}` | `{_cut(frame)}` | {told(on_line.reading())} |\n"
        if found.can is not None and name in CAN_SAMPLES:
            on_bus, now_s = found.can(), BEGAN_S
            on_bus.begin(now_s)
            for heard in CAN_SAMPLES[name]:
                now_s += STEP_S
                on_bus.feed([heard], now_s)
            first = CAN_SAMPLES[name][0]
            frame = f"{first.can_id:X}#{first.data.hex().upper()}"
            more = len(CAN_SAMPLES[name]) - 1
            and_more = f" and {more} more" if more else ""
            yield f"| `{name}` | `{frame}`{and_more} | {told(on_bus.reading(now_s))} |\n"


def locks() -> Iterator[str]:
    """What can lock a vehicle."""
    yield "\n## What locks a vehicle, `[controller] protocol`\n\n"
    yield "| name | controller | line | can |\n| --- | --- | --- | --- |\n"
    for name, one in sorted(VEHICLE_CONTROLLERS.items()):
        line = f"serial {one.baud} 8N1" if one.baud else "the battery's"
        yield f"| `{name}` | {one.title} | {line} | {', '.join(sorted(one.capabilities))} |\n"


def told(reading: BatteryReading | None) -> str:
    """Return a reading's main values for people."""
    if reading is None:
        return "none"
    parts: Iterable[tuple[float | None, str]] = (
        (reading.voltage_v, "V"),
        (reading.current_a, "A"),
        (reading.soc_pct, "%"),
    )
    return ", ".join(f"{value:g} {unit}" for value, unit in parts if value is not None) or "none"


def _cut(text: str, most: int = 40) -> str:
    return text if len(text) <= most else f"{text[:most]}…"


def main() -> int:
    """Write the page, or with --check say whether it is up to date."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="only compare; exit 1 when stale")
    new = page()
    if not parser.parse_args().check:
        PAGE.write_text(new, "utf-8")
        return 0
    if PAGE.is_file() and PAGE.read_text("utf-8") == new:
        return 0
    sys.stderr.write("docs/supported.md is out of date: run make schema.\n")
    return 1


if __name__ == "__main__":
    sys.exit(main())
