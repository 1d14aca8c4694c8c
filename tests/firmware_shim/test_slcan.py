"""The slcan adapter of the shims, byte for byte as Lawicel's manual and the specification say."""

import asyncio
import math
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.drivers.can import CanPolicy
from edge.drivers.can_poller import CanPoller
from edge.links.can import BusLink, slcan_port
from firmware_shim.can import CanFrame
from firmware_shim.faults import LINE_FAULTS, Faults
from firmware_shim.pty import Talker, serve
from firmware_shim.slcan import SlcanAdapter
from tests.edge.drivers.can_doubles import Asker, Listener, Node


def opened(*nodes: Node, plain_acks: bool = False) -> SlcanAdapter:
    adapter = SlcanAdapter(*nodes, plain_acks=plain_acks)
    assert said(adapter, b"S6\rO\r") == b"\r\r"
    return adapter


def said(adapter: SlcanAdapter, commands: bytes, now_s: float = 0.0) -> bytes:
    return b"".join(adapter.receive(commands, now_s))


def test_commands_are_done_or_refused_as_the_channel_allows() -> None:
    adapter = SlcanAdapter(Node())
    assert said(adapter, b"\rC\rO\rS9\rS\rS6\rO\rO\rS6\rZ1\rC\rZ1\rL\rC\rX1\rQ\r") == (
        b"\r\a\a\a\a\r\r\a\a\a\r\r\r\r\r\a"
    )


def test_version_serial_number_and_flags_are_told() -> None:
    assert said(SlcanAdapter(), b"V\rN\rF\r") == b"V1013\rNA123\r\a"
    assert said(opened(Node()), b"F\r") == b"F00\r"


def test_a_sent_frame_is_acknowledged_and_reaches_the_node_and_back_comes_its_answer() -> None:
    node = Node(35.2)
    assert said(opened(node), b"t2000\r") == b"z\rt20120160\r"
    assert node.heard == [CanFrame(0x200, b"")]


def test_29_bits_have_an_acknowledgement_of_their_own_and_an_adapter_may_have_none() -> None:
    node = Node()
    assert said(opened(node), b"T17FC007B3022228\r") == b"Z\r"
    assert node.heard == [CanFrame(0x17FC007B, bytes.fromhex("022228"), extended=True)]
    assert said(opened(Node(), plain_acks=True), b"T00000200 0\rT000002000\r") == b"\a\r"


def test_a_remote_frame_is_sent_and_brings_nothing() -> None:
    node = Node()
    assert said(opened(node), b"r2004\rR000002000\r") == b"z\rZ\r"
    assert node.heard == []


@pytest.mark.parametrize(
    "command",
    [b"t20", b"t2009", b"t2001", b"t20010", b"t20010203", b"t8000", b"T200000000", b"txyz0"],
)
def test_what_is_no_frame_is_refused(command: bytes) -> None:
    node = Node()
    assert said(opened(node), command + b"\r") == b"\a"
    assert node.heard == []


def test_nothing_is_sent_while_it_is_closed_or_only_listens() -> None:
    node = Node()
    adapter = SlcanAdapter(node)
    assert said(adapter, b"t2000\rS6\rL\rt2000\r") == b"\a\r\r\a"
    assert node.heard == []
    node.due_s = 1.0
    assert adapter.tick(1.0) == [b"t10020DAC\r"]


def test_what_nodes_say_is_heard_only_while_it_is_open() -> None:
    node = Node(period_s=0.1)
    adapter = opened(node)
    assert adapter.tick(0.0) == [b"t10020DAC\r"]
    assert adapter.due_s == 0.1
    assert adapter.tick(0.05) == []
    said(adapter, b"C\r")
    assert adapter.tick(0.1) == []
    assert adapter.due_s == pytest.approx(0.2)


def test_time_stamps_are_milliseconds_of_the_minute() -> None:
    node = Node(period_s=1)
    adapter = SlcanAdapter(node)
    said(adapter, b"Z1\rS6\rO\r")
    assert adapter.tick(61.234) == [b"t10020DAC04D2\r"]


def test_at_another_bit_rate_nothing_passes_and_the_flags_say_so() -> None:
    node = Node(period_s=1)
    adapter = SlcanAdapter(node)
    assert said(adapter, b"S5\rO\rt2000\r") == b"\r\rz\r"
    assert adapter.tick(0.0) == []
    assert node.heard == []
    assert said(adapter, b"F\rF\r") == b"F80\rF00\r"


def test_nodes_of_one_bus_hear_each_other() -> None:
    asked, other = Node(35.2), Node(12.0)
    adapter = opened(asked, other)
    other.deaf_to = 1
    assert said(adapter, b"t2000\r") == b"z\rt20120160\r"
    assert [frame.can_id for frame in other.heard] == [0x200, 0x201]
    other.due_s = 5.0
    assert adapter.due_s == 5.0
    assert adapter.tick(5.0) == [b"t10020078\r"]
    assert [frame.can_id for frame in asked.heard] == [0x200, 0x100]


def test_dials_go_to_the_nodes_that_have_them() -> None:
    node = Node()
    adapter = opened(node)
    adapter.set({"voltage_v": 20.0})
    assert said(adapter, b"t2000\r") == b"z\rt201200C8\r"
    with pytest.raises(ValueError, match="voltage_v"):
        adapter.set({"soc": 1})


def test_a_moved_dial_wakes_the_port() -> None:
    node, woken = Node(), []
    adapter = SlcanAdapter(node)
    assert isinstance(adapter, Talker)
    assert adapter.due_s == math.inf
    adapter.wake = lambda: woken.append(1)
    assert node.wake is not None
    node.wake()
    assert woken == [1]


@given(noise=st.binary(max_size=200), cut=st.integers(0, 200))
def test_noise_is_refused_in_any_slicing_and_forgotten(noise: bytes, cut: int) -> None:
    adapter = opened(Node(35.2))
    adapter.receive(noise[:cut], 0.0)
    adapter.receive(noise[cut:], 0.0)
    adapter.receive(b"\rC\rS6\rO\r", 0.0)
    assert said(adapter, b"t2000\r") == b"z\rt20120160\r"


@pytest.mark.parametrize("fault", LINE_FAULTS)
async def test_a_fault_of_the_line_never_becomes_a_wrong_value(fault: str) -> None:
    node = Node(350.4, faults=Faults({fault: 0.4}, seed=3, idle_s=0.05), period_s=0.01)
    policy = CanPolicy(answers_s=0.5)
    async with serve(SlcanAdapter(node)) as port:
        link = BusLink("bus", lambda: slcan_port(port.path, bitrate=policy.bitrate))
        poller = CanPoller(link, Listener(), policy=policy)
        readings = [await poller.poll() for _ in range(4)]
        await link.close()
    seen = [reading.voltage_v for reading in readings if reading is not None]
    assert set(seen) == {350.4}
    if fault in {"noise", "bad_checksum"}:
        assert poller.counters["line_skipped_bytes"] > 0
    assert len(seen) >= 3


async def test_a_question_is_answered_in_the_end_on_a_line_that_loses_half() -> None:
    node = Node(48.2, faults=Faults({"no_reply": 0.5}, seed=3))
    policy = replace(Asker.policy, answers_s=1)
    async with serve(SlcanAdapter(node)) as port:
        link = BusLink("bus", lambda: slcan_port(port.path, bitrate=policy.bitrate))
        poller = CanPoller(link, Asker(), policy=policy)
        readings = [await poller.poll() for _ in range(5)]
        await link.close()
    assert sum(reading is not None for reading in readings) >= 3


async def test_a_bus_too_busy_for_its_line_loses_frames_and_is_never_long_behind() -> None:
    node = Node(350.4, faults=Faults({"split": 1}, seed=3), period_s=0.001)
    async with serve(SlcanAdapter(node)) as port:
        link = BusLink("bus", lambda: slcan_port(port.path, bitrate=500_000))
        poller = CanPoller(link, Listener(), policy=CanPolicy(answers_s=1))
        await poller.poll()
        await asyncio.sleep(0.2)
        behind_s = port._free_at_s - asyncio.get_running_loop().time()
        await link.close()
    assert 0 < behind_s < 1.1
