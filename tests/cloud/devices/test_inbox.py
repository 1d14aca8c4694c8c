"""The bounded queue between link and transaction."""

import asyncio
import random
from collections import Counter

from cloud.devices.fair import FairQueue
from cloud.devices.inbox import Inbox


def inbox(max_items: int = 10, max_weight: int = 100) -> Inbox[str]:
    """A box of strings that weigh their length and belong to the device of their first letter."""
    return Inbox(lambda item: item[0], len, max_items=max_items, max_weight=max_weight)


async def test_urgent_items_overtake_the_others() -> None:
    box = inbox()
    for item in ("signal-1", "signal-2"):
        box.offer(item)
    box.offer("fact", urgent=True)
    assert await box.take(2) == ["fact", "signal-1"]
    assert await box.take(2) == ["signal-2"]


async def test_urgent_items_leave_a_place_for_the_others() -> None:
    box = inbox()
    for number in range(6):
        box.offer(f"f{number}", urgent=True)
    for number in range(3):
        box.offer(f"s{number}")
    assert await box.take(4) == ["f0", "f1", "f2", "s0"]
    assert await box.take(10, most_weight=4) == ["f3", "f4", "s1"]
    assert await box.take(10) == ["f5", "s2"]


async def test_an_urgent_item_ends_the_wait_for_company() -> None:
    box = inbox()
    box.offer("signal")
    taking = asyncio.create_task(box.take(10, linger_s=60))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert not taking.done()
    box.offer("fact", urgent=True)
    async with asyncio.timeout(5):
        assert await taking == ["fact", "signal"]


async def test_what_is_not_urgent_waits_for_company() -> None:
    box = inbox()
    box.offer("signal-1")
    taking = asyncio.create_task(box.take(10, linger_s=0.02))
    await asyncio.sleep(0)
    box.offer("signal-2")
    assert await taking == ["signal-1", "signal-2"]


async def test_every_device_has_its_turn() -> None:
    box = inbox()
    for item in ("a1", "a2", "a3", "a4", "b1", "b2", "c1"):
        box.offer(item)
    assert await box.take(5) == ["a1", "b1", "c1", "a2", "b2"]
    assert await box.take(5) == ["a3", "a4"]


async def test_when_it_is_full_who_holds_most_loses_the_newest() -> None:
    box = inbox(max_items=4)
    for item in ("a1", "a2", "a3", "b1"):
        assert box.offer(item) == 0
    assert box.offer("b2") == 1
    assert box.offer("a4") == 1
    assert await box.take(10) == ["a1", "b1", "a2", "b2"]


async def test_what_holds_most_is_told_by_weight() -> None:
    box = inbox(max_weight=10)
    for item in ("aaaaaa", "b", "b", "b"):
        assert box.offer(item) == 0
    assert box.offer("cc") == 1
    assert await box.take(10) == ["b", "cc", "b", "b"]


async def test_a_fact_takes_the_place_of_a_signal_of_its_own_device() -> None:
    box = inbox(max_items=2)
    for item in ("a1", "a2"):
        box.offer(item)
    assert box.offer("a-fact", urgent=True) == 1
    assert await box.take(10) == ["a-fact", "a1"]


async def test_what_never_fits_is_dropped() -> None:
    box = inbox(max_weight=3)
    assert box.offer("abcd") == 1
    assert (box.offer("abc"), len(box)) == (0, 1)


async def test_a_batch_ends_with_the_item_that_reaches_its_weight() -> None:
    box = inbox()
    for item in ("abc", "adef", "a"):
        box.offer(item)
    assert await box.take(10, most_weight=5) == ["abc", "adef"]
    assert await box.take(10, most_weight=5) == ["a"]


async def test_lingering_makes_a_fuller_batch() -> None:
    box = inbox()
    box.offer("a")
    taking = box.take(10, linger_s=0.01)
    box.offer("b")
    assert await taking == ["a", "b"]


def test_books_are_kept_whatever_comes() -> None:
    chance = random.Random(5)
    queue: FairQueue[tuple[str, int]] = FairQueue(max_items=50, max_weight=400)
    inside: Counter[str] = Counter()
    offered = dropped = taken = 0
    for _ in range(20_000):
        source, weight = chance.choice("aaaaaabc"), chance.randint(1, 40)
        dropped += queue.add((source, weight), source, weight, urgent=chance.random() < 0.2)
        offered += 1
        if chance.random() < 0.05:
            found = queue.take(chance.randint(1, 20), chance.randint(1, 200))
            inside.update(source for source, _ in found)
            taken += len(found)
        assert len(queue) <= 50
        assert queue.weight <= 400
    taken += len(queue.take(100, 1_000))
    assert (len(queue), queue.weight) == (0, 0)
    assert offered == dropped + taken
    assert dropped > 5_000
    assert inside["b"] > 0.4 * inside["a"]
