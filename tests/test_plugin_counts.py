"""The plugin that keeps skips honest, run on a small suite of its own."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
ALONE = os.environ | {"PYTHONPATH": str(ROOT), "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}
SUITE = """
import pytest

@pytest.mark.story
def test_story(): pytest.skip("no browser here")

@pytest.mark.story
@pytest.mark.skipif(True, reason="no browser here")
def test_marked_story(): raise AssertionError

@pytest.mark.story
def test_story_with_data(): pytest.skip("needs ../shared")

@pytest.mark.story
@pytest.mark.xfail(strict=True)
def test_expected_failure(): raise ValueError

@pytest.mark.faults
def test_long(): raise AssertionError

def test_plain(): pytest.skip("no browser here")
"""


def run(folder: Path, *arguments: str, ci: bool) -> str:
    (folder / "test_suite.py").write_text(SUITE)
    (folder / "pytest.ini").write_text("[pytest]\nmarkers =\n  story: end to end\n")
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "tests.plugin_counts", *arguments],
        cwd=folder,
        env=ALONE | {"CI": "true" if ci else ""},
        capture_output=True,
        check=False,
    )
    return done.stdout.decode()


def test_skips_are_counted_by_reason(tmp_path: Path) -> None:
    shown = run(tmp_path, ci=False)
    assert "4 skipped tests proved nothing" in shown
    assert "3  no browser here" in shown
    assert "4 skipped, 1 deselected, 1 xfailed" in shown.splitlines()[-1]


def test_in_ci_a_skipped_story_fails_unless_it_needs_the_shared_folder(tmp_path: Path) -> None:
    shown = run(tmp_path, ci=True)
    assert "a story was skipped with CI=true: no browser here" in shown
    assert "1 failed, 2 skipped, 1 deselected, 1 xfailed, 1 error" in shown.splitlines()[-1]


@pytest.mark.parametrize("marker", ["faults"])
def test_a_long_story_runs_when_it_is_named(tmp_path: Path, marker: str) -> None:
    assert "1 failed, 5 deselected" in run(tmp_path, "-m", marker, ci=False).splitlines()[-1]
