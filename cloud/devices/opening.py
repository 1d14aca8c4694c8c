"""From bytes to a segment that can be classified and kept. Pure; runs beside the commits."""

import logging
from collections.abc import Mapping, Sequence

from cloud.devices.batch import Arrival, LaneKey, ReceivedSegment
from cloud.devices.model import Progress, ToldClock, correct_times
from cloud.kit.scope import Scope
from protocol.messages import epoch_hex
from protocol.segment import Header, Segment, SegmentError, open_segment, read_header
from protocol.signals import BY_ID

log = logging.getLogger(__name__)


class Candidate:
    """An arrival with a readable header; its body is opened once, when it is needed.

    Attributes:
        segment: the records, None until opened and when refused.
        refused: why the body is not believed, None until opened and when it is.
    """

    __slots__ = ("arrival", "epoch", "header", "refused", "segment")

    def __init__(self, arrival: Arrival, header: Header) -> None:
        self.arrival = arrival
        self.header = header
        self.epoch = epoch_hex(header.epoch)
        self.segment: Segment | None = None
        self.refused: str | None = None

    @property
    def key(self) -> LaneKey:
        """The ledger row it belongs to."""
        return self.arrival.device_id, int(self.header.lane), self.epoch

    def open(self) -> None:
        """Open the body. A bug of the decoder refuses the segment and leaves a traceback.

        Signals that this catalogue does not know are checked, then left out: they lie in the
        payload until one does.
        """
        if self.segment is not None or self.refused is not None:
            return
        try:
            self.segment = _known_signals(open_segment(self.arrival.payload))
        except SegmentError as refusal:
            self.refused = refusal.reason
        except Exception:
            log.exception("decoder failed on a segment of %s; kept as it is", self.key)
            self.refused = "decoder"

    def received(
        self, scope: Scope, clock: ToldClock, quarantine: str | None = None
    ) -> ReceivedSegment:
        """Return the segment as it is kept, in quarantine when a reason is given or found."""
        reason = quarantine or self.refused
        offset_ms = clock.offset_of(self.header)
        times, retimed = ([], 0) if reason else self._times(offset_ms)
        return ReceivedSegment(
            scope=scope,
            device_id=self.arrival.device_id,
            epoch=self.epoch,
            header=self.header,
            payload=self.arrival.payload,
            received_at=self.arrival.received_at,
            segment=None if reason else self.segment,
            quarantine=reason,
            offset_ms=offset_ms,
            times_ms=times,
            retimed=retimed,
        )

    def _times(self, offset_ms: int) -> tuple[list[int], int]:
        if self.segment is None:
            return [], 0
        if self.segment.signals is not None:
            times: Sequence[int] = self.segment.signals.times_ms
        else:
            times = [self.header.t0_ms + fact.dt_ms for fact in self.segment.facts or ()]
        return correct_times(times, offset_ms, self.arrival.received_at)


def _known_signals(segment: Segment) -> Segment:
    if segment.signals is not None:
        columns = segment.signals.columns
        segment.signals.columns = {i: column for i, column in columns.items() if i in BY_ID}
    return segment


def read(arrival: Arrival) -> Candidate | str:
    """Return the arrival with its header read, or why it cannot be."""
    try:
        header = read_header(arrival.payload)
    except SegmentError as trouble:
        return trouble.reason
    return Candidate(arrival, header)


def open_all(
    arrivals: Sequence[Arrival], committed: Mapping[LaneKey, Progress]
) -> tuple[list[Candidate], list[tuple[Arrival, str]]]:
    """Read all headers and open every body but those of known repeats.

    Args:
        arrivals: what came, in order.
        committed: what is known to be committed; it may lag behind the ledger, never lead it.

    Returns:
        The candidates in order, and the unreadable ones with the reason.
    """
    candidates: list[Candidate] = []
    unreadable: list[tuple[Arrival, str]] = []
    for arrival in arrivals:
        found = read(arrival)
        if isinstance(found, str):
            unreadable.append((arrival, found))
            continue
        progress = committed.get(found.key)
        if progress is None or not progress.covers(found.header.first_seq, found.header.last_seq):
            found.open()
        candidates.append(found)
    return candidates, unreadable
