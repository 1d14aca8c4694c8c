"""The agent's configuration: a TOML file; MOBILITY_<SECTION>_<KEY> in the environment wins."""

import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, get_args

import msgspec

Seconds = Annotated[float, msgspec.Meta(ge=0.001, le=86_400)]
Port = Annotated[int, msgspec.Meta(ge=1, le=65_535)]
DeviceId = Annotated[str, msgspec.Meta(pattern=r"^[a-z0-9-]{3,36}$")]
NonEmpty = Annotated[str, msgspec.Meta(min_length=1)]
_CERTIFICATES_NOW = (
    "vehicles use certificates now: write a new configuration with "
    "`mobility-cloud devices add ID --battery NAME --port PATH --out FILE --force`"
)
_NO_LONGER = dict.fromkeys(("mqtt.username", "mqtt.password"), _CERTIFICATES_NOW)


class SettingsError(ValueError):
    """The configuration cannot be used; the text says which key of which file, and what to do."""


class Section(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One table of the file; a key that we do not know is refused, so that a typo is found."""


class Device(Section, frozen=True):
    """Who this agent is, and what it is at: a vehicle, or a dock with its `[charger]`."""

    id: DeviceId
    profile: Literal["vehicle", "dock"] = "vehicle"


class Mqtt(Section, frozen=True):
    """Where the broker is. It is spoken to over TLS, with the certificate under `identity`."""

    host: NonEmpty = "127.0.0.1"
    port: Port = 8883
    keepalive_s: Annotated[int, msgspec.Meta(ge=5, le=30)] = 20


class Identity(Section, frozen=True):
    """Where key and certificate lie, and how to get them the first time.

    Attributes:
        folder: relative to the configuration; made by the agent, private to it.
        enrol_url: the cloud's device listener, https://HOST:PORT.
        claim: permission to enrol, good once; harmless when it was used.
        ca: PEM of the authority whose certificates to believe until the first own one.
    """

    folder: NonEmpty = "identity"
    enrol_url: NonEmpty | None = None
    claim: NonEmpty | None = None
    ca: NonEmpty | None = None


class Controller(Section, frozen=True):
    """What locks the vehicle: its language and its serial port; jbd_fet is at the battery's.

    A scooter's ESC may be on the battery's own wire: then both name the same port and protocol.
    """

    protocol: Literal["lock_unit", "m365_serial", "ninebot_serial", "jbd_fet"]
    port: NonEmpty | None = None


class Gnss(Section, frozen=True):
    """The receiver that knows where we are: NMEA 0183 on a serial port, or gpsd://HOST:PORT."""

    port: NonEmpty
    baud: Annotated[int, msgspec.Meta(ge=1200, le=921_600)] = 9600


class Battery(Section, frozen=True):
    """The battery controller: its language and the port it is wired to.

    `car` says which car uds_ev asks, such as "ioniq5"; without, it finds out.
    With `cells` in series and `full_ah` of the full pack, a driver whose wire lacks the SOC
    estimates it.
    """

    protocol: NonEmpty
    port: NonEmpty
    car: NonEmpty | None = None
    cells: Annotated[int, msgspec.Meta(ge=1, le=200)] | None = None
    full_ah: Annotated[float, msgspec.Meta(gt=0, le=10_000)] | None = None


class Charger(Section, frozen=True):
    """The unit of a dock: its language and its serial port. It stands where a battery would."""

    port: NonEmpty
    protocol: Literal["dock_unit"] = "dock_unit"


class JournalFile(Section, frozen=True):
    """The journal's file, relative to the configuration, and how large it may grow."""

    path: NonEmpty = "journal.db"
    max_mb: Annotated[int, msgspec.Meta(ge=1, le=1_000_000)] = 64


class Intervals(Section, frozen=True):
    """How often, in seconds, by state. `poll_s`, `flush_s`, `seal_s` fix one for every state."""

    poll_riding_s: Seconds = 1.0
    poll_charging_s: Seconds = 10.0
    poll_parked_s: Seconds = 10.0
    journal_parked_s: Seconds = 60.0
    poll_low_power_s: Seconds = 60.0
    journal_low_power_s: Seconds = 1_800.0
    poll_deep_sleep_s: Seconds = 1_800.0
    journal_deep_sleep_s: Seconds = 86_400.0
    flush_riding_s: Seconds = 1.0
    flush_parked_s: Seconds = 30.0
    seal_riding_s: Seconds = 10.0
    seal_parked_s: Seconds = 60.0
    poll_s: Seconds | None = None
    flush_s: Seconds | None = None
    seal_s: Seconds | None = None


class Traces(Section, frozen=True):
    """Which share of the segments of readings begins a trace; 0 is none."""

    ratio: Annotated[float, msgspec.Meta(ge=0, le=1)] = 0.01


class Settings(Section, frozen=True):
    """Everything an agent is told before it starts."""

    device: Device
    battery: Battery
    mqtt: Mqtt = Mqtt()
    journal: JournalFile = JournalFile()
    intervals: Intervals = Intervals()
    identity: Identity = Identity()
    controller: Controller | None = None
    gnss: Gnss | None = None
    charger: Charger | None = None
    traces: Traces = Traces()


def load(path: Path, environ: Mapping[str, str]) -> Settings:
    """Read `path`, apply the environment, and return settings with absolute paths.

    Raises:
        SettingsError: The file is missing, is not TOML, or has a wrong, missing or unknown key.
    """
    try:
        raw = tomllib.loads(path.read_text("utf-8"))
    except OSError as error:
        raise SettingsError(
            f"cannot read {path}: {error.strerror}; "
            "write one with: mobility-cloud devices add ID --battery NAME --port PATH --out FILE"
        ) from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise SettingsError(f"{path} is not TOML ({error}); correct that line") from error
    _override(raw, environ)
    _stand_in(raw, path)
    try:
        settings = msgspec.convert(raw, Settings, strict=False)
    except msgspec.ValidationError as error:
        raise SettingsError(f"{path}: {_explain(str(error))}") from error
    home, replace = path.resolve().parent, msgspec.structs.replace
    journal = replace(settings.journal, path=str(home / settings.journal.path))
    identity = replace(settings.identity, folder=str(home / settings.identity.folder))
    return replace(settings, journal=journal, identity=identity)


def _override(raw: dict[str, Any], environ: Mapping[str, str]) -> None:
    for section in msgspec.structs.fields(Settings):
        kind = (*get_args(section.type), section.type)[0]
        for key in msgspec.structs.fields(kind):
            value = environ.get(f"MOBILITY_{section.name}_{key.name}".upper())
            table = raw.setdefault(section.name, {}) if value is not None else None
            if isinstance(table, dict):
                table[key.name] = value


def _stand_in(raw: dict[str, Any], path: Path) -> None:
    """Let the charger of a dock be what is polled. Raises SettingsError when that cannot be."""
    device, charger = raw.get("device"), raw.get("charger")
    is_dock = isinstance(device, dict) and device.get("profile") == "dock"
    if not is_dock:
        if charger is not None:
            raise SettingsError(
                f"{path}: a vehicle has no [charger]; "
                'remove it, or write profile = "dock" under [device]'
            )
        return
    if "battery" in raw:
        raise SettingsError(f"{path}: a dock has no [battery]; name its unit in [charger]")
    if not isinstance(charger, dict):
        raise SettingsError(
            f'{path}: missing [charger]; a dock needs one with protocol = "dock_unit" and its port'
        )
    port = charger.get("port")
    raw["battery"] = {"protocol": "dock_unit", "port": port if isinstance(port, str) else "-"}


def _explain(error: str) -> str:
    """Turn msgspec's "Expected … - at `$.mqtt.port`" into a sentence that names the key."""
    text, _, where = error.partition(" - at `$")
    where = where.rstrip("`").lstrip(".")
    _, _, quoted = text.partition("`")
    key = ".".join(part for part in (where, quoted.partition("`")[0]) if part)
    if key in _NO_LONGER:
        return f"unknown key {key}; {_NO_LONGER[key]}"
    if text.startswith("Object contains unknown field"):
        return f"unknown key {key}; remove it or correct its name"
    if text.startswith("Object missing required field"):
        return f"missing key {key}; add it"
    return f"wrong value of {where}: {text[0].lower()}{text[1:]}; correct it"
