"""A new password for a customer who has lost theirs: asking for the mail, following its link.

As with sign-ups only the mail says whether an address is known. The link is good once and for an
hour; its token is made from the letter's id, so that no table or backup holds one.
"""

from datetime import datetime, timedelta
from uuid import UUID

from cloud.identity import asking, model
from cloud.identity import customer_rules as rules
from cloud.identity.metrics import RESETS
from cloud.identity.model import Account
from cloud.identity.passwords import PASSWORDS, Passwords
from cloud.identity.service import Connections
from cloud.identity.sign_up import LinkExpiredError, LinkUnknownError, LinkUsedError
from cloud.identity.store import accounts, sessions, sign_ups
from cloud.identity.store.sign_ups import Letter
from cloud.identity.trail import audit
from cloud.identity.verification import VerificationTokens
from cloud.kit.clock import Clock
from cloud.kit.db import Db
from cloud.kit.ids import new_id
from cloud.kit.scope import DEMO, Scope


class ResetLinkUsedError(LinkUsedError):
    """The link has set a password already, or a newer one has."""


class ResetLinkExpiredError(LinkExpiredError):
    """The link was good for an hour, and that is over."""


class TooManyResetsError(Exception):
    """Too many requests for one e-mail address or from one place; `wait` says how long."""

    def __init__(self, wait: timedelta) -> None:
        super().__init__("too many requests for a new password")
        self.wait = wait


class PasswordReset:
    """The resets of one process.

    Args:
        connections: lends connections.
        clock: what time it is.
        tokens: of the links.
        scope: whose customers ask.
        passwords: what hashes them.
        address_limit: requests from one network address in model.WINDOW.
    """

    def __init__(
        self,
        connections: Connections,
        clock: Clock,
        tokens: VerificationTokens,
        *,
        scope: Scope = DEMO,
        passwords: Passwords = PASSWORDS,
        address_limit: int = rules.ADDRESS_LIMIT,
    ) -> None:
        self._connections = connections
        self._clock = clock
        self._tokens = tokens.resets
        self._scope = scope
        self._passwords = passwords
        self._address_limit = address_limit

    def ask(self, email: str, address: str) -> None:
        """Ask for the mail with the link; what comes of it is told there and nowhere else.

        Raises:
            NotValidError: this can be no e-mail address.
            TooManyResetsError: for this e-mail address or from this place.
        """
        now, email = self._clock.now(), rules.canonical_email(email)
        counted = asking.guards("reset", email, address, self._address_limit)
        with self._connections() as db, db.transaction():
            wait = asking.count(db, self._scope, counted, now)
            if wait is None:
                asking.owe(db, self._letter("reset", email, now))
        if wait is not None:
            RESETS.labels("too_many").inc()
            raise TooManyResetsError(wait)
        RESETS.labels("asked").inc()

    def set_password(self, token: str, password: str, address: str) -> None:
        """Set the password of the account that a link is for, and end all its sign-ins.

        Raises:
            ValueError: a password of a length that cannot be.
            LinkUnknownError: the token is not one of ours.
            ResetLinkUsedError: it has been used, or a newer one has.
            ResetLinkExpiredError: ask for another mail.
            BusyError: too many passwords are hashed now.
        """
        model.check_password(password)
        letter_id, now = self._tokens.read(token), self._clock.now()
        if letter_id is None:
            raise LinkUnknownError
        with self._connections() as db:
            _checked(db, letter_id, now)
        password_hash = self._passwords.hash(password)
        with self._connections() as db, db.transaction():
            letter, account = _checked(db, letter_id, now)
            sign_ups.use_resets(db, letter.email, now)
            accounts.set_password(db, account, password_hash, now)
            # Whoever reads the mailbox is let in, even where somebody else has guessed too often.
            for name in (letter.email, account.name):
                accounts.forget_attempts(db, "user", model.digest(name))
            sessions.end_all(db, account, "the password was reset", now)
            asking.owe(db, self._letter("password_changed", letter.email, now))
            told = {"address": address}
            audit(db, account.principal(), "password.reset", account.name, told, now)
        RESETS.labels("set").inc()

    def _letter(self, kind: sign_ups.LetterKind, email: str, now: datetime) -> Letter:
        """Return a letter; it is written in the language of whoever owns the address."""
        tenant, city = self._scope.tenant, self._scope.city
        return Letter(new_id(now), tenant, city, email, "", None, now, kind=kind)


def _checked(db: Db, letter_id: UUID, now: datetime) -> tuple[Letter, Account]:
    """Return the letter of a link, locked, and whose password it may set."""
    letter = sign_ups.letter(db, letter_id, lock=True)
    if letter is None or letter.kind != "reset":
        raise LinkUnknownError
    account = accounts.by_sign_in_name(db, letter.email)
    if account is None or account.kind != "customer" or account.disabled_at is not None:
        raise LinkUnknownError
    if letter.used_at is not None:
        raise ResetLinkUsedError
    if letter.asked_at + rules.RESET_LIFETIME <= now:
        raise ResetLinkExpiredError
    return letter, account
