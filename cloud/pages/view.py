"""What a person reads: texts and marks made from a vehicle's values. Pure.

The same words are made twice, here for the first paint and in `static/format.js` for each change,
so that nothing jumps when the first live value arrives. A test compares the two.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

LOW_SOC_PCT = 20.0
EMPTY_SOC_PCT = 10.0
IDLE_BELOW_A = 0.05
STALE_AFTER_S = 90.0
CHARGING_ABOVE_A = 0.2
RIDING_BELOW_A = -0.5
CELL_WINDOW_MV = 50
UNKNOWN = "\N{EN DASH}"
MINUS = "\N{MINUS SIGN}"
MOST_RANGES = 3

TEMPERATURE_KEYS = tuple(f"temperature_{number}_c" for number in range(1, 9))
CELL_KEYS = tuple(f"cell_{number}_v" for number in range(1, 33))

RANGES = (
    ("5m", "5 min", "5 minutes", 300),
    ("15m", "15 min", "15 minutes", 900),
    ("1h", "1 h", "hour", 3600),
)
"""How far back the charts go: in the address, on the button, in a sentence, in seconds."""

PROTECTIONS: Mapping[str, Sequence[str]] = {
    "jbd_uart": (
        "cell over-voltage",
        "cell under-voltage",
        "pack over-voltage",
        "pack under-voltage",
        "too hot to charge",
        "too cold to charge",
        "too hot to discharge",
        "too cold to discharge",
        "charge over-current",
        "discharge over-current",
        "short circuit",
        "front-end fault",
        "switched off by software",
        "charge time-out",
    ),
}
"""What each bit means, by the battery's protocol, from bit 0 on."""


@dataclass(frozen=True, slots=True)
class Vehicle:
    """One vehicle as the pages show it.

    Attributes:
        id: vehicle id.
        name: what people call it, often the id.
        kind: vehicle type.
        connected: whether the cloud hears it.
        signal_at: device time of its newest value.
        values: newest values by catalogue key (`voltage_v`, `soc_pct` …).
    """

    id: str
    name: str
    kind: str
    connected: bool
    signal_at: datetime | None
    values: Mapping[str, float | None]

    @property
    def soc_pct(self) -> float | None:
        """State of charge in percent."""
        return self.values.get("soc_pct")

    @property
    def temperature_c(self) -> float | None:
        """The hottest sensor, degrees Celsius."""
        known = [t for t in map(self.values.get, TEMPERATURE_KEYS) if t is not None]
        return max(known, default=None)


@dataclass(frozen=True, slots=True)
class Cell:
    """One cell: `share` is 0..100 of the window of its pack, `mark` is "high", "low" or empty."""

    number: int
    voltage: str
    share: float
    mark: str


@dataclass(frozen=True, slots=True)
class Choice:
    """Which rows the fleet page shows and in which order, as its address says."""

    q: str = ""
    offline: bool = False
    low: bool = False
    sort: str = "name"

    @property
    def key(self) -> str:
        """The sort column without its direction."""
        return self.sort.removeprefix("-")

    @property
    def direction(self) -> str:
        """`ascending` or `descending`."""
        return "descending" if self.sort.startswith("-") else "ascending"

    def shows(self, vehicle: Vehicle) -> bool:
        """Tell whether the vehicle passes the filters."""
        text = f"{vehicle.name} {vehicle.id} {vehicle.kind}".lower()
        return (
            self.q.strip().lower() in text
            and not (self.offline and vehicle.connected)
            and not (self.low and not is_low(vehicle.soc_pct))
        )


BLANK = Vehicle("", "", "", connected=False, signal_at=None, values={})
"""What the row template for a vehicle that joins later is made from."""

_SORT_KEYS: dict[str, Callable[[Vehicle], float | None]] = {
    "link": lambda vehicle: float(vehicle.connected),
    "soc": lambda vehicle: vehicle.soc_pct,
    "voltage": lambda vehicle: vehicle.values.get("voltage_v"),
    "current": lambda vehicle: vehicle.values.get("current_a"),
    "temperature": lambda vehicle: vehicle.temperature_c,
    "age": lambda vehicle: -vehicle.signal_at.timestamp() if vehicle.signal_at else None,
}


def ordered(vehicles: Iterable[Vehicle], choice: Choice) -> list[Vehicle]:
    """Sort by the chosen column, unknown values last whichever way; equal ones by name."""
    by_name = sorted(vehicles, key=lambda vehicle: (vehicle.name.lower(), vehicle.id))
    descending = choice.direction == "descending"
    if choice.key not in _SORT_KEYS:
        return by_name[::-1] if descending else by_name
    read = _SORT_KEYS[choice.key]
    known = [(value, vehicle) for vehicle in by_name if (value := read(vehicle)) is not None]
    known.sort(key=lambda pair: -pair[0] if descending else pair[0])
    return [*(v for _, v in known), *(v for v in by_name if read(v) is None)]


def counts(vehicles: Sequence[Vehicle]) -> dict[str, int]:
    """Totals for the head of the fleet page."""
    connected = sum(vehicle.connected for vehicle in vehicles)
    return {
        "all": len(vehicles),
        "connected": connected,
        "offline": len(vehicles) - connected,
        "low": sum(is_low(vehicle.soc_pct) for vehicle in vehicles),
    }


def number(value: float | None, decimals: int, unit: str, *, signed: bool = False) -> str:
    """A number with its unit, `12.30 V`; a real minus sign, `+` too when signed."""
    if value is None:
        return UNKNOWN
    text = f"{abs(value):.{decimals}f}"
    if not float(text):
        return f"{text} {unit}"
    sign = MINUS if value < 0 else "+" if signed else ""
    return f"{sign}{text} {unit}"


def soc(value: float | None) -> str:
    """State of charge, with a decimal only when it has one."""
    if value is None:
        return UNKNOWN
    return f"{value:.1f}".removesuffix(".0") + " %"


def is_low(soc_pct: float | None) -> bool:
    """Whether a known state of charge is at or below 20 %."""
    return soc_pct is not None and soc_pct <= LOW_SOC_PCT


def level(soc_pct: float | None) -> str:
    """`empty`, `low`, `fine` or `unknown`: decides the bar's colour."""
    if soc_pct is None:
        return "unknown"
    return "empty" if soc_pct <= EMPTY_SOC_PCT else "low" if is_low(soc_pct) else "fine"


def flow(current_a: float | None) -> str:
    """What the current does, in a word; positive is charging."""
    if current_a is None:
        return "unknown"
    if abs(current_a) < IDLE_BELOW_A:
        return "idle"
    return "charging" if current_a > 0 else "discharging"


def age(at: datetime | None, now: datetime) -> str:
    """How long ago, coarse enough to read at a glance: `4 s ago`, `3 min ago`, `never`."""
    if at is None:
        return "never"
    seconds = max(0, int((now - at).total_seconds()))
    for size, unit in ((86_400, "d"), (3_600, "h"), (60, "min")):
        if seconds >= size:
            return f"{seconds // size} {unit} ago"
    return f"{seconds} s ago"


def is_stale(vehicle: Vehicle, now: datetime) -> bool:
    """Whether its values are the last known ones and must not be taken for the present."""
    at = vehicle.signal_at
    return not vehicle.connected or at is None or (now - at).total_seconds() > STALE_AFTER_S


def doing(vehicle: Vehicle, now: datetime) -> str:
    """`riding`, `parked` or `charging` by the sign of its current; `last known` when stale."""
    current_a = vehicle.values.get("current_a")
    if vehicle.signal_at is None or current_a is None:
        return ""
    if is_stale(vehicle, now):
        return "last known"
    if current_a > CHARGING_ABOVE_A:
        return "charging"
    return "riding" if current_a < RIDING_BELOW_A else "parked"


def notice(vehicle: Vehicle, now: datetime) -> str:
    """What to know before reading its values; empty while they are the present."""
    if vehicle.signal_at is None:
        return "No value has come from this vehicle yet."
    return "These are the last known values, not the present ones." * is_stale(vehicle, now)


def chart_range(asked: str) -> str:
    """The asked range of the charts, the longest when there is no such one."""
    return asked if asked in {key for key, *_ in RANGES} else RANGES[-1][0]


def cells(values: Mapping[str, float | None]) -> list[Cell]:
    """The cells that the battery tells, with the highest and the lowest marked."""
    known = [(i, v) for i, key in enumerate(CELL_KEYS, 1) if (v := values.get(key)) is not None]
    window = _cell_window(values)
    if window is None:
        return []
    start, end = (bound / 1000 for bound in window)
    highest, lowest = max(known, key=lambda cell: cell[1]), min(known, key=lambda cell: cell[1])
    marks = {} if highest == lowest else {highest[0]: "high", lowest[0]: "low"}
    return [
        Cell(i, number(v, 3, "V"), round((v - start) / (end - start) * 100, 1), marks.get(i, ""))
        for i, v in known
    ]


def cell_scale(values: Mapping[str, float | None]) -> str:
    """What the cells' scale spans, `3.93 to 3.98 V`; empty when not told."""
    window = _cell_window(values)
    return "" if window is None else f"{window[0] / 1000:.2f} to {window[1] / 1000:.2f} V"


def _cell_window(values: Mapping[str, float | None]) -> tuple[int, int] | None:
    """The tens of millivolts around all cells, at least CELL_WINDOW_MV apart."""
    known = [round(v * 1000) for key in CELL_KEYS if (v := values.get(key)) is not None]
    if not known:
        return None
    missing = max(0, CELL_WINDOW_MV - (max(known) - min(known)))
    start = (min(known) - missing // 2) // 10 * 10
    return start, max(-(-max(known) // 10) * 10, start + CELL_WINDOW_MV)


def cell_spread(values: Mapping[str, float | None]) -> str:
    """How far apart the cells are, `cells within 7 mV`; empty when not told."""
    volts = [v for key in CELL_KEYS if (v := values.get(key)) is not None]
    return f"cells within {number((max(volts) - min(volts)) * 1000, 0, 'mV')}" if volts else ""


def protections(bits: float | None, protocol: str) -> list[str] | None:
    """Names of the protections that have tripped, numbers where unnamed; None when not told."""
    if bits is None:
        return None
    names = dict(enumerate(PROTECTIONS.get(protocol, ())))
    return [names.get(bit, f"bit {bit}") for bit in range(32) if int(bits) >> bit & 1]


def capacity(values: Mapping[str, float | None]) -> str:
    """Charge left of full, `4.98 of 5.00 Ah`; empty when not told."""
    remaining, full = values.get("remaining_ah"), values.get("full_ah")
    if remaining is None or full is None:
        return ""
    return f"{remaining:.2f} of {full:.2f} Ah"


def power(values: Mapping[str, float | None]) -> str:
    """What the current does and how strongly, `discharging, 45 W`; empty when not told."""
    volts, amperes = values.get("voltage_v"), values.get("current_a")
    if volts is None or amperes is None:
        return ""
    word = flow(amperes)
    return word if word == "idle" else f"{word}, {number(abs(volts * amperes), 0, 'W')}"


def sensors(values: Mapping[str, float | None]) -> str:
    """What the shown hottest sensor leaves out, `coldest 21.7 °C`; empty when there is one only."""
    known = [t for t in map(values.get, TEMPERATURE_KEYS) if t is not None]
    return f"coldest {number(min(known), 1, '°C')}" if len(known) > 1 else ""


def switch(value: float | None) -> str:
    """`yes`, `no` or unknown."""
    return UNKNOWN if value is None else "yes" if value else "no"


def ranges(have: Sequence[tuple[int, int]]) -> str:
    """Inclusive ranges of records, `12 to 15, 20 to 31`, at most MOST_RANGES of them."""
    shown = [f"{first:,} to {last:,}" for first, last in have[:MOST_RANGES]]
    more = len(have) - len(shown)
    return ", ".join(shown) + (f" and {more} more" if more else "")
