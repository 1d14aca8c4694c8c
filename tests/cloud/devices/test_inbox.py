"""The bounded queue between link and transaction."""

from cloud.devices.inbox import Inbox


def inbox(max_items: int = 10, max_bytes: int = 100) -> Inbox[str]:
    return Inbox(len, max_items=max_items, max_bytes=max_bytes)


async def test_urgent_items_overtake_the_others() -> None:
    box = inbox()
    for item in ("signal-1", "signal-2"):
        box.offer(item)
    box.offer("fact", urgent=True)
    assert await box.take(2) == ["fact", "signal-1"]
    assert await box.take(2) == ["signal-2"]


async def test_what_does_not_fit_is_dropped_and_counted() -> None:
    box = inbox(max_items=2, max_bytes=10)
    assert [box.offer("abc"), box.offer("abcdefgh"), box.offer("abcd"), box.offer("a")] == [
        True,
        False,
        True,
        False,
    ]
    assert (box.dropped, len(box)) == (2, 2)
    await box.take(10)
    assert box.offer("abcdefghij")


async def test_a_batch_ends_with_the_item_that_reaches_its_bytes() -> None:
    box = inbox()
    for item in ("abc", "defg", "h"):
        box.offer(item)
    assert await box.take(10, most_bytes=5) == ["abc", "defg"]
    assert await box.take(10, most_bytes=5) == ["h"]


async def test_lingering_makes_a_fuller_batch() -> None:
    box = inbox()
    box.offer("a")
    taking = box.take(10, linger_s=0.01)
    box.offer("b")
    assert await taking == ["a", "b"]
