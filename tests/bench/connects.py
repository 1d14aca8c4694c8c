"""Devices connecting with TLS, and one of them thrown out: the gate, and settings as comparison.

The load is made of processes with threads, plain sockets and a CONNECT made by hand; it shares the
machine with what it measures.
"""

import argparse
import contextlib
import json
import os
import resource
import select
import signal
import socket
import ssl
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import Any, ClassVar

from cloud.devices import enrolment
from cloud.devices.gate_rules import permissions_of
from cloud.devices.store import certificates
from cloud.kit.db import connect
from cloud.kit.scope import DEMO
from tests.bench.house import enrol, serving
from tests.bench.processes import cpu_s, module
from tests.bench.rows import Row, at_least, at_most
from tests.broker import CONNACK_ACCEPTED, Identity, OpenNats, an_identity, raw_connection

DEVICES, FEW = 2_000, 60
CONNECTS_PER_S = 500
CUT_WITHIN_S = 1.0
_PROCESSES = 2
_THREADS = 16
_PATIENCE_S = 60.0
_LOOK_AFTER_OTHERS_S = 2.0

Place = tuple[str, int]


def measure(work: Path, *, quick: bool) -> Iterator[Row]:
    """Yield connects a second, and how fast and how precisely a revocation cuts; both ways."""
    count = FEW if quick else DEVICES
    yield from _by_the_gate(work, count)
    yield from _by_settings(work, count)


def _by_the_gate(work: Path, count: int) -> Iterator[Row]:
    with serving(work) as cloud:
        fleet = _certify(OpenNats(cloud.data_dir), work / "fleet", count)
        enrol(cloud, fleet[0].device_id)
        now = datetime.now(UTC)
        with connect(cloud.dsn) as db, db.transaction():
            for who in fleet:
                certificates.add_certificate(db, DEMO, who.device_id, who.issued, now)
        place = str(cloud.mqtt["host"]), int(cloud.mqtt["port"])
        pids = {"nats": cloud.nats_pid, "cloud": cloud.pid}
        with _load(work, place, fleet) as load:
            yield from _connects("connects: TLS, by the gate", load, pids, promised=True)

            def revoke() -> None:
                with connect(cloud.dsn) as db:
                    enrolment.revoke(db, fleet[0].device_id, "bench", datetime.now(UTC))

            yield from _revocation("revocation", load, fleet[0], revoke, promised=True)


class MappedNats(OpenNats):
    """The other way: every device is a user in the settings, found by its certificate's subject."""

    wanted_ports: ClassVar[Mapping[str, int]] = {"port": 14_322, "mqtt": 18_930, "monitor": 18_322}
    mapped: Sequence[str] = ()

    def _config(self) -> str:
        config = json.loads(super()._config())
        del config["authorization"]["auth_callout"]
        tls = config["mqtt"]["tls"]
        tls["verify_and_map"] = tls.pop("verify")
        config["accounts"]["FLEET"]["users"] += [
            {"user": f"CN={device_id},O=demo", "permissions": _rights(device_id)}
            for device_id in self.mapped
        ]
        return json.dumps(config)

    def reload(self) -> None:
        """Let the server reread its settings, with the users there are now."""
        (path,) = self.home.glob("*.conf")
        named = json.loads(path.read_text("utf-8"))["server_name"]
        path.write_text(json.dumps({**json.loads(self._config()), "server_name": named}), "utf-8")
        os.kill(self.pid or 0, signal.SIGHUP)


def _rights(device_id: str) -> dict[str, dict[str, list[str]]]:
    rights = permissions_of(device_id)
    return {
        "publish": {"allow": list(rights.publish)},
        "subscribe": {"allow": list(rights.subscribe)},
    }


def _by_settings(work: Path, count: int) -> Iterator[Row]:
    server = MappedNats(work / "mapped")
    fleet = _certify(server, work / "mapped-fleet", count)
    server.mapped = [who.device_id for who in fleet]
    with server:
        place = server.mqtt_host, server.mqtt_port
        with _load(work, place, fleet) as load:
            pids = {"nats": server.pid or 0}
            name = "connects: TLS, by users in the settings"
            yield from _connects(name, load, pids, promised=False)

            def reload() -> None:
                server.mapped = server.mapped[1:]
                server.reload()

            name = "revocation by rereading the settings"
            yield from _revocation(name, load, fleet[0], reload, promised=False)


def _connects(name: str, load: "Load", pids: Mapping[str, int], *, promised: bool) -> Iterator[Row]:
    before = {part: cpu_s(pid) for part, pid in pids.items()}
    seconds, failed, load_cpu_s = load.connect()
    each = {part: (cpu_s(pid) - before[part]) * 1000 / load.count for part, pid in pids.items()}
    each["load"] = load_cpu_s * 1000 / load.count
    rate = at_least(CONNECTS_PER_S) if promised else None
    about = f"{load.count} devices at once, {failed} refused"
    yield Row(name, (load.count - failed) / seconds, "connects/s", rate, about)
    parts = ", ".join(f"{part} {ms:.2f}" for part, ms in each.items())
    yield Row(f"{name}, CPU", sum(each.values()), "ms/connect", note=parts)


def _revocation(
    name: str, load: "Load", who: Identity, revoke: Callable[[], None], *, promised: bool
) -> Iterator[Row]:
    began = time.monotonic()
    revoke()
    cuts = load.cuts(until=began + _LOOK_AFTER_OTHERS_S)
    own = [at - began for device_id, at in cuts if device_id == who.device_id]
    others = sum(1 for device_id, _ in cuts if device_id != who.device_id)
    about = f"of {load.count} connected"
    within, none = (at_most(CUT_WITHIN_S), at_most(0)) if promised else (None, None)
    yield Row(f"{name}: cut after", own[0] if own else None, "s", within, about)
    yield Row(f"{name}: others cut", others, "connections", none, about)


def _certify(server: OpenNats, folder: Path, count: int) -> list[Identity]:
    return [an_identity(server, f"bench-{number:05}", folder) for number in range(count)]


@dataclass(frozen=True, slots=True)
class Load:
    """The children that play the fleet."""

    children: Sequence["subprocess.Popen[bytes]"]
    count: int
    _cuts: "SimpleQueue[tuple[str, float]]"

    def connect(self) -> tuple[float, int, float]:
        """Connect all at once; return seconds, how many were refused, and CPU seconds of it."""
        began = time.monotonic()
        for child in self.children:
            assert child.stdin is not None
            child.stdin.write(b"go\n")
            child.stdin.flush()
        told = [_told(child) for child in self.children]
        seconds = max(each["done_at"] for each in told) - began
        for child in self.children:
            threading.Thread(target=self._follow, args=(child,), daemon=True).start()
        return seconds, sum(e["refused"] for e in told), sum(e["cpu_s"] for e in told)

    def cuts(self, until: float) -> list[tuple[str, float]]:
        """Return who was cut by then, and when."""
        found = []
        with contextlib.suppress(Empty):
            while (left := until - time.monotonic()) > 0:
                found.append(self._cuts.get(timeout=left))
        return found

    def _follow(self, child: "subprocess.Popen[bytes]") -> None:
        assert child.stdout is not None
        with contextlib.suppress(ValueError):  # closed at the end
            for line in child.stdout:
                told = json.loads(line)
                self._cuts.put((told["cut"], told["at"]))


@contextlib.contextmanager
def _load(work: Path, place: Place, fleet: Sequence[Identity]) -> Iterator[Load]:
    """Start the children, with every certificate loaded, and end them."""
    share = -(-len(fleet) // _PROCESSES)
    with contextlib.ExitStack() as stack:
        children = []
        for index in range(_PROCESSES):
            part = work / f"load-{index}.json"
            listed = [
                [who.device_id, str(who.certificate_file), str(who.key_file)]
                for who in fleet[index * share : (index + 1) * share]
            ]
            part.write_text(json.dumps(listed), "utf-8")
            argv = module("tests.bench.connects", place[0], str(place[1]))
            child = subprocess.Popen(
                [*argv, str(fleet[0].ca_file), str(part)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
            )
            stack.callback(_end, child)
            children.append(child)
        for child in children:
            assert _told(child) == {"ready": True}
        yield Load(children, len(fleet), SimpleQueue())


def _told(child: "subprocess.Popen[bytes]") -> dict[str, Any]:
    assert child.stdout is not None
    line = child.stdout.readline()
    if not line:
        raise RuntimeError("the load ended before its time")
    return dict(json.loads(line))


def _end(child: "subprocess.Popen[bytes]") -> None:
    child.kill()
    child.wait()


def main() -> int:
    """Be one of the children: connect when told, then say who is cut."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench.connects")
    parser.add_argument("host")
    parser.add_argument("port", type=int)
    parser.add_argument("ca_file")
    parser.add_argument("fleet", type=Path)
    chosen = parser.parse_args()
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    waiting: SimpleQueue[tuple[str, ssl.SSLContext]] = SimpleQueue()
    for device_id, certificate, key in json.loads(chosen.fleet.read_text("utf-8")):
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.load_verify_locations(chosen.ca_file)
        context.load_cert_chain(certificate, key)
        waiting.put((device_id, context))
    _say({"ready": True})
    sys.stdin.buffer.readline()
    cpu = time.process_time()
    links, refused = _connect_all((chosen.host, chosen.port), waiting)
    done_at = time.monotonic()
    _say({"done_at": done_at, "refused": refused, "cpu_s": time.process_time() - cpu})
    _watch(links)
    return 0


def _connect_all(
    place: Place, waiting: "SimpleQueue[tuple[str, ssl.SSLContext]]"
) -> tuple[dict[str, ssl.SSLSocket], int]:
    links: dict[str, ssl.SSLSocket] = {}
    refused: list[str] = []

    def work() -> None:
        with contextlib.suppress(Empty):
            while True:
                device_id, context = waiting.get_nowait()
                try:
                    link, answer = raw_connection(
                        place, context, device_id, keepalive_s=0, timeout_s=_PATIENCE_S
                    )
                except OSError:
                    refused.append(device_id)
                    continue
                if answer == CONNACK_ACCEPTED:
                    links[device_id] = link
                else:
                    refused.append(device_id)
                    link.close()

    threads = [threading.Thread(target=work) for _ in range(_THREADS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return links, len(refused)


def _watch(links: Mapping[str, ssl.SSLSocket]) -> None:
    """Say which link the broker ends, and when, until killed."""
    poll = select.poll()
    named = {}
    for device_id, link in links.items():
        link.setblocking(False)
        poll.register(link, select.POLLIN)
        named[link.fileno()] = device_id, link
    while named:
        for descriptor, _ in poll.poll():
            device_id, link = named[descriptor]
            if not _is_over(link):
                continue
            _say({"cut": device_id, "at": time.monotonic()})
            poll.unregister(descriptor)
            del named[descriptor]


def _is_over(link: socket.socket) -> bool:
    try:
        return link.recv(1_024) == b""
    except ssl.SSLWantReadError:
        return False
    except OSError:
        return True


def _say(what: Mapping[str, Any]) -> None:
    sys.stdout.write(json.dumps(what) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
