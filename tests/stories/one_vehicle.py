"""A whole house with one vehicle: cloud, agent and the shims on it, each a real process."""

import contextlib
import json
import os
import random
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Self

import httpx

from tests.cloud.signed_in import SignedIn, an_account

ROOT = Path(__file__).parents[2]
PACE = {
    "MOBILITY_INTERVALS_POLL_S": "0.5",
    "MOBILITY_INTERVALS_FLUSH_S": "0.5",
    "MOBILITY_INTERVALS_SEAL_S": "0.5",
}
START_S = 60.0
STOP_S = 20.0
BATTERY, LOCK, GNSS = "jbd", "lock_unit", "gnss"


def script(name: str) -> str:
    """Return the path of one of our console scripts, beside the interpreter of the tests."""
    return str(Path(sys.executable).parent / name)


def free_port() -> int:
    """Return a free port below those that the system gives away, so that it stays free."""
    while True:
        port = random.randint(20_000, 32_000)
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port


def choose_ports(data_dir: Path) -> None:
    """Give a data folder ports that nobody else starts from: after a restart they are free again.

    The folder is made if need be.
    """
    ports = {
        "postgres": {"port": free_port()},
        "nats": {name: free_port() for name in ("port", "mqtt", "monitor")},
        "device_https": {"port": free_port()},
    }
    data_dir.mkdir(exist_ok=True)
    (data_dir / "engines.json").write_text(json.dumps(ports), "utf-8")


def until(what: str, ready: Callable[[], bool], patience_s: float = START_S) -> None:
    """Ask again and again; raises TimeoutError that says what was waited for."""
    deadline = time.monotonic() + patience_s
    while not ready():
        if time.monotonic() > deadline:
            raise TimeoutError(f"waited {patience_s:.0f} s in vain until {what}")
        time.sleep(0.05)


@dataclass(slots=True)
class OneVehicle:
    """Everything under one empty folder; leaving it ends all of it.

    The vehicle has a battery, a lock unit, which begins locked and standing, and a GNSS receiver.

    Attributes:
        folder: where data, configuration and logs lie.
        device: the vehicle's id.
        port: where the cloud answers; the same after a restart.
        cloud_env: settings of the cloud beside the usual ones.
        browser_state: cookies of a browser that has signed in, once one has.
    """

    folder: Path
    device: str = "story-001"
    port: int = field(default_factory=free_port)
    cloud_env: dict[str, str] = field(default_factory=dict)
    _running: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)
    browser_state: Any = None
    _login: tuple[str, str] | None = None
    _auth: SignedIn | None = None

    @property
    def url(self) -> str:
        """Address of the pages."""
        return f"http://127.0.0.1:{self.port}"

    def __enter__(self) -> Self:
        try:
            choose_ports(Path(self._data))
            self.serve()
            for shim, options in ((BATTERY, ()), (LOCK, ("--moves", str(self._moves))), (GNSS, ())):
                self._start_shim(shim, *options)
            fitted = ["--controller", "lock_unit", "--controller-port", self._link(LOCK)]
            self.add(self.device, self._link(BATTERY), *fitted, "--gnss-port", self._link(GNSS))
            self.speak()
            until("the first value is there", lambda: self.vehicle()["soc_pct"] is not None)
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """End every process, the vehicle first."""
        for name in ("agent", GNSS, LOCK, BATTERY, "cloud"):
            self._stop(name)

    def serve(self) -> None:
        """Start the cloud and wait until it is ready."""
        address = f"127.0.0.1:{self.port}"
        self._start(
            "cloud",
            [script("mobility-cloud"), "serve", "--data-dir", self._data, "--http", address],
            env=self.cloud_env,
        )
        until("the cloud is ready", self._is_ready)

    def stop_serving(self) -> None:
        """Stop the cloud, its database and its broker."""
        self._stop("cloud")

    def speak(self) -> None:
        """Start the vehicle's agent."""
        command = [script("mobility-edge"), "run", "--config", self._config(self.device)]
        self._start("agent", command, env=PACE)

    def fall_silent(self) -> None:
        """Stop the vehicle's agent: it measures nothing until it speaks again."""
        self._stop("agent")

    def ended(self) -> int | None:
        """Return the agent's exit code, None while it runs; `speak` starts it again."""
        return self._running["agent"].poll()

    def add(self, device: str, port: str, *more: str) -> None:
        """Enrol a device and write its agent's configuration file."""
        out = self._config(device)
        command = [script("mobility-cloud"), "devices", "add", device, "--battery", "jbd_uart"]
        done = subprocess.run(
            [*command, "--port", port, "--out", out, "--data-dir", self._data, *more],
            cwd=ROOT,
            capture_output=True,
            check=False,
            timeout=START_S,
        )
        if done.returncode:
            raise RuntimeError(f"{device} was not added: {done.stderr.decode()}")

    def set(self, shim: str = BATTERY, /, **values: float | bool | None) -> None:
        """Turn a shim's dials."""
        stdin = self._running[shim].stdin
        assert stdin is not None
        stdin.write(json.dumps({"set": values}).encode() + b"\n")
        stdin.flush()

    def moves(self) -> list[str]:
        """Return what the lock unit has moved or sounded, as it wrote it down itself."""
        lines = self._moves.read_text("utf-8").splitlines() if self._moves.exists() else []
        return [json.loads(line)["move"] for line in lines]

    def vehicle(self) -> dict[str, Any]:
        """Ask the API for the vehicle; before it is there every value is None."""
        self._demand("agent")
        answer = httpx.get(
            f"{self.url}/api/v1/vehicles/{self.device}", timeout=10, auth=self._signed_in()
        )
        found: dict[str, Any] = answer.json() if answer.is_success else {"soc_pct": None}
        return found

    @property
    def login(self) -> tuple[str, str]:
        """User and password of a member of staff; only after `serve`."""
        if self._login is None:
            told = json.loads((self.folder / "data" / "cloud.json").read_text("utf-8"))
            self._login = an_account(told["postgres_dsn"], "admin")
        return self._login

    def client(self, role: str) -> httpx.Client:
        """Return a client of the API that is signed in with a role; only after `serve`."""
        told = json.loads((self.folder / "data" / "cloud.json").read_text("utf-8"))
        auth = SignedIn(self.url, *an_account(told["postgres_dsn"], role))
        return httpx.Client(base_url=self.url, auth=auth, timeout=START_S)

    def _signed_in(self) -> SignedIn:
        if self._auth is None:
            self._auth = SignedIn(self.url, *self.login)
        return self._auth

    @property
    def _data(self) -> str:
        return str(self.folder / "data")

    @property
    def _moves(self) -> Path:
        return self.folder / "moves.jsonl"

    def _link(self, shim: str) -> str:
        return str(self.folder / f"{shim}.port")

    def _config(self, device: str) -> str:
        return str(self.folder / f"{device}.toml")

    def _start_shim(self, shim: str, *options: str) -> None:
        link = self._link(shim)
        command = [script("mobility-sim"), "shim", shim, "--link", link, *options]
        self._start(shim, command, stdin=subprocess.PIPE)

        def is_open() -> bool:
            self._demand(shim)
            return Path(link).exists()

        until(f"the shim {shim} is open", is_open)

    def _is_ready(self) -> bool:
        self._demand("cloud")
        try:
            return httpx.get(f"{self.url}/readyz", timeout=5).is_success
        except httpx.TransportError:
            return False

    def _start(
        self,
        name: str,
        command: Sequence[str],
        *,
        env: dict[str, str] | None = None,
        stdin: int = subprocess.DEVNULL,
    ) -> None:
        log: IO[bytes]
        with self._log(name).open("ab") as log:
            self._running[name] = subprocess.Popen(
                command,
                cwd=ROOT,
                env={**os.environ, **(env or {})},
                stdin=stdin,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def _stop(self, name: str) -> None:
        process = self._running.pop(name, None)
        if process is None:
            return
        if process.stdin is not None:
            process.stdin.close()
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(STOP_S)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait(STOP_S)
            raise

    def _demand(self, name: str) -> None:
        code = self._running[name].poll()
        if code is not None:
            words = self._log(name).read_text("utf-8", errors="replace")[-2000:]
            raise RuntimeError(f"{name} ended by itself with {code}:\n{words}")

    def _log(self, name: str) -> Path:
        return self.folder / f"{name}.log"
