"""From a lost password to a new one."""

from contextlib import nullcontext
from datetime import timedelta

import pytest

from cloud.identity.customers import Changes, change
from cloud.identity.password_reset import (
    PasswordReset,
    ResetLinkExpiredError,
    ResetLinkUsedError,
    TooManyResetsError,
)
from cloud.identity.service import SignInRefusedError, TooManyAttemptsError
from cloud.identity.sign_up import LinkUnknownError
from cloud.kit.clock import ManualClock
from cloud.kit.db import Db
from cloud.kit.principal import Credentials
from tests.cloud.identity.customers_parts import URL, World
from tests.cloud.identity.parts import HERE, PASSWORD, QUICK, actions, an_account

EMAIL = "rita@example.org"
NEW = "another horse entirely"


class Lost:
    """A world whose customers lose their passwords."""

    def __init__(self, db: Db, clock: ManualClock) -> None:
        self.world = World(db, clock)
        self.resets = PasswordReset(
            lambda: nullcontext(db), clock, self.world.tokens, passwords=QUICK
        )

    def ask(self, email: str = EMAIL) -> list[str]:
        """Ask for the mail; return the subjects that came of it."""
        before = len(self.world.mailbox.sent)
        self.resets.ask(email, HERE)
        self.world.deliver()
        return [mail.subject for mail in self.world.mailbox.sent[before:]]

    @property
    def token(self) -> str:
        text = self.world.mailbox.sent[-1].text
        assert f"{URL}/reset-password#token=" in text
        return text.partition("#token=")[2].split()[0]

    def lose(self) -> str:
        """Ask, and return the token of the mail."""
        assert self.ask() == ["Choose a new password"]
        return self.token

    def signs_in(self, password: str) -> bool:
        try:
            self.world.sign_in.sign_in(EMAIL, password, HERE)
        except SignInRefusedError:
            return False
        return True


@pytest.fixture
def lost(db: Db, clock: ManualClock) -> Lost:
    return Lost(db, clock)


def test_the_link_sets_a_password_once_and_says_so_by_mail(lost: Lost) -> None:
    lost.world.customer()
    token = lost.lose()
    lost.resets.set_password(token, NEW, HERE)
    assert (lost.signs_in(PASSWORD), lost.signs_in(NEW)) == (False, True)
    with pytest.raises(ResetLinkUsedError):
        lost.resets.set_password(token, "a third horse, a third battery", HERE)
    assert lost.signs_in(NEW)
    lost.world.deliver()
    assert lost.world.mailbox.sent[-1].subject == "Your password was changed"
    assert f"{URL}/forgot-password" in lost.world.mailbox.sent[-1].text
    assert "password.reset" in actions(lost.world.db)


def test_every_sign_in_ends(lost: Lost) -> None:
    lost.world.customer()
    page = lost.world.sign_in.sign_in_page(EMAIL, PASSWORD, HERE)
    shown = Credentials(session=page.secret)
    assert lost.world.sign_in.authenticate(shown) is not None
    lost.resets.set_password(lost.lose(), NEW, HERE)
    assert lost.world.sign_in.authenticate(shown) is None


def test_a_link_is_good_for_an_hour(lost: Lost) -> None:
    lost.world.customer()
    first = lost.lose()
    lost.world.clock.advance(timedelta(minutes=59))
    second = lost.lose()
    lost.world.clock.advance(timedelta(minutes=1))
    with pytest.raises(ResetLinkExpiredError):
        lost.resets.set_password(first, NEW, HERE)
    lost.resets.set_password(second, NEW, HERE)


def test_using_one_link_ends_all_others(lost: Lost) -> None:
    lost.world.customer()
    first, second = lost.lose(), lost.lose()
    lost.resets.set_password(first, NEW, HERE)
    with pytest.raises(ResetLinkUsedError):
        lost.resets.set_password(second, NEW, HERE)


def test_a_token_of_another_link_sets_nothing(lost: Lost) -> None:
    sign_up_token = lost.world.ask().token
    lost.world.sign_up.verify(sign_up_token, HERE)
    token = lost.lose()
    for wrong in (sign_up_token, token[:-1], "", "x" * 60):
        with pytest.raises(LinkUnknownError):
            lost.resets.set_password(wrong, NEW, HERE)
    lost.resets.set_password(token, NEW, HERE)


def test_who_is_no_customer_gets_no_link(lost: Lost) -> None:
    an_account(lost.world.db, lost.world.clock, "boss@example.org")
    assert lost.ask("boss@example.org") == []
    assert lost.ask("unknown@example.org") == []
    lost.world.customer()
    assert lost.ask() == ["Choose a new password"]


def test_who_never_confirmed_the_address_gets_that_mail_again(lost: Lost) -> None:
    lost.world.ask()
    assert lost.ask() == ["Confirm your e-mail address"]


def test_the_mail_speaks_the_customers_language(lost: Lost, clock: ManualClock) -> None:
    who = lost.world.customer()
    wish = Changes(None, "de-AT", None)
    change(lost.world.db, who.realm, str(who.account_id), wish, clock.now())
    assert lost.ask() == ["Wählen Sie ein neues Passwort"]


def test_too_many_requests_are_refused_whether_the_address_is_known_or_not(lost: Lost) -> None:
    lost.world.customer()
    for email in (EMAIL, "unknown@example.org"):
        for _ in range(4):
            lost.ask(email)
        lost.resets.ask(email, HERE)
        with pytest.raises(TooManyResetsError) as refused:
            lost.resets.ask(email, HERE)
        assert refused.value.wait == timedelta(minutes=15)
    assert lost.signs_in(PASSWORD)


def test_whoever_reads_the_mailbox_is_let_in_though_somebody_else_guessed(lost: Lost) -> None:
    lost.world.customer()
    for _ in range(5):
        assert not lost.signs_in("a wrong password")
    with pytest.raises(TooManyAttemptsError):
        lost.signs_in(PASSWORD)
    lost.resets.set_password(lost.lose(), NEW, HERE)
    assert lost.signs_in(NEW)


def test_a_password_that_is_too_short_spends_no_link(lost: Lost) -> None:
    lost.world.customer()
    token = lost.lose()
    with pytest.raises(ValueError, match="12 to 1024 characters"):
        lost.resets.set_password(token, "short", HERE)
    lost.resets.set_password(token, NEW, HERE)
