"""What the cloud asks of a device: commands and the desired twin. pydantic; read after start-up.

The cloud requests, the vehicle decides: a device refuses what is expired, unsigned, meant for
another vehicle or unsafe. Signatures come with the issue "Trusted vehicles"; until then no device
subscribes to either topic.
"""

from typing import Annotated, Any, Literal
from uuid import UUID

from pydantic import AwareDatetime, BaseModel, Field

DeviceId = Annotated[str, Field(pattern=r"^[a-z0-9-]{3,36}$")]


class Command(BaseModel, frozen=True, extra="ignore"):
    """One request to a device.

    Attributes:
        id: the command's id; a repeated one is answered from the journal.
        device_id: the only device that may obey it.
        kind: what to do, such as "unlock".
        args: what the kind needs.
        not_after: refused later than this, by the device's trusted time.
        key_id: the key it is signed with.
        v: version of the message.
    """

    id: UUID
    device_id: DeviceId
    kind: Annotated[str, Field(pattern=r"^[a-z_]{1,40}$")]
    args: dict[str, Any] = {}
    not_after: AwareDatetime
    key_id: str
    v: Literal[1] = 1


class DesiredTwin(BaseModel, frozen=True, extra="ignore"):
    """What the cloud wants a device to be. Applied whole or refused whole.

    Attributes:
        device_id: the only device it is for.
        version: rises by one; an older one is refused.
        live_until: report at once until then, because someone watches; null = nobody does.
        intervals_s: seconds between polls, flushes and seals, by setting name.
        key_id: the key it is signed with.
        v: version of the message.
    """

    device_id: DeviceId
    version: Annotated[int, Field(ge=1)]
    live_until: AwareDatetime | None = None
    intervals_s: dict[str, Annotated[float, Field(gt=0, le=86_400)]] = {}
    key_id: str
    v: Literal[1] = 1
