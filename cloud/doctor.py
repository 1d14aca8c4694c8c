"""`mobility-cloud doctor`: what is up, what is not, what to do about it. Changes nothing."""

import argparse
import asyncio
import json
import shutil
import socket
import ssl
import sys
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from datetime import timedelta
from pathlib import Path
from shlex import quote

import psycopg

from cloud.kit.clock import SystemClock, rfc3339
from cloud.kit.db import Db, connect
from cloud.kit.engine import Engine, EngineError
from cloud.kit.events import backlog, held
from cloud.kit.folder import port_is_free, trouble_with
from cloud.kit.migrations import MigrationError, pending
from cloud.kit.nats import Broker, EmbeddedNats, binary
from cloud.kit.postgres import EmbeddedPostgres
from cloud.kit.postgres_files import binaries
from cloud.kit.runfile import read_runfile
from cloud.kit.settings import CloudSettings
from protocol.topics import subject

_MIN_FREE_BYTES = 500_000_000
_OLDEST_POSTGRES = 150_000
_DELIVERED_WITHIN = timedelta(minutes=1)
_TIMEOUT_S = 3
# No device can have this id, so nobody hears what is sent there.
_NOBODYS = subject("_probe", "cmd")


@dataclass(frozen=True, slots=True)
class Finding:
    """What was found about one part; `next_step` says what to do when it is not ok."""

    part: str
    ok: bool
    found: str
    next_step: str = ""


def run_command(arguments: argparse.Namespace, contexts: Sequence[str]) -> int:
    """Run the parsed command; returns 0 when all is well, 1 when something needs a hand."""
    findings = run(CloudSettings.from_env(data_dir=arguments.data_dir), contexts)
    sys.stdout.write(report(findings, as_json=arguments.json))
    return 0 if all(finding.ok for finding in findings) else 1


def run(settings: CloudSettings, contexts: Sequence[str]) -> list[Finding]:
    """Look at everything the cloud needs; `contexts` are those whose migrations should be in."""
    return [
        *_wheels(settings),
        *_folder(settings),
        *_database(settings, contexts),
        *_broker(settings),
        _serving(settings),
    ]


def report(findings: Sequence[Finding], *, as_json: bool) -> str:
    """Write the findings for a person, or as one JSON object."""
    well = all(finding.ok for finding in findings)
    if as_json:
        return json.dumps({"ok": well, "findings": [asdict(each) for each in findings]}) + "\n"
    width = max(len(finding.part) for finding in findings)
    lines = []
    for finding in findings:
        lines.append(f"{'ok ' if finding.ok else 'NO '} {finding.part:<{width}}  {finding.found}")
        if finding.next_step:
            lines.append(f"    {'':<{width}}  → {finding.next_step}")
    lines.append("All is well." if well else "Something needs a hand: follow the arrows.")
    return "\n".join(lines) + "\n"


def _wheels(settings: CloudSettings) -> Iterator[Finding]:
    if settings.database_url is None:
        yield _installed("postgres binaries", lambda: binaries(for_anyone=False) / "postgres")
    if settings.nats_url is None:
        yield _installed("nats binary", binary)


def _installed(part: str, find: Callable[[], Path]) -> Finding:
    try:
        return Finding(part, ok=True, found=str(find()))
    except EngineError as missing:
        return _trouble(part, missing)


def _folder(settings: CloudSettings) -> Iterator[Finding]:
    folder = settings.data_dir.resolve()
    if not folder.is_dir():
        found = f"{folder} {trouble_with(folder)}"
        yield Finding("data folder", ok=False, found=found, next_step=_start(settings))
        return
    free = shutil.disk_usage(folder).free
    enough = free >= _MIN_FREE_BYTES
    yield Finding(
        "data folder",
        ok=enough,
        found=f"{folder}, {free / 1e9:.1f} GB free",
        next_step="" if enough else "free some disk space; below 500 MB commits may soon fail",
    )


def _database(settings: CloudSettings, contexts: Sequence[str]) -> Iterator[Finding]:
    try:
        dsn = settings.database_url or _running_postgres(settings)
        with connect(dsn) as db:
            yield _version(db)
            yield from _migrations(db, contexts)
    except (EngineError, psycopg.OperationalError) as trouble:
        correct = "start it, or correct DATABASE_URL"
        yield _trouble(
            "postgres", trouble, next_step=correct if settings.database_url else _start(settings)
        )


def _running_postgres(settings: CloudSettings) -> str:
    server = EmbeddedPostgres(_known_folder(settings))
    if not server.serves():
        raise EngineError(f"not running{_ports_note(server)}")
    return server.dsn


def _known_folder(settings: CloudSettings) -> Path:
    """Return the data folder when there is one: looking at an engine of another makes files."""
    if (trouble := trouble_with(settings.data_dir)) is not None:
        raise EngineError(f"not running: {settings.data_dir} {trouble}")
    return settings.data_dir


def _ports_note(engine: Engine) -> str:
    busy = [str(port) for port in engine.ports.values() if not port_is_free(port)]
    if not busy:
        return ""
    return f"; port {' and '.join(busy)} is taken by another program and will be stepped around"


def _version(db: Db) -> Finding:
    number = db.info.server_version
    if number < _OLDEST_POSTGRES:
        return Finding(
            "postgres",
            ok=False,
            found=f"version {number // 10_000} at {_place(db)}",
            next_step="use PostgreSQL 15 or newer",
        )
    return Finding("postgres", ok=True, found=f"version {number // 10_000} at {_place(db)}")


def _place(db: Db) -> str:
    return f"{db.info.host}:{db.info.port}/{db.info.dbname}"


def _migrations(db: Db, contexts: Sequence[str]) -> Iterator[Finding]:
    try:
        missing = pending(db, contexts)
    except MigrationError as drift:
        yield _trouble("migrations", drift)
        return
    if missing:
        yield Finding(
            "migrations",
            ok=False,
            found=f"{len(missing)} not applied, {missing[0]} first",
            next_step="start `mobility-cloud serve`: it applies them before it serves",
        )
        return
    yield Finding("migrations", ok=True, found="all applied")
    yield _held_events(db)
    yield _backlog(db)


def _held_events(db: Db) -> Finding:
    jobs = held(db)
    if not jobs:
        return Finding("held events", ok=True, found="none")
    first = jobs[0]
    return Finding(
        "held events",
        ok=False,
        found=f"{len(jobs)} held; {first.subscriber} failed on {first.event_type} of "
        f"{first.subject}: {first.error}",
        next_step="correct the cause, then replay them (cloud.kit.events.replay)",
    )


def _backlog(db: Db) -> Finding:
    now = SystemClock().now()
    waiting = backlog(db, now)
    if waiting.oldest_due is None or now - waiting.oldest_due < _DELIVERED_WITHIN:
        return Finding("event backlog", ok=True, found=f"{waiting.due} waiting")
    return Finding(
        "event backlog",
        ok=False,
        found=f"{waiting.due} waiting, the oldest since {rfc3339(waiting.oldest_due)}",
        next_step="serve the contexts that subscribe; look into the log when they are served",
    )


def _broker(settings: CloudSettings) -> Iterator[Finding]:
    try:
        broker = settings.external_broker() or _running_nats(settings)
    except EngineError as trouble:
        yield _trouble("nats", trouble, next_step=_start(settings))
        return
    yield asyncio.run(_nats_side("nats", broker.ingest_url, "NATS_URL"))
    if settings.nats_url is not None:
        yield _commands_side(settings.nats_commands_url)
    yield _mqtt_side(broker, settings.data_dir / "pki" / "ca.pem")


def _running_nats(settings: CloudSettings) -> Broker:
    server = EmbeddedNats(_known_folder(settings))
    if not server.ports or not server.serves():
        raise EngineError(f"not running{_ports_note(server)}")
    return server.broker


def _commands_side(url: str | None) -> Finding:
    part, name = "nats for commands", "NATS_COMMANDS_URL"
    if url is None:
        return Finding(
            part,
            ok=False,
            found=f"{name} is not set: vehicles are sent nothing",
            next_step="set it where devices is served, to the URL of the broker's user commands",
        )
    return asyncio.run(_nats_side(part, url, name, sends=_NOBODYS))


async def _nats_side(part: str, url: str, name: str, *, sends: str | None = None) -> Finding:
    from nats.aio.client import Client
    from nats.errors import Error

    client, said = Client(), list[Exception]()

    async def note(trouble: Exception) -> None:
        """Keep nats-py from logging what the finding says."""
        said.append(trouble)

    try:
        await client.connect(
            url,
            connect_timeout=_TIMEOUT_S,
            allow_reconnect=False,
            max_reconnect_attempts=1,
            reconnect_time_wait=1,
            error_cb=note,
        )
        if sends is not None:
            await client.publish(sends)
            for _ in range(2):  # nats-py sends its ping before what waits to be published
                await client.flush(_TIMEOUT_S)
            if said:
                step = f"set {name} to the URL of the broker's user commands"
                return _trouble(part, said[0], next_step=step)
    except (OSError, Error) as trouble:
        return _trouble(part, trouble, next_step=f"start it, or correct {name}")
    else:
        known, place = client.connected_server_version, client.connected_url
        version = f"version {known.major}.{known.minor}.{known.patch}"
        at = f" at {place.hostname}:{place.port}" if place else ""
        return Finding(part, ok=True, found=version + at)
    finally:
        await client.close()


def _mqtt_side(broker: Broker, ca_file: Path) -> Finding:
    """Shake hands as a vehicle would, but leave before a certificate would have to be shown."""
    place = f"{broker.mqtt_host}:{broker.mqtt_port}"
    context = ssl.create_default_context()
    if ca_file.is_file():
        context.load_verify_locations(ca_file)
    else:
        # Somebody else's broker, and who signed for it is known to the vehicles alone.
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    try:
        with (
            socket.create_connection((broker.mqtt_host, broker.mqtt_port), _TIMEOUT_S) as plain,
            context.wrap_socket(plain, server_hostname=broker.mqtt_host) as link,
        ):
            spoken = link.version()
    except (OSError, ssl.SSLError) as trouble:
        advice = "start it, or correct MOBILITY_MQTT_HOST and _PORT"
        if isinstance(trouble, ssl.SSLCertVerificationError):
            advice = f"give the broker a certificate for {broker.mqtt_host} signed by {ca_file}"
        return _trouble(f"mqtt at {place}", trouble, next_step=advice)
    return Finding("mqtt", ok=True, found=f"vehicles can connect to {place} with {spoken}")


def _serving(settings: CloudSettings) -> Finding:
    told = read_runfile(settings.data_dir)
    if told is None:
        return Finding("cloud", ok=False, found="not serving", next_step=_start(settings))
    url = f"{str(told.get('api_url', '')).rstrip('/')}/readyz"
    try:
        with urllib.request.urlopen(url, timeout=_TIMEOUT_S) as answer:  # noqa: S310 - ours
            return Finding(
                "cloud", ok=True, found=f"ready at {told.get('page_url')} ({answer.status})"
            )
    except urllib.error.HTTPError as unready:
        text = unready.read().decode(errors="replace")
        return Finding("cloud", ok=False, found=f"not ready: {text}", next_step="look into its log")
    except (OSError, ValueError) as trouble:
        return _trouble("cloud", trouble, next_step=_start(settings))


def _start(settings: CloudSettings) -> str:
    folder = settings.data_dir
    if folder.exists() and not folder.is_dir():
        return "name a folder with --data-dir"
    return f"start it with `mobility-cloud serve --data-dir {quote(str(folder))}` or `make demo`"


def _trouble(part: str, trouble: Exception, next_step: str = "") -> Finding:
    words = str(trouble).strip().splitlines()
    return Finding(part, ok=False, found=words[0] if words else repr(trouble), next_step=next_step)
