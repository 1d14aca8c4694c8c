"""What a benchmark says: rows, as JSON and as a table."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal, NamedTuple

BENCH_PROFILE_VALUES = 12
"""Time, voltage, current, SOC, four temperatures, latitude, longitude, speed, lock state."""


class Target(NamedTuple):
    """What a figure should be: at most or at least `value`, in the row's unit."""

    side: Literal["<=", ">="]
    value: float

    def met_by(self, figure: float) -> bool:
        """Tell whether `figure` is on the right side."""
        return figure <= self.value if self.side == "<=" else figure >= self.value


def at_most(value: float) -> Target:
    return Target("<=", value)


def at_least(value: float) -> Target:
    return Target(">=", value)


@dataclass(frozen=True, slots=True)
class Row:
    """One figure.

    Attributes:
        name: what was measured, unique in a run.
        figure: the number, None when it could not be taken.
        unit: what it counts.
        target: what it should be, if anything was promised.
        note: how it was taken.
        signal_values_per_s: the same as signal values a second, where it is a rate of readings or
            a cost of one (then: what one core or one connection would carry).
    """

    name: str
    figure: float | None
    unit: str
    target: Target | None = None
    note: str = ""
    signal_values_per_s: float | None = None

    @property
    def met(self) -> bool | None:
        """Whether the target is reached; None without a target or a figure."""
        if self.target is None or self.figure is None:
            return None
        return self.target.met_by(self.figure)


def rate(name: str, readings_per_s: float, *, target: Target | None = None, note: str = "") -> Row:
    """Return a row of readings of the bench profile a second."""
    return Row(
        name, readings_per_s, "readings/s", target, note, readings_per_s * BENCH_PROFILE_VALUES
    )


def cost(
    name: str,
    us_per_reading: float,
    *,
    target: Target | None = None,
    note: str = "",
    values: int = BENCH_PROFILE_VALUES,
) -> Row:
    """Return a row of microseconds spent on one reading."""
    per_s = values * 1e6 / us_per_reading if us_per_reading > 0 else None
    return Row(name, us_per_reading, "µs/reading", target, note, per_s)


def to_json(row: Row) -> dict[str, Any]:
    """Return what goes into bench.json for a row."""
    return {**asdict(row), "target": _target_text(row.target) or None, "met": row.met}


def from_json(found: dict[str, Any]) -> Row:
    """Read back what `to_json` wrote."""
    target = None
    if found["target"]:
        side, _, value = found["target"].partition(" ")
        target = at_most(float(value)) if side == "<=" else at_least(float(value))
    kept = {key: value for key, value in found.items() if key not in {"met", "target"}}
    return Row(**kept, target=target)


def markdown(rows: Sequence[Row]) -> str:
    """Return the table as Markdown."""
    lines = [
        "| what | figure | unit | target | reached | signal values/s | note |",
        "| --- | ---: | --- | ---: | --- | ---: | --- |",
    ]
    lines += [f"| {' | '.join(_cells(row))} |" for row in rows]
    return "\n".join(lines) + "\n"


def plain(rows: Sequence[Row]) -> str:
    """Return the table for a terminal."""
    table = [("what", "figure", "unit", "target", "", "values/s", "note"), *map(_cells, rows)]
    widths = [max(len(line[i]) for line in table) for i in range(6)]
    return "\n".join(
        f"{line[0]:{widths[0]}}  {line[1]:>{widths[1]}} {line[2]:{widths[2]}}  "
        f"{line[3]:>{widths[3]}} {line[4]:{widths[4]}}  {line[5]:>{widths[5]}}  {line[6]}".rstrip()
        for line in table
    )


def number(value: float | None) -> str:
    """Return a figure with three significant digits, and thousands apart."""
    if value is None:
        return "-"
    size = abs(value)
    if size >= 100:
        return f"{value:,.0f}"
    return f"{value:.1f}" if size >= 10 else f"{value:.2f}" if size >= 0.1 else f"{value:.3f}"


def _target_text(target: Target | None) -> str:
    return f"{target.side} {target.value:g}" if target else ""


def _cells(row: Row) -> tuple[str, str, str, str, str, str, str]:
    target = f"{row.target.side.replace('=', '')} {number(row.target.value)}" if row.target else ""
    met = {True: "yes", False: "NO", None: ""}[row.met]
    values = "" if row.signal_values_per_s is None else number(row.signal_values_per_s)
    return row.name, number(row.figure), row.unit, target, met, values, row.note
