"""How a vehicle reads the broadcasts of its CAN bus: a DBC file, and what its signals mean to us.

A manifest comes with the desired twin, or ships with the agent. The DBC (Vector's text format) says
where a signal's bits are; the signal map says which of them are what in a reading, and when a frame
is not to be believed. A member that nobody knows is refused: a map is taken whole or not at all.
"""

from typing import Annotated, Literal

import msgspec

DBC_CHARACTERS = 65_536
_END = r"(?![\s\S])"

DbcName = Annotated[str, msgspec.Meta(pattern=f"^[A-Za-z_][A-Za-z0-9_]{{0,63}}{_END}")]
FieldName = Annotated[str, msgspec.Meta(pattern=f"^[a-z][a-z0-9_]{{0,39}}{_END}")]
DbcText = Annotated[
    str,
    msgspec.Meta(
        min_length=1,
        max_length=DBC_CHARACTERS,
        pattern=f"^[\t\n\r\x20-\x7e\xa0-\xff]*{_END}",
        description="A DBC file, line ends and Latin-1 characters",
    ),
]
Seconds = Annotated[float, msgspec.Meta(gt=0, le=3600)]
Factor = Annotated[float, msgspec.Meta(ge=-1e9, le=1e9)]

Member = Literal[
    "voltage_v",
    "current_a",
    "soc_pct",
    "soh_pct",
    "remaining_ah",
    "full_ah",
    "cycles",
    "temperature",
    "charge_fet",
    "discharge_fet",
    "alarm",
    "about",
]


class SignalRule(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """What one DBC signal is to us: its physical value · scale + offset.

    Attributes:
        signal: its name in the DBC, inside of the rule's message.
        name: what `decode`, alarms and `about` call it.
        member: what it is in a reading, in that member's unit, current positive while charging;
            null = only decoded. `alarm` is raised while it is not zero.
        number: which temperature it is, 1 to 8.
        plus: a signal of the same message whose physical value is added first.
        scale: factor onto the physical value; -1 turns the sign.
        offset: added after the factor.
        unknown_raw: the bits, as an unsigned number, that say "not known": then it is null.
        flag: true when it is not zero, else false.
        decoded: whether `decode` shows it.
        low: a frame whose value is below this is not believed.
        high: a frame whose value is above this is not believed.
    """

    signal: DbcName
    name: FieldName
    member: Member | None = None
    number: Annotated[int, msgspec.Meta(ge=1, le=8)] = 1
    plus: DbcName | None = None
    scale: Factor = 1
    offset: Factor = 0
    unknown_raw: Annotated[int, msgspec.Meta(ge=0, le=2**63 - 1)] | None = None
    flag: bool = False
    decoded: bool = True
    low: Factor | None = None
    high: Factor | None = None


class MessageRule(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """One message of the DBC that we listen to.

    Attributes:
        message: its name in the DBC.
        signals: what of it is used.
        crc8_poly: polynomial of a CRC-8, initial value 0, over all bytes before the last, which
            holds it; null = none.
        counter: a signal that must step by one from frame to frame and turns over; null = none.
        stale_s: what was heard so long ago is unknown.
    """

    message: DbcName
    signals: Annotated[list[SignalRule], msgspec.Meta(min_length=1, max_length=32)]
    crc8_poly: Annotated[int, msgspec.Meta(ge=1, le=255)] | None = None
    counter: DbcName | None = None
    stale_s: Seconds = 10.0


class SignalMap(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What the signals of a DBC are in a reading.

    Attributes:
        main: the message without which there is no reading; its `stale_s` ends one.
        messages: what is listened to.
    """

    main: DbcName
    messages: Annotated[list[MessageRule], msgspec.Meta(min_length=1, max_length=32)]


class DecoderManifest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A way to read a bus, whole.

    Attributes:
        name: what it reads, such as a car.
        version: rises with each change, for people.
        dbc: the DBC file.
        map: what its signals are to us.
    """

    name: FieldName
    version: Annotated[int, msgspec.Meta(ge=1, le=2**31)]
    dbc: DbcText
    map: SignalMap


def read_map(text: bytes) -> SignalMap:
    """Return a signal map of a JSON file; raises ValueError, which says where it is wrong."""
    return msgspec.json.decode(text, type=SignalMap)
