"""The configuration file an agent starts from."""

import json
import os
from dataclasses import dataclass
from pathlib import Path

from cloud.kit.folder import write_private

_TEMPLATE = """\
# {device_id}: start it with `mobility-edge run --config {file}`
[device]
id = {id}
{profile}
[mqtt]
host = {host}
port = {port}

[identity]
folder = {folder}
enrol_url = {enrol_url}
{claim}ca = '''
{ca}'''

[{polled}]
protocol = {battery}
port = {battery_port}

[journal]
path = {journal}
max_mb = {max_mb}
"""
_DOCK = "dock_unit"
_CONTROLLER = """
[controller]
protocol = {protocol}
"""
_GNSS = """
[gnss]
port = {port}
"""


@dataclass(frozen=True, slots=True)
class Mqtt:
    """Where a device connects, with TLS and its own certificate."""

    host: str
    port: int


@dataclass(frozen=True, slots=True)
class Identity:
    """How a device gets its certificate.

    Attributes:
        enrol_url: the device listener, such as https://cloud.example:8443.
        claim: one-time permission to enrol; None for a device that has its certificate.
        ca: PEM of the authority to trust.
        folder: where key and certificate will lie, beside the file; None: `ID.identity`.
    """

    enrol_url: str
    claim: str | None
    ca: str
    folder: str | None = None


@dataclass(frozen=True, slots=True)
class Controller:
    """What locks the vehicle: its protocol's name and its serial port, None at the battery's."""

    protocol: str
    port: str | None = None


def render(
    device_id: str,
    *,
    battery: str,
    battery_port: str,
    mqtt: Mqtt,
    identity: Identity,
    file_name: str,
    controller: Controller | None = None,
    gnss_port: str | None = None,
    max_mb: int = 64,
) -> str:
    """Return the TOML for one agent; its journal and its identity lie beside the file.

    Args:
        device_id: the device.
        battery: protocol name of its battery controller; dock_unit makes it a dock.
        battery_port: serial port, such as /dev/ttyUSB0.
        mqtt: the broker.
        identity: how it enrols.
        file_name: name the file will have, for its first line.
        controller: the vehicle controller; None when there is none.
        gnss_port: serial port of the receiver; None when there is none.
        max_mb: size limit of the journal in megabytes.

    Raises:
        ValueError: `identity.ca` is no PEM.
    """
    if "'" in identity.ca or "-----BEGIN CERTIFICATE-----" not in identity.ca:
        raise ValueError("the authority's certificate is no PEM; look at ca.pem of the data folder")
    text = _TEMPLATE.format(
        device_id=device_id,
        file=file_name,
        id=_quoted(device_id),
        profile='profile = "dock"\n' if battery == _DOCK else "",
        polled="charger" if battery == _DOCK else "battery",
        host=_quoted(mqtt.host),
        port=mqtt.port,
        folder=_quoted(identity.folder or f"{device_id}.identity"),
        enrol_url=_quoted(identity.enrol_url),
        claim="" if identity.claim is None else f"claim = {_quoted(identity.claim)}\n",
        ca=identity.ca,
        battery=_quoted(battery),
        battery_port=_quoted(battery_port),
        journal=_quoted(f"{device_id}.journal.db"),
        max_mb=max_mb,
    )
    if controller is not None:
        text += _CONTROLLER.format(protocol=_quoted(controller.protocol))
        if controller.port is not None:
            text += f"port = {_quoted(controller.port)}\n"
    if gnss_port is not None:
        text += _GNSS.format(port=_quoted(gnss_port))
    return text


def write(path: Path, text: str, *, overwrite: bool = False) -> None:
    """Write a configuration that only its owner can read, for it holds a claim.

    With `overwrite` the old one is replaced at once or not at all.

    Raises:
        FileExistsError: there is one and `overwrite` is False.
    """
    if overwrite:
        target = path.resolve()
        if target.is_file() or not target.exists():
            write_private(target, text)
        else:  # a pipe or a device cannot be replaced
            target.write_text(text, encoding="utf-8")
        return
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        os.fchmod(descriptor, 0o600)
        file.write(text)


def _quoted(text: str) -> str:
    """Write a TOML basic string, whose escapes are those of JSON."""
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")
