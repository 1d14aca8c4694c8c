"""Becoming a customer: asking for an account, following the link.

Whether an e-mail address is known is told by mail to whoever reads that address, and to nobody
else: both ways ask the same statements of the database and hash one password.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from datetime import datetime, timedelta
from uuid import UUID

from cloud.events.identity import ConsentGiven, CustomerVerified
from cloud.identity import asking, model
from cloud.identity import customer_rules as rules
from cloud.identity.customer_rules import Agreed, Consent, Customer
from cloud.identity.metrics import SIGN_UPS
from cloud.identity.model import Account
from cloud.identity.passwords import PASSWORDS, Passwords
from cloud.identity.service import Connections, SignIn, Tokens
from cloud.identity.store import accounts, customers, sign_ups
from cloud.identity.trail import audit
from cloud.identity.verification import VerificationTokens
from cloud.kit.clock import Clock
from cloud.kit.db import Db
from cloud.kit.events import publish
from cloud.kit.ids import new_id
from cloud.kit.scope import DEMO, Scope


class TooManySignUpsError(Exception):
    """Too many sign-ups for one e-mail address or from one place; `wait` says how long."""

    def __init__(self, wait: timedelta) -> None:
        super().__init__("too many sign-ups")
        self.wait = wait


class LinkUnknownError(Exception):
    """A token that is not ours, or changed, or long gone."""


class LinkUsedError(Exception):
    """The address is confirmed already."""


class PasswordDiffersError(Exception):
    """Not the password of the sign-up: whoever reads the mail did not choose it."""


class LinkExpiredError(Exception):
    """The link was good for a day, and that is over."""


@dataclass(frozen=True, slots=True)
class Wish:
    """What somebody says who wants an account."""

    email: str
    password: str
    name: str
    language: str
    time_zone: str
    consents: Sequence[Agreed]


class SignUp:
    """The sign-up of one process.

    Args:
        connections: lends connections.
        clock: what time it is.
        tokens: of the links.
        sign_in: what a verified customer is signed in by.
        scope: whose customers they become.
        passwords: what hashes them.
        address_limit: sign-ups from one network address in model.WINDOW.
    """

    def __init__(
        self,
        connections: Connections,
        clock: Clock,
        tokens: VerificationTokens,
        sign_in: SignIn,
        *,
        scope: Scope = DEMO,
        passwords: Passwords = PASSWORDS,
        address_limit: int = rules.ADDRESS_LIMIT,
    ) -> None:
        self._connections = connections
        self._clock = clock
        self._tokens = tokens
        self._sign_in = sign_in
        self._passwords = passwords
        self._address_limit = address_limit
        self.scope = scope

    def ask(self, wish: Wish, address: str) -> None:
        """Ask for an account; what comes of it is in the mail.

        Raises:
            ValueError: a password of a length that cannot be.
            NotValidError: something else in the wish cannot be.
            ConsentMissingError: a required document is not agreed to.
            ConsentUnknownError: something agreed to is not in force.
            TooManySignUpsError: for this e-mail address or from this place.
            BusyError: too many passwords are hashed now.
        """
        now = self._clock.now()
        wish = _checked(wish)
        with self._connections() as db:
            in_force = customers.documents(db, self.scope, now)
        agreed = rules.check_consents(wish.consents, in_force)
        self._count(wish.email, address, now)
        password_hash = self._passwords.hash(wish.password)
        asked = sign_ups.SignUp(
            id=new_id(now),
            tenant=self.scope.tenant,
            city=self.scope.city,
            email=wish.email,
            name=wish.name,
            language=wish.language,
            time_zone=wish.time_zone,
            password_hash=password_hash,
            consents=[asdict(one) for one in agreed],
            asked_at=now,
            expires_at=now + rules.LINK_LIFETIME,
        )
        letter = self._letter(wish.email, wish.language, asked.id, now)
        with self._connections() as db, db.transaction():
            sign_ups.add(db, asked)
            asking.owe(db, letter)
        SIGN_UPS.labels("asked").inc()

    def ask_again(self, email: str, address: str) -> None:
        """Ask for the mail once more, with a link that is good for another day.

        Raises NotValidError and TooManySignUpsError.
        """
        now, email = self._clock.now(), rules.canonical_email(email)
        self._count(email, address, now)
        with self._connections() as db, db.transaction():
            sign_ups.renew(db, email, now + rules.LINK_LIFETIME)
            asking.owe(db, self._letter(email, "", None, now))
        SIGN_UPS.labels("asked_again").inc()

    def verify(self, token: str, address: str, password: str | None = None) -> Tokens:
        """Make the account that a link is for, and sign its owner in.

        Args:
            token: of the link.
            address: where the request comes from.
            password: the one of the sign-up, typed again by whoever follows the link. Pages ask
                for it, so that nobody makes an account for an address that another confirms.

        Raises:
            PasswordDiffersError: it is not the one of the sign-up.
            BusyError: too many passwords are hashed now.
            LinkUnknownError: the token is not one of ours.
            LinkUsedError: the address is confirmed already; sign in with the password.
            LinkExpiredError: sign up again.
        """
        sign_up_id, now = self._tokens.read(token), self._clock.now()
        if sign_up_id is None:
            raise LinkUnknownError
        if password is not None:
            self._check_password(sign_up_id, password)
        with self._connections() as db, db.transaction():
            asked = sign_ups.find(db, sign_up_id, lock=True)
            if asked is None:
                raise LinkUnknownError
            known = accounts.by_sign_in_name(db, asked.email)
            if asked.verified_at is not None or known is not None:
                raise LinkUsedError
            if asked.expires_at <= now:
                raise LinkExpiredError
            account = _become_customer(db, asked, now)
            tokens = self._sign_in.begin(db, account, address, now)
        SIGN_UPS.labels("verified").inc()
        return tokens

    def _check_password(self, sign_up_id: UUID, password: str) -> None:
        """Raise PasswordDiffersError unless it is the one; a link of no use is told later."""
        with self._connections() as db:
            asked = sign_ups.find(db, sign_up_id)
        if asked is None or asked.verified_at is not None:
            return
        if not self._passwords.matches(asked.password_hash, password):
            SIGN_UPS.labels("password_differs").inc()
            raise PasswordDiffersError

    def _letter(
        self, email: str, language: str, sign_up_id: UUID | None, now: datetime
    ) -> sign_ups.Letter:
        tenant, city = self.scope.tenant, self.scope.city
        return sign_ups.Letter(new_id(now), tenant, city, email, language, sign_up_id, now)

    def _count(self, email: str, address: str, now: datetime) -> None:
        """Count it by e-mail address, known or not, and by where it comes from."""
        counted = asking.guards("sign_up", email, address, self._address_limit)
        with self._connections() as db, db.transaction():
            wait = asking.count(db, self.scope, counted, now)
        if wait is not None:
            SIGN_UPS.labels("too_many").inc()
            raise TooManySignUpsError(wait)


def _checked(wish: Wish) -> Wish:
    model.check_password(wish.password)
    return replace(
        wish,
        email=rules.canonical_email(wish.email),
        name=rules.check_name(wish.name),
        language=rules.canonical_language(wish.language),
        time_zone=rules.check_time_zone(wish.time_zone),
    )


def _become_customer(db: Db, asked: sign_ups.SignUp, now: datetime) -> Account:
    account_id = new_id(now)
    account = Account(
        id=account_id,
        tenant=asked.tenant,
        city=asked.city,
        name=f"{model.CUSTOMER}-{account_id}",
        kind="customer",
        role=model.CUSTOMER,
        scopes=(),
        password_hash=asked.password_hash,
        created_at=now,
        disabled_at=None,
    )
    customer = Customer(
        id=str(account_id),
        tenant=asked.tenant,
        city=asked.city,
        email=asked.email,
        name=asked.name,
        language=asked.language,
        time_zone=asked.time_zone,
        verified_at=now,
    )
    accounts.add(db, account)
    if not customers.add(db, account_id, customer):
        # Another link for the same address was followed at the same moment.
        raise LinkUsedError
    sign_ups.verified(db, asked.id, now)
    _tell(db, customer, account_id, asked, now)
    audit(db, account.principal(), "account.added", account.name, {"kind": account.kind}, now)
    return account


def _tell(
    db: Db, customer: Customer, account_id: UUID, asked: sign_ups.SignUp, now: datetime
) -> None:
    """Note what was agreed to, at the time it was, and tell everybody of the customer."""
    scope = Scope(customer.tenant, customer.city)
    about = {"tenant": scope.tenant, "city": scope.city, "customer_id": customer.id}
    verified = CustomerVerified(
        **about, language=customer.language, time_zone=customer.time_zone, at=now
    )
    publish(db, verified, at=now)
    for one in asked.consents:
        consent = Consent(one["document"], one["version"], given=True, at=asked.asked_at)
        customers.add_consent(db, scope, account_id, consent)
        given = ConsentGiven(
            **about, document=consent.document, version=consent.version, at=consent.at
        )
        publish(db, given, at=now)
