"""Every route of an application with its markers: `python -m tests.cloud.routes [--check]`.

Writes docs/scopes.md.
"""

import argparse
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from fastapi import FastAPI
from fastapi.routing import iter_route_contexts

from cloud.app import build
from cloud.identity.api import ROLES
from cloud.kit.auth import SCOPES, Marker, Public, markers
from cloud.kit.settings import CloudSettings

PAGE = Path(__file__).resolve().parents[2] / "docs" / "scopes.md"
HEAD = """# Who may do what

Generated from the routes by `make schema`; do not edit. `tests/cloud/test_role_matrix.py` asks
every route as every role. A service account has the scopes it was given, one by one.

"""


@dataclass(frozen=True, slots=True)
class MarkedRoute:
    """One route and method of the application."""

    method: str
    path: str
    markers: tuple[Marker, ...]

    @property
    def asks(self) -> str:
        """Its scopes; else `everybody`, `signed in` or `nothing`."""
        if len(self.markers) != 1:
            return "nothing"
        (marker,) = self.markers
        if isinstance(marker, Public):
            return "everybody"
        return " or ".join(f"`{scope}`" for scope in marker.scopes) or "signed in"

    def lets_in(self, role: str) -> bool:
        """Tell whether somebody with this role gets in; an empty role is nobody."""
        if not role or len(self.markers) != 1:
            return self.asks == "everybody"
        scopes = self.markers[0].scopes
        return not scopes or any(scope in ROLES[role] for scope in scopes)


def routes_of(app: FastAPI) -> Iterator[MarkedRoute]:
    """Yield what the application answers to, FastAPI's own description of the API left out."""
    for route in iter_route_contexts(app.routes):
        for method in sorted(getattr(route, "methods", None) or ()):
            if hasattr(route, "dependant"):
                yield MarkedRoute(method, str(route.path), tuple(markers(route)))


def render() -> str:
    """The page: scopes by role, then routes by scope."""
    roles = "".join(f" {role} |" for role in ROLES)
    lines = [f"| scope | allows |{roles}", "| --- | --- |" + " :-: |" * len(ROLES)]
    for scope, allows in SCOPES.items():
        ticks = "".join(" ✓ |" if scope in ROLES[role] else " |" for role in ROLES)
        lines.append(f"| `{scope}` | {allows} |{ticks}")
    lines += ["", "| route | needs |", "| --- | --- |"]
    for route in sorted(routes_of(build(CloudSettings())), key=lambda r: (r.path, r.method)):
        lines.append(f"| `{route.method} {route.path}` | {route.asks} |")
    return HEAD + "\n".join(lines) + "\n"


def main() -> int:
    """Write the page, or with --check say whether it is up to date."""
    parser = argparse.ArgumentParser(description="Write docs/scopes.md from the routes' markers.")
    parser.add_argument("--check", action="store_true", help="only compare; exit 1 when stale")
    page = render()
    if not parser.parse_args().check:
        PAGE.write_text(page, "utf-8")
        return 0
    if PAGE.exists() and PAGE.read_text("utf-8") == page:
        return 0
    sys.stderr.write("docs/scopes.md is out of date: run make schema.\n")
    return 1


if __name__ == "__main__":
    sys.exit(main())
