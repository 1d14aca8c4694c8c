"""The audit chain's arithmetic: what a hash covers, which row is the first bad one. Pure."""

import hashlib
import json
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from cloud.kit.clock import rfc3339

FIRST_HASH = "0" * 64
"""What the first row follows."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One row of the chain: who did what to what, when."""

    seq: int
    at: datetime
    tenant: str
    city: str
    actor: str
    actor_kind: str
    action: str
    target: str
    detail: Mapping[str, Any]
    prev_hash: str
    hash: str = ""

    def computed_hash(self) -> str:
        """The sha256, in hex, of the row's canonical JSON, the hash before it included."""
        covered = {
            "seq": self.seq,
            "at": self.at.astimezone(UTC).isoformat(timespec="microseconds"),
            "tenant": self.tenant,
            "city": self.city,
            "actor": self.actor,
            "actor_kind": self.actor_kind,
            "action": self.action,
            "target": self.target,
            "detail": storable(self.detail),
            "prev_hash": self.prev_hash,
        }
        text = json.dumps(
            covered, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False
        )
        return hashlib.sha256(text.encode()).hexdigest()


@dataclass(frozen=True, slots=True)
class Head:
    """Where the chain ends: its newest row's number and hash."""

    seq: int
    hash: str


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a check found; `bad_seq` is the first row that is not as it was written, if any."""

    rows: int
    head: str
    bad_seq: int | None = None
    reason: str = ""


def verify(entries: Iterable[Entry], head: Head | None) -> Verdict:
    """Walk the chain from its first row, ordered by seq, and stop at the first bad one."""
    last = Head(0, FIRST_HASH)
    for entry in entries:
        if (fault := _fault(entry, last)) is not None:
            return Verdict(last.seq, last.hash, *fault)
        last = Head(entry.seq, entry.hash)
    if head is None:
        return Verdict(last.seq, last.hash, last.seq + 1, "may be missing: the chain's head is")
    if head.seq > last.seq:
        return Verdict(last.seq, last.hash, last.seq + 1, "is missing")
    if head != last:
        return Verdict(last.seq, last.hash, last.seq, "is not the one that the chain's head names")
    return Verdict(last.seq, last.hash)


def _fault(entry: Entry, last: Head) -> tuple[int, str] | None:
    if entry.seq != last.seq + 1:
        return last.seq + 1, "is missing"
    if entry.prev_hash != last.hash:
        return entry.seq, "does not follow the row before it"
    if entry.computed_hash() != entry.hash:
        return entry.seq, "was changed"
    return None


def storable(value: Any) -> Any:  # noqa: ANN401 - any JSON
    """Return a value as jsonb gives it back, so that a row hashes the same once it is read.

    Raises:
        ValueError: a number that JSON does not know.
    """
    if value is None or isinstance(value, bool | int):
        return value
    if isinstance(value, float):
        if not math.isfinite(value):
            raise ValueError("the audit chain keeps no NaN and no infinity; leave it out")
        return int(value) if value.is_integer() else value
    if isinstance(value, Mapping):
        return {text(str(key)): storable(inner) for key, inner in value.items()}
    if isinstance(value, set | frozenset):
        return [storable(inner) for inner in sorted(value)]
    if isinstance(value, list | tuple):
        return [storable(inner) for inner in value]
    return text(rfc3339(value) if isinstance(value, datetime) else str(value))


def text(value: str) -> str:
    """Return a string without what Postgres cannot hold: NUL and lone surrogates."""
    return value.replace("\0", "\N{REPLACEMENT CHARACTER}").encode("utf-8", "replace").decode()
