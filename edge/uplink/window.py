"""What is in flight, and what is due to be sent. Pure: time and chance are passed in.

- A hole below the highest seq that the cloud has is sent again after one round trip.
- Otherwise only the oldest segment of a lane is, when acknowledgements make no progress; then one
  more for each acknowledgement that shows the same loss. Never the whole window.
- The window is 1 to 16 segments over both lanes. It grows on progress and halves when the round
  trip is over a second. Facts may use all of it, signals leave room for two.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field

from edge.journal.records import Sealed
from edge.uplink.round_trip import LONGEST_S, RoundTrip
from protocol.segment import Lane

LARGEST = 16
FIRST = 2
FOR_FACTS = 2
SLOW_S = 1.0
_JITTER = 0.25
_MAX_DOUBLINGS = 5


@dataclass(slots=True)
class _Flight:
    segment: Sealed
    sent_s: float = 0.0
    times: int = 0
    is_hole: bool = False


@dataclass(slots=True)
class _LaneFlights:
    epoch: int = -1
    next_seq: int = 0
    flights: list[_Flight] = field(default_factory=list)
    progress_s: float = 0.0
    doublings: int = 0
    jitter: float = 0.0
    timed_out_s: float | None = None
    repeat_oldest: bool = False


class Window:
    """The segments of one connection that wait for their acknowledgement.

    Args:
        chance: gives a number from 0 to 1, for jitter.
    """

    def __init__(self, chance: Callable[[], float]) -> None:
        self._chance = chance
        self._lanes = {lane: _LaneFlights() for lane in Lane}
        self._size = FIRST
        self._halved_s = float("-inf")
        self.round_trip = RoundTrip()
        self.sent = 0
        self.resent = 0

    @property
    def size(self) -> int:
        """How many segments may be in flight now."""
        return self._size

    @property
    def in_flight(self) -> int:
        """How many segments wait for their acknowledgement."""
        return sum(len(held.flights) for held in self._lanes.values())

    def reset(self) -> None:
        """Begin a new connection: nothing is in flight, the journal is read from its start."""
        self._lanes = {lane: _LaneFlights() for lane in Lane}
        self._size = min(self._size, FIRST)

    def follow(self, lane: Lane, epoch: int) -> None:
        """Forget a lane's flights when the journal has begun another epoch."""
        if self._lanes[lane].epoch != epoch:
            self._lanes[lane] = _LaneFlights(epoch=epoch)

    def next_seq(self, lane: Lane) -> int:
        """Return the seq from which the journal should be read on."""
        return self._lanes[lane].next_seq

    def room(self, lane: Lane) -> int:
        """Return how many more segments of a lane may be taken now."""
        if lane is Lane.FACT:
            facts = len(self._lanes[lane].flights)
            return max(0, min(max(self._size, FOR_FACTS) - facts, LARGEST - self.in_flight))
        return max(0, min(self._size, LARGEST - FOR_FACTS) - self.in_flight)

    def take(self, segments: Iterable[Sealed]) -> None:
        """Put segments from the journal in flight; `due` returns them first."""
        for segment in segments:
            held = self._lanes[segment.lane]
            held.flights.append(_Flight(segment))
            held.next_seq = segment.last_seq + 1

    def due(self, now_s: float) -> list[Sealed]:
        """Return what must be sent now, facts first, and count it as sent."""
        found: list[_Flight] = []
        for lane in Lane:
            found += self._due_of(self._lanes[lane], now_s)
        for flight in found:
            self.resent += 1 if flight.times else 0
            self.sent += 1
            flight.times += 1
            flight.sent_s = now_s
        return [flight.segment for flight in found]

    def next_due_s(self) -> float:
        """Return when `due` has something again if nothing else happens; infinity for never."""
        return min(
            (
                moment
                for held in self._lanes.values()
                for moment in (
                    *(self._hole_due_s(flight) for flight in held.flights if flight.is_hole),
                    self._silence_ends_s(held),
                )
            ),
            default=float("inf"),
        )

    def acknowledge(
        self,
        lane: Lane,
        epoch: int,
        through_seq: int,
        have: Sequence[tuple[int, int]],
        now_s: float,
    ) -> int:
        """Take what the cloud has of a lane; return how many flights that ends."""
        held = self._lanes[lane]
        if held.epoch != epoch:
            return 0
        done: list[_Flight] = []
        left: list[_Flight] = []
        for flight in held.flights:
            covered = _covers(flight.segment, through_seq, have)
            (done if covered else left).append(flight)
        held.flights = left
        highest = max((last for _, last in have), default=0)
        for flight in left:
            flight.is_hole = bool(flight.times) and flight.segment.last_seq <= highest
        if done:
            self._progressed(held, done, now_s)
        return len(done)

    def answered(self) -> None:
        """The cloud has answered a hello: it is there, so patience starts anew."""
        for held in self._lanes.values():
            held.doublings = 0

    def _progressed(self, held: _LaneFlights, done: Sequence[_Flight], now_s: float) -> None:
        held.progress_s, held.doublings = now_s, 0
        fresh = [flight.sent_s for flight in done if flight.times == 1]
        waited_s = now_s - max(fresh) if fresh else None
        if waited_s is not None:
            self.round_trip.sample(waited_s)
        if waited_s is not None and waited_s > SLOW_S:
            self._halve(now_s)
        else:
            self._size = min(LARGEST, self._size + len(done))
        if held.timed_out_s is not None:
            oldest = held.flights[0] if held.flights else None
            sent_before = oldest is not None and 0 < oldest.sent_s <= held.timed_out_s
            held.repeat_oldest = sent_before and self._repeat_helped(done, now_s)
            held.timed_out_s = held.timed_out_s if held.repeat_oldest else None

    def _repeat_helped(self, done: Sequence[_Flight], now_s: float) -> bool:
        """Tell an ack of the repeat from a late one of the first sending, which comes too soon."""
        soonest_s = self.round_trip.soonest_s
        return any(flight.times > 1 and now_s - flight.sent_s >= soonest_s for flight in done)

    def _halve(self, now_s: float) -> None:
        if now_s - self._halved_s >= (self.round_trip.smooth_s or 0.0):
            self._size = max(1, self._size // 2)
            self._halved_s = now_s

    def _due_of(self, held: _LaneFlights, now_s: float) -> list[_Flight]:
        found = [
            flight
            for flight in held.flights
            if not flight.times or (flight.is_hole and now_s >= self._hole_due_s(flight))
        ]
        oldest = held.flights[0] if held.flights else None
        if oldest is None or not oldest.times:
            return found
        if held.repeat_oldest:
            held.repeat_oldest = False
            found += [] if oldest in found else [oldest]
        elif now_s >= self._silence_ends_s(held):
            held.timed_out_s = now_s
            held.doublings = min(held.doublings + 1, _MAX_DOUBLINGS)
            held.jitter = _JITTER * self._chance()
            self._halve(now_s)
            found += [] if oldest in found else [oldest]
        return found

    def _hole_due_s(self, flight: _Flight) -> float:
        return flight.sent_s + self.round_trip.hole_s * flight.times

    def _silence_ends_s(self, held: _LaneFlights) -> float:
        if not held.flights:
            return float("inf")
        wait_s = min(self.round_trip.timeout_s * 2.0**held.doublings, LONGEST_S)
        since_s = max(held.progress_s, held.flights[0].sent_s)
        return since_s + wait_s * (1 + held.jitter)


def _covers(segment: Sealed, through_seq: int, have: Sequence[tuple[int, int]]) -> bool:
    return segment.last_seq <= through_seq or any(
        first <= segment.first_seq and segment.last_seq <= last for first, last in have
    )
