"""The window on a bad network: nothing is lost, and repeats stay near what was lost."""

from hypothesis import given
from hypothesis import strategies as st

from protocol.segment import Lane
from tests.edge.uplink.network import World, segments

FOR_EVER_S = 20_000.0


def a_world(
    signals: int,
    facts: int,
    *,
    seed: int,
    loss: float = 0.0,
    delay_s: tuple[float, float] = (0.01, 0.02),
) -> World:
    journal = {
        Lane.FACT: segments(Lane.FACT, facts),
        Lane.SIGNAL: segments(Lane.SIGNAL, signals, size=3),
    }
    return World(journal, seed=seed, loss=loss, delay_s=delay_s)


def committed_all(world: World, signals: int, facts: int) -> bool:
    return world.committed == {
        Lane.FACT: set(range(1, facts + 1)),
        Lane.SIGNAL: set(range(1, 3 * signals + 1)),
    }


@given(
    seed=st.integers(0, 2**32),
    signals=st.integers(0, 120),
    facts=st.integers(0, 40),
    loss=st.floats(0, 0.6),
    longest_s=st.floats(0.01, 3.0),
)
def test_everything_arrives_over_a_link_that_loses_and_reorders(
    seed: int, signals: int, facts: int, loss: float, longest_s: float
) -> None:
    world = a_world(signals, facts, seed=seed, loss=loss, delay_s=(0.001, longest_s))
    world.run(FOR_EVER_S)
    assert not any(world.journal.values())
    assert committed_all(world, signals, facts)


@given(seed=st.integers(0, 2**32), loss=st.floats(0, 0.3))
def test_repeats_stay_near_what_was_lost(seed: int, loss: float) -> None:
    world = a_world(150, 10, seed=seed, loss=loss)
    world.run(FOR_EVER_S)
    assert world.window.resent <= 2 * world.lost + 4


@given(seed=st.integers(0, 2**32), slow_s=st.floats(0.001, 0.9))
def test_a_link_that_loses_nothing_carries_nothing_twice(seed: int, slow_s: float) -> None:
    world = a_world(200, 20, seed=seed, delay_s=(slow_s / 2, slow_s / 2))
    world.run(FOR_EVER_S)
    assert world.window.resent == 0


@given(seed=st.integers(0, 2**32), breaks=st.lists(st.floats(0.01, 2.0), max_size=8))
def test_everything_arrives_when_connections_break(seed: int, breaks: list[float]) -> None:
    world = a_world(100, 10, seed=seed, loss=0.1)
    for pause_s in breaks:
        world.run(world.now_s + pause_s)
        world.reconnect()
    world.run(FOR_EVER_S)
    assert not any(world.journal.values())
    assert committed_all(world, 100, 10)


def test_a_cloud_that_is_away_for_two_minutes_gets_few_repeats() -> None:
    world = a_world(50, 0, seed=1, loss=1.0)
    world.run(120.0)
    assert world.window.resent <= 12
    world.loss = 0.0
    world.run(world.now_s + 60.0)
    assert not any(world.journal.values())
