"""From asking for an account to being a customer."""

from datetime import timedelta
from uuid import UUID, uuid4

import pytest

from cloud.events.identity import LetterAsked
from cloud.identity import api, model
from cloud.identity import customer_rules as rules
from cloud.identity.accounts import add_account, disable_account, list_accounts, unlock_account
from cloud.identity.customer_rules import Agreed, ConsentMissingError, ConsentUnknownError
from cloud.identity.passwords import Passwords
from cloud.identity.service import SignInRefusedError, TooManyAttemptsError
from cloud.identity.sign_up import (
    LinkExpiredError,
    LinkUnknownError,
    LinkUsedError,
    PasswordDiffersError,
    SignUp,
    TooManySignUpsError,
    Wish,
)
from cloud.kit.clock import ManualClock
from cloud.kit.db import Db
from cloud.kit.events import RetryLater, publish, run_due
from cloud.kit.ports.mail import MailLaterError, MailRefusedError
from cloud.kit.scope import DEMO
from tests.cloud.identity.customers_parts import REQUIRED, URL, World, a_wish
from tests.cloud.identity.parts import HERE, PASSWORD, QUICK, actions, an_account

EMAIL = "rita@example.org"


@pytest.fixture
def world(db: Db, clock: ManualClock) -> World:
    return World(db, clock)


def outcomes(db: Db) -> list[str | None]:
    rows = db.execute("SELECT outcome FROM identity.letter ORDER BY asked_at, id").fetchall()
    return [outcome for (outcome,) in rows]


def count(db: Db, table: str) -> int:
    row = db.execute(f"SELECT count(*) FROM identity.{table}".encode()).fetchone()
    assert row is not None
    return int(row[0])


def test_who_follows_the_link_is_a_customer_and_signed_in(world: World) -> None:
    mail = world.ask()
    assert (mail.to, URL in mail.text) == (EMAIL, True)
    assert count(world.db, "account") == 0
    tokens = world.sign_up.verify(mail.token, HERE)
    who = world.who(tokens)
    assert (who.kind, who.role, who.scopes) == ("customer", "customer", model.CUSTOMER_SCOPES)
    found = api.customer(world.db, DEMO, str(who.account_id))
    assert found is not None
    assert (found.email, found.name, found.language, found.time_zone) == (
        EMAIL,
        "Rita Rider",
        "en",
        "Europe/Berlin",
    )
    assert api.consents_given(world.db, DEMO, found.id) == {"terms": "1", "privacy": "1"}


def test_a_customer_signs_in_by_address_however_it_is_typed(world: World) -> None:
    who = world.customer()
    again = world.sign_in.sign_in(" Rita@Example.ORG", PASSWORD, HERE)
    assert world.who(again).account_id == who.account_id
    with pytest.raises(SignInRefusedError):
        world.sign_in.sign_in(EMAIL, "wrong password", HERE)
    refreshed = world.sign_in.refresh(again.refresh_token)
    assert refreshed.scopes == model.CUSTOMER_SCOPES


def test_a_page_session_is_a_customers_too(world: World) -> None:
    who = world.customer()
    assert world.sign_in.sign_in_page(EMAIL, PASSWORD, HERE).who.account_id == who.account_id


def test_a_sign_up_that_nobody_confirmed_signs_nobody_in(world: World) -> None:
    world.ask()
    with pytest.raises(SignInRefusedError):
        world.sign_in.sign_in(EMAIL, PASSWORD, HERE)


def test_a_known_address_is_told_so_by_mail_and_nowhere_else(world: World) -> None:
    world.customer()
    mail = world.ask()
    assert mail.subject == "You already have an account"
    assert "/sign-in" in mail.text
    assert "token" not in mail.text
    assert count(world.db, "account") == 1
    an_account(world.db, world.clock, "boss@example.org")
    assert world.ask("boss@example.org").subject == "You already have an account"


def test_known_and_unknown_addresses_cost_the_same_work(db: Db, clock: ManualClock) -> None:
    hashed: list[str] = []

    class Counting(Passwords):
        def hash(self, password: str) -> str:
            hashed.append(password)
            return QUICK.hash(password)

    world = World(db, clock)
    world.customer()
    sign_up = SignUp(
        world.sign_up._connections, clock, world.tokens, world.sign_in, passwords=Counting()
    )
    rows = []
    for email in (EMAIL, "unknown@example.org"):
        tables = ("sign_up", "letter", "account")
        before = [count(db, table) for table in tables]
        sign_up.ask(a_wish(email), HERE)
        rows.append([count(db, t) - b for t, b in zip(tables, before, strict=True)])
    assert rows == [[1, 1, 0], [1, 1, 0]]
    assert len(hashed) == 2


def test_a_link_is_good_once(world: World) -> None:
    mail = world.ask()
    world.sign_up.verify(mail.token, HERE)
    with pytest.raises(LinkUsedError):
        world.sign_up.verify(mail.token, HERE)


def test_a_link_is_good_for_a_day(world: World) -> None:
    early, late = world.ask("early@example.org"), world.ask("late@example.org")
    world.clock.advance(rules.LINK_LIFETIME - timedelta(seconds=1))
    world.sign_up.verify(early.token, HERE)
    world.clock.advance(timedelta(seconds=1))
    with pytest.raises(LinkExpiredError):
        world.sign_up.verify(late.token, HERE)


def test_a_token_that_is_not_ours_opens_nothing(world: World) -> None:
    token = world.ask().token
    changed = token[:-2] + ("AA" if token[-2:] != "AA" else "BB")
    another = token[:5] + ("A" if token[5] != "A" else "B") + token[6:]
    for wrong in ("", "x", "é", changed, another, token + "AAAA", world.tokens.issue(uuid4())):
        with pytest.raises(LinkUnknownError):
            world.sign_up.verify(wrong, HERE)
    world.sign_up.verify(token, HERE)


def test_tokens_are_written_nowhere(world: World) -> None:
    token = world.ask().token
    for table in ("identity.sign_up", "identity.letter", "kit.event"):
        rows = world.db.execute(f"SELECT t::text FROM {table} AS t".encode()).fetchall()
        assert rows
        assert [row for row in rows if token in str(row)] == []


def test_no_event_and_no_audit_row_names_the_person(world: World) -> None:
    world.customer()
    world.sign_in.sign_in(EMAIL, PASSWORD, HERE)
    with pytest.raises(SignInRefusedError):
        world.sign_in.sign_in(EMAIL, "wrong password", HERE)
    for table in ("kit.event", "identity.audit"):
        rows = world.db.execute(f"SELECT t::text FROM {table} AS t".encode()).fetchall()
        assert rows
        assert [row for row in rows if "rita" in str(row).lower()] == []
    assert actions(world.db) == [
        "account.added",
        "session.started",
        "session.started",
        "session.refused",
    ]


def test_of_two_links_for_one_address_the_first_that_is_followed_counts(world: World) -> None:
    first, second = world.ask(), world.ask()
    assert first.token != second.token
    world.sign_up.verify(second.token, HERE)
    with pytest.raises(LinkUsedError):
        world.sign_up.verify(first.token, HERE)
    assert count(world.db, "customer") == 1


def test_a_mail_that_is_asked_for_again_has_the_same_link(world: World) -> None:
    first = world.ask()
    world.sign_up.ask_again(EMAIL.upper(), HERE)
    world.deliver()
    assert len(world.mailbox.sent) == 2
    assert (world.mailbox.sent[1].token, world.mailbox.sent[1].to) == (first.token, EMAIL)
    world.sign_up.verify(first.token, HERE)
    world.sign_up.ask_again(EMAIL, HERE)
    world.deliver()
    assert world.mailbox.sent[2].subject == "You already have an account"


def test_a_mail_again_for_an_address_that_never_signed_up_is_not_sent(world: World) -> None:
    world.sign_up.ask_again("stranger@example.org", HERE)
    assert world.deliver() == 1
    assert (world.mailbox.sent, outcomes(world.db)) == ([], ["not_needed"])


def test_mail_is_written_in_the_persons_language(world: World) -> None:
    assert world.ask("a@example.org", "de-AT").subject == "Bestätigen Sie Ihre E-Mail-Adresse"
    assert world.ask("b@example.org", "fi").subject == "Confirm your e-mail address"


def test_what_is_typed_at_sign_up_is_in_no_mail(world: World) -> None:
    wish = Wish(EMAIL, PASSWORD, "Win at evil.example", "en", "UTC", REQUIRED)
    world.sign_up.ask(wish, HERE)
    world.deliver()
    assert "evil" not in world.mailbox.sent[-1].text


def test_required_documents_must_be_agreed_to_in_the_version_in_force(world: World) -> None:
    def ask(*agreed: Agreed) -> None:
        world.sign_up.ask(Wish(EMAIL, PASSWORD, "Rita", "en", "UTC", agreed), HERE)

    with pytest.raises(ConsentMissingError, match="privacy 1"):
        ask(Agreed("terms", "1"))
    with pytest.raises(ConsentUnknownError):
        ask(*REQUIRED, Agreed("terms", "0"))
    ask(*REQUIRED)


@pytest.mark.parametrize(
    "change",
    [{"email": "no address"}, {"name": " "}, {"language": "klingon!"}, {"time_zone": "../etc"}],
    ids=str,
)
def test_a_wish_that_cannot_be_is_refused(world: World, change: dict[str, str]) -> None:
    good = {"email": EMAIL, "name": "Rita", "language": "en", "time_zone": "UTC"}
    with pytest.raises(rules.NotValidError):
        world.sign_up.ask(Wish(**{**good, **change}, password=PASSWORD, consents=REQUIRED), HERE)
    world.sign_up.ask(Wish(**good, password=PASSWORD, consents=REQUIRED), HERE)


def test_one_address_gets_five_mails_in_a_quarter_of_an_hour_known_or_not(world: World) -> None:
    world.customer("known@example.org")
    world.clock.advance(2 * model.WINDOW)
    for email in ("known@example.org", "unknown@example.org"):
        for _ in range(rules.EMAIL_LIMIT):
            world.sign_up.ask(a_wish(email), HERE)
        with pytest.raises(TooManySignUpsError) as refused:
            world.sign_up.ask(a_wish(email), HERE)
        assert refused.value.wait == model.WINDOW
        with pytest.raises(TooManySignUpsError):
            world.sign_up.ask_again(email, HERE)
    world.clock.advance(model.WINDOW)
    world.sign_up.ask(a_wish("known@example.org"), HERE)


def test_one_place_asks_for_so_many_accounts_only(world: World) -> None:
    for number in range(rules.ADDRESS_LIMIT):
        world.sign_up.ask(a_wish(f"r{number}@example.org"), HERE)
    with pytest.raises(TooManySignUpsError):
        world.sign_up.ask(a_wish("more@example.org"), HERE)
    world.sign_up.ask(a_wish("more@example.org"), "198.51.100.1")


def test_signing_in_is_not_counted_with_signing_up(world: World) -> None:
    world.customer()
    for _ in range(4):
        world.sign_up.ask(a_wish(), HERE)
    assert world.sign_in.sign_in(EMAIL, PASSWORD, HERE)


def test_a_mail_that_cannot_be_sent_now_is_sent_later(world: World) -> None:
    world.mailbox.trouble = MailLaterError("the server sleeps")
    world.sign_up.ask(a_wish(), HERE)
    with pytest.raises(RetryLater, match="sleeps"), world.db.transaction():
        world.deliver()
    assert outcomes(world.db) == [None]
    world.mailbox.trouble = None
    world.deliver()
    assert outcomes(world.db) == ["sent"]


def test_a_mail_that_is_refused_for_good_is_not_tried_again(world: World) -> None:
    world.mailbox.trouble = MailRefusedError("nobody of that name")
    world.sign_up.ask(a_wish(), HERE)
    world.deliver()
    assert outcomes(world.db) == ["refused"]


def test_a_mail_is_sent_once_however_often_it_is_asked_for(world: World) -> None:
    world.ask()
    (row,) = world.db.execute("SELECT id FROM identity.letter").fetchall()
    again = LetterAsked(tenant="demo", city="demo", letter_id=row[0], at=world.clock.now())
    publish(world.db, again, at=world.clock.now())
    assert world.deliver() == 1
    assert len(world.mailbox.sent) == 1


def test_a_crash_between_sending_and_noting_repeats_the_same_mail(world: World) -> None:
    world.sign_up.ask(a_wish(), HERE)
    with world.db.transaction(force_rollback=True):
        world.deliver()
    world.deliver()
    first, second = world.mailbox.sent
    assert first == second
    assert outcomes(world.db) == ["sent"]


def test_a_letter_that_comes_too_late_is_not_sent(world: World) -> None:
    world.sign_up.ask(a_wish(), HERE)
    world.clock.advance(rules.LINK_LIFETIME)
    world.deliver()
    assert (world.mailbox.sent, outcomes(world.db)) == ([], ["not_needed"])


def test_what_was_said_at_sign_up_is_forgotten(world: World) -> None:
    world.customer()
    row = world.db.execute("SELECT name, password_hash FROM identity.sign_up").fetchone()
    assert row == ("", "")
    world.ask("never@example.org")
    world.clock.advance(rules.LINK_LIFETIME + model.SIGN_UPS_KEPT_FOR + timedelta(seconds=1))
    world.sign_in.tidy()
    assert (count(world.db, "sign_up"), count(world.db, "letter")) == (0, 0)
    assert count(world.db, "customer") == 1


def test_staff_cannot_take_a_customers_address_as_their_name(world: World) -> None:
    world.customer()
    with pytest.raises(ValueError, match="taken"):
        add_account(
            world.db, EMAIL, world.clock.now(), role="admin", password=PASSWORD, passwords=QUICK
        )


def test_nobody_is_made_staff_with_the_role_of_customers(world: World) -> None:
    with pytest.raises(ValueError, match="no role named 'customer'"):
        add_account(world.db, "eve", world.clock.now(), role="customer", password=PASSWORD)


def test_a_customer_is_disabled_and_unlocked_by_address_and_in_no_list_of_staff(
    world: World,
) -> None:
    world.customer()
    now = world.clock.now()
    for _ in range(model.USER_LIMIT):
        with pytest.raises(SignInRefusedError):
            world.sign_in.sign_in(EMAIL, "wrong password", HERE)
    with pytest.raises(TooManyAttemptsError):
        world.sign_in.sign_in(EMAIL, PASSWORD, HERE)
    assert unlock_account(world.db, EMAIL, now)
    assert world.sign_in.sign_in(EMAIL, PASSWORD, HERE)
    assert list_accounts(world.db, now) == []
    assert disable_account(world.db, EMAIL, now) == 2
    with pytest.raises(SignInRefusedError):
        world.sign_in.sign_in(EMAIL, PASSWORD, HERE)


def test_tokens_of_another_cloud_are_not_ours(world: World) -> None:
    other = api.VerificationTokens("another-key-that-is-long-enough-to-be-one")
    mail = world.ask()
    known = world.tokens.read(mail.token)
    assert isinstance(known, UUID)
    with pytest.raises(LinkUnknownError):
        world.sign_up.verify(other.issue(known), HERE)


def test_delivering_with_nothing_owed_does_nothing(world: World) -> None:
    assert run_due(world.db, (), world.clock.now()) == 0
    assert world.deliver() == 0


def test_who_did_not_choose_the_password_confirms_nothing_with_another(world: World) -> None:
    mail = world.ask()
    assert "/sign-up" in mail.text
    with pytest.raises(PasswordDiffersError):
        world.sign_up.verify(mail.token, HERE, "a password of the victim")
    assert count(world.db, "customer") == 0
    world.sign_up.verify(mail.token, HERE, PASSWORD)
    with pytest.raises(LinkUsedError):
        world.sign_up.verify(mail.token, HERE, "whatever it is")
