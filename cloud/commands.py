"""What `mobility-cloud` does once its command line is read. Imports what each command needs."""

import argparse
import contextlib
import json
import sys
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from shlex import quote
from typing import IO, TYPE_CHECKING

import psycopg

from cloud.kit.clock import SystemClock, rfc3339
from cloud.kit.db import Db, connect
from cloud.kit.engine import EngineError
from cloud.kit.folder import trouble_with
from cloud.kit.migrations import MigrationError
from cloud.kit.settings import CloudSettings, database_for, host_and_port

if TYPE_CHECKING:
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
        settings = CloudSettings.from_env(
            data_dir=arguments.data_dir,
            contexts=tuple(arguments.contexts),
            http_host=host,
            http_port=port,
        )
        chosen_contexts(settings)
    except ValueError as wrong:
        raise UsageError(_sentence(wrong)) from wrong
    return serve(settings)


def _add_device(arguments: argparse.Namespace) -> int:
    from cloud.devices import agent_config
    from cloud.devices.api import check_enrolment, enrol

    settings = CloudSettings.from_env(data_dir=arguments.data_dir)
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
    text = agent_config.render(
        arguments.id,
        battery=arguments.battery,
        battery_port=arguments.port,
        mqtt=agent_config.Mqtt(
            broker.mqtt_host, broker.mqtt_port, broker.device_username, broker.device_password
        ),
        file_name=arguments.out.name,
    )
    with _database(settings) as db, db.transaction():
        fresh = enrol(db, arguments.id, arguments.battery, SystemClock().now())
        # A file that cannot be written takes the enrolment back.
        agent_config.write(arguments.out, text, overwrite=arguments.force)
    said = "enrolled" if fresh else "was enrolled already"
    sys.stdout.write(
        f"{arguments.id} {said}; start it with"
        f" `mobility-edge run --config {quote(str(arguments.out))}`\n"
    )
    return DONE


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


def _doctor(arguments: argparse.Namespace) -> int:
    from cloud import doctor
    from cloud.app import CONTEXTS

    return doctor.run_command(arguments, CONTEXTS)


_COMMANDS = {
    "serve": _serve,
    "devices add": _add_device,
    "devices list": _list_devices,
    "telemetry export": _export,
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
    from cloud.app import prepare_database

    with database_for(settings) as dsn:
        prepare_database(dsn, SystemClock())
        with connect(dsn) as db:
            yield db


def _broker(settings: CloudSettings) -> "Broker":
    """Return where devices connect; an embedded broker that never ran gets its ports now."""
    from cloud.kit.nats import EmbeddedNats

    external = settings.external_broker()
    if external is not None:
        return external
    nats = EmbeddedNats(settings.data_dir)
    if not nats.ports:
        nats.ports = nats.folder.choose_ports(nats.name, nats.wanted_ports)
    return nats.broker


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
