"""Postgres as our own child: loopback only, generated password, nothing to install or configure."""

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from shlex import quote
from typing import ClassVar

import psycopg

from cloud.kit.engine import Account, Engine, EngineError, runs, spawn
from cloud.kit.postgres_files import binaries, major_version

USER = "mobility"
DATABASE = "mobility"
_NOBODY = Account(uid=65_534, gid=65_534)
# The child stands in its data folder, so the path to it need not be open to its account.
_HERE = Path("/proc/self/cwd")


class EmbeddedPostgres(Engine):
    """The Postgres of one data folder.

    As root it runs as the owner of the folder, else as uid 65534. `kill -9` of the owner
    leaves it running; the next start adopts it.
    """

    name: ClassVar[str] = "postgres"
    title: ClassVar[str] = "Postgres"
    wanted_ports: ClassVar[Mapping[str, int]] = {"port": 15_432}
    # Fast shutdown, then immediate: the latter replays its log at the next start, loses nothing.
    stop_signals: ClassVar[Sequence[signal.Signals]] = (signal.SIGINT, signal.SIGQUIT)
    ready_timeout_s: ClassVar[float] = 120.0

    def __init__(self, data_dir: Path) -> None:
        super().__init__(data_dir)
        self.data = self.folder.path / "postgres"

    @property
    def port(self) -> int:
        """The TCP port on 127.0.0.1."""
        return self.ports["port"]

    @property
    def dsn(self) -> str:
        """Where to connect, password included."""
        return self.dsn_of(DATABASE)

    def dsn_of(self, database: str) -> str:
        """Return the connection URL of another database of this server."""
        password = self.folder.secret("postgres")
        return f"postgresql://{USER}:{password}@127.0.0.1:{self.port}/{database}"

    def start(self) -> str:
        """Start or adopt the server, make its database, return the connection URL.

        Raises EngineError with one sentence that says what to do.
        """
        self._start()
        return self.dsn

    def started_here(self) -> bool:
        """Start or adopt as `start` does; True when this call started the server."""
        return self._start()

    def _account(self) -> Account | None:
        if os.geteuid() != 0:
            return None
        if self.data.exists() and (found := self.data.stat()).st_uid != 0:
            return Account(found.st_uid, found.st_gid)
        return _NOBODY

    def _prepare(self) -> None:
        if not (self.data / "PG_VERSION").exists():
            self._initialise()
            return
        found = (self.data / "PG_VERSION").read_text().strip()
        if found != str(major_version()):
            raise EngineError(_other_major(self.data, found, self._account()))
        owner = self.data.stat().st_uid
        if os.geteuid() not in (0, owner):
            raise EngineError(
                f"{self.data} belongs to uid {owner}; run as that user or choose another --data-dir"
            )

    def _initialise(self) -> None:
        account = self._account()
        fresh = self.data.with_name("postgres.new")
        shutil.rmtree(fresh, ignore_errors=True)
        fresh.mkdir(mode=0o700)
        if account is not None:
            os.chown(fresh, account.uid, account.gid)
        result = self._initdb(fresh, account)
        if result.returncode != 0:
            words = result.stderr.decode(errors="replace").strip().splitlines() or [
                "no reason given"
            ]
            raise EngineError(
                f"Postgres could not make {self.data} ({words[-1].strip()}); "
                "check free space and permissions, or choose another --data-dir"
            )
        fresh.rename(self.data)
        _sync_directory(self.folder.path)

    def _initdb(self, folder: Path, account: Account | None) -> subprocess.CompletedProcess[bytes]:
        reading, writing = os.pipe()
        try:
            os.write(writing, self.folder.secret("postgres").encode() + b"\n")
            os.close(writing)
            if account is not None:
                os.fchown(reading, account.uid, account.gid)
            return subprocess.run(  # noqa: S603 - argv is ours, no shell
                [
                    binaries(for_anyone=account is not None) / "initdb",
                    *("-D", folder if account is None else _HERE),
                    *("--username", USER, "--pwfile", "/dev/stdin", "--auth", "scram-sha-256"),
                    *("--encoding", "UTF8", "--locale", "C.UTF-8", "--no-instructions"),
                ],
                stdin=reading,
                capture_output=True,
                check=False,
                cwd=folder,
                env={"PATH": os.defpath, "TZ": "UTC", "LC_ALL": "C"},
                user=None if account is None else account.uid,
                group=None if account is None else account.gid,
                extra_groups=None if account is None else [],
            )
        finally:
            os.close(reading)

    def _spawn(self) -> subprocess.Popen[bytes]:
        self._drop_stale_lock()
        account = self._account()
        settings = {
            "port": self.port,
            "listen_addresses": "127.0.0.1",
            "unix_socket_directories": "",
            "cluster_name": self.mark,
            "max_connections": 100,
            "shared_buffers": "128MB",
            "fsync": "on",
            "full_page_writes": "on",
            "synchronous_commit": "on",
            "wal_compression": "pglz",
            "jit": "off",
            "timezone": "UTC",
            "log_timezone": "UTC",
            "logging_collector": "off",
            "log_checkpoints": "off",
        }
        return spawn(
            [
                binaries(for_anyone=account is not None) / "postgres",
                *("-D", self.data if account is None else _HERE),
                *(part for name, value in settings.items() for part in ("-c", f"{name}={value}")),
            ],
            log_path=self.log_path,
            cwd=self.data,
            account=account,
        )

    def _find(self) -> int | None:
        noted = self._noted()
        if noted is None or not self._holds_our_data(noted[0]):
            return None
        pid, port = noted
        if not runs(pid, self.mark):
            raise EngineError(f"another Postgres (pid {pid}) runs on {self.data}; stop it first")
        self.ports = {"port": port}
        return pid

    def _noted(self) -> tuple[int, int] | None:
        """Return the process id and port in the lock file, which may be years old."""
        try:
            lines = (self.data / "postmaster.pid").read_text().splitlines()
            return int(lines[0]), int(lines[3])
        except (OSError, ValueError, IndexError):
            return None

    def _holds_our_data(self, pid: int) -> bool:
        if not runs(pid, "postgres"):
            return False
        try:
            return Path(f"/proc/{pid}/cwd").samefile(self.data)
        except PermissionError:
            # Root of a container may not look: believe the mark, and spare a stranger's server.
            return runs(pid, self.mark) or not runs(pid, "mobility-postgres-")
        except FileNotFoundError:
            return False

    def _drop_stale_lock(self) -> None:
        """Remove a lock file whose process id now belongs to somebody else.

        Postgres would take that for a running server. The file of a dead process stays:
        Postgres uses it to wait for orphans of the last run.
        """
        noted = self._noted()
        if noted is not None and runs(noted[0], "") and not self._holds_our_data(noted[0]):
            (self.data / "postmaster.pid").unlink()

    def _is_ready(self) -> bool:
        try:
            with psycopg.connect(self.dsn_of("postgres"), connect_timeout=5, autocommit=True) as db:
                known = db.execute("SELECT FROM pg_database WHERE datname = %s", (DATABASE,))
                if known.rowcount == 0:
                    db.execute(f"CREATE DATABASE {DATABASE}")
        except psycopg.errors.DuplicateDatabase:
            return True
        except psycopg.OperationalError as trouble:
            if "password authentication failed" in str(trouble):
                raise EngineError(
                    f"Postgres on port {self.port} refuses our password; restore "
                    f"{self.folder.path / 'secrets.json'} or choose another --data-dir"
                ) from trouble
            return False
        return True


def _sync_directory(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _other_major(data: Path, found: str, account: Account | None) -> str:
    """Say how to move data of another major version; `$OLD` is for its reader to fill in."""
    folder, dump = data.parent, data.with_name(f"postgres-{found}.sql")
    become = (
        f"setpriv --reuid={account.uid} --regid={account.gid} --clear-groups " if account else ""
    )
    control = f'{become}"$OLD/pg_ctl" -D /proc/self/cwd'
    read = f"import json; print(json.load(open({str(folder / 'secrets.json')!r}))['postgres'])"
    ask = f"python3 -c {quote(read)}"
    server = f"-h 127.0.0.1 -p 15999 -U {USER}"
    steps = (
        f"cd {quote(str(data))}",
        f"{control} -w -o '-p 15999 -h 127.0.0.1 -k \"\"' -l /dev/null start",
        f'PGPASSWORD=$({ask}) "$OLD/pg_dump" {server} -f {quote(str(dump))} {DATABASE}',
        f"{control} -m fast stop",
        f"cd {quote(str(folder))}",
        f"mv {quote(str(data))} {quote(f'{data}-{found}')}",
        f"{quote(sys.executable)} -m cloud.kit.restore {quote(str(folder))} {quote(str(dump))}",
    )
    return (
        f"{data} was written by Postgres {found} and this is Postgres {major_version()}; move it "
        f"with OLD=/folder/with/the/programs/of/postgres-{found} && {' && '.join(steps)}"
    )
