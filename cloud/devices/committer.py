"""Commits batches through outages, and remembers what is committed."""

import asyncio
import logging
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import groupby

from cloud.devices import metrics
from cloud.devices.batch import Arrival, LaneKey
from cloud.devices.commit import Outcome, Parts, commit_batch
from cloud.devices.model import Progress
from cloud.devices.opening import Candidate
from cloud.devices.session import DATABASE_TROUBLE, Session
from cloud.devices.traces import BatchTrace
from cloud.kit.clock import Clock

log = logging.getLogger(__name__)

_ATTEMPTS = 3
_PAUSE_S = 0.5
_REMEMBERED_LANES = 50_000
_REMEMBERED_STRANGERS = 10_000


@dataclass(frozen=True, slots=True)
class Opened:
    """A batch that is ready to be committed; `trace` notes its steps while traces are on."""

    arrivals: Sequence[Arrival]
    candidates: Sequence[Candidate]
    unreadable: Sequence[tuple[Arrival, str]]
    trace: BatchTrace | None = None


class Committer:
    """One connection's worth of commits, one batch at a time.

    Attributes:
        committed: what this process saw committed, by lane; lags behind the ledger, never leads.
    """

    def __init__(self, dsn: str, clock: Clock, parts: Parts) -> None:
        self.committed: dict[LaneKey, Progress] = {}
        self._session = Session(dsn)
        self._clock = clock
        self._parts = parts
        self._thread = ThreadPoolExecutor(1, "ingest-commit")
        self._strangers: set[str] = set()
        self._database_away = False

    def close(self) -> None:
        """Wait for the commit that is under way."""
        self._thread.shutdown()
        self._session.close()

    async def commit(self, opened: Opened) -> Outcome | None:
        """Commit a batch; None when it was not and its devices must send again."""
        for attempt in range(_ATTEMPTS):
            try:
                return await self._run(opened)
            except DATABASE_TROUBLE as trouble:
                self._note_outage(trouble)
                await asyncio.sleep(_PAUSE_S * attempt)
            except Exception:
                log.exception("a batch of %d segments failed", len(opened.candidates))
                return await self._device_by_device(opened)
        metrics.DROPPED.labels("not committed").inc(len(opened.candidates))
        return None

    async def _device_by_device(self, opened: Opened) -> Outcome:
        """Commit each device alone, so that one that cannot be does not hold up the others."""
        whole = Outcome()
        for device_id, group in groupby(sorted(opened.candidates, key=_device), key=_device):
            candidates = list(group)
            try:
                outcome = await self._run(Opened((), candidates, ()))
            except Exception as trouble:  # noqa: BLE001 - told above; the others must go on
                log.warning("segments of %s cannot be committed: %r", device_id, trouble)
                metrics.DROPPED.labels("not committed").inc(len(candidates))
            else:
                whole.progress.update(outcome.progress)
                whole.commands += outcome.commands
                whole.traced += outcome.traced
        return whole

    async def _run(self, opened: Opened) -> Outcome:
        loop = asyncio.get_running_loop()
        outcome = await loop.run_in_executor(self._thread, self._commit_now, opened)
        self._remember(outcome)
        return outcome

    def _commit_now(self, opened: Opened) -> Outcome:
        now = self._clock.now()
        return self._session.run(
            lambda db: commit_batch(db, opened.candidates, opened.unreadable, self._parts, now)
        )

    def _remember(self, outcome: Outcome) -> None:
        if self._database_away:
            log.warning("the database is back; ingest goes on")
            self._database_away = False
        if len(self.committed) > _REMEMBERED_LANES:
            self.committed.clear()
        self.committed.update(outcome.progress)
        metrics.READINGS.inc(outcome.readings)
        for name, count in outcome.segments.items():
            metrics.SEGMENTS.labels(name).inc(count)
        for device_id in sorted(outcome.strangers - self._strangers):
            log.warning(
                "device %s is not enrolled, its data is not taken;"
                " enrol it with `mobility-cloud devices add`",
                device_id,
            )
        if len(self._strangers) < _REMEMBERED_STRANGERS:
            self._strangers |= outcome.strangers

    def _note_outage(self, trouble: Exception) -> None:
        if not self._database_away:
            first_line = str(trouble).strip().partition("\n")[0]
            log.warning("the database is away, nothing is acked until it is back: %s", first_line)
            self._database_away = True


def _device(candidate: Candidate) -> str:
    return candidate.arrival.device_id
