"""Write docs/use-cases.md from the tests' `uc` markers: `python -m tests.use_cases [--check]`.

A use case counts as proven when a test carries its id; `make test` runs them all.
"""

import argparse
import ast
import re
import sys
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PAGE = ROOT / "docs" / "use-cases.md"
HEAD = """# Use cases

Generated from the `uc` markers of the tests by `make schema`; do not edit. A use case
is listed from the first test that proves a part of it.

"""


def ids_of(test: ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef) -> Iterator[str]:
    """The ids in `@pytest.mark.uc("A1", …)` on one test or class."""
    for decorator in test.decorator_list:
        if isinstance(decorator, ast.Call) and ast.unparse(decorator.func) == "pytest.mark.uc":
            yield from (str(ast.literal_eval(argument)) for argument in decorator.args)


def collect(folder: Path) -> dict[str, list[str]]:
    """Every use case id with the tests that carry it, as `path::name`."""
    proofs: defaultdict[str, list[str]] = defaultdict(list)
    for path in sorted(folder.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
                for use_case in ids_of(node):
                    proofs[use_case].append(f"{path.relative_to(folder.parent)}::{node.name}")
    return dict(proofs)


def by_number(use_case: str) -> tuple[str | int, ...]:
    """Sort key that puts UC2 before UC10."""
    return tuple(int(part) if part.isdigit() else part for part in re.split(r"(\d+)", use_case))


def render(proofs: dict[str, list[str]]) -> str:
    """The page: one row a use case."""
    if not proofs:
        return HEAD + "No test carries a use case yet.\n"
    rows = [
        f"| {use_case} | proven | {'<br>'.join(f'`{test}`' for test in sorted(proofs[use_case]))} |"
        for use_case in sorted(proofs, key=by_number)
    ]
    return HEAD + "\n".join(["| id | status | tests |", "| --- | --- | --- |", *rows]) + "\n"


def main() -> int:
    """Write the page, or with --check say whether it is up to date."""
    parser = argparse.ArgumentParser(description="Write docs/use-cases.md from the tests' markers.")
    parser.add_argument("--check", action="store_true", help="only compare; exit 1 when stale")
    page = render(collect(ROOT / "tests"))
    if not parser.parse_args().check:
        PAGE.write_text(page, "utf-8")
        return 0
    if PAGE.exists() and PAGE.read_text("utf-8") == page:
        return 0
    sys.stderr.write("docs/use-cases.md is out of date: run make schema.\n")
    return 1


if __name__ == "__main__":
    sys.exit(main())
