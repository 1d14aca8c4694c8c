"""The demo's figures: what the cloud counts, and what still waits in the vehicles' journals."""

import asyncio
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from pathlib import Path
from typing import Any

import httpx

from edge.journal.inspect import JournalUnreadableError, waiting

CONNECTED = "mobility_connected_devices"
COMMITTED = "mobility_readings_committed_total"
LAG_SUM = "mobility_ack_lag_seconds_sum"
LAG_COUNT = "mobility_ack_lag_seconds_count"
RESTARTS = "mobility_engine_restarts_total"
_IN_USE = ("on_trip", "reserved", "available")
_STATES_EVERY_S = 2.0
ENGINES = {"nats": "NATS", "postgres": "Postgres"}


@dataclass(frozen=True, slots=True)
class Figures:
    """One look at the system.

    `ack_lag_s` is the mean from receipt to ack since the last look, `restarted` are the engines
    that ended and were started again since then, `states` counts vehicles by MDS state.
    """

    connected: int
    committed_per_s: float
    unacked: int
    ack_lag_s: float | None
    restarted: tuple[str, ...] = ()
    states: Mapping[str, int] = field(default_factory=dict)

    def __str__(self) -> str:
        lag = "-" if self.ack_lag_s is None else f"{self.ack_lag_s * 1000:.0f} ms"
        return (
            f"{self.connected} vehicles connected · {self.committed_per_s:.0f} readings/s committed"
            f" · {self.unacked} unacked · ack lag {lag}"
        )

    @property
    def use(self) -> str:
        """What the vehicles are doing: riding, held, free."""
        riding, held, free = (self.states.get(name, 0) for name in _IN_USE)
        rest = sum(self.states.values()) - riding - held - free
        return f"{riding} riding · {held} held · {free} free" + (
            f" · {rest} others" if rest else ""
        )


class Observer:
    """Looks at a running demo again and again.

    Args:
        page_url: where the cloud is, with a slash at the end; may be changed later.
        journals: of its vehicles, by id.
        began: when this demo did; what was heard before is of an earlier one.
        login: user and password of somebody who may see devices.
    """

    def __init__(
        self,
        page_url: str,
        journals: Mapping[str, Path],
        began: datetime,
        login: Mapping[str, str],
    ) -> None:
        self.page_url = page_url
        self._login = login
        self._token = ""
        self._journals = journals
        self._began = began
        self._before: Mapping[str, float] = {}
        self._looked_s = 0.0
        self._states: Mapping[str, int] = {}
        self._counted_s = float("-inf")

    async def everyone_lives(self) -> bool:
        """Tell whether each vehicle is connected now; the metric says so only seconds later."""
        try:
            async with httpx.AsyncClient(trust_env=False, timeout=5.0) as http:
                answer = await self._devices(http)
                answer.raise_for_status()
        except httpx.HTTPError:
            return False
        living = {device["id"] for device in answer.json() if self._lives(device)}
        return living >= self._journals.keys()

    async def _devices(self, http: httpx.AsyncClient) -> httpx.Response:
        return await self._get(http, "devices")

    async def _get(self, http: httpx.AsyncClient, what: str) -> httpx.Response:
        if not self._token:
            tokens = await http.post(f"{self.page_url}api/v1/auth/token", json=dict(self._login))
            tokens.raise_for_status()
            self._token = tokens.json()["access_token"]
        headers = {"Authorization": f"Bearer {self._token}"}
        answer = await http.get(f"{self.page_url}api/v1/{what}", headers=headers)
        if answer.status_code == httpx.codes.UNAUTHORIZED:
            self._token = ""
        return answer

    def _lives(self, device: Mapping[str, Any]) -> bool:
        heard = device["last_heard_at"]
        fresh = heard is not None and datetime.fromisoformat(heard) >= self._began
        return fresh and bool(device["connected"])

    async def look(self) -> Figures | None:
        """Return the figures since the last look; None while the cloud does not answer."""
        now_s = asyncio.get_running_loop().time()
        try:
            async with httpx.AsyncClient(trust_env=False, timeout=2.0) as http:
                answer = await http.get(f"{self.page_url}metrics")
                answer.raise_for_status()
                await self._count_states(http, now_s)
        except httpx.HTTPError:
            return None
        unacked = await asyncio.to_thread(_unacked, list(self._journals.values()))
        found = read_metrics(answer.text)
        before, self._before = self._before or found, found
        passed_s, self._looked_s = now_s - self._looked_s, now_s
        return replace(figures(before, found, passed_s, unacked), states=self._states)

    async def _count_states(self, http: httpx.AsyncClient, now_s: float) -> None:
        if now_s - self._counted_s < _STATES_EVERY_S:
            return
        answer = await self._get(http, "vehicles")
        answer.raise_for_status()
        self._states = Counter(
            each["state"] for each in answer.json() if each["id"] in self._journals
        )
        self._counted_s = now_s


def figures(
    before: Mapping[str, float], now: Mapping[str, float], passed_s: float, unacked: int
) -> Figures:
    """Return what two looks, `passed_s` apart, say; a restart of the cloud begins at zero."""

    def grown(name: str) -> float:
        return max(0.0, now.get(name, 0.0) - before.get(name, 0.0))

    acks = grown(LAG_COUNT)
    return Figures(
        connected=round(now.get(CONNECTED, 0.0)),
        committed_per_s=grown(COMMITTED) / passed_s if passed_s > 0 else 0.0,
        unacked=unacked,
        ack_lag_s=grown(LAG_SUM) / acks if acks else None,
        restarted=tuple(
            title for name, title in ENGINES.items() if grown(f'{RESTARTS}{{engine="{name}"}}')
        ),
    )


def read_metrics(text: str) -> dict[str, float]:
    """Return the samples of a Prometheus page by their name with its labels."""
    found = {}
    for line in text.splitlines():
        name, _, value = line.rpartition(" ")
        if name and not line.startswith("#"):
            found[name] = float(value)
    return found


def _unacked(journals: Sequence[Path]) -> int:
    total = 0
    for path in journals:
        try:
            total += waiting(path)
        except JournalUnreadableError:
            continue
    return total
