"""The vehicles as their devices see them: latches, commands obeyed or not, facts told or not yet.

It plays what is behind the broker. What devices say is taken in by the ingest transaction.
"""

from collections import defaultdict
from datetime import timedelta
from typing import Any
from uuid import UUID

from cloud.devices import requests
from cloud.devices.commit import Parts as Commit
from cloud.devices.commit import commit_batch
from cloud.devices.opening import open_all
from cloud.kit.db import Db, Pool
from cloud.telemetry import api as telemetry
from protocol.signals import BY_KEY
from tests.cloud.devices.commanded import told
from tests.cloud.fleet.city import at_m
from tests.cloud.sealed import arrival, signals
from tests.stories.rentals.city import SPOTS, VEHICLES
from tests.stories.rentals.fuse import DiedError, Fuse, TickingClock

_INGEST = Commit(telemetry.keep, (telemetry.project,))
_ON_ITS_WAY = (
    "SELECT id, kind FROM devices.command WHERE device_id = %s AND not_after >= %s"
    " AND state IN ('pending', 'accepted', 'executing') ORDER BY created_at, id"
)


class Street:
    """Three vehicles."""

    def __init__(self, pool: Pool, watching: Db, clock: TickingClock, fuse: Fuse) -> None:
        self._pool, self._watching, self._clock, self._fuse = pool, watching, clock, fuse
        self.open = dict.fromkeys(VEHICLES, False)
        self._journal: dict[str, list[bytes]] = {vehicle: [] for vehicle in VEHICLES}
        self._sent: dict[str, bytes] = {}
        self._obeyed: set[UUID] = set()
        self._seq: defaultdict[tuple[str, str], int] = defaultdict(int)

    def waiting(self, vehicle: str) -> list[tuple[UUID, str]]:
        """Return the commands that a vehicle may still get and has not obeyed."""
        rows = self._watching.execute(_ON_ITS_WAY.encode(), (vehicle, self._clock.at)).fetchall()
        return [(row[0], row[1]) for row in rows if row[0] not in self._obeyed]

    def obey(self, vehicle: str, which: int, says: str, *, moves: bool = False) -> bool:
        """Let a vehicle do one of its commands and write down that it did; False without one.

        Args:
            vehicle: which.
            which: of those waiting; a link may lose one, and bring it after a later one.
            says: done, refused or failed.
            moves: whether the latch of one that failed has moved all the same.
        """
        waiting = self.waiting(vehicle)
        if not waiting:
            return False
        command_id, kind = waiting[which % len(waiting)]
        self._obeyed.add(command_id)
        if says == "done" or (says == "failed" and moves):
            self.open[vehicle] = kind == "unlock"
        reason = "" if says == "done" else "latch_stuck"
        fields: dict[str, Any] = {"id": str(command_id), "kind": kind, "state": says}
        fact = "command.result", fields | {"reason": reason, "accepted_ago_ms": 1}
        seq = self._next(vehicle, "fact")
        self._journal[vehicle].append(told(seq, fact, at=self._clock.now()))
        return True

    def stands(self, vehicle: str, spot: str) -> None:
        """Let a vehicle say where it is."""
        point, now = at_m(*SPOTS[spot]), self._clock.now()
        columns = {
            BY_KEY[key].id: [BY_KEY[key].to_raw(value)]
            for key, value in (("latitude_deg", point.lat), ("longitude_deg", point.lon))
        }
        seq, at_ms = self._next(vehicle, "signal"), int(now.timestamp() * 1000)
        self._take_in(vehicle, signals(seq, 1, start_ms=at_ms, columns=columns))

    def is_heard(self, vehicle: str) -> None:
        """Let what a vehicle has written down arrive; what is not acked it sends again."""
        for segment in self._journal[vehicle]:
            self._take_in(vehicle, segment)
            self._sent[vehicle] = segment
        self._journal[vehicle].clear()

    def is_heard_again(self, vehicle: str) -> None:
        """Let something arrive once more: its ack was lost."""
        if vehicle in self._sent:
            self._take_in(vehicle, self._sent[vehicle])

    def expire(self) -> None:
        """Give up what nobody answered in time, as the relay does."""
        with self._pool.connection() as db:
            requests.expire(db, self._clock.now())

    def calm(self) -> None:
        """Let every vehicle do all that it is asked, and be heard."""
        for vehicle in VEHICLES:
            while self.obey(vehicle, 0, "done"):
                self._clock.advance(timedelta(milliseconds=300))
            self.is_heard(vehicle)

    def _next(self, vehicle: str, lane: str) -> int:
        self._seq[vehicle, lane] += 1
        return self._seq[vehicle, lane]

    def _take_in(self, vehicle: str, segment: bytes) -> None:
        while True:
            now = self._clock.now()
            candidates, unreadable = open_all([arrival(segment, vehicle, now)], {})
            try:
                with self._pool.connection() as db:
                    commit_batch(db, candidates, unreadable, _INGEST, now)
            except DiedError:
                self._fuse.restart()
            else:
                return
