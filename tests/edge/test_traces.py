"""Which segments begin a trace, and that the trace is in the header."""

from pathlib import Path

import pytest

from edge.clock import ManualClock
from edge.journal import Journal
from edge.settings import SettingsError, load
from edge.traces import NewTrace, at_random, never
from protocol.segment import Lane, read_header


async def traces(path: Path, new_trace: NewTrace, segments: int) -> list[str | None]:
    """The traceparents of the segments of readings that a journal has sealed."""
    journal = await Journal.open(path, ManualClock(), boot_id=1, new_trace=new_trace)
    for number in range(segments):
        journal.append_reading(1_700_000_000_000 + number, {1: 3_600})
        await journal.seal()
    await journal.append_fact("a.fact")
    found = await journal.unacked(Lane.SIGNAL, limit=segments)
    (fact,) = await journal.unacked(Lane.FACT)
    await journal.close()
    assert read_header(fact.payload).traceparent is None
    return [read_header(one.payload).traceparent for one in found]


@pytest.mark.parametrize("new_trace", [never, at_random(0)], ids=["never", "none of all"])
async def test_nothing_begins_a_trace_unless_it_is_wanted(
    tmp_path: Path, new_trace: NewTrace
) -> None:
    assert await traces(tmp_path / "j.db", new_trace, 3) == [None] * 3


async def test_every_segment_begins_a_trace_of_its_own_when_all_are_wanted(tmp_path: Path) -> None:
    found = await traces(tmp_path / "j.db", at_random(1), 3)
    assert len({(one or "")[3:35] for one in found}) == 3
    assert {(one or "")[-3:] for one in found} == {"-01"}


def test_a_share_of_them_is_a_share_of_them() -> None:
    new_trace = at_random(0.25)
    drawn = sum(new_trace() is not None for _ in range(4_000))
    assert 800 < drawn < 1_200


async def test_what_an_earlier_run_left_open_may_begin_one_too(tmp_path: Path) -> None:
    path = tmp_path / "j.db"
    journal = await Journal.open(path, ManualClock(), boot_id=1)
    journal.append_reading(1_700_000_000_000, {1: 3_600})
    await journal.flush()
    journal._store.abandon()
    journal._let_go()
    again = await Journal.open(path, ManualClock(), boot_id=2, new_trace=at_random(1))
    (left,) = await again.unacked(Lane.SIGNAL)
    await again.close()
    assert read_header(left.payload).traceparent is not None


def test_the_share_is_the_configurations_or_the_environments(tmp_path: Path) -> None:
    path = tmp_path / "agent.toml"
    path.write_text('[device]\nid = "demo-001"\n[battery]\nprotocol = "x"\nport = "y"\n')
    assert load(path, {}).traces.ratio == 0.01
    assert load(path, {"MOBILITY_TRACES_RATIO": "0"}).traces.ratio == 0
    with pytest.raises(SettingsError, match=r"traces\.ratio"):
        load(path, {"MOBILITY_TRACES_RATIO": "2"})
