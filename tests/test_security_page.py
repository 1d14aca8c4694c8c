"""docs/security.md lists what the tests try, row by row, and names only tests that are there."""

import ast
import re
from pathlib import Path

from tests.stories.trusted.test_attacks import AT_THE_DOOR
from tests.stories.trusted.test_crash_table import TABLE
from tests.stories.trusted.test_forgeries import DISBELIEVED

TESTS = Path(__file__).parent
PAGE = (TESTS.parent / "docs" / "security.md").read_text("utf-8")
CELLS = {
    tuple(cell.strip().strip("`") for cell in line.strip("|").split("|"))
    for line in PAGE.splitlines()
    if line.startswith("| ")
}


def test_every_attack_at_the_door_is_on_the_page_as_it_is_counted() -> None:
    listed = {row[0]: row[1].partition(";")[0] for row in CELLS}
    told = {name: f"{row.what}, {row.reason}" for name, row in AT_THE_DOOR.items()}
    assert {name: listed.get(name) for name in told} == told


def test_every_forgery_is_on_the_page_with_its_reason() -> None:
    listed = {row[0]: row[1] for row in CELLS}
    told = {name: f"security.refused, {reason}" for name, (_, reason) in DISBELIEVED.items()}
    assert {name: listed.get(name) for name in told} == told


def test_every_power_cut_is_on_the_page_with_how_it_ends() -> None:
    listed = {row[0]: tuple(re.split("[:, ]", cell)[0] for cell in row[1:]) for row in CELLS}
    told = {point: tuple(state for state, _ in ends) for point, ends in TABLE.items()}
    assert {point: listed.get(point) for point in told} == told


def test_every_test_that_the_page_names_is_there() -> None:
    named = re.findall(r"`((?:\w+/)*test_\w+\.py)(?:::(\w+))?`", PAGE.replace("`tests/", "`"))
    assert named
    missing = [(path, name) for path, name in named if not is_there(TESTS / path, name)]
    assert missing == []


def is_there(path: Path, name: str) -> bool:
    if not path.is_file():
        return False
    tree = ast.parse(path.read_text("utf-8"))
    kinds = (ast.FunctionDef, ast.AsyncFunctionDef)
    return not name or name in {node.name for node in tree.body if isinstance(node, kinds)}
