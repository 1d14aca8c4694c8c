"""Where the long stories write down how they went: one JSON file and one table each."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tests.bench import machine

FOLDER = Path(__file__).parents[2] / "docs" / "results"

Row = Sequence[str | float]


def table(head: Sequence[str], rows: Sequence[Row]) -> str:
    """Return a Markdown table."""
    lines = [head, ["---"] * len(head), *([str(cell) for cell in row] for row in rows)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def write(name: str, title: str, found: Mapping[str, Any], *text: str) -> str:
    """Write `name`.json and `name`.md with date and machine; return what the latter says."""
    about = machine.describe()
    target = name.partition("-")[0]
    page = f"# {title}\n\n{machine.sentence(about)}. Made by `make {target}`.\n"
    page += "".join(f"\n{part}\n" for part in text)
    FOLDER.mkdir(parents=True, exist_ok=True)
    content = json.dumps({**about, **found}, indent=1, ensure_ascii=False)
    (FOLDER / f"{name}.json").write_text(content + "\n", "utf-8")
    (FOLDER / f"{name}.md").write_text(page, "utf-8")
    return page
