"""The configuration file an agent starts from."""

import json
import os
from dataclasses import dataclass
from pathlib import Path

_TEMPLATE = """\
# {device_id}: start it with `mobility-edge run --config {file}`
[device]
id = {id}

[mqtt]
host = {host}
port = {port}
username = {username}
password = {password}

[battery]
protocol = {battery}
port = {battery_port}

[journal]
path = {journal}
max_mb = {max_mb}
"""


@dataclass(frozen=True, slots=True)
class Mqtt:
    """Where a device connects and how it signs in."""

    host: str
    port: int
    username: str
    password: str


def render(
    device_id: str,
    *,
    battery: str,
    battery_port: str,
    mqtt: Mqtt,
    file_name: str,
    max_mb: int = 64,
) -> str:
    """Return the TOML for one agent; its journal lies beside the file.

    Args:
        device_id: the device.
        battery: protocol name of its battery controller.
        battery_port: serial port, such as /dev/ttyUSB0.
        mqtt: the broker.
        file_name: name the file will have, for its first line.
        max_mb: size limit of the journal in megabytes.
    """
    return _TEMPLATE.format(
        device_id=device_id,
        file=file_name,
        id=_quoted(device_id),
        host=_quoted(mqtt.host),
        port=mqtt.port,
        username=_quoted(mqtt.username),
        password=_quoted(mqtt.password),
        battery=_quoted(battery),
        battery_port=_quoted(battery_port),
        journal=_quoted(f"{device_id}.journal.db"),
        max_mb=max_mb,
    )


def write(path: Path, text: str, *, overwrite: bool = False) -> None:
    """Write a configuration that only its owner can read, for it holds a password.

    Raises:
        FileExistsError: there is one and `overwrite` is False.
    """
    flags = os.O_WRONLY | os.O_CREAT | (os.O_TRUNC if overwrite else os.O_EXCL)
    descriptor = os.open(path, flags, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        os.fchmod(descriptor, 0o600)
        file.write(text)


def _quoted(text: str) -> str:
    """Write a TOML basic string, whose escapes are those of JSON."""
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")
