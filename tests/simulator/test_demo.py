"""The demo as `make demo` starts it: alive, killed in parts, stopped, and going on."""

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx
import pytest

from edge.journal.inspect import JournalUnreadableError, inspect
from simulator.figures import CONNECTED, read_metrics
from tests.cloud.signed_in import SignedIn
from tests.stories.one_vehicle import choose_ports

ROOT = Path(__file__).parent.parent.parent
PATIENCE_S = 60.0
PLACE = {
    "Vehicle.Speed",
    "Vehicle.CurrentLocation.Latitude",
    "Vehicle.CurrentLocation.Longitude",
}

pytestmark = pytest.mark.slow


@contextlib.contextmanager
def a_demo(folder: Path, *options: str) -> Iterator[tuple[subprocess.Popen[str], dict[str, Any]]]:
    """Run one until the block ends; gives the process and its JSON line."""
    argv = [sys.executable, "-m", "simulator.demo", "--json", "--data-dir", str(folder), *options]
    environ = {key: value for key, value in os.environ.items() if key != "MAKELEVEL"}
    demo = subprocess.Popen(argv, stdout=subprocess.PIPE, text=True, cwd=ROOT, env=environ)
    try:
        assert demo.stdout is not None
        yield demo, json.loads(demo.stdout.readline())
    finally:
        demo.terminate()
        demo.wait(PATIENCE_S)
        demo.stdout.close() if demo.stdout else None


def until(true: Callable[[], bool]) -> None:
    ends_s = time.monotonic() + PATIENCE_S
    while not true():
        assert time.monotonic() < ends_s
        time.sleep(0.1)


def connected(told: dict[str, Any]) -> float:
    try:
        page = httpx.get(f"{told['page_url']}metrics", trust_env=False, timeout=2.0)
    except httpx.HTTPError:
        return 0.0
    return read_metrics(page.text).get(CONNECTED, 0.0)


def last_seq(folder: Path, vehicle: str) -> int:
    return inspect(folder / "vehicles" / vehicle / f"{vehicle}.journal.db").lanes[1].last_seq


def floor_seq(journal: Path) -> int:
    """The signal lane's floor; 0 while the journal is still being made."""
    try:
        return inspect(journal).lanes[1].floor_seq
    except JournalUnreadableError:
        return 0


class Supervisor:
    """The demo's supervisor, who may tell its vehicles what to do."""

    def __init__(self, told: dict[str, Any]) -> None:
        self._url = told["page_url"].rstrip("/")
        self._auth = SignedIn(self._url, **told["logins"]["supervisor"])

    def _ask(self, method: str, path: str, **more: Any) -> httpx.Response:
        return httpx.request(method, self._url + path, auth=self._auth, timeout=PATIENCE_S, **more)

    def command(self, vehicle: str, kind: str) -> str:
        """Ask for it and return how it ended."""
        asked = self._ask(
            "POST",
            f"/api/v1/vehicles/{vehicle}/commands",
            json={"kind": kind, "reason": "a test of the demo"},
            headers={"Idempotency-Key": str(uuid4())},
        )
        assert asked.status_code == 202, asked.text
        found = self._ask("GET", asked.headers["Location"], params={"wait_s": 30}).json()
        return str(found["state"])

    def values(self, vehicle: str) -> dict[str, float]:
        """Return what the cloud knows of it."""
        told = self._ask("GET", f"/api/v1/vehicles/{vehicle}").json()
        values: dict[str, float] = told["values"]
        return values

    def command_at_rest(self, kind: str, *vehicles: str) -> str:
        """Get it done at the first that stands still; return its id."""
        ends_s = time.monotonic() + PATIENCE_S
        while time.monotonic() < ends_s:
            for vehicle in vehicles:
                stands = self.values(vehicle).get("Vehicle.Speed") == 0
                if stands and self.command(vehicle, kind) == "done":
                    return vehicle
            time.sleep(0.5)
        raise AssertionError("no vehicle stands still")


def starts(folder: Path, vehicle: str) -> int:
    """Return how often its agent has started, as far as the cloud knows."""
    argv = [sys.executable, "-m", "cloud", "telemetry", "export", "--device", vehicle]
    argv += ["--data-dir", str(folder)]
    done = subprocess.run(argv, capture_output=True, text=True, cwd=ROOT, check=True)
    return done.stdout.count('"agent.started"')


def left(folder: Path, vehicle: str) -> dict[str, Any]:
    """Return how the simulator left a vehicle."""
    found: dict[str, Any] = json.loads((folder / "vehicles" / vehicle / "vehicle.json").read_text())
    return found


def test_a_demo_lives_survives_a_kill_stops_and_goes_on(tmp_path: Path) -> None:
    choose_ports(tmp_path)
    with a_demo(tmp_path, "--vehicles", "3", "--riders", "0") as (demo, told):
        assert set(told) == {
            "page_url",
            "api_url",
            "mqtt",
            "postgres_dsn",
            "data_dir",
            "device_https",
            "ca_file",
            "logins",
            "pids",
            "city",
        }
        assert told["city"]["name"] in {"Porto", "Blocksburg"}
        assert set(told["pids"]) == {
            "cloud",
            "postgres",
            "nats",
            "simulator",
            "demo",
            "payments",
        }
        assert set(told["logins"]) == {"staff", "supervisor", "viewer", "customer"}
        assert told["pids"]["demo"] == demo.pid
        assert {"host", "port"} <= set(told["mqtt"])
        until(lambda: connected(told) == 3)
        supervisor = Supervisor(told)
        until(lambda: supervisor.values("demo-003").keys() >= PLACE)
        assert supervisor.command("demo-003", "unlock") == "done"
        restarted = supervisor.command_at_rest("reboot", "demo-001", "demo-003")
        until(lambda: starts(tmp_path, restarted) == 2)
        assert supervisor.command(restarted, "read_now") == "done"
        locked = supervisor.command_at_rest("lock", "demo-001", "demo-002")
        until(lambda: left(tmp_path, locked)["locked"])
        os.kill(told["pids"]["simulator"], signal.SIGKILL)
        before = last_seq(tmp_path, "demo-002")
        until(lambda: last_seq(tmp_path, "demo-002") > before + 1)
        os.kill(told["pids"]["cloud"], signal.SIGKILL)
        until(lambda: connected(told) == 0)
        until(lambda: connected(told) == 3)
        demo.terminate()
        assert demo.wait(PATIENCE_S) == 0
    stopped_at = last_seq(tmp_path, "demo-002")
    with a_demo(tmp_path, "--vehicles", "2", "--riders", "0") as (demo, again):
        assert again["mqtt"] == told["mqtt"]
        until(lambda: last_seq(tmp_path, "demo-002") > stopped_at)
        assert Supervisor(again).values(locked)["Vehicle.Speed"] == 0
        assert left(tmp_path, locked)["by_order"]
        agents_in_processes_of_their_own_report_and_obey_as_well(tmp_path, Supervisor(again))
        demo.send_signal(signal.SIGINT)
        assert demo.wait(PATIENCE_S) == 130


@pytest.mark.parametrize(
    ("folder", "code", "says"),
    [
        ("", 2, "the folder has no name; give one such as .demo"),
        ("/dev/null", 1, "Cannot use /dev/null: File exists; choose another path."),
        ("/proc/x", 1, "Cannot use /proc/x: No such file or directory; choose another path."),
    ],
)
def test_a_folder_that_cannot_be_used_is_one_sentence(folder: str, code: int, says: str) -> None:
    argv = [sys.executable, "-m", "simulator.demo", "--data-dir", folder]
    done = subprocess.run(argv, capture_output=True, text=True, cwd=ROOT, check=False)
    assert done.returncode == code
    assert says in done.stderr
    assert len(done.stderr.splitlines()) == 1


def agents_in_processes_of_their_own_report_and_obey_as_well(
    data_dir: Path, supervisor: Supervisor
) -> None:
    argv = [sys.executable, "-m", "simulator", "run", "--vehicles", "2", "--processes"]
    argv += ["--prefix", "alone", "--data-dir", str(data_dir)]
    with subprocess.Popen(argv, stdout=subprocess.PIPE, text=True, cwd=ROOT) as fleet:
        try:
            assert fleet.stdout is not None
            assert fleet.stdout.readline() == "ready 2 vehicles\n"
            journal = data_dir / "vehicles" / "alone-002" / "alone-002.journal.db"
            until(lambda: floor_seq(journal) > 2)
            again = supervisor.command_at_rest("reboot", "alone-001", "alone-002")
            until(lambda: starts(data_dir, again) == 2)
            assert supervisor.command(again, "unlock") == "done"
        finally:
            fleet.terminate()
        assert fleet.wait(PATIENCE_S) == 0
