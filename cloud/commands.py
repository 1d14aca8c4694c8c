"""What `mobility-cloud` does once its command line is read. Imports what each command needs."""

import argparse
import contextlib
import json
import sys
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import IO, TYPE_CHECKING, Literal

import psycopg

from cloud.kit.clock import SystemClock, rfc3339
from cloud.kit.db import Db, connect
from cloud.kit.engine import EngineError
from cloud.kit.folder import trouble_with
from cloud.kit.migrations import MigrationError
from cloud.kit.settings import CloudSettings, database_for, host_and_port

if TYPE_CHECKING:
    from cloud.devices import agent_config
    from cloud.kit.nats import Broker

DONE, TROUBLE, USAGE = 0, 1, 2

_TROUBLES = (
    EngineError,
    MigrationError,
    OSError,
    RuntimeError,
    ValueError,
    psycopg.OperationalError,
)


class UsageError(ValueError):
    """The command line asks for something that does not exist."""


def run(arguments: argparse.Namespace) -> int:
    """Run a parsed command; trouble is one sentence on stderr."""
    name = arguments.command + (f" {arguments.action}" if "action" in arguments else "")
    try:
        return _COMMANDS[name](arguments)
    except UsageError as wrong:
        return _say(str(wrong), USAGE)
    except BrokenPipeError:
        raise
    except _TROUBLES as trouble:
        return _say(_sentence(trouble), TROUBLE)


def _serve(arguments: argparse.Namespace) -> int:
    from cloud.app import chosen_contexts
    from cloud.serve import serve

    try:
        host, port = host_and_port(arguments.http) if arguments.http else (None, None)
        wanted = arguments.device_https
        device_host, device_port = host_and_port(wanted) if wanted else (None, None)
        mqtt_host, mqtt_port = host_and_port(arguments.mqtt) if arguments.mqtt else (None, None)
        settings = CloudSettings.from_env(
            data_dir=arguments.data_dir,
            contexts=tuple(arguments.contexts),
            mqtt_listen_host=mqtt_host,
            mqtt_listen_port=mqtt_port,
            broker_hosts=tuple(arguments.broker_host) or None,
            http_host=host,
            http_port=port,
            device_https_host=device_host,
            device_https_port=device_port,
            traces=arguments.traces,
        )
        settings.check_broker(chosen_contexts(settings))
    except ValueError as wrong:
        raise UsageError(_sentence(wrong)) from wrong
    return serve(settings)


def _add_device(arguments: argparse.Namespace) -> int:
    from cloud.devices import agent_config, commands
    from cloud.devices.api import check_enrolment
    from cloud.kit.ports.authority import FileAuthority

    settings = CloudSettings.from_env(data_dir=arguments.data_dir)
    controller = _controller(arguments)
    try:
        check_enrolment(arguments.id, arguments.battery)
    except ValueError as wrong:
        raise UsageError(_sentence(wrong)) from wrong
    if arguments.out.exists() and not arguments.force:
        return _say(
            f"{arguments.out} exists; choose another, or overwrite it with --force", TROUBLE
        )
    _check_writable(arguments.out)
    broker = _broker(settings)
    mqtt = agent_config.Mqtt(broker.mqtt_host, broker.mqtt_port)
    ca_pem = FileAuthority(settings.data_dir).ca_pem
    with _database(settings) as db:
        where = commands.Where(mqtt, _device_url(settings), ca_pem)
        return commands.add(arguments, db, SystemClock(), where, controller)


def _controller(arguments: argparse.Namespace) -> "agent_config.Controller | None":
    """Return the vehicle controller asked for; None when none is."""
    from cloud.devices import agent_config
    from protocol.controllers import VEHICLE_CONTROLLERS

    name, port = arguments.controller, arguments.controller_port
    if name is None and port is None:
        return None
    if name not in VEHICLE_CONTROLLERS:
        known = ", ".join(VEHICLE_CONTROLLERS)
        raise UsageError(f"no controller named {name or ''!r}; give --controller one of {known}")
    at_battery = VEHICLE_CONTROLLERS[name].baud is None
    if at_battery and port is not None:
        raise UsageError(f"{name} is reached over the battery's port; leave --controller-port out")
    if not at_battery and port is None:
        raise UsageError(f"{name} has a serial port of its own; name it with --controller-port")
    return agent_config.Controller(name, port)


def _claim_device(arguments: argparse.Namespace) -> int:
    from cloud.devices import commands
    from cloud.devices.api import check_enrolment
    from cloud.devices.enrolment import check_ttl

    try:
        check_enrolment(arguments.id, arguments.battery)
        check_ttl(arguments.ttl)
    except ValueError as wrong:
        raise UsageError(_sentence(wrong)) from wrong
    with _database(CloudSettings.from_env(data_dir=arguments.data_dir)) as db:
        return commands.claim(arguments, db, SystemClock())


def _revoke_device(arguments: argparse.Namespace) -> int:
    from cloud.devices import commands

    with _database(_existing(arguments)) as db:
        return commands.revoke(arguments, db, SystemClock())


def _set_decoder(arguments: argparse.Namespace) -> int:
    from cloud.devices.decoder_command import set_decoder

    files = (arguments.dbc, arguments.map)
    if arguments.clear != (files == (None, None)) or (None in files and not arguments.clear):
        raise UsageError("give --dbc FILE and --map FILE together, or --clear alone")
    with _database(_existing(arguments)) as db:
        return set_decoder(arguments, db, SystemClock())


def _list_certificates(arguments: argparse.Namespace) -> int:
    from cloud.devices import commands

    with _database(_existing(arguments)) as db:
        return commands.certificates(arguments, db, SystemClock())


def _list_devices(arguments: argparse.Namespace) -> int:
    from cloud.devices.api import devices

    with _database(_existing(arguments)) as db:
        found = devices(db, SystemClock().now())
    if arguments.json:
        rows = [asdict(device) for device in found]
        sys.stdout.write(json.dumps(rows, default=rfc3339, indent=2) + "\n")
        return DONE
    if not found:
        sys.stderr.write("no device is enrolled; enrol one with `mobility-cloud devices add`\n")
    for device in found:
        heard = "never heard" if device.last_heard_at is None else rfc3339(device.last_heard_at)
        link = "connected" if device.connected else "offline"
        records = sum(lane.records for lane in device.lanes)
        sys.stdout.write(f"{device.id}\t{device.battery}\t{link}\t{heard}\t{records} records\n")
    return DONE


def _export(arguments: argparse.Namespace) -> int:
    from cloud.devices.api import is_enrolled
    from cloud.telemetry.api import readings
    from cloud.telemetry.export import WRITERS, Quarantined

    if None not in (arguments.since, arguments.until) and arguments.since >= arguments.until:
        raise UsageError("--to must be later than --from; exchange or correct them")
    left_out = Quarantined()
    with _database(_existing(arguments)) as db:
        if not is_enrolled(db, arguments.device):
            return _say(
                f"{arguments.device} is not enrolled; `mobility-cloud devices list` shows who is",
                TROUBLE,
            )
        with _output(arguments) as out:
            stream = readings(db, arguments.device, arguments.since, arguments.until, left_out)
            with contextlib.closing(stream):
                WRITERS[arguments.format](stream, out)
            out.flush()
    if left_out.records:
        _say(str(left_out), DONE)
    return DONE


def _add_account(arguments: argparse.Namespace) -> int:
    from cloud.identity import commands
    from cloud.identity.model import check_account

    scopes = arguments.scope or ()
    if arguments.service == bool(arguments.role) or (arguments.role and scopes):
        raise UsageError("an account has --role ROLE, or --service with one or more --scope SCOPE")
    try:
        kind: Literal["staff", "service"] = "service" if arguments.service else "staff"
        check_account(arguments.user.strip().lower(), kind, arguments.role or "", scopes)
    except ValueError as wrong:
        raise UsageError(_sentence(wrong)) from wrong
    with _database(CloudSettings.from_env(data_dir=arguments.data_dir)) as db:
        return commands.add(arguments, db, SystemClock())


def _of(context: str, name: str, arguments: argparse.Namespace) -> int:
    """Run what a context does with a database that is there already and the clock."""
    from cloud.fleet import commands as fleet
    from cloud.identity import commands as identity
    from cloud.payments import commands as payments

    commands = {"fleet": fleet, "identity": identity, "payments": payments}[context]
    with _database(_existing(arguments)) as db:
        exit_code: int = getattr(commands, name)(arguments, db, SystemClock())
    return exit_code


def _list_held(arguments: argparse.Namespace) -> int:
    from cloud.kit.events import commands

    with _database(_existing(arguments)) as db:
        return commands.list_held(arguments, db)


def _of_held(name: str, arguments: argparse.Namespace) -> int:
    from cloud.identity.api import audit, console
    from cloud.kit.events import commands

    if bool(arguments.ids) == arguments.all:
        raise UsageError("name the deliveries by their numbers, or all of them with --all")

    def note(db: Db, action: str, jobs: Sequence[int]) -> None:
        audit(db, console(), action, f"{len(jobs)} deliveries", {"jobs": jobs}, SystemClock().now())

    with _database(_existing(arguments)) as db:
        exit_code: int = getattr(commands, name)(arguments, db, note)
    return exit_code


def _of_signer(name: str, arguments: argparse.Namespace) -> int:
    from cloud.devices import signer_commands
    from cloud.kit.ports.signing import FileSigner

    settings = _existing(arguments)
    if not settings.data_dir.is_dir():
        raise EngineError(
            f"{settings.data_dir} holds no signing key; start the cloud once with"
            " `mobility-cloud serve`, or name its folder with --data-dir"
        )
    with _database(settings) as db:
        act = getattr(signer_commands, name)
        exit_code: int = act(arguments, db, SystemClock(), FileSigner(settings.data_dir))
    return exit_code


def _doctor(arguments: argparse.Namespace) -> int:
    from cloud import doctor
    from cloud.app import CONTEXTS

    return doctor.run_command(arguments, CONTEXTS)


_COMMANDS = {
    "serve": _serve,
    "devices add": _add_device,
    "devices list": _list_devices,
    "devices claim": _claim_device,
    "devices revoke": _revoke_device,
    "devices certificates": _list_certificates,
    "devices decoder": _set_decoder,
    "telemetry export": _export,
    "accounts add": _add_account,
    "accounts list": lambda arguments: _of("identity", "list_all", arguments),
    "accounts disable": lambda arguments: _of("identity", "disable", arguments),
    "accounts unlock": lambda arguments: _of("identity", "unlock", arguments),
    "audit verify": lambda arguments: _of("identity", "verify", arguments),
    "audit list": lambda arguments: _of("identity", "list_audit", arguments),
    "signer show": lambda arguments: _of_signer("show", arguments),
    "signer rotate": lambda arguments: _of_signer("rotate", arguments),
    "city import": lambda arguments: _of("fleet", "import_file", arguments),
    "city vehicle": lambda arguments: _of("fleet", "assign", arguments),
    "tariffs set": lambda arguments: _of("payments", "set_tariffs", arguments),
    "tariffs show": lambda arguments: _of("payments", "show_tariffs", arguments),
    "seller set": lambda arguments: _of("payments", "set_seller", arguments),
    "seller show": lambda arguments: _of("payments", "show_seller", arguments),
    "events held": _list_held,
    "events replay": lambda arguments: _of_held("replay_held", arguments),
    "events discard": lambda arguments: _of_held("discard_held", arguments),
    "doctor": _doctor,
}


def _existing(arguments: argparse.Namespace) -> CloudSettings:
    """Return the settings of a command that only reads: it must not make a database to read."""
    settings = CloudSettings.from_env(data_dir=arguments.data_dir)
    folder = settings.data_dir
    if settings.database_url is None:
        trouble = trouble_with(folder)
        if trouble is None and not (folder / "postgres").is_dir():
            trouble = "holds no database"
        if trouble is not None:
            raise EngineError(
                f"{folder} {trouble}; name the folder of your cloud with --data-dir,"
                " or its database with DATABASE_URL"
            )
    return settings


def _check_writable(path: Path) -> None:
    """Raise OSError, before anything is made or started, when a file cannot be written."""
    is_new = not path.exists()
    with path.open("ab"):
        pass
    if is_new:
        path.unlink()


@contextlib.contextmanager
def _database(settings: CloudSettings) -> Iterator[Db]:
    """Lend a connection to the migrated database."""
    from cloud.app import all_subscribers, prepare_database

    clock = SystemClock()
    with database_for(settings) as dsn:
        # They are registered and not called: no key is made for them.
        prepare_database(dsn, clock, all_subscribers(settings, clock, key=""))
        with connect(dsn) as db:
            yield db


def _broker(settings: CloudSettings) -> "Broker":
    """Return where devices connect; an embedded broker that never ran gets its ports now."""
    from cloud.kit.nats import EmbeddedNats, MqttDoor

    external = settings.external_broker()
    if external is not None:
        return external
    door = settings.mqtt_door
    nats = EmbeddedNats(settings.data_dir, door=None if door == MqttDoor() else door)
    if not nats.ports:
        nats.ports = nats.folder.choose_ports(nats.name, nats.wanted_ports)
    if door.port is not None:
        nats.ports["mqtt"] = door.port
    return nats.broker


def _device_url(settings: CloudSettings) -> str:
    """Return where devices enrol: as told, as the running cloud says, or where it will listen."""
    from cloud.kit.runfile import read_runfile
    from cloud.serve import device_port

    served = read_runfile(settings.data_dir) or {}
    if settings.device_url is None and "device_https" in served:
        return str(served["device_https"])
    return settings.device_url_at(device_port(settings))


@contextlib.contextmanager
def _output(arguments: argparse.Namespace) -> Iterator[IO[bytes]]:
    if arguments.out is None:
        yield sys.stdout.buffer
        return
    with arguments.out.open("wb") as file:
        yield file


def _say(sentence: str, exit_code: int) -> int:
    sys.stderr.write(f"mobility-cloud: {sentence}\n")
    return exit_code


def _sentence(trouble: Exception) -> str:
    """Return an exception's first line, a refused setting's without pydantic's frame."""
    if isinstance(trouble, OSError) and trouble.filename is not None:
        reason = (trouble.strerror or "trouble").lower()
        return f"cannot use {trouble.filename} ({reason}); check the path and its permissions"
    errors = getattr(trouble, "errors", None)
    if callable(errors):
        return "; ".join(f"{fault['loc'][0]}: {fault['msg']}" for fault in errors())
    return str(trouble).strip().partition("\n")[0] or type(trouble).__name__
