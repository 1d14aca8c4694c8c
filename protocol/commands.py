"""What the cloud asks of a device: commands and the desired twin, and what each kind needs.

msgspec structures, because the agent reads them on its command path and has no pydantic. Both
travel signed (`protocol.signing`). The cloud requests, the vehicle decides. Times are Unix
milliseconds of the cloud's clock.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any, Literal

import msgspec

from protocol.decoders import DecoderManifest
from protocol.messages import MessageError, Short, UnixMs
from protocol.zones import MOST_ZONES, Zone, ZonesError, check_zones

_END = r"(?![\s\S])"

DeviceId = Annotated[str, msgspec.Meta(pattern=f"^[a-z0-9-]{{3,36}}{_END}")]
CommandId = Annotated[
    str,
    msgspec.Meta(pattern=f"^[0-9a-f]{{8}}(-[0-9a-f]{{4}}){{3}}-[0-9a-f]{{12}}{_END}"),
]
Kind = Annotated[str, msgspec.Meta(pattern=f"^[a-z_]{{1,40}}{_END}")]
KeyId = Annotated[str, msgspec.Meta(min_length=1, max_length=64, pattern=f"^[A-Za-z0-9_.-]+{_END}")]
PublicKeyHex = Annotated[
    str,
    msgspec.Meta(pattern=f"^[0-9a-f]{{64}}{_END}", description="Raw Ed25519 public key, hex"),
]
TraceParent = Annotated[
    str,
    msgspec.Meta(
        pattern=f"^00-[0-9a-f]{{32}}-[0-9a-f]{{16}}-[0-9a-f]{{2}}{_END}",
        description="W3C trace context",
    ),
]

State = Literal["pending", "accepted", "executing", "done", "refused", "failed", "expired"]
FINAL: frozenset[str] = frozenset({"done", "refused", "failed", "expired"})
REFUSALS = ("moving", "expired", "unsupported", "bad_args", "busy", "unsafe", "jammed")
FAILURES = ("interrupted", "no_answer", "not_confirmed", "error")

STANDSTILL_KMH = 3.0
SPEED_MODES = ("eco", "normal", "sport", "walk")
SPEED_LIMIT_KMH = (3, 45)
INTERVAL_NAMES = frozenset(
    {
        "poll_riding_s",
        "poll_charging_s",
        "poll_parked_s",
        "journal_parked_s",
        "poll_low_power_s",
        "journal_low_power_s",
        "poll_deep_sleep_s",
        "journal_deep_sleep_s",
        "flush_riding_s",
        "flush_parked_s",
        "seal_riding_s",
        "seal_parked_s",
    }
)
INTERVAL_S = (0.1, 86_400.0)


class ArgsError(ValueError):
    """These arguments do not fit the kind; the text says what would."""


class Command(msgspec.Struct, frozen=True):
    """One request to a device.

    Attributes:
        id: the command's id, a UUID; a repeated one is answered from the journal.
        device_id: the only device that may obey it.
        kind: what to do, a key of `KINDS`.
        args: what the kind needs, as `check_args` returns it.
        issued_at_ms: when it was asked for.
        not_after_ms: refused later than this, by the device's trusted time.
        traceparent: W3C trace context of the request, or null.
        v: version of the message.
    """

    id: CommandId
    device_id: DeviceId
    kind: Kind
    issued_at_ms: UnixMs
    not_after_ms: UnixMs
    args: dict[str, Any] = {}
    traceparent: TraceParent | None = None
    v: Literal[1] = 1


class SignerKey(msgspec.Struct, frozen=True):
    """A key whose signatures the device believes."""

    key_id: KeyId
    public_key: PublicKeyHex


class Limits(msgspec.Struct, frozen=True):
    """How fast the vehicle may go; null lets go.

    Attributes:
        speed_limit_kmh: 3 to 45 km/h.
        speed_mode: one of SPEED_MODES.
    """

    speed_limit_kmh: (
        Annotated[int, msgspec.Meta(ge=SPEED_LIMIT_KMH[0], le=SPEED_LIMIT_KMH[1])] | None
    ) = None
    speed_mode: Literal["eco", "normal", "sport", "walk"] | None = None


class DesiredTwin(msgspec.Struct, frozen=True):
    """What the cloud wants a device to be. Applied whole or refused whole.

    Attributes:
        device_id: the only device it is for.
        version: rises by one; an older one is refused.
        issued_at_ms: when it was written.
        signers: keys to believe from this version on; the next one is announced here a version
            before it signs anything. Never empty.
        live_until_ms: report at once until then, because someone watches; null = nobody does.
        intervals_s: seconds between polls, flushes and seals, by setting name.
        limits: how fast the vehicle may go.
        immobilised: true = the motor stays off, false = it may run, null = not asked for.
        zones: where the vehicle goes slowly or not at all, by itself and without a network; the
            earlier one decides where two overlap. Left out: none.
        decoder: how a battery on a bus that speaks on its own is read. Left out: as the agent
            came to read it.
        v: version of the message.
    """

    device_id: DeviceId
    version: Annotated[int, msgspec.Meta(ge=1, le=2**53)]
    issued_at_ms: UnixMs
    signers: Annotated[list[SignerKey], msgspec.Meta(min_length=1, max_length=4)]
    live_until_ms: UnixMs | None = None
    intervals_s: dict[Short, float] = {}
    limits: Limits = Limits()
    immobilised: bool | None = None
    zones: Annotated[list[Zone], msgspec.Meta(max_length=MOST_ZONES)] | msgspec.UnsetType = (
        msgspec.UNSET
    )
    decoder: DecoderManifest | msgspec.UnsetType = msgspec.UNSET
    v: Literal[1] = 1


Check = Callable[[Any], Any]


@dataclass(frozen=True, slots=True)
class KindRule:
    """What a kind of command is.

    Attributes:
        title: for people.
        args: a check by argument name; all are required.
        at_most_once: never done a second time after a crash: `failed(interrupted)` instead. The
            others converge: the sensor is read and the result is what it says.
        standstill: refused above 3 km/h; a function of the arguments.
        by: "controller" (lock unit or what stands in for it), "battery" or "agent".
    """

    title: str
    by: Literal["controller", "battery", "agent"]
    args: Mapping[str, Check] = field(default_factory=dict)
    at_most_once: bool = False
    standstill: Callable[[Mapping[str, Any]], bool] = lambda _args: False


def _flag(value: Any) -> bool:  # noqa: ANN401 - it is what is checked
    if not isinstance(value, bool):
        raise ArgsError("true or false")
    return value


def _mode(value: Any) -> str:  # noqa: ANN401 - it is what is checked
    if value not in SPEED_MODES:
        raise ArgsError(f"one of {', '.join(SPEED_MODES)}")
    return str(value)


def _limit(value: Any) -> int | None:  # noqa: ANN401 - it is what is checked
    low, high = SPEED_LIMIT_KMH
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
        raise ArgsError(f"whole km/h from {low} to {high}, or null for no limit")
    return value


def check_intervals(value: Any) -> dict[str, float]:  # noqa: ANN401 - it is what is checked
    """Return intervals in seconds by setting name; raises ArgsError."""
    low, high = INTERVAL_S
    if not isinstance(value, dict) or not value:
        raise ArgsError(f"seconds by name; names are {', '.join(sorted(INTERVAL_NAMES))}")
    for name, seconds in value.items():
        if name not in INTERVAL_NAMES:
            names = ", ".join(sorted(INTERVAL_NAMES))
            raise ArgsError(f"seconds by name, and there is no {name!r}; names are {names}")
        wrong = isinstance(seconds, bool) or not isinstance(seconds, int | float)
        if wrong or not low <= seconds <= high:
            raise ArgsError(f"seconds by name, {name} from {low:g} to {high:g}")
    return {name: float(seconds) for name, seconds in value.items()}


def _always(_args: Mapping[str, Any]) -> bool:
    return True


def _when_on(args: Mapping[str, Any]) -> bool:
    return bool(args.get("on"))


KINDS: dict[str, KindRule] = {
    "lock": KindRule("Lock", "controller", standstill=_always),
    "unlock": KindRule("Unlock", "controller"),
    "immobilise": KindRule("Keep the motor off", "controller", {"on": _flag}, standstill=_when_on),
    "locate": KindRule("Beep and flash", "controller", at_most_once=True),
    "lights": KindRule("Lights", "controller", {"on": _flag}),
    "speed_mode": KindRule("Speed mode", "controller", {"mode": _mode}),
    "speed_limit": KindRule("Speed limit", "controller", {"kmh": _limit}),
    "open_battery": KindRule(
        "Open the battery compartment", "controller", at_most_once=True, standstill=_always
    ),
    "charge_enable": KindRule("Allow charging", "battery", {"on": _flag}),
    "reboot": KindRule("Start the agent again", "agent", at_most_once=True, standstill=_always),
    "read_now": KindRule("Read everything now", "agent"),
    "set_intervals": KindRule("Set intervals", "agent", {"intervals_s": check_intervals}),
    "rotate_keys": KindRule("Make a new key and certificate", "agent"),
}
AGENT_KINDS: frozenset[str] = frozenset(name for name, rule in KINDS.items() if rule.by == "agent")


def check_args(kind: str, args: Mapping[str, Any]) -> dict[str, Any]:
    """Return the arguments of a kind, checked; raises ArgsError for a stranger or a misfit."""
    rule = KINDS.get(kind)
    if rule is None:
        raise ArgsError(f"no command {kind!r}; there are {', '.join(KINDS)}")
    if strangers := sorted(args.keys() - rule.args.keys()):
        takes = ", ".join(rule.args) or "no arguments"
        raise ArgsError(f"{kind} does not take {strangers[0]!r}; it takes {takes}")
    checked: dict[str, Any] = {}
    for name, check in rule.args.items():
        if name not in args:
            raise ArgsError(f"{kind} needs {name!r}")
        try:
            checked[name] = check(args[name])
        except ArgsError as wrong:
            raise ArgsError(f"{kind}: {name} must be {wrong}") from None
    return checked


_ENCODER = msgspec.json.Encoder()
_COMMAND = msgspec.json.Decoder(Command)
_TWIN = msgspec.json.Decoder(DesiredTwin)


def encode(message: Command | DesiredTwin) -> bytes:
    """Return the message as JSON, unsigned."""
    return _ENCODER.encode(message)


def decode_command(payload: bytes) -> Command:
    """Read a verified payload; raises MessageError."""
    try:
        return _COMMAND.decode(payload)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as trouble:
        raise MessageError(f"not a command: {trouble}") from trouble


def decode_twin(payload: bytes) -> DesiredTwin:
    """Read a verified payload; raises MessageError, also for intervals and zones that cannot be."""
    try:
        twin = _TWIN.decode(payload)
        if twin.intervals_s:
            check_intervals(twin.intervals_s)
        check_zones(twin.zones or [])
    except (
        *(msgspec.MsgspecError, UnicodeDecodeError, RecursionError),
        *(ArgsError, ZonesError),
    ) as trouble:
        raise MessageError(f"not a twin: {trouble}") from trouble
    return twin
