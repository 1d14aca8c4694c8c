"""Which city the demo runs in: a real one where its streets lie here, else a made-up one.

The product ships no map. OpenStreetMap extracts are looked for beside the repository, or where
`MOBILITY_OSM_DIR` says.
"""

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from simulator.city import MADE_UP_NAME, from_osm, made_up
from simulator.vehicles import CITY

MADE_UP: Final = "made-up"
BESIDE_THE_REPOSITORY: Final = Path(__file__).parents[2] / "shared" / "data" / "osm"


@dataclass(frozen=True, slots=True)
class Extract:
    """A part of an OpenStreetMap extract; `within` is west, south, east, north in degrees."""

    name: str
    file: str
    within: tuple[float, float, float, float]


EXTRACTS: Final[Mapping[str, Extract]] = {
    "porto": Extract("Porto", "porto.osm.pbf", (-8.64, 41.138, -8.595, 41.165)),
    "helsinki": Extract("Helsinki", "helsinki.osm.pbf", (24.9352, 60.1642, 24.9534, 60.1791)),
}
"""The cities that can be asked for; the first one whose file is there is the usual one."""


@dataclass(frozen=True, slots=True)
class DemoCity:
    """The city that lies in a data folder.

    Attributes:
        name: for people.
        source: openstreetmap, made_up, or own_file for one that somebody put there.
        attribution: whose map it is, as it must be shown; "" for nobody's.
    """

    name: str
    source: str
    attribution: str

    def __str__(self) -> str:
        words = {"openstreetmap": "streets of OpenStreetMap", "made_up": "made up"}
        return f"{self.name} ({words.get(self.source, 'a file of your own')})"


def draw_city(data_dir: Path, seed: int, wish: str | None = None) -> DemoCity:
    """Make the city's file unless the folder has one, and say which city it is.

    Args:
        data_dir: the demo's folder; a city of one's own may lie there.
        seed: of a made-up one.
        wish: a key of EXTRACTS, or MADE_UP; None for the usual one.

    Raises:
        ValueError: the city that is wished for has no file, or the folder has another one.
    """
    file = data_dir / CITY
    if not file.exists():
        _draw(file, seed, wish)
    city = _told(file)
    wanted = wish and (EXTRACTS[wish].name if wish in EXTRACTS else MADE_UP_NAME)
    if wanted and wanted != city.name:
        raise ValueError(
            f"{data_dir} has the city {city.name}, not {wanted}; choose another data folder, or "
            "leave --city out"
        )
    return city


def osm_dir() -> Path:
    """Return the folder of OpenStreetMap extracts; it need not exist."""
    told = os.environ.get("MOBILITY_OSM_DIR")
    return Path(told) if told else BESIDE_THE_REPOSITORY


def _draw(file: Path, seed: int, wish: str | None) -> None:
    usual = (key for key, each in EXTRACTS.items() if (osm_dir() / each.file).is_file())
    key = wish or next(usual, MADE_UP)
    if key == MADE_UP:
        made_up(seed=seed).write(file)
        return
    extract = EXTRACTS[key]
    source = osm_dir() / extract.file
    if not source.is_file():
        raise ValueError(
            f"there is no {source}; say with MOBILITY_OSM_DIR where {extract.file} lies, or take "
            f"--city {MADE_UP}"
        )
    from_osm(source, name=extract.name, within=extract.within).write(file)


def _told(file: Path) -> DemoCity:
    try:
        told: dict[str, Any] = json.loads(file.read_text("utf-8"))
        name, credit = str(told.get("name") or "your city"), str(told.get("attribution") or "")
    except (ValueError, AttributeError) as wrong:
        raise ValueError(f"{file} is no city ({wrong}); make one: mobility-sim city") from wrong
    if "OpenStreetMap" in credit:
        source = "openstreetmap"
    else:
        source = "made_up" if name == MADE_UP_NAME else "own_file"
    return DemoCity(name, source, credit)
