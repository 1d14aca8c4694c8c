"""What a driver on a CAN bus gives: what it wants to hear, what it asks, and its reading."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple, Protocol, runtime_checkable

from edge.drivers.base import BatteryReading, WireCounters


class CanFrame(NamedTuple):
    """One classic data frame: an 11-bit identifier, or 29 bits when `extended`; 0 to 8 bytes."""

    can_id: int
    data: bytes
    extended: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class CanPolicy:
    """How a bus wants to be listened to.

    `bitrate` is in bit/s. `listens` are the (identifier, extended) pairs that a decoder needs, the
    rest of a busy bus is dropped before it costs anything; empty means all. A reading that no frame
    has renewed for `stale_s` is none. After `offline_after` missed polls the battery counts as
    offline. `answers_s` is the longest that one poll may wait.
    """

    bitrate: int = 500_000
    listens: frozenset[tuple[int, bool]] = frozenset()
    stale_s: float = 2.0
    offline_after: int = 5
    answers_s: float = 1.0


class CanDecoder(Protocol):
    """One maker's language on a bus. Pure and synchronous; `now_s` is monotonic seconds.

    Broadcasts are only heard; whoever has to ask does so from `begin`, `feed` and `tick`, which
    return the frames to send at once. Nothing that a bus says raises out of them.
    """

    policy: ClassVar[CanPolicy]
    ordered_bits: ClassVar[int]
    """Of `protection_bits`, those that tell what somebody switched and no protection."""
    counters: WireCounters

    @property
    def about(self) -> Mapping[str, Any]:
        """What is known beside readings, such as `hardware`; empty until it was heard."""

    @property
    def due_s(self) -> float:
        """When `tick` wants to be called next; `math.inf` for never."""

    @property
    def waiting(self) -> bool:
        """Whether the poll that `begin` began still expects answers."""

    def begin(self, now_s: float) -> Sequence[CanFrame]:
        """Begin a poll; a broadcast decoder asks nothing."""

    def feed(self, frames: Iterable[CanFrame], now_s: float) -> Sequence[CanFrame]:
        """Take what was heard, in order; frames that are not for it are skipped unseen."""

    def tick(self, now_s: float) -> Sequence[CanFrame]:
        """Let time pass: a question is put again, or given up."""

    def reading(self, now_s: float) -> BatteryReading | None:
        """The newest reading; None before the first and when it is stale."""


@runtime_checkable
class CarChooser(Protocol):
    """A decoder that knows several cars, and may be told which one it is in."""

    def choose(self, car: str) -> None:
        """Ask this car from now on. Raises ValueError, which lists the known ones."""
