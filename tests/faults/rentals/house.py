"""The whole product as separate processes that can be killed one by one.

There is no process that is only a worker: `mobility-cloud serve` runs, beside the routes of its
contexts, their event handlers and the hands that ask the payment provider. So two processes share
the work: `api` is whom riders speak to, `worker` alone speaks to vehicles, and both deliver events
and settle payments. What one leaves undone when it is killed the other has to take over.
"""

import json
import os
import random
import secrets
import subprocess
import sys
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Final, Literal, Self, get_args

import httpx

from cloud.kit.nats import EmbeddedNats
from cloud.kit.postgres import EmbeddedPostgres
from simulator.city import MADE_UP_NAME, made_up
from simulator.opening import park, set_prices
from simulator.streets import StreetMap
from simulator.vehicles import CITY, Vehicle, make_vehicles
from tests.stories.one_vehicle import choose_ports, free_port
from tests.stories.zero_loss.processes import ROOT, Child, Nursery, script, wait_until

Victim = Literal["api", "worker", "nats", "postgres"]
VICTIMS: tuple[Victim, ...] = get_args(Victim)

# Every context but the one that speaks to vehicles, and every context but the pages.
_API: Final = ("identity", "telemetry", "fleet", "payments", "booking", "returns", "pages")
_WORKER: Final = ("identity", "devices", "telemetry", "fleet", "payments", "booking", "returns")
_START_S: Final = 90.0
# Short blocks are short rides: a story is about what comes before and after them.
_BLOCK_M: Final = 60.0
_PREFIX: Final = "kill"


class House:
    """Engines, two serving processes, a payment provider and vehicles; leaving it ends them all.

    Args:
        folder: an empty folder for everything.
        vehicles: how many there are.
        seed: of the city and the vehicles.
        serve: the serving command, before its contexts.
    """

    def __init__(
        self,
        folder: Path,
        *,
        vehicles: int,
        seed: int,
        serve: Sequence[str] = (script("mobility-cloud"), "serve"),
    ) -> None:
        self.data_dir = folder / "cloud"
        choose_ports(self.data_dir)
        self.postgres = EmbeddedPostgres(self.data_dir)
        self.nats = EmbeddedNats(self.data_dir)
        self.dsn = ""
        self.bank_file = folder / "bank.jsonl"
        self._vehicles = vehicles
        self._seed = seed
        self._serve = tuple(serve)
        self._ports = {name: free_port() for name in ("api", "worker", "bank", "devices")}
        self._key, self._secret = secrets.token_urlsafe(16), secrets.token_urlsafe(16)
        self._nursery = Nursery(folder / "logs")
        self._children: dict[str, Child] = {}

    @property
    def url(self) -> str:
        """Where riders find the cloud."""
        return self._url("api")

    @property
    def bank_url(self) -> str:
        """Where the payment provider is."""
        return self._url("bank")

    @property
    def outbox(self) -> Path:
        """Where mail lies."""
        return self.data_dir / "outbox"

    @property
    def homes(self) -> Path:
        """The folder of the vehicles' folders."""
        return self.data_dir / "vehicles"

    def town(self) -> StreetMap | None:
        """Return the streets and bays."""
        return StreetMap.read(self.data_dir / CITY)

    def vehicles(self) -> list[Vehicle]:
        """Return what the vehicles began as."""
        return make_vehicles(
            self.data_dir, count=self._vehicles, seed=self._seed, prefix=_PREFIX, rented=True
        )

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            stack.callback(self.postgres.stop)
            self.dsn = self.postgres.start()
            stack.callback(self.nats.stop)
            self.nats.start()
            stack.enter_context(self._nursery)
            self._start_bank()
            for name in ("worker", "api"):
                self._start(name)
                wait_until(f"{name} is ready", partial(self._is_ready, name), _START_S, 0.1)
            self._open_for_business()
            self._start_fleet()
            self._stack = stack.pop_all()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._stack.close()

    def kill(self, victim: Victim) -> None:
        """Send kill -9 to it and all that it started."""
        if victim == "nats":
            self.nats.kill()
        elif victim == "postgres":
            self.postgres.kill()
        else:
            self._children[victim].kill()

    def revive(self, victim: Victim) -> None:
        """Start it again; NATS with nothing of what it kept."""
        if victim == "nats":
            self.nats.wipe_store()
        elif victim == "postgres":
            if self.postgres.start() != self.dsn:
                raise RuntimeError("Postgres came back on another port")
        else:
            self._start(victim)

    def everyone_is_ready(self) -> bool:
        """Tell whether both serving processes say that they are; raises when one died by itself."""
        return self._is_ready("api") and self._is_ready("worker")

    def trouble(self, **wanted: object) -> None:
        """Let something go wrong at the bank, as its `/control` takes it."""
        auth = {"Authorization": f"Bearer {self._key}"}
        answer = httpx.post(f"{self.bank_url}/control", json=wanted, headers=auth, timeout=10)
        answer.raise_for_status()

    def _url(self, name: str) -> str:
        return f"http://127.0.0.1:{self._ports[name]}"

    def _start(self, name: str) -> None:
        contexts = _API if name == "api" else _WORKER
        argv = [*self._serve, *contexts, "--http", f"127.0.0.1:{self._ports[name]}"]
        if name == "worker":
            argv += ["--device-https", f"127.0.0.1:{self._ports['devices']}"]
        self._children[name] = self._nursery.start(name, argv, environ=self._environ())

    def _environ(self) -> Mapping[str, str]:
        broker = self.nats.broker
        return {
            "DATABASE_URL": self.dsn,
            "NATS_URL": broker.ingest_url,
            "NATS_COMMANDS_URL": broker.commands_url,
            "NATS_GATE_URL": broker.gate_url or "",
            "NATS_ISSUER_SEED": broker.issuer_seed,
            "MOBILITY_MQTT_HOST": broker.mqtt_host,
            "MOBILITY_MQTT_PORT": str(broker.mqtt_port),
            "MOBILITY_DATA_DIR": str(self.data_dir),
            "MOBILITY_PUBLIC_URL": self.url,
            "MOBILITY_PAYMENT_URL": self.bank_url,
            "MOBILITY_PAYMENT_KEY": self._key,
            "MOBILITY_PAYMENT_WEBHOOK_SECRET": self._secret,
        }

    def _is_ready(self, name: str) -> bool:
        self._children[name].demand()
        try:
            return httpx.get(f"{self._url(name)}/readyz", timeout=5).is_success
        except httpx.TransportError:
            return False

    def _start_bank(self) -> None:
        argv = [sys.executable, "-m", "simulator", "payments", "--file", str(self.bank_file)]
        argv += ["--http", self.bank_url.removeprefix("http://")]
        argv += ["--webhook", f"{self.url}/api/v1/payments/webhooks/sandbox"]
        keys = {"SANDBOX_API_KEY": self._key, "SANDBOX_WEBHOOK_SECRET": self._secret}
        bank = self._nursery.start("bank", argv, environ=keys)

        def answers() -> bool:
            bank.demand()
            try:
                self.trouble()
            except httpx.HTTPError:
                return False
            return True

        wait_until("the bank answers", answers, _START_S, 0.1)

    def _open_for_business(self) -> None:
        """A city with bays, a seller, prices."""
        made_up(seed=self._seed, block_m=_BLOCK_M).write(self.data_dir / CITY)
        argv = [script("mobility-cloud"), "city", "import", str(self.data_dir / CITY)]
        done = subprocess.run(
            [*argv, "--data-dir", str(self.data_dir)],
            cwd=ROOT,
            env={**os.environ, "DATABASE_URL": self.dsn},
            capture_output=True,
            check=False,
            timeout=_START_S,
        )
        if done.returncode:
            raise RuntimeError(f"the city was not imported: {done.stderr.decode()}")
        set_prices(self.dsn, f"{self.url}/", MADE_UP_NAME)

    def _start_fleet(self) -> None:
        """Start the vehicles, each in a bay, and wait until the cloud knows where."""
        argv = [script("mobility-sim"), "run", "--vehicles", str(self._vehicles), "--rented"]
        argv += ["--seed", str(self._seed), "--prefix", _PREFIX, "--data-dir", str(self.data_dir)]
        fleet = self._nursery.start("fleet", argv)
        vehicles = self.vehicles()

        def all_parked() -> bool:
            fleet.demand()
            park(self.dsn, vehicles)
            return all((each.folder / "vehicle.json").exists() for each in vehicles)

        wait_until("every vehicle stands in a bay", all_parked, _START_S, 0.5)


def is_locked(house: House, vehicle_id: str) -> bool:
    """Ask the emulated latch itself, which the cloud has no say in."""
    kept = house.homes / vehicle_id / "vehicle.json"
    return bool(json.loads(kept.read_text("utf-8"))["locked"])


def dead_for_s(chance: random.Random) -> float:
    """Return how long something stays dead before somebody starts it again."""
    return chance.uniform(0.2, 2.0)
