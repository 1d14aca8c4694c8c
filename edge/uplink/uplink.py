"""Keeps a connection to the broker, for ever: without one the journal simply fills."""

import asyncio
import random
import secrets

from edge.clock import Clock, ClockOffset
from edge.journal import Journal
from edge.settings import Mqtt
from edge.uplink.link import Connect, LinkLostError
from edge.uplink.presence import Presence
from edge.uplink.session import About, Session, UplinkCounters
from edge.uplink.voice import Voice
from edge.uplink.window import Window
from protocol.messages import Gone, encode

FIRST_WAIT_S = 0.5
LONGEST_WAIT_S = 30.0


class Uplink:
    """Sends a journal up over one connection after another.

    Args:
        settings: the broker.
        about: what hello says of the device.
        journal: where the segments are and where acks go.
        clock: both clocks.
        offset: learns how far the device's clock is from the cloud's.
        connect: opens a connection; by default with aiomqtt.
    """

    def __init__(
        self,
        settings: Mqtt,
        about: About,
        *,
        journal: Journal,
        clock: Clock,
        offset: ClockOffset,
        connect: Connect | None = None,
    ) -> None:
        self._settings = settings
        self._about = about
        self._journal = journal
        self._clock = clock
        self._offset = offset
        self._connect = connect
        self._connected = False
        self._voice = Voice(f"{settings.host}:{settings.port}", about.device_id, clock)
        self._chance = random.Random().random  # noqa: S311 - jitter
        self._wake = asyncio.Event()
        self.window = Window(self._chance)
        self.presence = Presence(self._chance)
        self.counters = UplinkCounters()

    async def run(self) -> None:
        """Connect, send, and connect again, until cancelled."""
        connect = self._connect or _with_aiomqtt()
        self._journal.when_sealed(self._wake.set)
        wait_s = FIRST_WAIT_S
        while True:
            why, answered = await self._one_connection(connect)
            wait_s = FIRST_WAIT_S if answered else min(2 * wait_s, LONGEST_WAIT_S)
            pause_s = wait_s * (0.5 + self._chance() / 2)
            self._voice.lost(why, pause_s)
            await asyncio.sleep(pause_s)

    @property
    def connected(self) -> bool:
        """Whether there is a connection now."""
        return self._connected

    async def _one_connection(self, connect: Connect) -> tuple[LinkLostError, bool]:
        nonce = secrets.token_hex(8)
        will = encode(Gone(nonce=nonce))
        session: Session | None = None
        try:
            async with connect(self._settings, self._about.device_id, will) as link:
                self.counters.connections += 1
                self._connected = True
                self._voice.connected()
                session = Session(
                    link=link,
                    nonce=nonce,
                    about=self._about,
                    journal=self._journal,
                    clock=self._clock,
                    offset=self._offset,
                    window=self.window,
                    presence=self.presence,
                    counters=self.counters,
                    wake=self._wake,
                )
                try:
                    return await session.run(), session.answered
                except asyncio.CancelledError:
                    await session.goodbye()
                    raise
        except LinkLostError as error:
            return error, session is not None and session.answered
        finally:
            self._connected = False


def _with_aiomqtt() -> Connect:
    from edge.uplink.mqtt import connect

    return connect
