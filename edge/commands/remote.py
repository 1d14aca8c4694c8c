"""Everything between the signed topics and the actuators, put together."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass

from edge.clock import Clock
from edge.commands.actuators import Actuator, Actuators, Forbids
from edge.commands.desk import CommandDesk
from edge.commands.own import OwnWorks
from edge.commands.trust import Trust
from edge.commands.twin import TwinKeeper
from edge.commands.wishes import Wishes
from edge.commands.zones import ZoneKeeper
from edge.controllers.base import VehicleController
from edge.identity.enrol import Enroller
from edge.identity.keys import KeyStore
from edge.journal import Journal
from edge.journal.book import CommandBook
from edge.journal.notes import JournalNote


@dataclass(frozen=True, slots=True)
class Remote:
    """The cloud's wishes at one vehicle. `open` it before anything is reported."""

    book: CommandBook
    trust: Trust
    wishes: Wishes
    own: OwnWorks
    actuators: Actuators
    desk: CommandDesk
    twin: TwinKeeper
    zones: ZoneKeeper

    @property
    def capabilities(self) -> list[str]:
        """Kinds of command that can be performed now."""
        return sorted(self.actuators.capabilities)

    @property
    def live(self) -> bool:
        """Whether somebody watches this vehicle now."""
        return self.trust.now_ms() < self.wishes.live_until_ms

    async def open(self) -> None:
        """Put in force again what the journal remembers."""
        self.twin.open(await self.book.kept())
        await self.twin.resume_decoder()
        await self.desk.open()
        await self.zones.open()

    async def run(self) -> None:
        """Work until cancelled. Raises AgentRestart inside of an exception group."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self.desk.run(), name="commands")
            tasks.create_task(self.twin.enforce(), name="twin")
            tasks.create_task(self.zones.run(), name="zones")


def build_remote(
    device_id: str,
    journal: Journal,
    clock: Clock,
    *,
    offset: Callable[[], int],
    keys: KeyStore,
    enroller: Enroller | None,
    controller: VehicleController | None,
    battery: Actuator | None,
    forbids: Forbids,
) -> Remote:
    """Return the parts wired to each other.

    Args:
        device_id: whose commands are obeyed.
        journal: where everything is written down.
        clock: both clocks.
        offset: milliseconds to add to the wall clock, as learned from the cloud.
        keys: the identity, which has the first keys to believe.
        enroller: makes a new key when told to; None where there is no identity.
        controller: what locks the vehicle, if anything.
        battery: what switches charging, if it is not the controller.
        forbids: the interlock.
    """
    book = CommandBook(journal, clock)
    trust = Trust(device_id, clock, offset=offset, enrolled=keys.signers)
    wishes = Wishes()
    own = OwnWorks(wishes, rotate=enroller.rotate if enroller is not None else None)
    actuators = Actuators(controller, battery, own)
    desk = CommandDesk(trust, journal, book, clock, actuators=actuators, forbids=forbids)
    twin = TwinKeeper(
        trust,
        desk,
        book,
        actuators=actuators,
        forbids=forbids,
        wishes=wishes,
        keep_signers=keys.keep_signers,
    )
    zones = ZoneKeeper(
        lambda: twin.twin,
        actuators,
        clock,
        note=JournalNote(journal, "zone"),
        tell=journal.append_fact,
    )
    return Remote(book, trust, wishes, own, actuators, desk, twin, zones)
