"""Rules of the house that no linter knows. Each is a function that lists its trespasses."""

import ast
import os
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from importlib.util import find_spec
from itertools import chain
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parent.parent
PACKAGES = ("protocol", "edge", "firmware_shim", "cloud", "simulator", "models")
NOT_CONTEXTS = {"kit", "events"}
SQL_HOMES = re.compile(
    r"cloud/kit/|cloud/\w+/store(/\w+)?\.py|cloud/\w+/migrations/|edge/journal(/|\.py)"
)
CLOCKS = {"cloud/kit/clock.py", "edge/clock.py"}
STATEMENT = re.compile(
    r"""\s*(?:
        select\s+(?:.*\bfrom\b|\d|\w+\()
        | insert\s+(?:or\s+\w+\s+)?into\b | update\s+[\w.]+\s+set\b | delete\s+from\s+\w
        | (?:create|alter|drop)\s+(?:table|index|unique|schema|extension|database|role|type|view)\b
        | with\s+\w+\s+as\s*\( | truncate\s+[\w.]+ | pragma\s+\w | copy\s+[\w.]+\s*\(
    )""",
    re.IGNORECASE | re.DOTALL | re.VERBOSE,
)
CLOCK_CALLS = {
    f"{owner}.{call}"
    for owner, calls in {
        "datetime": ("now", "utcnow", "today"),
        "date": ("today",),
        "time": ("time", "time_ns"),
    }.items()
    for call in calls
}
NOT_OURS = re.compile(
    r"p[y]pi[.]org|pythonhosted[.]|registry[.]npm|deb[.]debian|(?<![\w.])/(?:work|root|home)/\w"
)


def modules(*folders: str) -> Iterator[Path]:
    """Every Python file of ours in the folders."""
    for folder in folders:
        yield from (p for p in (ROOT / folder).rglob("*.py") if "node_modules" not in p.parts)


def name_of(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def contexts() -> list[str]:
    """The folders of cloud that own facts."""
    found = (path.parent.name for path in (ROOT / "cloud").glob("*/__init__.py"))
    return sorted(name for name in found if name not in NOT_CONTEXTS)


def pyproject() -> dict[str, Any]:
    return tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))


def statements_in(source: str) -> list[int]:
    """Lines of the strings that are SQL; docstrings do not count."""
    tree = ast.parse(source)
    prose = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    return [
        node.lineno
        for node in ast.walk(tree)
        if isinstance(node, ast.Constant)
        and isinstance(node.value, str)
        and id(node) not in prose
        and STATEMENT.match(node.value)
    ]


def clock_reads_in(source: str) -> list[int]:
    """Lines that read the wall clock; time.monotonic is no wall clock."""
    lines = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Attribute):
            parts = ast.unparse(node).split(".")
            if ".".join(parts[-2:]) in CLOCK_CALLS:
                lines.append(node.lineno)
        elif isinstance(node, ast.ImportFrom) and node.module == "time":
            lines += [node.lineno for alias in node.names if alias.name in {"time", "time_ns"}]
    return lines


def test_no_module_is_longer_than_500_lines() -> None:
    sizes = {name_of(p): len(p.read_bytes().splitlines()) for p in modules(*PACKAGES, "tests")}
    assert {name: size for name, size in sizes.items() if size > 500} == {}


def test_sql_lives_only_where_it_belongs() -> None:
    strays = [
        f"{name_of(path)}:{line}"
        for path in modules(*PACKAGES)
        if not SQL_HOMES.match(name_of(path))
        for line in statements_in(path.read_text("utf-8"))
    ]
    assert strays == []


@pytest.mark.parametrize(
    ("source", "found"),
    [
        ('db.execute("SELECT a\\n FROM b")', [1]),
        ('db.execute(f"insert into {table} values (1)")', [1]),
        ('db.execute("WITH a AS (SELECT 1) SELECT * FROM a")', [1]),
        ('"""Select rows from the table."""', []),
        ('say("Update the firmware first.")', []),
        ('say("select a vehicle")', []),
    ],
)
def test_the_sql_rule_sees_statements_and_not_prose(source: str, found: list[int]) -> None:
    assert statements_in(source) == found


def test_the_wall_clock_is_read_only_by_the_clock_modules() -> None:
    strays = [
        f"{name_of(path)}:{line}"
        for path in modules(*PACKAGES)
        if name_of(path) not in CLOCKS
        for line in clock_reads_in(path.read_text("utf-8"))
    ]
    assert strays == []


@pytest.mark.parametrize(
    ("source", "found"),
    [
        ("datetime.now(UTC)", [1]),
        ("datetime.datetime.utcnow()", [1]),
        ("default_factory=time.time", [1]),
        ("from time import time", [1]),
        ("time.monotonic()", []),
        ("clock.now()", []),
    ],
)
def test_the_clock_rule_sees_every_spelling(source: str, found: list[int]) -> None:
    assert clock_reads_in(source) == found


def test_the_sql_of_contexts_is_told_the_time() -> None:
    database_clock = re.compile(
        r"\b(now|clock_timestamp)\(\)|\bcurrent_(timestamp|date)\b", re.IGNORECASE
    )
    folders = [ROOT / "cloud" / name for name in contexts()]
    places = [p for f in folders for p in (*f.rglob("store*.py"), *f.rglob("*.sql"))]
    assert [name_of(p) for p in places if database_clock.search(p.read_text("utf-8"))] == []


def test_every_context_says_in_thirty_lines_what_it_owns() -> None:
    pages = {name: ROOT / "cloud" / name / "README.md" for name in contexts()}
    assert [name for name, page in pages.items() if not page.exists()] == []
    lengths = {name: len(page.read_text("utf-8").splitlines()) for name, page in pages.items()}
    assert {name: length for name, length in lengths.items() if length > 30} == {}


def test_every_context_has_its_door() -> None:
    contracts = pyproject()["tool"]["importlinter"]["contracts"]
    doors = [c["protected_modules"] for c in contracts if c["type"] == "protected"]
    assert sorted(doors) == [[f"cloud.{name}"] for name in contexts()]


def test_every_context_has_its_place_in_the_order() -> None:
    contracts = pyproject()["tool"]["importlinter"]["contracts"]
    (order,) = [c["layers"] for c in contracts if c.get("containers") == ["cloud"]]
    assert set(contexts()) <= set(order)


def test_every_package_name_means_ours() -> None:
    """Installed distributions own generic names too; ours must win."""
    origins = {name: find_spec(name) for name in PACKAGES}
    ours = {name for name, spec in origins.items() if spec and ROOT in _origin(spec.origin).parents}
    assert ours == set(PACKAGES)


def _origin(text: str | None) -> Path:
    return Path(text or "/").resolve()


def test_the_agent_starts_light() -> None:
    heavy = {"fastapi", "psycopg", "pydantic", "numpy", "torch", "sqlite_utils", "can", "cantools"}
    script = f"import sys, edge.main; print(*sorted({heavy!r} & set(sys.modules)))"
    loaded = subprocess.run([sys.executable, "-c", script], capture_output=True, check=True)
    assert loaded.stdout.split() == []


def test_an_agent_on_a_serial_line_loads_nothing_of_buses_or_of_the_field_tools() -> None:
    script = (
        "import sys, edge.cli, edge.main; from edge.battery import driver_on; edge.cli._parser();"
        "driver_on('jbd_uart', '/dev/ttyUSB0');"
        "print(*(n for n in sys.modules if n.startswith('edge.') and ('can' in n.split('.')[-1]"
        " or n in {'edge.field.capture', 'edge.field.probe', 'edge.links.recording'})))"
    )
    loaded = subprocess.run([sys.executable, "-c", script], capture_output=True, check=True)
    assert loaded.stdout.split() == []


def test_every_decoder_has_vectors() -> None:
    from edge.drivers.registry import DRIVERS

    tests = ROOT / "tests" / "edge" / "drivers"
    assert [name for name in DRIVERS if not list(tests.rglob(f"*{name}*"))] == []


def direct_dependencies() -> set[str]:
    """The distributions pyproject names, without our own."""
    project = pyproject()["project"]
    lists = [project["dependencies"], *project["optional-dependencies"].values()]
    names = {re.split(r"[\[<>=;! ]", line, maxsplit=1)[0].lower() for line in chain(*lists)}
    return names - {"mobilitycorp"}


def test_every_dependency_has_its_reason() -> None:
    page = (ROOT / "docs" / "dependencies.md").read_text("utf-8").lower()
    assert [name for name in sorted(direct_dependencies()) if f"`{name}`" not in page] == []


def test_the_development_lock_has_what_pyproject_asks_for() -> None:
    lock = (ROOT / "requirements" / "dev.lock").read_text("utf-8")
    locked = set(re.findall(r"^([a-z0-9.-]+)==", lock, re.MULTILINE))
    extras = pyproject()["project"]["optional-dependencies"]
    heavy = {re.split(r"[<>=;]", line, maxsplit=1)[0] for line in extras["vision"]}
    assert direct_dependencies() - heavy - locked == set()


@pytest.mark.parametrize("lock", sorted((ROOT / "requirements").glob("*.lock")), ids=str)
def test_locks_are_hashed_and_name_no_host(lock: Path) -> None:
    text = lock.read_text("utf-8")
    pins = re.split(r"\n(?=[a-z0-9])", text)
    assert "://" not in text
    assert not re.search(r"^\s*--(?!hash=)", text, re.MULTILINE)
    assert [pin.splitlines()[0] for pin in pins if "==" in pin and "--hash=" not in pin] == []


def our_files() -> Iterator[Path]:
    """Every file a clone brings; folders that set-up or a run makes are left out."""
    made = {"node_modules", "vendor", "vendor.new", "__pycache__"}
    for folder, subfolders, files in os.walk(ROOT):
        subfolders[:] = [
            name
            for name in subfolders
            if name not in made and (not name.startswith(".") or name in {".ci", ".github"})
        ]
        yield from (Path(folder, file) for file in files)


def test_no_file_names_a_registry_or_somebodys_machine() -> None:
    found = []
    for path in our_files():
        try:
            match = NOT_OURS.search(path.read_text("utf-8"))
        except UnicodeDecodeError:
            continue
        if match:
            found.append(f"{name_of(path)}: {match[0]}")
    assert found == []


def test_every_link_in_the_docs_leads_somewhere() -> None:
    pages = [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"), *(ROOT / "cloud").rglob("*.md")]
    dead = [
        f"{name_of(page)}: {target}"
        for page in pages
        if "node_modules" not in page.parts
        for target in re.findall(r"\]\(([^)#:]+)\)", page.read_text("utf-8"))
        if not (page.parent / target).exists()
    ]
    assert dead == []
