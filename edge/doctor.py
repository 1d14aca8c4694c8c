"""`mobility-edge doctor`: what keeps this vehicle from reporting, and what to do about it."""

import asyncio
import json
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path

from edge.battery import open_battery
from edge.clock import Clock, SystemClock
from edge.drivers.registry import UnknownProtocolError
from edge.findings import Finding, trouble
from edge.identity.doctor import examine_identity
from edge.identity.keys import FileKeyStore
from edge.journal.inspect import JournalUnreadableError, check, inspect
from edge.journal.lock import JournalBusyError, JournalLock
from edge.links.base import LinkDownError
from edge.settings import Battery, Settings, SettingsError, load


def examine(config: Path, environ: Mapping[str, str], clock: Clock | None = None) -> list[Finding]:
    """Look at everything an agent needs. Changes nothing, and lets a running agent run."""
    try:
        settings = load(config, environ)
    except SettingsError as error:
        return [trouble("configuration", error, "correct the file")]
    running = _is_running(Path(settings.journal.path))
    return [
        Finding("configuration", ok=True, found=f"{config}, device {settings.device.id}"),
        Finding("agent", ok=True, found="is running" if running else "is not running"),
        asyncio.run(_battery(settings.battery, running=running)),
        *examine_identity(settings, clock or SystemClock()),
        asyncio.run(_broker(settings, running=running)),
        _journal(settings),
        _disk(settings),
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


def _is_running(journal: Path) -> bool:
    if not journal.with_name(f"{journal.name}.lock").exists():
        return False
    try:
        JournalLock(journal).close()
    except JournalBusyError:
        return True
    return False


async def _battery(battery: Battery, *, running: bool) -> Finding:
    if running:
        return Finding("battery", ok=True, found=f"{battery.port} is in the running agent's hands")
    try:
        open_one = open_battery(battery)
    except (UnknownProtocolError, LinkDownError) as error:
        return trouble("battery", error, "correct [battery] in the configuration")
    try:
        reading = await open_one.source.poll()
        opened = bool(open_one.link.connections)
    finally:
        await open_one.link.close()
    if reading is not None:
        charge = "" if reading.soc_pct is None else f", {reading.soc_pct} %"
        found = f"{battery.port} answers: {reading.voltage_v} V{charge}"
        return Finding("battery", ok=True, found=found)
    if not opened:
        return Finding(
            "battery",
            ok=False,
            found=f"{battery.port} does not open",
            next_step="check the cable, the name in [battery] port, and your rights on it",
        )
    wires = "RX and TX are not swapped"
    if open_one.on_bus:
        wires = "CAN-H and CAN-L are not swapped, the bus is terminated and at the right bit rate"
    return Finding(
        "battery",
        ok=False,
        found=f"{battery.port} is open, but no {battery.protocol} controller answers",
        next_step=f"check that the pack is awake, {wires}, and [battery] protocol",
    )


async def _broker(settings: Settings, *, running: bool) -> Finding:
    from edge.uplink.link import CertificateRefusedError, LinkLostError
    from edge.uplink.mqtt import knock, opened

    mqtt, keys = settings.mqtt, FileKeyStore(Path(settings.identity.folder))
    where = f"{mqtt.host}:{mqtt.port}"
    try:
        if running:
            # A second client with the device's id would throw the agent out.
            await knock(mqtt, keys)
            found = f"TLS with {where} is well; whether it lets us in, the running agent tells"
            return Finding("broker", ok=True, found=found)
        async with opened(mqtt, settings.device.id, keys):
            return Finding("broker", ok=True, found=f"{where} lets us in")
    except CertificateRefusedError as error:
        return Finding(
            "broker",
            ok=False,
            found=f"{where} refuses our certificate: {error}",
            next_step=f"make a claim with: mobility-cloud devices claim {settings.device.id}, and "
            "put it under [identity] claim",
        )
    except LinkLostError as error:
        return Finding(
            "broker",
            ok=False,
            found=f"{where}: {error}",
            next_step="check [mqtt] and that the cloud is up; until then the journal keeps it all",
        )


def _journal(settings: Settings) -> Finding:
    path = Path(settings.journal.path)
    if not path.exists():
        return Finding("journal", ok=True, found=f"{path} is not there yet; the first run makes it")
    try:
        verdict, stats = check(path), inspect(path)
    except JournalUnreadableError as error:
        return trouble("journal", error, "check [journal] path")
    if verdict != "ok":
        return Finding(
            "journal",
            ok=False,
            found=f"{path} is damaged: {verdict}",
            next_step=f"save what can be saved (mobility-edge journal export --path {path}), then "
            "move it aside; the agent starts a new one",
        )
    waiting = sum(lane.unacked_records for lane in stats.lanes)
    found = f"{path}, {stats.file_bytes / 1e6:.1f} MB, {waiting} records wait for their ack"
    return Finding("journal", ok=True, found=found)


def _disk(settings: Settings) -> Finding:
    folder = Path(settings.journal.path).parent
    while not folder.exists():
        folder = folder.parent
    free, needed = shutil.disk_usage(folder).free, settings.journal.max_mb * 1_000_000
    found = f"{free / 1e6:,.0f} MB free where the journal is, which may grow to {needed / 1e6:.0f}"
    step = "" if free >= needed else "make room, or lower [journal] max_mb"
    return Finding("disk", ok=free >= needed, found=found, next_step=step)
