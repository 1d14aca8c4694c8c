"""`mobility-sim city`: a city as a file that `mobility-cloud city import` takes."""

import argparse
import json
import sys
from pathlib import Path
from typing import Final

from edge.usage import DONE, TROUBLE
from simulator.words import sentence

EXAMPLES: Final = """examples:
  mobility-sim city --out town.geojson                made up; --seed makes another
  mobility-sim city --out - | mobility-cloud city import -
  mobility-sim city --osm porto.osm.pbf --name Porto --within=-8.68,41.14,-8.58,41.18 \\
      --out porto.geojson
"""
_CORNERS: Final = 4


def add_arguments(city: argparse.ArgumentParser) -> None:
    """Describe the command to its parser."""
    city.description = "Write a city as GeoJSON: made up, or from an OpenStreetMap extract."
    city.epilog = EXAMPLES
    city.formatter_class = argparse.RawDescriptionHelpFormatter
    city.add_argument("--out", required=True, metavar="FILE", help="file to write; - is stdout")
    city.add_argument(
        "--seed", type=int, metavar="S", default=0, help="of a made-up one, default 0"
    )
    city.add_argument("--osm", type=Path, metavar="FILE", help="an .osm.pbf extract")
    city.add_argument("--name", metavar="TEXT", default="City", help="of the extract's city")
    city.add_argument(
        "--within",
        type=_box,
        metavar="W,S,E,N",
        help="only this part of the extract, degrees: west, south, east, north",
    )


def run(args: argparse.Namespace) -> int:
    """Write the file; trouble is one sentence on stderr."""
    from simulator.city import from_osm, made_up

    try:
        if args.osm is None:
            city = made_up(seed=args.seed)
        else:
            city = from_osm(args.osm, name=args.name, within=args.within)
        if args.out == "-":
            print(json.dumps(city.as_geojson(), ensure_ascii=False))
        else:
            city.write(Path(args.out))
    except ModuleNotFoundError as missing:
        return _say(f"{missing.name} is not installed; run: pip install 'mobilitycorp[sim]'")
    except RuntimeError as unread:
        return _say(f"{args.osm} is no map that can be read ({unread}); give an .osm.pbf file.")
    except (OSError, ValueError) as trouble:
        return _say(sentence(trouble))
    return DONE


def _box(text: str) -> tuple[float, ...]:
    try:
        corners = tuple(map(float, text.split(",")))
    except ValueError:
        corners = ()
    if len(corners) != _CORNERS or corners[0] >= corners[2] or corners[1] >= corners[3]:
        raise argparse.ArgumentTypeError(
            f"{text!r} is no part of a map; write --within=west,south,east,north"
        )
    return corners


def _say(text: str) -> int:
    print(text, file=sys.stderr)
    return TROUBLE
