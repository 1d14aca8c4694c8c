"""The six topics of a device, version 1 of the contract (MQTT 3.1.1, QoS 0, nothing retained).

| leaf | direction | payload |
| --- | --- | --- |
| fact | up | one sealed segment of the fact lane |
| up | up | one sealed segment of the signal lane |
| ack | down | `messages.Ack` |
| cmd | down | `commands.Command`, signed (`signing`) |
| twin | down | `commands.DesiredTwin`, signed |
| status | up | `messages.Hello`; `messages.Gone` as the last will |
"""

import re
from typing import Literal, get_args

VERSION = 1
MAX_PAYLOAD_BYTES = 262_144

Leaf = Literal["fact", "up", "ack", "cmd", "twin", "status"]
LEAVES: tuple[Leaf, ...] = get_args(Leaf)

_DEVICE_ID = re.compile(r"[a-z0-9-]{3,36}")
_TOPIC = re.compile(rf"mc([/.]){VERSION}\1([a-z0-9-]{{3,36}})\1([a-z]+)")


def check_device_id(device_id: str) -> str:
    """Return `device_id`, or raise ValueError saying what an id may look like."""
    if not _DEVICE_ID.fullmatch(device_id):
        raise ValueError(
            f"{device_id!r} is not a device id: use 3 to 36 of the characters a-z, 0-9 and -"
        )
    return device_id


def topic(device_id: str, leaf: Leaf) -> str:
    """Return the MQTT topic, such as `mc/1/demo-001/up`."""
    return f"mc/{VERSION}/{device_id}/{leaf}"


def subject(device_id: str, leaf: Leaf) -> str:
    """Return the same topic as the NATS side of the broker names it: `mc.1.demo-001.up`."""
    return f"mc.{VERSION}.{device_id}.{leaf}"


def device_of(topic_or_subject: str) -> str:
    """Return the device a topic or subject belongs to; ValueError when it is none of ours."""
    match = _TOPIC.fullmatch(topic_or_subject)
    if match is None or match[3] not in LEAVES:
        raise ValueError(f"{topic_or_subject!r} is not a topic of contract version {VERSION}")
    return match[2]
