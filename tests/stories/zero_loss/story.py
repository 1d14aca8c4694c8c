"""The zero-loss story: vehicles under load, everything killed at random, the account at the end."""

import threading
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from tests.stories.zero_loss.cluster import SERVE, Cluster, Pace, Vehicle
from tests.stories.zero_loss.evidence import gather, repeats
from tests.stories.zero_loss.plan import Fault
from tests.stories.zero_loss.processes import wait_until
from tests.stories.zero_loss.proxy import Link
from tests.stories.zero_loss.verdict import Verdict, judge, together

_RECOVERY_S = 60.0
_DRAIN_S = 120.0
_TRIES = 5
_SETTLE_S = 0.05


@dataclass(frozen=True, slots=True)
class Strike:
    """One kill -9 and what was under way at that moment.

    Attributes:
        victim: who was killed.
        at_s: when, in seconds after the load began.
        in_flight: sealed segments, of an agent its open one too, whose ack had not come and could
            not come any more.
    """

    victim: str
    at_s: float
    in_flight: int


@dataclass(slots=True)
class Report:
    """What happened, and the verdict.

    Attributes:
        load_s: how long readings were made.
        strikes: every kill, idle ones too.
        frozen: how many links were frozen, and `frozen_s` for how long together.
        deaf: how often a link lost its acks.
        repeats: segments that came again and were recognised.
        drain_s: from the end of the load until everything was acked.
    """

    seed: int
    vehicles: int
    load_s: float = 0.0
    strikes: list[Strike] = field(default_factory=list)
    frozen: int = 0
    frozen_s: float = 0.0
    deaf: int = 0
    repeats: int = 0
    drain_s: float = 0.0
    verdict: Verdict = field(default_factory=lambda: Verdict(0, 0, 0))

    @property
    def kills(self) -> Counter[str]:
        """Kills with work in flight, by victim."""
        return Counter(strike.victim for strike in self.strikes if strike.in_flight)

    def __str__(self) -> str:
        kills = ", ".join(f"{victim} {times}" for victim, times in sorted(self.kills.items()))
        return (
            f"seed {self.seed}: {self.vehicles} vehicles for {self.load_s:.1f} s, "
            f"{self.verdict.accepted / max(self.load_s, 1e-9):.0f} records/s; "
            f"kill -9 with work in flight: {kills or 'none'}; link frozen {self.frozen_s:.1f} s; "
            f"acks lost on {self.deaf} links; {self.repeats} repeats; "
            f"all acked {self.drain_s:.1f} s after the end\n{self.verdict}"
        )


def tell(
    folder: Path,
    plan: Sequence[Fault],
    *,
    seed: int,
    vehicles: int,
    seconds: float,
    pace: Pace | None = None,
    serve: Sequence[str] = SERVE,
) -> Report:
    """Run the plan under load of at least `seconds`, let everything be acked, and judge.

    Args:
        folder: an empty folder.
        plan: what goes wrong.
        seed: where the plan came from, for the report.
        vehicles: how many agents there are.
        seconds: length of the load.
        pace: how busy each vehicle is.
        serve: the ingest command.

    Raises:
        TimeoutError: something did not come back; the message says what.
        RuntimeError: a process ended that nobody killed.
    """
    report = Report(seed, vehicles)
    with Cluster(folder, vehicles=vehicles, pace=pace or Pace(), serve=serve) as cluster:
        teller = Teller(cluster, report)
        teller.begin()
        for fault in plan:
            teller.await_moment(fault.at_s)
            teller.cause(fault)
        teller.await_moment(seconds)
        teller.end()
    return report


class Teller:
    """Tells one story on a cluster, into its report: `begin`, `cause` faults, `end`."""

    def __init__(self, cluster: Cluster, report: Report) -> None:
        self._cluster = cluster
        self._report = report
        self._committed = 0
        self._thaws: list[threading.Thread] = []
        self._start = 0.0

    def begin(self) -> None:
        """Wait until everything works; the load counts from now."""
        for vehicle in self._cluster.vehicles:
            self._await_agent(vehicle)
        self._await_commits()
        self._start = time.monotonic()

    def now_s(self) -> float:
        """Return the seconds since the load began."""
        return time.monotonic() - self._start

    def await_moment(self, at_s: float) -> None:
        """Sleep until then, if it is not past."""
        time.sleep(max(0.0, at_s - self.now_s()))

    def cause(self, fault: Fault) -> None:
        """Let one thing go wrong, and what was killed come back."""
        vehicle = self._cluster.vehicles[fault.vehicle]
        link = vehicle.link
        if fault.kind == "freeze":
            thaw = threading.Thread(target=self._freeze, args=(link, fault.lasts_s), daemon=True)
            thaw.start()
            self._report.frozen += 1
            self._thaws.append(thaw)
        elif fault.kind == "deafen":
            self._await_agent(vehicle)
            wait_until("every segment is acked", lambda: not _unacked([vehicle]), _RECOVERY_S, 0.01)
            link.deafen()
            time.sleep(fault.lasts_s)
            link.cut()
            self._report.deaf += 1
        else:
            self._kill_busy(fault)

    def _freeze(self, link: Link, seconds: float) -> None:
        """Freeze a link while other things go on."""
        began_s = self.now_s()
        link.freeze()
        time.sleep(seconds)
        link.thaw()
        self._report.frozen_s += self.now_s() - began_s

    def _kill_busy(self, fault: Fault) -> None:
        """Kill the victim until it was killed with work in flight; idle kills are faults too."""
        for hesitates_s in (fault.hesitates_s, *[0.0] * _TRIES):
            strike = self._kill(fault, hesitates_s)
            self._report.strikes.append(strike)
            if strike.in_flight:
                return

    def _kill(self, fault: Fault, hesitates_s: float) -> Strike:
        cluster, vehicle = self._cluster, self._cluster.vehicles[fault.vehicle]
        if fault.victim == "agent":
            self._await_agent(vehicle)
            concerned = [vehicle]
        else:
            self._await_commits()
            # What lies before a frozen link is no work of the victim.
            concerned = [other for other in cluster.vehicles if not other.link.frozen]
        self._await_unacked(concerned)
        time.sleep(hesitates_s)
        before = _unacked(concerned)
        at_s = self.now_s()
        if fault.victim == "agent":
            assert vehicle.agent is not None
            vehicle.agent.kill()
        elif fault.victim == "ingest":
            cluster.kill_ingest()
        elif fault.victim == "nats":
            cluster.nats.kill()
        else:
            cluster.postgres.kill()
        time.sleep(_SETTLE_S)
        left = _unacked(concerned)
        in_flight = len(before & left) + (fault.victim == "agent" and vehicle.held().tail > 0)
        time.sleep(fault.lasts_s)
        self._revive(fault, vehicle)
        return Strike(fault.victim, at_s, in_flight)

    def _revive(self, fault: Fault, vehicle: Vehicle) -> None:
        if fault.victim == "agent":
            self._cluster.start_agent(vehicle)
        elif fault.victim == "ingest":
            self._cluster.start_ingest()
        elif fault.victim == "nats":
            self._cluster.nats.wipe_store()
        else:
            self._cluster.start_postgres()
        self._committed = max(self._committed, self._cluster.committed())

    def _await_agent(self, vehicle: Vehicle) -> None:
        wait_until(f"{vehicle.device} accepts readings", vehicle.works, _RECOVERY_S, 0.02)

    def _await_commits(self) -> None:
        """Wait until the cloud has committed something since the last kill."""

        def moves() -> bool:
            self._cluster.ingest_lives()
            return self._cluster.committed() > self._committed

        wait_until("ingest commits again", moves, _RECOVERY_S, 0.05)

    def _await_unacked(self, concerned: Sequence[Vehicle]) -> None:
        wait_until(
            "a sealed segment waits for its ack",
            lambda: bool(_unacked(concerned)),
            _RECOVERY_S,
            0.001,
        )

    def end(self) -> None:
        """End the load by taking the batteries away, wait for the acks, and judge."""
        cluster, report = self._cluster, self._report
        for thaw in self._thaws:
            thaw.join()
        for vehicle in cluster.vehicles:
            vehicle.unplug()
        report.load_s = self.now_s()
        self._drain()
        report.drain_s = self.now_s() - report.load_s
        report.verdict = together(
            [
                judge(
                    vehicle.accepted.keys(),
                    gather(cluster.dsn, str(cluster.data_dir), vehicle.device),
                )
                for vehicle in cluster.vehicles
            ]
        )
        report.repeats = repeats(cluster.dsn)

    def _drain(self) -> None:
        """Wait until everything is acked, then end the agents; a fact in between goes up too."""
        vehicles = self._cluster.vehicles
        for _ in range(_TRIES):
            wait_until("everything is acked", self._is_quiet, _DRAIN_S, 0.1)
            for vehicle in vehicles:
                assert vehicle.agent is not None
                vehicle.agent.kill()
                vehicle.accepted.join()
            if all(vehicle.held().empty for vehicle in vehicles):
                return
            for vehicle in vehicles:
                self._cluster.start_agent(vehicle)
        raise TimeoutError("the agents never come to rest")

    def _is_quiet(self) -> bool:
        """Tell whether no journal holds anything, and none gets anything new for a second."""
        before = self._cluster.accepted()
        for vehicle in self._cluster.vehicles:
            assert vehicle.agent is not None
            vehicle.agent.demand()
            if not vehicle.held().empty:
                return False
        time.sleep(1.0)
        return self._cluster.accepted() == before


def _unacked(vehicles: Sequence[Vehicle]) -> set[tuple[str, int, int]]:
    """Return the sealed segments that wait for their ack."""
    return {
        (vehicle.device, *segment) for vehicle in vehicles for segment in vehicle.held().segments
    }
