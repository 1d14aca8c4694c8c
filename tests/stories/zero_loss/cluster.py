"""The whole system of a story, every part of it a real process."""

import os
import random
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Self

import psycopg

from cloud.kit.folder import DataFolder
from cloud.kit.migrations import migrate
from cloud.kit.nats import EmbeddedNats
from cloud.kit.postgres import EmbeddedPostgres
from tests.enrolled import enrol
from tests.stories.zero_loss.accepted import Accepted
from tests.stories.zero_loss.evidence import committed_through
from tests.stories.zero_loss.journals import Held, held
from tests.stories.zero_loss.processes import Child, Nursery, script, wait_until
from tests.stories.zero_loss.proxy import Link, Links

CONTEXTS = ("devices", "telemetry")
SERVE = (script("mobility-cloud"), "serve", *CONTEXTS)
_START_S = 60.0


@dataclass(frozen=True, slots=True)
class Pace:
    """How busy one vehicle is, in seconds between polls, fsyncs and seals."""

    poll_s: float = 0.02
    flush_s: float = 0.1
    seal_s: float = 0.25

    def environ(self) -> dict[str, str]:
        """Return it as the agent's environment."""
        return {
            "MOBILITY_INTERVALS_POLL_S": str(self.poll_s),
            "MOBILITY_INTERVALS_FLUSH_S": str(self.flush_s),
            "MOBILITY_INTERVALS_SEAL_S": str(self.seal_s),
        }


@dataclass(slots=True)
class Vehicle:
    """One agent on a numbered shim, behind a link of its own. The shim outlives the agent."""

    device: str
    port: Path
    config: Path
    journal: Path
    link: Link
    shim: Child
    accepted: Accepted
    pace: Pace
    agent: Child | None = None
    starts: list[int] = field(default_factory=list)

    def start(self, nursery: Nursery) -> None:
        """Start the agent with a new pipe for what it accepts."""
        self.starts.append(len(self.accepted))
        writing = self.accepted.open_pipe()
        environ = self.pace.environ() | {"MOBILITY_ACCEPT_FD": str(writing)}
        command = [script("mobility-edge"), "run", "--config", str(self.config)]
        name = f"agent-{self.device}"
        self.agent = nursery.start(name, command, environ=environ, inherit=[writing])
        os.close(writing)

    def works(self) -> bool:
        """Tell whether this run of the agent has accepted anything yet."""
        assert self.agent is not None
        self.agent.demand()
        return len(self.accepted) > self.starts[-1]

    def unplug(self) -> None:
        """Take the battery away for good.

        The link goes first: the terminal behind it may be somebody else's a moment later.
        """
        self.port.unlink()
        self.shim.kill()

    def held(self) -> Held:
        """Return what its journal holds now."""
        return held(self.journal)


def _choose_quiet_ports(data_dir: Path) -> None:
    """Keep away from the usual ports: what is dead for a second must find its own still free."""
    folder, start = DataFolder(data_dir), random.SystemRandom().randrange(20_000, 31_000)
    folder.choose_ports("postgres", {"port": start})
    folder.choose_ports("nats", {"port": start + 1, "mqtt": start + 2, "monitor": start + 3})


class Cluster:
    """Engines, ingest and vehicles under one folder; leaving it ends all of them.

    Args:
        folder: an empty folder for everything.
        vehicles: how many there are.
        pace: how busy each of them is.
        serve: the ingest command.
    """

    def __init__(
        self, folder: Path, *, vehicles: int, pace: Pace, serve: Sequence[str] = SERVE
    ) -> None:
        self.data_dir = folder / "cloud"
        _choose_quiet_ports(self.data_dir)
        self.postgres = EmbeddedPostgres(self.data_dir)
        self.nats = EmbeddedNats(self.data_dir)
        self.vehicles: list[Vehicle] = []
        self.dsn = ""
        self._folder = folder
        self._wanted = vehicles
        self._pace = pace
        self._serve = tuple(serve)
        self._nursery = Nursery(folder / "logs")
        self._ingest: Child | None = None
        self._committed_at_start = 0

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            stack.callback(self.postgres.stop)
            self.dsn = self.postgres.start()
            stack.callback(self.nats.stop)
            self.nats.start()
            links = stack.enter_context(Links())
            stack.enter_context(self._nursery)
            migrate(self.dsn, ("identity", *CONTEXTS))
            self.start_ingest()
            for number in range(1, self._wanted + 1):
                self.vehicles.append(self._vehicle(f"loss-{number:03d}", links))
            for vehicle in self.vehicles:
                self._await_shim(vehicle)
                vehicle.start(self._nursery)
            self._stack = stack.pop_all()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._stack.close()

    def start_ingest(self) -> None:
        """Start the ingest process against whatever is up."""
        self._committed_at_start = self.committed()
        broker = self.nats.broker
        environ = {
            "DATABASE_URL": self.dsn,
            "NATS_URL": broker.ingest_url,
            "NATS_COMMANDS_URL": broker.commands_url,
            "NATS_GATE_URL": broker.gate_url or "",
            "NATS_ISSUER_SEED": broker.issuer_seed,
            "MOBILITY_DATA_DIR": str(self.data_dir),
            "MOBILITY_HTTP": "127.0.0.1:0",
        }
        self._ingest = self._nursery.start("ingest", self._serve, environ=environ)

    @property
    def ingest_pid(self) -> int:
        """The ingest process's id."""
        assert self._ingest is not None
        return self._ingest.pid

    def kill_ingest(self) -> None:
        """Send it kill -9."""
        assert self._ingest is not None
        self._ingest.kill()

    def ingest_lives(self) -> None:
        """Raise with the end of its log when it died by itself."""
        assert self._ingest is not None
        self._ingest.demand()

    def start_agent(self, vehicle: Vehicle) -> None:
        """Start the agent again on what its journal holds."""
        vehicle.start(self._nursery)

    def start_postgres(self) -> None:
        """Start the database again where its clients expect it."""
        if self.postgres.start() != self.dsn:
            raise RuntimeError("Postgres came back on another port")

    def committed(self) -> int:
        """Return the sum of all watermarks; 0 while the database is away."""
        try:
            return committed_through(self.dsn)
        except psycopg.OperationalError:
            return 0

    def accepted(self) -> int:
        """Return how many records all vehicles have accepted."""
        return sum(len(vehicle.accepted) for vehicle in self.vehicles)

    def _vehicle(self, device: str, links: Links) -> Vehicle:
        home = self._folder / device
        home.mkdir()
        link = links.add((self.nats.mqtt_host, self.nats.mqtt_port))
        port = home / "battery"
        enrol(self.dsn, self.data_dir, device, home / "identity", battery="jbd_uart")
        config = home / "agent.toml"
        config.write_text(self._configuration(device, link.port, port))
        command = [script("mobility-sim"), "shim", "jbd", "--numbered", "--link", str(port)]
        shim = self._nursery.start(f"shim-{device}", command)
        journal, accepted = home / "journal.db", Accepted(device)
        return Vehicle(device, port, config, journal, link, shim, accepted, self._pace)

    def _configuration(self, device: str, mqtt_port: int, battery: Path) -> str:
        return (
            f'[device]\nid = "{device}"\n'
            f'[mqtt]\nhost = "127.0.0.1"\nport = {mqtt_port}\n'
            f'[battery]\nprotocol = "jbd_uart"\nport = "{battery}"\n'
            '[journal]\npath = "journal.db"\n'
        )

    def _await_shim(self, vehicle: Vehicle) -> None:
        def ready() -> bool:
            vehicle.shim.demand()
            return "ready" in vehicle.shim.log.read_text()

        wait_until(f"the shim of {vehicle.device} is ready", ready, _START_S, 0.02)
