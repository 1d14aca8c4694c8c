"""The JSON messages of the link: hello, gone and ack.

They are msgspec structures, because the agent reads and writes them from its first second on and
pydantic would cost it a third of one. Times are Unix milliseconds. Unknown fields are ignored.
"""

import re
from typing import Annotated, Literal

import msgspec

from protocol.bodies import MAX_SEQ

_EPOCH = re.compile(r"[0-9a-f]{16}")
_MAX_RANGES = 4096

_END = r"(?![\s\S])"  # unlike `$`, in Python and ECMAScript alike: not before a line's end either

EpochHex = Annotated[
    str, msgspec.Meta(pattern=f"^[0-9a-f]{{16}}{_END}", description="Epoch as 16 hex digits")
]
LaneName = Literal["fact", "signal"]
Seq = Annotated[int, msgspec.Meta(ge=0, le=MAX_SEQ + 1)]
UnixMs = Annotated[int, msgspec.Meta(ge=-(2**47), le=2**47 - 1)]
Nonce = Annotated[
    str,
    msgspec.Meta(
        min_length=8,
        max_length=64,
        pattern=f"^[A-Za-z0-9_-]*{_END}",
        description="Letters, digits, _ and -",
    ),
]
Short = Annotated[
    str, msgspec.Meta(max_length=64, pattern=f"^[ -~]*{_END}", description="Printable ASCII")
]


class MessageError(ValueError):
    """A message that cannot be read. The sender is at fault: count it and go on."""


class LaneState(msgspec.Struct, frozen=True):
    """What a device's journal holds of one lane.

    Attributes:
        lane: "fact" or "signal".
        epoch: the journal file's epoch, 16 hex digits.
        floor_seq: lowest seq still held, or `last_seq + 1` when nothing is.
        last_seq: highest seq ever written, 0 before the first.
    """

    lane: LaneName
    epoch: EpochHex
    floor_seq: Seq
    last_seq: Seq


class Hello(msgspec.Struct, frozen=True, tag="hello", tag_field="kind"):
    """A device says it is there, and asks for acks. Repeated until an ack answers it.

    Attributes:
        nonce: new for each connection; the last will carries the same.
        sent_at_ms: the device's own clock, Unix milliseconds.
        boot_id: number of this run of the agent.
        lanes: what the journal holds.
        agent_version: version of the agent.
        battery: protocol name of its battery controller, "" when it has none.
        capabilities: what it can be told to do.
        tried: how many connections this run has tried, this one included.
        v: version of the message.
    """

    nonce: Nonce
    sent_at_ms: UnixMs
    boot_id: Annotated[int, msgspec.Meta(ge=0, le=2**32 - 1)]
    lanes: Annotated[list[LaneState], msgspec.Meta(max_length=8)]
    agent_version: Short
    battery: Short = ""
    capabilities: Annotated[list[Short], msgspec.Meta(max_length=64)] = []
    tried: Annotated[int, msgspec.Meta(ge=1, le=2**53)] | msgspec.UnsetType = msgspec.UNSET
    v: int = 1


class Gone(msgspec.Struct, frozen=True, tag="gone", tag_field="kind"):
    """The last will: this connection is over. Ignored when a newer hello has come."""

    nonce: Nonce
    v: int = 1


class LaneAck(msgspec.Struct, frozen=True):
    """What the cloud's database has committed of one lane.

    Attributes:
        lane: "fact" or "signal".
        epoch: 16 hex digits.
        through_seq: every seq up to here is committed or reported as a gap; 0 = none.
        have: inclusive ranges that are committed beyond `through_seq`, ascending.
    """

    lane: LaneName
    epoch: EpochHex
    through_seq: Seq
    have: Annotated[list[tuple[Seq, Seq]], msgspec.Meta(max_length=_MAX_RANGES)] = []


class Ack(msgspec.Struct, frozen=True):
    """Read from committed rows: after a commit, and in answer to a hello.

    Attributes:
        at_ms: the cloud's clock, Unix milliseconds.
        lanes: one entry a lane.
        nonce: that of the hello it answers, else null.
        hello_sent_at_ms: that hello's `sent_at_ms`, else null; gives the clock offset.
        v: version of the message.
    """

    at_ms: int
    lanes: list[LaneAck]
    nonce: str | None = None
    hello_sent_at_ms: int | None = None
    v: int = 1


_ENCODER = msgspec.json.Encoder()
_STATUS: msgspec.json.Decoder[Hello | Gone] = msgspec.json.Decoder(Hello | Gone)
_ACK = msgspec.json.Decoder(Ack)


def encode(message: Hello | Gone | Ack) -> bytes:
    """Return the message as JSON."""
    return _ENCODER.encode(message)


def decode_status(payload: bytes) -> Hello | Gone:
    """Read what came on a `status` topic; raises MessageError."""
    try:
        return _STATUS.decode(payload)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as trouble:
        raise MessageError(f"not a status message: {trouble}") from trouble


def decode_ack(payload: bytes) -> Ack:
    """Read what came on an `ack` topic; raises MessageError."""
    try:
        return _ACK.decode(payload)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as trouble:
        raise MessageError(f"not an ack: {trouble}") from trouble


def epoch_hex(epoch: int) -> str:
    """Return an epoch as the 16 hex digits that JSON and logs show."""
    return f"{epoch:016x}"


def epoch_int(text: str) -> int:
    """Return the epoch that 16 hex digits name; raises MessageError."""
    if not _EPOCH.fullmatch(text):
        raise MessageError(f"{text!r} is not an epoch: 16 hex digits")
    return int(text, 16)
