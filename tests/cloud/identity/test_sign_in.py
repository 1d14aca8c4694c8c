"""Signing in, staying signed in, signing out, on real Postgres."""

import logging
from collections.abc import Sequence
from datetime import timedelta

import pytest
from argon2 import PasswordHasher

from cloud.identity import accounts, model
from cloud.identity.passwords import Passwords
from cloud.identity.service import (
    RefreshRefusedError,
    ScopeRefusedError,
    SignIn,
    SignInRefusedError,
    TooManyAttemptsError,
)
from cloud.kit.clock import ManualClock
from cloud.kit.db import Db
from cloud.kit.principal import Credentials
from tests.cloud.identity.parts import HERE, PASSWORD, QUICK, a_sign_in, actions, an_account


@pytest.fixture
def sign_in(db: Db, clock: ManualClock) -> SignIn:
    return a_sign_in(db, clock)


@pytest.fixture
def user(db: Db, clock: ManualClock) -> str:
    return an_account(db, clock)


def guess(sign_in: SignIn, user: str, times: int = 1, address: str = HERE) -> None:
    for _ in range(times):
        with pytest.raises(SignInRefusedError):
            sign_in.sign_in(user, "wrong " + PASSWORD, address)


def test_who_signs_in_has_the_scopes_of_the_role(sign_in: SignIn, user: str) -> None:
    tokens = sign_in.sign_in(user, PASSWORD, HERE)
    who = sign_in.authenticate(Credentials(token=tokens.access_token))
    assert who is not None
    assert (who.name, who.kind, who.role, who.from_cookie) == ("ada", "staff", "operator", False)
    assert who.scopes == tokens.scopes == model.ROLES["operator"]


def test_capitals_and_blanks_round_a_name_do_not_count(sign_in: SignIn, user: str) -> None:
    assert sign_in.sign_in(f" {user.upper()} ", PASSWORD, HERE).access_token


def test_fewer_scopes_are_given_when_fewer_are_asked_for_and_stay_so(
    sign_in: SignIn, user: str
) -> None:
    tokens = sign_in.sign_in(user, PASSWORD, HERE, ["vehicles:read"])
    assert tokens.scopes == {"vehicles:read"}
    assert sign_in.refresh(tokens.refresh_token).scopes == {"vehicles:read"}


def test_a_scope_that_the_role_does_not_have_cannot_be_asked_for(
    sign_in: SignIn, user: str
) -> None:
    with pytest.raises(ScopeRefusedError, match="audit:read"):
        sign_in.sign_in(user, PASSWORD, HERE, ["vehicles:read", "audit:read"])


def test_a_program_has_the_scopes_it_was_given(sign_in: SignIn, db: Db, clock: ManualClock) -> None:
    password = accounts.add_account(
        db, "feed", clock.now(), scopes=["telemetry:read"], passwords=QUICK
    )
    assert sign_in.sign_in("feed", password, HERE).scopes == {"telemetry:read"}


@pytest.mark.parametrize("name", ["ada", "nobody", "", "a\0b", "\ud800", "x" * 500])
def test_a_wrong_password_and_an_unknown_name_are_refused_alike(
    sign_in: SignIn, user: str, name: str
) -> None:
    assert user == "ada"
    guess(sign_in, name)


@pytest.mark.parametrize("name", ["ada", "nobody"])
def test_five_wrong_passwords_lock_a_name_known_or_not_for_a_quarter_of_an_hour(
    sign_in: SignIn, user: str, clock: ManualClock, name: str, caplog: pytest.LogCaptureFixture
) -> None:
    assert user == "ada"
    with caplog.at_level(logging.WARNING):
        guess(sign_in, name, 5)
    (record,) = caplog.records
    assert record.getMessage().startswith("too many wrong passwords: the user ")
    assert ("ada" in record.getMessage()) == (name == "ada")
    for _ in range(2):
        with pytest.raises(TooManyAttemptsError) as locked:
            sign_in.sign_in(name, PASSWORD, HERE)
        assert locked.value.wait == timedelta(minutes=15)
    clock.advance(timedelta(minutes=15))
    if name == "ada":
        assert sign_in.sign_in(name, PASSWORD, HERE).access_token


def test_four_wrong_passwords_are_forgiven_by_the_right_one(sign_in: SignIn, user: str) -> None:
    for _ in range(3):
        guess(sign_in, user, 4)
        assert sign_in.sign_in(user, PASSWORD, HERE).access_token


def test_an_address_that_guesses_many_names_is_locked_and_others_are_not(
    sign_in: SignIn, user: str
) -> None:
    for number in range(model.ADDRESS_LIMIT):
        guess(sign_in, f"guess-{number}")
    with pytest.raises(TooManyAttemptsError):
        sign_in.sign_in(user, PASSWORD, HERE)
    assert sign_in.sign_in(user, PASSWORD, "192.0.2.8").access_token


def test_a_right_guess_made_beside_the_fifth_wrong_one_is_not_told(
    db: Db, clock: ManualClock, user: str
) -> None:
    class Meanwhile(Passwords):
        """While the right password is hashed, five wrong ones are counted."""

        def matches(self, password_hash: str | None, password: str) -> bool:
            guess(a_sign_in(db, clock), user, 5)
            return QUICK.matches(password_hash, password)

    with pytest.raises(TooManyAttemptsError):
        a_sign_in(db, clock, Meanwhile(PasswordHasher())).sign_in(user, PASSWORD, HERE)


def test_an_unlocked_account_can_try_again(
    sign_in: SignIn, user: str, db: Db, clock: ManualClock
) -> None:
    guess(sign_in, user, 5)
    (listed,) = accounts.list_accounts(db, clock.now())
    assert listed.locked_for == timedelta(minutes=15)
    assert accounts.unlock_account(db, user, clock.now())
    assert sign_in.sign_in(user, PASSWORD, HERE).access_token
    assert not accounts.unlock_account(db, user, clock.now())


def test_a_disabled_account_cannot_sign_in_nor_refresh_nor_use_its_page(
    sign_in: SignIn, user: str, db: Db, clock: ManualClock
) -> None:
    tokens, page = sign_in.sign_in(user, PASSWORD, HERE), sign_in.sign_in_page(user, PASSWORD, HERE)
    assert accounts.disable_account(db, user, clock.now()) == 2
    guess(sign_in, user)
    with pytest.raises(SignInRefusedError):
        sign_in.sign_in(user, PASSWORD, HERE)
    with pytest.raises(RefreshRefusedError):
        sign_in.refresh(tokens.refresh_token)
    assert sign_in.authenticate(Credentials(session=page.secret)) is None


def test_an_outdated_hash_is_renewed_when_its_password_is_known(
    db: Db, clock: ManualClock, user: str
) -> None:
    stronger = Passwords(PasswordHasher(time_cost=2, memory_cost=16, parallelism=1))
    assert a_sign_in(db, clock, stronger).sign_in(user, PASSWORD, HERE).access_token
    stored = db.execute("SELECT password_hash FROM identity.account").fetchone()
    assert stored is not None
    assert "m=16,t=2,p=1" in stored[0]
    assert a_sign_in(db, clock, stronger).sign_in(user, PASSWORD, HERE).access_token


def test_a_refresh_token_is_good_once_and_gives_the_next(sign_in: SignIn, user: str) -> None:
    first = sign_in.sign_in(user, PASSWORD, HERE)
    second = sign_in.refresh(first.refresh_token)
    third = sign_in.refresh(second.refresh_token)
    assert len({first.refresh_token, second.refresh_token, third.refresh_token}) == 3
    assert sign_in.authenticate(Credentials(token=third.access_token)) is not None


def test_a_refresh_token_used_twice_ends_its_whole_family_and_no_other(
    sign_in: SignIn, user: str, db: Db, caplog: pytest.LogCaptureFixture
) -> None:
    other = sign_in.sign_in(user, PASSWORD, HERE)
    first = sign_in.sign_in(user, PASSWORD, HERE)
    second = sign_in.refresh(first.refresh_token)
    with caplog.at_level(logging.WARNING), pytest.raises(RefreshRefusedError):
        sign_in.refresh(first.refresh_token)
    assert "a refresh token of ada was used twice" in caplog.text
    with pytest.raises(RefreshRefusedError):
        sign_in.refresh(second.refresh_token)
    assert sign_in.refresh(other.refresh_token).access_token
    assert actions(db).count("session.reuse_detected") == 1


def test_a_sign_in_lasts_twelve_hours_however_often_it_is_refreshed(
    sign_in: SignIn, user: str, clock: ManualClock
) -> None:
    tokens = sign_in.sign_in(user, PASSWORD, HERE)
    for _ in range(71):
        clock.advance(timedelta(minutes=10))
        assert sign_in.authenticate(Credentials(token=tokens.access_token)) is None
        tokens = sign_in.refresh(tokens.refresh_token)
    clock.advance(timedelta(minutes=10))
    with pytest.raises(RefreshRefusedError):
        sign_in.refresh(tokens.refresh_token)


def test_a_lowered_role_counts_from_the_next_refresh_on(
    sign_in: SignIn, user: str, db: Db, clock: ManualClock
) -> None:
    tokens, page = sign_in.sign_in(user, PASSWORD, HERE), sign_in.sign_in_page(user, PASSWORD, HERE)
    accounts.ensure_account(db, user, PASSWORD, "viewer", clock.now(), passwords=QUICK)
    assert sign_in.refresh(tokens.refresh_token).scopes == model.ROLES["viewer"]
    who = sign_in.authenticate(Credentials(session=page.secret))
    assert who is not None
    assert who.scopes == model.ROLES["viewer"]


def test_signing_out_ends_the_family(sign_in: SignIn, user: str) -> None:
    tokens = sign_in.sign_in(user, PASSWORD, HERE)
    following = sign_in.refresh(tokens.refresh_token)
    sign_in.sign_out(following.refresh_token)
    with pytest.raises(RefreshRefusedError):
        sign_in.refresh(following.refresh_token)
    sign_in.sign_out(following.refresh_token)
    sign_in.sign_out("none of ours")


def test_a_page_is_signed_in_for_twelve_hours_or_until_it_signs_out(
    sign_in: SignIn, user: str, clock: ManualClock
) -> None:
    page, other = (sign_in.sign_in_page(user, PASSWORD, HERE) for _ in range(2))
    clock.advance(timedelta(hours=11, minutes=59))
    who = sign_in.authenticate(Credentials(session=page.secret))
    assert who is not None
    assert (who.name, who.from_cookie) == ("ada", True)
    sign_in.sign_out_page(page.secret)
    assert sign_in.authenticate(Credentials(session=page.secret)) is None
    assert sign_in.authenticate(Credentials(session=other.secret)) is not None
    clock.advance(timedelta(minutes=1))
    assert sign_in.authenticate(Credentials(session=other.secret)) is None


@pytest.mark.parametrize("shown", [Credentials(), Credentials(session="x"), Credentials(token="x")])
def test_who_shows_nothing_good_is_nobody(sign_in: SignIn, shown: Credentials) -> None:
    assert sign_in.authenticate(shown) is None


def test_secrets_are_stored_only_as_hashes(sign_in: SignIn, user: str, db: Db) -> None:
    tokens, page = sign_in.sign_in(user, PASSWORD, HERE), sign_in.sign_in_page(user, PASSWORD, HERE)
    guess(sign_in, "typed-a-password-here")
    stored: Sequence[tuple[object, ...]] = db.execute(
        "SELECT a.*::text FROM identity.account AS a UNION ALL"
        " SELECT s.*::text FROM identity.session AS s UNION ALL"
        " SELECT t.*::text FROM identity.refresh_token AS t UNION ALL"
        " SELECT f.*::text FROM identity.attempts AS f UNION ALL"
        " SELECT c.*::text FROM identity.audit AS c"
    ).fetchall()
    assert len(stored) > 5
    for secret in (PASSWORD, tokens.refresh_token, page.secret, "typed-a-password-here"):
        assert secret not in str(stored)


def test_everything_that_happens_is_in_the_audit_chain(
    sign_in: SignIn, user: str, db: Db, clock: ManualClock
) -> None:
    guess(sign_in, user, 5)
    accounts.unlock_account(db, user, clock.now())
    sign_in.sign_out(sign_in.sign_in(user, PASSWORD, HERE).refresh_token)
    accounts.disable_account(db, user, clock.now())
    assert actions(db) == [
        "account.added",
        *["session.refused"] * 5,
        "user.locked",
        "account.unlocked",
        "session.started",
        "session.ended",
        "account.disabled",
    ]


def test_what_is_over_is_deleted_and_what_is_not_stays(
    sign_in: SignIn, user: str, db: Db, clock: ManualClock
) -> None:
    sign_in.sign_in(user, PASSWORD, HERE)
    guess(sign_in, user)
    clock.advance(timedelta(hours=20))
    tokens = sign_in.sign_in(user, PASSWORD, HERE)
    clock.advance(timedelta(hours=17))
    assert sign_in.tidy() == 1
    left = [
        db.execute(f"SELECT count(*) FROM identity.{table}").fetchone()
        for table in ("session", "refresh_token", "attempts")
    ]
    assert left == [(1,), (1,), (0,)]
    with pytest.raises(RefreshRefusedError):
        sign_in.refresh(tokens.refresh_token)


def test_an_account_is_made_sure_of_as_often_as_one_likes(db: Db, clock: ManualClock) -> None:
    sign_in = a_sign_in(db, clock)

    def ensure(password: str, role: str) -> None:
        accounts.ensure_account(db, "Demo", password, role, clock.now(), passwords=QUICK)

    ensure(PASSWORD, "viewer")
    ensure(PASSWORD, "viewer")
    tokens = sign_in.sign_in("demo", PASSWORD, HERE)
    ensure("another " + PASSWORD, "admin")
    assert sign_in.sign_in("demo", "another " + PASSWORD, HERE).scopes == model.ROLES["admin"]
    with pytest.raises(RefreshRefusedError):
        sign_in.refresh(tokens.refresh_token)
    assert [what for what in actions(db) if what.startswith("account")] == [
        "account.added",
        "account.password_changed",
        "account.role_changed",
    ]


def test_a_name_is_given_once(db: Db, clock: ManualClock, user: str) -> None:
    with pytest.raises(ValueError, match="is taken"):
        an_account(db, clock, user.upper())
