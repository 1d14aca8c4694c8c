"""What a loss story says in the end: pure, so that it can itself be tested for failing."""

from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import NamedTuple

from protocol.signals import BY_KEY

CYCLES, REMAINING = BY_KEY["cycles"].id, BY_KEY["remaining_ah"].id
MINUTE_MS = 60_000
_SHOWN = 5


class Key(NamedTuple):
    """The identity of a record; `epoch` as 16 hex digits."""

    device: str
    lane: str
    epoch: str
    seq: int


class Stored(NamedTuple):
    """A record as it was decoded from the database.

    Attributes:
        key: which one it is.
        time_ms: corrected Unix milliseconds.
        values: wire values by signal id; empty for a fact.
    """

    key: Key
    time_ms: int
    values: Mapping[int, int]

    @property
    def sample(self) -> int | None:
        """The number that the shim gave this reading."""
        if CYCLES not in self.values or REMAINING not in self.values:
            return None
        return self.values[CYCLES] << 16 | self.values[REMAINING]


class MinuteKey(NamedTuple):
    """One signal of one device in one minute since 1970."""

    device: str
    minute: int
    signal: int


class Part(NamedTuple):
    """What a minute says of a signal, in wire values."""

    n: int
    total: int
    low: int
    high: int

    def __add__(self, other: object) -> "Part":
        """Return both parts as one."""
        if not isinstance(other, Part):
            return NotImplemented
        return Part(
            self.n + other.n,
            self.total + other.total,
            min(self.low, other.low),
            max(self.high, other.high),
        )


class LaneEnd(NamedTuple):
    """A ledger row: `have` are ranges beyond `through_seq`, `missing` counts what gap rows hold."""

    device: str
    lane: str
    epoch: str
    through_seq: int
    have: tuple[tuple[int, int], ...]
    missing: int


@dataclass(frozen=True, slots=True)
class Evidence:
    """Everything the database holds of a device when the story is over.

    Attributes:
        records: decoded from the segment rows, one for each row that holds it.
        exported: the readings as `mobility-cloud telemetry export` prints them.
        minutes: the minute partials, added up.
        ledger: every ledger row.
        quarantined: how many segment rows are not believed.
    """

    records: Sequence[Stored]
    exported: Sequence[Stored]
    minutes: Mapping[MinuteKey, Part]
    ledger: Sequence[LaneEnd]
    quarantined: int = 0


@dataclass(frozen=True, slots=True)
class Verdict:
    """What was promised and not kept; all lists empty is a kept promise.

    Attributes:
        accepted: records that a vehicle reported as durable.
        committed: different records in the database.
        never_accepted: samples that left the battery and were not durable when their agent died.
            They are the stated loss window, not a broken promise.
    """

    accepted: int
    committed: int
    never_accepted: int
    lost: list[Key] = field(default_factory=list)
    doubled: list[Key] = field(default_factory=list)
    unexpected: list[Key] = field(default_factory=list)
    out_of_order: list[Key] = field(default_factory=list)
    wrong_minutes: list[MinuteKey] = field(default_factory=list)
    wrong_exports: list[Key] = field(default_factory=list)
    wrong_lanes: list[LaneEnd] = field(default_factory=list)
    quarantined: int = 0

    @property
    def broken(self) -> dict[str, int]:
        """How often each part of the promise was broken; empty when it was kept."""
        found = {
            "lost": len(self.lost),
            "doubled": len(self.doubled),
            "unexpected": len(self.unexpected),
            "out of order": len(self.out_of_order),
            "wrong minutes": len(self.wrong_minutes),
            "wrong exports": len(self.wrong_exports),
            "wrong ledger rows": len(self.wrong_lanes),
            "quarantined": self.quarantined,
        }
        return {name: count for name, count in found.items() if count}

    def __str__(self) -> str:
        counts = f"{self.accepted} accepted, {self.committed} committed"
        lines = [
            f"{counts}, {self.never_accepted} never accepted; broken: {self.broken or 'nothing'}"
        ]
        examples = (self.lost, self.doubled, self.unexpected, self.out_of_order)
        others = (self.wrong_minutes, self.wrong_exports, self.wrong_lanes)
        lines += [f"  {example}" for found in (*examples, *others) for example in found[:_SHOWN]]
        return "\n".join(lines)


def judge(accepted: Collection[Key], evidence: Evidence) -> Verdict:
    """Compare what a vehicle accepted with what the database holds of it."""
    promised = set(accepted)
    copies = Counter(record.key for record in evidence.records)
    lost = sorted(promised - copies.keys())
    lost_readings = sum(key.lane == "signal" for key in lost)
    return Verdict(
        accepted=len(promised),
        committed=len(copies),
        never_accepted=max(0, _skipped(evidence.records) - lost_readings),
        lost=lost,
        doubled=sorted(key for key, times in copies.items() if times > 1),
        unexpected=sorted(copies.keys() - promised),
        out_of_order=_out_of_order(evidence.records),
        wrong_minutes=_wrong_minutes(evidence),
        wrong_exports=_wrong_exports(evidence),
        wrong_lanes=_wrong_lanes(promised, evidence.ledger),
        quarantined=evidence.quarantined,
    )


def together(verdicts: Sequence[Verdict]) -> Verdict:
    """Return the verdicts on several devices as one."""
    summed = {
        one.name: [found for verdict in verdicts for found in getattr(verdict, one.name)]
        for one in fields(Verdict)
        if one.default_factory is list
    }
    return Verdict(
        accepted=sum(verdict.accepted for verdict in verdicts),
        committed=sum(verdict.committed for verdict in verdicts),
        never_accepted=sum(verdict.never_accepted for verdict in verdicts),
        quarantined=sum(verdict.quarantined for verdict in verdicts),
        **summed,
    )


def _readings(records: Iterable[Stored]) -> Iterable[Stored]:
    return (record for record in records if record.key.lane == "signal")


def _skipped(records: Iterable[Stored]) -> int:
    samples: defaultdict[str, set[int]] = defaultdict(set)
    for record in _readings(records):
        if record.sample is not None:
            samples[record.key.device].add(record.sample)
    return sum(max(found) + 1 - len(found) for found in samples.values())


def _out_of_order(records: Iterable[Stored]) -> list[Key]:
    """Return the readings whose sample number is missing or not above the one before."""
    by_key = {record.key: record.sample for record in _readings(records)}
    newest: dict[tuple[str, str, str], int] = {}
    wrong = []
    for key in sorted(by_key):
        sample = by_key[key]
        if sample is None or sample <= newest.get(key[:3], -1):
            wrong.append(key)
        else:
            newest[key[:3]] = sample
    return wrong


def _wrong_minutes(evidence: Evidence) -> list[MinuteKey]:
    expected: dict[MinuteKey, Part] = {}
    unique = {record.key: record for record in _readings(evidence.records)}
    for record in unique.values():
        minute = record.time_ms // MINUTE_MS
        for signal, raw in record.values.items():
            at, one = MinuteKey(record.key.device, minute, signal), Part(1, raw, raw, raw)
            expected[at] = expected[at] + one if at in expected else one
    keys = expected.keys() | evidence.minutes.keys()
    return sorted(key for key in keys if expected.get(key) != evidence.minutes.get(key))


def _wrong_exports(evidence: Evidence) -> list[Key]:
    def flat(records: Iterable[Stored]) -> Counter[tuple[Key, int, tuple[tuple[int, int], ...]]]:
        return Counter(
            (record.key, record.time_ms, tuple(sorted(record.values.items()))) for record in records
        )

    rows, lines = flat(_readings(evidence.records)), flat(evidence.exported)
    return sorted({entry[0] for entry in ((rows - lines) + (lines - rows))})


def _wrong_lanes(promised: Iterable[Key], ledger: Iterable[LaneEnd]) -> list[LaneEnd]:
    """Return the ledger rows that do not end, whole, at the last accepted record."""
    last: dict[tuple[str, str, str], int] = {}
    for key in promised:
        last[key[:3]] = max(last.get(key[:3], 0), key.seq)
    rows = {row[:3]: row for row in ledger}
    wrong = [
        row
        for at, row in rows.items()
        if (row.through_seq, row.have, row.missing) != (last.get(at, 0), (), 0)
    ]
    wrong += [LaneEnd(*at, 0, (), seq) for at, seq in last.items() if at not in rows]
    return sorted(wrong)
