"""pytest plugin: counts what was skipped out loud, and keeps the long stories for their own target.

A skip proves nothing, so the run ends with the number of skips per reason. With `CI=true` a skipped
story fails, except one that needs `../shared`, which a fresh clone does not have.
"""

import os
from collections import Counter
from collections.abc import Generator

import pytest

LONG = {
    "faults": "minutes of kill -9 and frozen links; run by make faults",
    "soak": "the system under load for a long time; run by make soak",
}
SHARED = "/shared"


def pytest_configure(config: pytest.Config) -> None:
    """Register the markers of the long stories."""
    for name, meaning in LONG.items():
        config.addinivalue_line("markers", f"{name}: {meaning}")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave the long stories out unless `-m` names them."""
    wanted = str(config.getoption("markexpr"))
    unwanted = [name for name in LONG if name not in wanted]
    left_out = [item for item in items if any(item.get_closest_marker(name) for name in unwanted)]
    if left_out:
        config.hook.pytest_deselected(items=left_out)
        items[:] = [item for item in items if item not in left_out]


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item,
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Turn the skip of a story into a failure when `CI=true`."""
    report = yield
    if report.skipped and not hasattr(report, "wasxfail") and item.get_closest_marker("story"):
        reason = skip_reason(report)
        if os.environ.get("CI") == "true" and SHARED not in reason:
            report.outcome = "failed"
            report.longrepr = f"a story was skipped with CI=true: {reason}"
    return report


def skip_reason(report: pytest.TestReport | pytest.CollectReport) -> str:
    """The sentence a test gave for being skipped."""
    text = report.longrepr[2] if isinstance(report.longrepr, tuple) else str(report.longrepr)
    return text.removeprefix("Skipped: ")


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print how many tests were skipped, and why."""
    skipped = terminalreporter.stats.get("skipped", [])
    if not skipped:
        return
    terminalreporter.section(f"{len(skipped)} skipped tests proved nothing", sep="!", yellow=True)
    for reason, count in Counter(skip_reason(report) for report in skipped).most_common():
        terminalreporter.line(f"{count:5d}  {reason}")
