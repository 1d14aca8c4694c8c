"""What a vehicle's image holds is enough to run, and no more than a vehicle needs."""

import os
import re
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
RECIPE = ROOT / "deploy" / "edge.Dockerfile"


def copied() -> list[str]:
    """The sources of the recipe's COPY lines."""
    lines = re.findall(r"^COPY (.+) \S+$", RECIPE.read_text(encoding="utf-8"), re.MULTILINE)
    return [source for line in lines for source in line.split()]


@pytest.mark.slow
def test_the_vehicles_subset_builds_and_starts_alone(tmp_path: Path) -> None:
    for source in copied():
        found, target = ROOT / source, tmp_path / "tree" / source
        target.parent.mkdir(parents=True, exist_ok=True)
        if found.is_dir():
            shutil.copytree(found, target, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(found, target)
    subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(tmp_path)],
        cwd=tmp_path / "tree",
        check=True,
        capture_output=True,
    )
    (wheel,) = tmp_path.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        packages = {name.split("/")[0] for name in archive.namelist() if ".dist-info" not in name}
        archive.extractall(tmp_path / "site")
    assert packages == {"edge", "protocol"}
    code = (
        "import sys, edge, edge.main, protocol.segment;"
        "from edge.cli import main;"
        "from edge.drivers.dbc import shipped; shipped('nissan_leaf_ze1.dbc');"
        f"assert edge.__file__.startswith({str(tmp_path)!r}), edge.__file__;"
        "main(['--help'])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(tmp_path / "site")},
        check=False,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert "mobility-edge" in done.stdout
