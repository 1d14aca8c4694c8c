"""What identity does when its own events come back: it sends the mail it owes. Idempotent.

A kill between sending and noting it sends the mail once more, with the same Message-ID.
"""

import logging
from dataclasses import dataclass
from datetime import timedelta
from functools import partial

from cloud.events.identity import LetterAsked
from cloud.identity import letters
from cloud.identity.customer_rules import RESET_LIFETIME
from cloud.identity.metrics import LETTERS
from cloud.identity.model import Account
from cloud.identity.store import accounts, customers, sign_ups
from cloud.identity.verification import VerificationTokens
from cloud.kit.clock import Clock
from cloud.kit.db import Db
from cloud.kit.events import RetryLater, Subscriber
from cloud.kit.ports.mail import Mail, MailLaterError, MailRefusedError
from cloud.kit.scope import Scope

log = logging.getLogger(__name__)

_AGAIN_AFTER = timedelta(seconds=20)


@dataclass(frozen=True, slots=True)
class Post:
    """What identity's mail needs.

    Attributes:
        mail: what carries it.
        tokens: of the links in it.
        public_url: where customers find our pages, such as https://ride.example.org.
        clock: what time it is.
    """

    mail: Mail
    tokens: VerificationTokens
    public_url: str
    clock: Clock


def send_letter(db: Db, event: LetterAsked, post: Post) -> None:
    """Send a mail that is owed, unless it was, or nobody needs it any more."""
    letter = sign_ups.letter(db, event.letter_id)
    if letter is None or letter.outcome is not None:
        return
    now = max(event.at, post.clock.now())
    written = _written(db, letter, post)
    outcome = "not_needed"
    if written is not None:
        try:
            post.mail.send(letter.email, written.subject, written.text, about=letter.id)
            outcome = "sent"
        except MailLaterError as trouble:
            raise RetryLater(str(trouble), _AGAIN_AFTER) from trouble
        except MailRefusedError as trouble:
            # The text may name the address: it is no one's business in a log.
            log.warning("mail %s is refused for good", letter.id)
            log.debug("mail %s: %s", letter.id, trouble)
            outcome = "refused"
    sign_ups.letter_done(db, letter.id, outcome, now)
    LETTERS.labels(outcome).inc()


def _written(db: Db, letter: sign_ups.Letter, post: Post) -> letters.Written | None:
    """Return what to write; None when there is nothing to say, or it is too late."""
    now = post.clock.now()
    account = accounts.by_sign_in_name(db, letter.email)
    if letter.kind != "sign_up" and account is not None:
        return _about_password(db, letter, account, post)
    if letter.sign_up_id is None:
        asked = sign_ups.newest_open(db, letter.email, now)
    else:
        asked = sign_ups.find(db, letter.sign_up_id)
        if asked is None or asked.verified_at is not None or asked.expires_at <= now:
            return None
    if account is not None:
        scope = Scope(account.tenant, account.city)
        customer = customers.find(db, scope, account.id)
        language = letter.language if customer is None else customer.language
        return letters.written("known", language, post.public_url)
    if asked is None:
        return None
    token = post.tokens.issue(asked.id)
    return letters.written("verify", asked.language, post.public_url, token)


def _about_password(
    db: Db, letter: sign_ups.Letter, account: Account, post: Post
) -> letters.Written | None:
    """Return what to write to a customer; staff's passwords are their administrator's."""
    customer = customers.find(db, Scope(account.tenant, account.city), account.id)
    if customer is None or account.disabled_at is not None:
        return None
    if letter.kind == "password_changed":
        return letters.written("changed", customer.language, post.public_url)
    if letter.used_at is not None or letter.asked_at + RESET_LIFETIME <= post.clock.now():
        return None
    token = post.tokens.resets.issue(letter.id)
    return letters.written("reset", customer.language, post.public_url, token)


def subscribers(post: Post) -> tuple[Subscriber, ...]:
    """Return who acts on events, with this post."""
    return (Subscriber("identity.send_letters", (LetterAsked,), partial(send_letter, post=post)),)
