"""Keeps a connection to the broker, for ever: without one the journal simply fills."""

import asyncio
import contextlib
import random
import secrets

from edge.clock import Clock, ClockOffset, utc
from edge.identity.keys import KeyStore, KeyStoreError
from edge.journal import Journal
from edge.settings import Mqtt
from edge.uplink.inbox import Handler, Inbox
from edge.uplink.link import AnewError, CertificateRefusedError, Connect, LinkLostError
from edge.uplink.presence import Presence
from edge.uplink.session import About, Session, UplinkCounters
from edge.uplink.voice import Voice
from edge.uplink.window import Window
from protocol.messages import Gone, encode
from protocol.topics import Leaf

FIRST_WAIT_S = 0.5
LONGEST_WAIT_S = 30.0


class Uplink:
    """Sends a journal up over one connection after another.

    Args:
        settings: the broker.
        about: what hello says of the device.
        keys: whom the broker is to see, and which broker to believe.
        journal: where the segments are and where acks go.
        clock: both clocks.
        offset: learns how far the device's clock is from the cloud's.
        on_command: takes what comes on `cmd`, still signed, one at a time.
        on_twin: the same for `twin`.
        connect: opens a connection; by default with aiomqtt.
    """

    def __init__(
        self,
        settings: Mqtt,
        about: About,
        *,
        keys: KeyStore,
        journal: Journal,
        clock: Clock,
        offset: ClockOffset,
        on_command: Handler | None = None,
        on_twin: Handler | None = None,
        connect: Connect | None = None,
    ) -> None:
        self._settings = settings
        self._about = about
        self._keys = keys
        self._journal = journal
        self._clock = clock
        self._offset = offset
        self._connect = connect
        self._connected = False
        self._voice = Voice(f"{settings.host}:{settings.port}", about.device_id, clock)
        self._chance = random.Random().random  # noqa: S311 - jitter
        self._wake = asyncio.Event()
        self._anew = asyncio.Event()
        self.inboxes: dict[Leaf, Inbox] = {"cmd": Inbox(on_command), "twin": Inbox(on_twin)}
        self.window = Window(self._chance)
        self.presence = Presence(self._chance)
        self.counters = UplinkCounters()

    async def run(self) -> None:
        """Connect, send, and connect again, until cancelled; hand over what comes down."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._stay_connected(), name="uplink-connection")
            for leaf, inbox in self.inboxes.items():
                tasks.create_task(inbox.run(), name=f"uplink-{leaf}")

    def reconnect(self) -> None:
        """Connect anew at once, because there is another certificate."""
        self._anew.set()

    def say_hello(self) -> None:
        """Say hello now, because what it says has changed; a lost connection says it later."""
        self.presence.ask()
        self._wake.set()

    @property
    def connected(self) -> bool:
        """Whether there is a connection now."""
        return self._connected

    async def _stay_connected(self) -> None:
        connect = self._connect or _with_aiomqtt()
        self._journal.when_sealed(self._wake.set)
        wait_s = FIRST_WAIT_S
        while True:
            self._anew.clear()
            why, answered = await self._one_connection(connect)
            if isinstance(why, AnewError):
                continue
            wait_s = FIRST_WAIT_S if answered else min(2 * wait_s, LONGEST_WAIT_S)
            pause_s = wait_s * (0.5 + self._chance() / 2)
            self._voice.lost(why, pause_s)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(pause_s):
                    await self._anew.wait()

    async def _one_connection(self, connect: Connect) -> tuple[LinkLostError, bool]:
        nonce = secrets.token_hex(8)
        will = encode(Gone(nonce=nonce))
        session: Session | None = None
        self.counters.tried += 1
        try:
            async with connect(self._settings, self._about.device_id, will, self._keys) as link:
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
                    anew=self._anew,
                    inboxes=self.inboxes,
                )
                try:
                    return await session.run(), session.answered
                except asyncio.CancelledError:
                    await session.goodbye()
                    raise
        except CertificateRefusedError as error:
            return self._explained(error), False
        except LinkLostError as error:
            return error, session is not None and session.answered
        finally:
            self._connected = False

    def _explained(self, error: CertificateRefusedError) -> LinkLostError:
        try:
            held = self._keys.held()
        except KeyStoreError:
            held = None
        ours = f" (good until {utc(held.not_after_ms)})" if held else ""
        return LinkLostError(
            f"it refuses our certificate{ours}: {error}; if it stays so, make a claim with: "
            f"mobility-cloud devices claim {self._about.device_id}, put it under [identity] claim, "
            "and start the agent again"
        )


def _with_aiomqtt() -> Connect:
    from edge.uplink.mqtt import connect

    return connect
