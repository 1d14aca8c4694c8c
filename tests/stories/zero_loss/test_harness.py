"""The harness itself: plans come from their seed, torn lines say nothing, links obey."""

import os
import socket
import socketserver
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from tests.stories.zero_loss.accepted import Accepted
from tests.stories.zero_loss.plan import make_plan
from tests.stories.zero_loss.proxy import Link, Links
from tests.stories.zero_loss.verdict import Key

EPOCH = "00000000000000aa"


def test_a_seed_makes_its_plan() -> None:
    one, same, other = (
        make_plan(seed, vehicles=4, seconds=40, kills={"agent": 3, "nats": 2}, freezes=1)
        for seed in (1, 1, 2)
    )
    assert one == same
    assert one != other


def test_a_plan_holds_what_was_asked_for_in_order_of_time() -> None:
    plan = make_plan(3, vehicles=4, seconds=40, kills={"agent": 3, "nats": 2}, deaf_links=1)
    assert sorted(fault.victim for fault in plan) == ["", "agent", "agent", "agent", "nats", "nats"]
    assert [fault.at_s for fault in plan] == sorted(fault.at_s for fault in plan)
    assert all(0 < fault.at_s < 40 for fault in plan)


def test_a_link_freezes_early_enough_to_thaw_under_load() -> None:
    one, other = make_plan(3, vehicles=4, seconds=80, kills={}, freezes=2, freeze_s=20)
    assert {one.kind, other.kind} == {"freeze"}
    assert one.vehicle != other.vehicle
    assert one.at_s + one.lasts_s < other.at_s
    assert other.at_s + other.lasts_s < 80


def test_a_line_cut_off_by_a_kill_is_not_believed() -> None:
    accepted = Accepted("loss-001")
    for text in (f"signal {EPOCH} 1\nsignal {EPOCH} 1", f"signal {EPOCH} 2\nfact {EPOCH} 1\n"):
        writing = accepted.open_pipe()
        os.write(writing, text.encode())
        os.close(writing)
    accepted.join()
    assert accepted.keys() == {
        Key("loss-001", "signal", EPOCH, 1),
        Key("loss-001", "signal", EPOCH, 2),
        Key("loss-001", "fact", EPOCH, 1),
    }


class _Echo(socketserver.BaseRequestHandler):
    def handle(self) -> None:
        while data := self.request.recv(1024):
            self.server.heard.append(data)  # type: ignore[attr-defined] # set below
            self.request.sendall(data)


@contextmanager
def an_echo() -> Iterator[tuple[Link, list[bytes]]]:
    """A link to a server that answers with what it hears, and what it heard."""
    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), _Echo) as server:
        server.daemon_threads = True
        server.heard = []  # type: ignore[attr-defined] # read by the handler
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        with Links() as links:
            host, port = server.server_address[:2]
            yield links.add((str(host), int(port))), server.heard  # type: ignore[attr-defined] # ours
        server.shutdown()
        thread.join()


def call(link: Link) -> socket.socket:
    caller = socket.create_connection(("127.0.0.1", link.port), timeout=5)
    caller.sendall(b"first")
    assert caller.recv(1024) == b"first"
    return caller


def test_a_frozen_link_holds_everything_and_lets_go_of_it_when_it_thaws() -> None:
    with an_echo() as (link, heard), call(link) as caller:
        link.freeze()
        caller.sendall(b"second")
        caller.settimeout(0.3)
        with pytest.raises(TimeoutError):
            caller.recv(1024)
        assert heard == [b"first"]
        link.thaw()
        caller.settimeout(5)
        assert caller.recv(1024) == b"second"


def test_a_deaf_link_carries_one_way_until_it_is_cut() -> None:
    with an_echo() as (link, heard):
        with call(link) as caller:
            link.deafen()
            caller.sendall(b"second")
            caller.settimeout(0.3)
            with pytest.raises(TimeoutError):
                caller.recv(1024)
            assert heard == [b"first", b"second"]
            link.cut()
            caller.settimeout(5)
            assert caller.recv(1024) == b""
        with call(link):
            pass
