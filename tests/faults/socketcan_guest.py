"""What runs in the virtual machine: a Leaf's battery on vcan0, read by the agent's own parts.

    python -m tests.faults.socketcan_guest 2500

prints `HEARD {json}`. The battery's frames go out through a raw socket of the kernel, among as many
of others. A second link wants one identifier only, and has the kernel drop the rest.
"""

import asyncio
import json
import socket
import struct
import sys
from collections.abc import Sequence
from typing import Any, Final

from edge.battery import open_battery
from edge.drivers.can import CanFrame, CanPolicy
from edge.drivers.can_poller import CanPoller
from edge.drivers.registry import driver
from edge.links.can_opening import open_can_link
from edge.settings import Battery
from tests.bench.can_bus import LEAF, on_the_bus

CHANNEL: Final = "vcan0"
CHOSEN: Final = 0x1DB
_FRAME: Final = struct.Struct("=IB3x8s")
_AT_ONCE: Final = 10
_PAUSE_S: Final = 0.02
_SECONDS_A_FRAME: Final = 1 / 100
_OTHER: Final = CanFrame(0x11A, bytes(8))


async def hear(count: int) -> dict[str, Any]:
    """Send at least `count` frames of the battery and tell what arrived."""
    frames = on_the_bus(count * _SECONDS_A_FRAME)[:count]
    battery = open_battery(Battery(protocol=LEAF, port=f"socketcan:{CHANNEL}"))
    poller = battery.source
    assert isinstance(poller, CanPoller)
    chosen: list[CanFrame] = []
    choosy = open_can_link(CHANNEL, CanPolicy(listens=frozenset({(CHOSEN, False)})))
    choosy.on_frames = chosen.extend
    choosy.open()
    readings = []
    # The poll opens the bus before it waits, and only then the sender has its turn.
    sending = asyncio.create_task(send(frames))
    while not sending.done():
        readings.append(await poller.poll())
        assert poller.trouble is None, poller.trouble
        await asyncio.sleep(0.2)
    await sending
    await asyncio.sleep(0.5)
    await battery.link.close()
    await choosy.close()
    reading = poller.reading or readings[-1]
    return {
        "sent": len(frames),
        "sent_others": len(frames),
        "useful": useful(frames),
        "counters": poller.counters,
        "chosen": len(chosen),
        "sent_chosen": sum(frame.can_id == CHOSEN for frame in frames),
        "polls": len(readings),
        "read": sum(each is not None for each in readings),
        "voltage_v": reading and reading.voltage_v,
        "soc_pct": reading and reading.soc_pct,
    }


def useful(frames: Sequence[CanFrame]) -> int:
    """Return how many of them the decoder counts when it is given them without any bus."""
    found = driver(LEAF).can
    assert found is not None
    decoder = found()
    for number, frame in enumerate(frames):
        decoder.feed([frame], number * _SECONDS_A_FRAME)
    return decoder.counters.frames


async def send(frames: Sequence[CanFrame]) -> None:
    """Put the frames on the bus, about as fast as a car does."""
    with socket.socket(socket.AF_CAN, socket.SOCK_RAW, socket.CAN_RAW) as bus:
        bus.bind((CHANNEL,))
        for at in range(0, len(frames), _AT_ONCE):
            for frame in frames[at : at + _AT_ONCE]:
                bus.send(_packed(frame))
                bus.send(_packed(_OTHER))
            await asyncio.sleep(_PAUSE_S)


def _packed(frame: CanFrame) -> bytes:
    return _FRAME.pack(frame.can_id, len(frame.data), frame.data)


if __name__ == "__main__":
    print("HEARD", json.dumps(asyncio.run(hear(int(sys.argv[1])))), flush=True)
