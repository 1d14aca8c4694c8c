"""`mobility-cloud devices decoder`: how a device reads the bus that its battery is on."""

import argparse
import re
import sys
from pathlib import Path

import msgspec

from cloud.devices import staff, twins
from cloud.devices.command_problems import CommandRefusedError
from cloud.kit.clock import Clock
from cloud.kit.db import Db
from cloud.kit.scope import Scope
from protocol.decoders import DecoderManifest

DONE = 0


class DecoderFileError(ValueError):
    """A file cannot be used; the message says which and why."""


def read_manifest(dbc: Path, signals: Path, version: int) -> DecoderManifest:
    """Return the manifest of two files, called as the DBC file is. Raises DecoderFileError."""
    try:
        told = {
            "name": re.sub("[^a-z0-9]+", "_", dbc.stem.lower()).strip("_")[:40],
            "version": version,
            "dbc": _text(dbc),
            "map": msgspec.json.decode(signals.read_bytes()),
        }
        return msgspec.convert(told, DecoderManifest)
    except (msgspec.MsgspecError, UnicodeDecodeError) as wrong:
        at = dbc if re.search(r"\$\.(dbc|name)", str(wrong)) else signals
        raise DecoderFileError(f"{at}: {wrong}; correct it and ask again") from wrong


def set_decoder(arguments: argparse.Namespace, db: Db, clock: Clock) -> int:
    """Have a device read by a manifest, or as it came to. Raises DecoderFileError, ValueError."""
    who = staff.console(db, arguments.id)
    row = twins.twin(db, Scope(who.tenant, who.city), arguments.id)
    before = (row.document.get("decoder") or {}) if row is not None else {}
    manifest = None
    if not arguments.clear:
        version = before.get("version", 0) + 1
        manifest = read_manifest(arguments.dbc, arguments.map, version)
    try:
        number = twins.set_decoder(db, who, arguments.id, manifest, clock.now())
    except CommandRefusedError as refused:
        raise DecoderFileError(str(refused)) from refused
    what = "its own decoder" if manifest is None else f"{manifest.name} {manifest.version}"
    sys.stdout.write(
        f"{arguments.id} is to read by {what}: version {number} of its twin;"
        " its page says when it does, or why not\n"
    )
    return DONE


def _text(path: Path) -> str:
    """Return a DBC file's text: most are Latin-1, whatever they say."""
    data = path.read_bytes()
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError:
        return data.decode("latin-1")
