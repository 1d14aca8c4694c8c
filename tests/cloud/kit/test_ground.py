"""The small parts everything stands on: clock, ids, money, pools."""

import contextlib
import time
from datetime import UTC, datetime, timedelta, timezone
from uuid import RFC_4122

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cloud.kit.clock import ManualClock, SystemClock, rfc3339
from cloud.kit.db import open_async_pool, open_pool
from cloud.kit.ids import id_at, new_id
from cloud.kit.money import CurrencyMismatchError, Money

amounts = st.integers(-(10**15), 10**15)


def test_the_system_clock_is_aware_and_in_utc() -> None:
    assert SystemClock().now().tzinfo is UTC


def test_a_manual_clock_moves_only_when_told(clock: ManualClock) -> None:
    before = clock.now()
    clock.advance(timedelta(seconds=90))
    assert clock.now() - before == timedelta(seconds=90)


def test_times_are_written_in_utc_with_milliseconds() -> None:
    in_berlin = datetime(2026, 7, 1, 14, 0, 0, 123_999, tzinfo=timezone(timedelta(hours=2)))
    assert rfc3339(in_berlin) == "2026-07-01T12:00:00.123Z"


def test_ids_are_version_7_and_never_the_same() -> None:
    ids = [new_id() for _ in range(1000)]
    assert len(set(ids)) == 1000
    assert {(each.version, each.variant) for each in ids} == {(7, RFC_4122)}


@given(st.integers(0, 2**48 - 1), st.integers(0, 2**48 - 1))
def test_ids_sort_by_the_time_they_were_made(one: int, other: int) -> None:
    assert (id_at(one) < id_at(other)) == (one < other) or one == other


def test_new_ids_carry_the_present_time() -> None:
    assert abs((new_id().int >> 80) - time.time_ns() // 1_000_000) < 60_000


def test_an_id_of_a_moment_carries_it_in_milliseconds() -> None:
    in_berlin = datetime(2026, 7, 1, 14, 0, 0, 123_999, tzinfo=timezone(timedelta(hours=2)))
    assert new_id(in_berlin).int >> 80 == 1_782_907_200_123


@given(amounts, amounts)
def test_money_adds_up_exactly(one: int, other: int) -> None:
    total = Money(one, "EUR") + Money(other, "EUR")
    assert total - Money(other, "EUR") == Money(one, "EUR")
    assert -total == Money(-one - other, "EUR")


def test_two_currencies_never_meet_in_a_sum_or_comparison() -> None:
    with pytest.raises(CurrencyMismatchError):
        Money(1, "EUR") + Money(1, "SEK")
    with pytest.raises(CurrencyMismatchError):
        assert Money(1, "EUR") < Money(2, "SEK")


@pytest.mark.parametrize(("amount", "currency"), [(1.5, "EUR"), (True, "EUR"), (1, "eur")])
def test_money_is_whole_minor_units_of_a_known_form(amount: int, currency: str) -> None:
    with pytest.raises((TypeError, ValueError)):
        Money(amount, currency)


def test_a_pool_hands_out_working_connections_after_a_cut(dsn: str) -> None:
    with contextlib.closing(open_pool(dsn, max_size=2)) as pool:
        with pool.connection() as db:
            assert db.autocommit
            mine = db.info.backend_pid
        with pool.connection() as one, pool.connection() as other:
            killer, victim = (other, one) if one.info.backend_pid == mine else (one, other)
            killer.execute("SELECT pg_terminate_backend(%s)", (victim.info.backend_pid,))
        for _ in range(4):
            with pool.connection() as db:
                assert db.execute("SELECT 1").fetchone() == (1,)


async def test_an_async_pool_is_autocommit_too(dsn: str) -> None:
    pool = await open_async_pool(dsn)
    async with pool, pool.connection() as db:
        assert db.autocommit
        assert await (await db.execute("SELECT 1")).fetchone() == (1,)
