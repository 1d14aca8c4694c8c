"""Roles, names, and how many wrong passwords are too many."""

from datetime import UTC, datetime, timedelta
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cloud.identity.model import (
    CUSTOMER_SCOPES,
    ROLES,
    STAFF_ROLES,
    USER_LIMIT,
    WINDOW,
    Attempts,
    address_group,
    check_account,
    check_password,
)
from cloud.kit.principal import SCOPES

NOON = datetime(2026, 7, 1, 12, tzinfo=UTC)


def test_each_role_may_all_that_the_one_below_it_may() -> None:
    ladder = list(STAFF_ROLES.values())
    assert all(lower < higher for lower, higher in pairwise(ladder))
    assert ROLES["admin"] == SCOPES.keys() - CUSTOMER_SCOPES


def test_customers_and_staff_have_no_scope_in_common() -> None:
    """What customers may do they may do with their own; what staff may do is about everybody's."""
    assert [role for role, may in STAFF_ROLES.items() if may & CUSTOMER_SCOPES] == []
    assert ROLES["customer"] == CUSTOMER_SCOPES
    assert not any(scope.endswith(":read") for scope in CUSTOMER_SCOPES)


def test_a_viewer_reads_everything_but_the_audit_chain() -> None:
    reads = {scope for scope in SCOPES if scope.endswith(":read")}
    assert ROLES["viewer"] == reads - {"audit:read"}


def test_only_a_supervisor_may_stop_or_slow_a_vehicle_and_be_the_second_person() -> None:
    assert ROLES["supervisor"] - ROLES["operator"] == {
        "vehicles:immobilise",
        "vehicles:limit",
        "devices:maintain",
        "commands:approve",
        "rentals:manage",
        "payments:refund",
    }


@pytest.mark.parametrize("name", ["ada", "a.b", "ada@example.org", "a-1_2+x", "0x"])
def test_a_name_that_can_be_is_taken(name: str) -> None:
    check_account(name, "staff", "viewer", ())


@pytest.mark.parametrize("name", ["", "a", "-ada", "Ada", "a b", "a\n", "a" * 65, "äda", "a\0b"])
def test_a_name_that_cannot_be_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match="is no user name"):
        check_account(name, "staff", "viewer", ())


def test_a_role_that_does_not_exist_is_refused_with_those_that_do() -> None:
    with pytest.raises(ValueError, match="viewer, operator, supervisor, admin"):
        check_account("ada", "staff", "king", ())


def test_a_service_account_needs_scopes_that_exist() -> None:
    check_account("feed", "service", "", ["vehicles:read"])
    with pytest.raises(ValueError, match="one by one"):
        check_account("feed", "service", "", [])
    with pytest.raises(ValueError, match="'vehicles:steal'"):
        check_account("feed", "service", "", ["vehicles:steal"])


@pytest.mark.parametrize(("length", "good"), [(11, False), (12, True), (1024, True), (1025, False)])
def test_a_password_has_a_length(length: int, good: bool) -> None:
    if good:
        check_password("p" * length)
        return
    with pytest.raises(ValueError, match="choose another"):
        check_password("p" * length)


def test_the_fifth_wrong_password_locks_and_the_fourth_does_not() -> None:
    found = Attempts()
    for _ in range(USER_LIMIT - 1):
        found = found.fail(NOON, USER_LIMIT)
        assert found.wait(NOON) is None
    assert found.fail(NOON, USER_LIMIT).wait(NOON) == WINDOW


def test_wrong_passwords_are_forgotten_after_the_window() -> None:
    found = Attempts(tuple(NOON - WINDOW for _ in range(USER_LIMIT - 1)))
    assert found.fail(NOON, USER_LIMIT) == Attempts((NOON,), None)


def test_a_lock_ends() -> None:
    locked = Attempts(locked_until=NOON + WINDOW)
    assert locked.wait(NOON + WINDOW - timedelta(seconds=1)) == timedelta(seconds=1)
    assert locked.wait(NOON + WINDOW) is None


@given(pauses_s=st.lists(st.integers(0, 1_000), min_size=1, max_size=40))
def test_no_window_lets_more_guesses_through_than_the_limit(pauses_s: list[int]) -> None:
    found, now, let_through = Attempts(), NOON, []
    for pause_s in pauses_s:
        now += timedelta(seconds=pause_s)
        if found.wait(now) is None:
            let_through.append(now)
            found = found.fail(now, USER_LIMIT)
    for first in let_through:
        assert sum(first <= at < first + WINDOW for at in let_through) <= USER_LIMIT


@pytest.mark.parametrize(
    ("address", "group"),
    [
        ("192.0.2.7", "192.0.2.7"),
        ("::ffff:192.0.2.7", "192.0.2.7"),
        ("2001:db8:1:2:aaaa::1", "2001:db8:1:2::/64"),
        ("2001:db8:1:2:bbbb::2", "2001:db8:1:2::/64"),
        ("fe80::1%eth0", "fe80::/64"),
        ("unknown", "unknown"),
    ],
)
def test_one_holder_of_addresses_counts_once(address: str, group: str) -> None:
    assert address_group(address) == group
