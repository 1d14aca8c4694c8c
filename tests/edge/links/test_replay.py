"""A capture file in place of a battery."""

from pathlib import Path

import pytest

from edge.drivers.base import PollPolicy
from edge.drivers.jbd_uart import JbdDecoder
from edge.drivers.poller import Poller
from edge.links.base import LinkDownError
from edge.links.opening import open_link
from edge.links.replay import Recorded, ReplayLink
from edge.links.serial import SerialLink
from tests.edge.drivers.vectors import READ_BASIC, READ_CELLS, RIDING

FAST = PollPolicy(
    baud=9600, main=JbdDecoder.policy.main, details=JbdDecoder.policy.details, timeout_s=0.01
)
CAPTURE = f"""\
{{"note": "bench 3, pack 0117, 2026-10-02"}}
{{"t_ms": 0, "direction": "request", "hex": "{READ_BASIC.hex()}"}}
{{"t_ms": 30, "direction": "response", "hex": "{RIDING.hex()}"}}
"""


async def test_a_capture_is_read_like_a_battery(tmp_path: Path) -> None:
    file = tmp_path / "capture.jsonl"
    file.write_text(CAPTURE, "utf-8")
    poller = Poller(open_link(f"replay:{file}", baud=9600), JbdDecoder(), policy=FAST)
    readings = [await poller.poll() for _ in range(3)]
    assert [reading.current_a if reading else None for reading in readings] == [-2.87] * 3


async def test_responses_follow_their_request_and_begin_again() -> None:
    link = ReplayLink(
        [
            Recorded(sent=True, data=b"a"),
            Recorded(sent=False, data=b"1"),
            Recorded(sent=True, data=b"b"),
            Recorded(sent=True, data=b"a"),
            Recorded(sent=False, data=b"2"),
            Recorded(sent=False, data=b"3"),
        ]
    )
    heard = []
    for _ in range(3):
        await link.send(b"a")
        heard.append(await link.receive(0))
    assert heard == [b"1", b"23", b"1"]


async def test_a_question_that_was_never_recorded_is_met_with_silence() -> None:
    link = ReplayLink([Recorded(sent=True, data=READ_BASIC), Recorded(sent=False, data=RIDING)])
    await link.send(READ_CELLS)
    assert await link.receive(0.001) == b""
    await link.send(READ_BASIC)
    assert link.drain() == len(RIDING)


@pytest.mark.parametrize("text", ["no json", '{"hex": "abc"}', "[1]"])
def test_a_file_that_is_no_capture_is_named(tmp_path: Path, text: str) -> None:
    file = tmp_path / "capture.jsonl"
    file.write_text(text, "utf-8")
    with pytest.raises(LinkDownError, match="give a capture file"):
        open_link(f"replay:{file}", baud=9600)


def test_a_missing_capture_is_named(tmp_path: Path) -> None:
    with pytest.raises(LinkDownError, match=r"nothing\.jsonl"):
        open_link(f"replay:{tmp_path / 'nothing.jsonl'}", baud=9600)


def test_any_other_port_is_a_serial_line() -> None:
    assert isinstance(open_link("/dev/ttyUSB0", baud=9600), SerialLink)
