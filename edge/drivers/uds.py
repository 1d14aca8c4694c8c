"""Diagnostic questions and answers (UDS, ISO 14229, and its KWP 2000 ancestor): reading only.

    22 hh ll  read by identifier   → 62 hh ll DATA       01 pp  OBD current data → 41 pp DATA …
    21 ii     read by local number → 61 ii DATA          09 pp  vehicle facts    → 49 pp n DATA
    10 ss     open a session       → 50 ss …             3E 80  tester present   → no answer
    refusal   7F SERVICE NRC

The services that write, move actuators or start routines (2E, 2F, 31 …) are not here, so that no
table and no wrong byte can ask for one.
"""

import math
from collections import Counter, deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Final, Literal, NamedTuple

from edge.drivers.base import FrameError
from edge.drivers.can import CanFrame
from edge.drivers.isotp import Receiver, Sender, padded

CURRENT_DATA: Final = 0x01
VEHICLE_FACTS: Final = 0x09
SESSION: Final = 0x10
READ_LOCAL: Final = 0x21
READ: Final = 0x22
TESTER_PRESENT: Final = 0x3E
NEGATIVE: Final = 0x7F
POSITIVE: Final = 0x40
_IDENT_BYTES: Final = {
    CURRENT_DATA: 1,
    VEHICLE_FACTS: 1,
    SESSION: 1,
    READ_LOCAL: 1,
    READ: 2,
    TESTER_PRESENT: 1,
}
_REFUSAL_BYTES: Final = 3

BUSY: Final = 0x21
PENDING: Final = 0x78
FOR_EVER: Final = frozenset({0x11, 0x12, 0x31, 0x33})
"""Refusals after which the same question is not put again on this connection."""
NRC: Final = {
    0x10: "general reject",
    0x11: "service not supported",
    0x12: "sub-function not supported",
    0x13: "wrong length",
    BUSY: "busy",
    0x22: "conditions not correct",
    0x31: "out of range",
    0x33: "security access denied",
    PENDING: "pending",
    0x7E: "sub-function not in this session",
    0x7F: "service not in this session",
}

ANSWER_S: Final = 0.5
PENDING_S: Final = 5.0
BETWEEN_S: Final = 0.2
PRESENT_EVERY_S: Final = 2.0
SESSION_LASTS_S: Final = 5.0
_BUSY_TRIES: Final = 4
_MOST_PENDING: Final = 6
_BROADCAST_IDS: Final = 8


class Message(NamedTuple):
    """A question, its answer or its refusal. `service` is always the question's.

    `ident` is what is asked for, `data` what follows it, `nrc` the code of a refusal.
    """

    kind: Literal["question", "answer", "refusal"]
    service: int
    ident: bytes = b""
    data: bytes = b""
    nrc: int = 0


def parse(payload: bytes) -> Message:
    """Return what an ISO-TP message says. Raises FrameError: length, unsupported."""
    if not payload:
        raise FrameError("length", "an empty message")
    if payload[0] == NEGATIVE:
        if len(payload) < _REFUSAL_BYTES:
            raise FrameError("length", f"{len(payload)} bytes, a refusal has {_REFUSAL_BYTES}")
        return Message("refusal", payload[1], nrc=payload[2])
    answer = bool(payload[0] & POSITIVE)
    service = payload[0] & ~POSITIVE
    if service not in _IDENT_BYTES:
        raise FrameError("unsupported", f"service {payload[0]:02x}: only reading is known")
    end = 1 + _IDENT_BYTES[service]
    if len(payload) < end:
        raise FrameError("length", f"{len(payload)} bytes do not tell what is asked for")
    ident = payload[1:end]
    return Message("answer" if answer else "question", service, ident, payload[end:])


def refusal_text(message: Message) -> str:
    """Return a refusal for people: code, meaning, service."""
    meaning = NRC.get(message.nrc, "refused")
    return f"{message.nrc:02x} {meaning}, to service {message.service:02x}"


@dataclass(frozen=True, slots=True)
class Address:
    """Where a control unit is asked and where its answers come from.

    `broadcast` marks 7DF, which several units hear: answers come from 7E8 to 7EF, flow control goes
    to the one that answers, and one that refuses does not speak for the others.
    """

    request_id: int
    response_id: int
    extended: bool = False
    broadcast: bool = False

    @property
    def responses(self) -> frozenset[int]:
        """The identifiers that answers may carry."""
        count = _BROADCAST_IDS if self.broadcast else 1
        return frozenset(range(self.response_id, self.response_id + count))

    def flow_id(self, response_id: int) -> int:
        """Return where to answer a first frame."""
        return response_id - 8 if self.broadcast else self.request_id


class Outcome(NamedTuple):
    """How a question ended: with an answer, a refusal's code, or neither: nobody spoke."""

    request: bytes
    answer: Message | None = None
    nrc: int | None = None


@dataclass(slots=True)
class _Flight:
    """The question that waits for its answer."""

    request: bytes
    until_s: float
    again_s: float = math.inf
    tries: int = 1
    busy: int = 0
    pending: int = 0


@dataclass(slots=True)
class Client:
    """Asks one control unit, one question at a time, at most five a second. Pure: time comes in.

    One that says nothing is not asked what waits behind the unanswered question.

    `session`: the diagnostic session to open before the first question, kept with tester present
    while questions are put; None stays in the default one, where nothing has to be kept. `tries` is
    how often a question is put to a unit that says nothing.
    """

    address: Address
    session: int | None = None
    tries: int = 2
    dropped: int = 0
    refusals: Counter[int] = field(default_factory=Counter)
    _queue: deque[bytes] = field(default_factory=deque)
    _flight: _Flight | None = None
    _done: list[Outcome] = field(default_factory=list)
    _never: set[bytes] = field(default_factory=set)
    _receivers: dict[int, Receiver] = field(default_factory=dict)
    _sender: Sender = field(default_factory=Sender)
    _sent_s: float = -math.inf
    _session_s: float = -math.inf
    _in_session: bool = False

    @property
    def waiting(self) -> bool:
        """Whether a question is asked or about to be."""
        return self._flight is not None or bool(self._queue)

    @property
    def due_s(self) -> float:
        """When `tick` has something to do."""
        if self._flight is not None:
            receivers = (receiver.due_s for receiver in self._receivers.values())
            flight = (self._flight.until_s, self._flight.again_s)
            return min(*flight, self._sender.due_s, *receivers)
        return self._sent_s + BETWEEN_S if self._queue else math.inf

    def ask(self, requests: Iterable[bytes]) -> None:
        """Put questions behind those that wait; what was refused for good is left out."""
        self._queue.extend(
            request
            for request in requests
            if request not in self._never and request not in self._queue
        )

    def turn_to(self, address: Address, *, session: int | None, tries: int) -> None:
        """Ask another unit from now on; what was asked of the one before is given up."""
        self.address, self.session, self.tries = address, session, tries
        self._queue.clear()
        self._flight = None
        self._receivers.clear()
        self._sender = Sender()
        self._never.clear()
        self._session_s, self._in_session = -math.inf, False

    def outcomes(self) -> Iterator[Outcome]:
        """Give each outcome once."""
        done, self._done = self._done, []
        yield from done

    def feed(self, frame: CanFrame, now_s: float) -> list[CanFrame]:
        """Take a frame; those of others are skipped. Return what to send at once. Never raises."""
        ours = frame.extended == self.address.extended and frame.can_id in self.address.responses
        if not ours or self._flight is None:
            return []
        if self._sender.busy:
            return self._framed(self._sender.feed(frame.data, now_s))
        receiver = self._receivers.setdefault(frame.can_id, Receiver())
        before = receiver.dropped
        heard = receiver.feed(frame.data, now_s)
        self.dropped += receiver.dropped - before
        if heard.flow_control is not None:
            self._flight.until_s = max(self._flight.until_s, receiver.due_s)
            flow_id = self.address.flow_id(frame.can_id)
            return [CanFrame(flow_id, padded(heard.flow_control), frame.extended)]
        if heard.message is not None:
            self._hear(heard.message, now_s)
        elif receiver.due_s < math.inf:
            self._flight.until_s = max(self._flight.until_s, receiver.due_s)
        return self.tick(now_s)

    def tick(self, now_s: float) -> list[CanFrame]:
        """Let time pass: put the next question, put one again, or give it up."""
        for receiver in self._receivers.values():
            before = receiver.dropped
            receiver.tick(now_s)
            self.dropped += receiver.dropped - before
        if self._sender.due_s <= now_s:
            return self._framed(self._sender.tick(now_s))
        flight = self._flight
        if flight is not None and now_s >= min(flight.until_s, flight.again_s):
            return self._again(flight, now_s)
        if flight is None and self._queue and now_s >= self._sent_s + BETWEEN_S:
            return self._next(now_s)
        return []

    def _next(self, now_s: float) -> list[CanFrame]:
        if self.session is not None:
            silent_s = now_s - self._session_s
            if silent_s >= SESSION_LASTS_S:
                self._queue.appendleft(bytes((SESSION, self.session)))
                self._session_s, self._in_session = now_s, False
            elif self._in_session and silent_s >= PRESENT_EVERY_S:
                self._session_s = now_s
                return self._send(bytes((TESTER_PRESENT, 0x80)), now_s)
        self._flight = _Flight(self._queue.popleft(), now_s + ANSWER_S)
        return self._send(self._flight.request, now_s)

    def _again(self, flight: _Flight, now_s: float) -> list[CanFrame]:
        """Put the question again; silence counts as a try, a busy unit has tries of its own."""
        if now_s < flight.again_s:
            if flight.tries >= self.tries:
                self._queue.clear()
                self._finish(Outcome(flight.request))
                return []
            flight.tries += 1
        flight.again_s, flight.until_s, flight.pending = math.inf, now_s + ANSWER_S, 0
        return self._send(flight.request, now_s)

    def _send(self, request: bytes, now_s: float) -> list[CanFrame]:
        self._sent_s = now_s
        for receiver in self._receivers.values():
            receiver.reset()
        return self._framed(self._sender.send(request, now_s))

    def _framed(self, frames: Iterable[bytes]) -> list[CanFrame]:
        request_id, extended = self.address.request_id, self.address.extended
        return [CanFrame(request_id, frame, extended) for frame in frames]

    def _hear(self, payload: bytes, now_s: float) -> None:
        flight = self._flight
        try:
            message = parse(payload)
        except FrameError:
            self.dropped += 1
            return
        if flight is None or message.service != flight.request[0]:
            return
        if message.kind == "refusal":
            self._refused(flight, message.nrc, now_s)
        elif message.kind == "answer" and message.ident == parse(flight.request).ident:
            self._finish(Outcome(flight.request, answer=message))

    def _refused(self, flight: _Flight, nrc: int, now_s: float) -> None:
        self.refusals[nrc] += 1
        if nrc == PENDING:
            if flight.pending < _MOST_PENDING:
                flight.pending += 1
                flight.until_s = now_s + PENDING_S
        elif nrc == BUSY:
            flight.busy += 1
            if flight.busy < _BUSY_TRIES:
                flight.again_s = max(now_s, self._sent_s + BETWEEN_S)
            else:
                self._finish(Outcome(flight.request, nrc=nrc))
        elif not self.address.broadcast:
            if nrc in FOR_EVER:
                self._never.add(flight.request)
            self._finish(Outcome(flight.request, nrc=nrc))

    def _finish(self, outcome: Outcome) -> None:
        self._flight = None
        if outcome.request[0] == SESSION:
            self._in_session = outcome.answer is not None
        else:
            self._done.append(outcome)
