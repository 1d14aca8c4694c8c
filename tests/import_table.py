"""Write the import table of docs/architecture.md: `python -m tests.import_table [--check]`."""

import argparse
import sys
from pathlib import Path

import grimp

ROOT = Path(__file__).resolve().parent.parent
PAGE = ROOT / "docs" / "architecture.md"
START, END = "<!-- imports -->\n", "<!-- /imports -->"
PACKAGES = ("protocol", "edge", "firmware_shim", "cloud", "simulator")


def room(module: str) -> str:
    """The folder a module counts to: `cloud.devices`, `cloud.app`, `edge`."""
    return ".".join(module.split(".")[: 2 if module.startswith("cloud.") else 1])


def imports_of_rooms() -> dict[str, set[str]]:
    """For every room the other rooms it imports."""
    graph = grimp.build_graph(*PACKAGES, cache_dir=None)
    rooms: dict[str, set[str]] = {}
    for module in graph.modules:
        found = {room(other) for other in graph.find_modules_directly_imported_by(module)}
        rooms.setdefault(room(module), set()).update(found - {room(module)})
    return rooms


def table(rooms: dict[str, set[str]]) -> str:
    """One row a room that imports anything of ours."""
    rows = [
        f"| `{name}` | {', '.join(f'`{other}`' for other in sorted(found))} |"
        for name, found in sorted(rooms.items())
        if found
    ]
    return "\n".join(["| room | imports |", "| --- | --- |", *rows]) + "\n"


def main() -> int:
    """Write the table, or with --check say whether it is up to date."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="only compare; exit 1 when stale")
    old = PAGE.read_text("utf-8")
    before, rest = old.split(START)
    new = before + START + table(imports_of_rooms()) + END + rest.split(END)[1]
    if not parser.parse_args().check:
        PAGE.write_text(new, "utf-8")
        return 0
    if new == old:
        return 0
    sys.stderr.write("The import table of docs/architecture.md is out of date: run make schema.\n")
    return 1


if __name__ == "__main__":
    sys.exit(main())
