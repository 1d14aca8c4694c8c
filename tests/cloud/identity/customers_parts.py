"""Customers as tests need them: a sign-up with its post, and somebody who went through it."""

import re
from contextlib import nullcontext
from dataclasses import dataclass, field
from datetime import datetime
from uuid import UUID

from cloud.identity.customer_rules import Agreed, Customer
from cloud.identity.model import Account
from cloud.identity.reactions import Post, subscribers
from cloud.identity.service import SignIn, Tokens
from cloud.identity.sign_up import SignUp, Wish
from cloud.identity.store import accounts, customers
from cloud.identity.verification import VerificationTokens
from cloud.kit.clock import ManualClock
from cloud.kit.db import Db
from cloud.kit.events import register, run_due
from cloud.kit.principal import Credentials, Principal
from cloud.kit.scope import DEMO
from tests.cloud.identity.parts import HERE, PASSWORD, QUICK, a_sign_in
from tests.cloud.signed_in import TOKEN_KEY

URL = "https://ride.example.org"
REQUIRED = (Agreed("terms", "1"), Agreed("privacy", "1"))


@dataclass(frozen=True)
class Sent:
    to: str
    subject: str
    text: str
    about: UUID

    @property
    def token(self) -> str:
        found = re.search(r"/verify#token=([\w-]+)", self.text)
        assert found is not None, self.text
        return found[1]


@dataclass
class Mailbox:
    """Takes mail and shows it; raises `trouble` instead while there is one."""

    sent: list[Sent] = field(default_factory=list)
    trouble: Exception | None = None

    def send(
        self, to: str, subject: str, text: str, html: str | None = None, *, about: UUID
    ) -> None:
        if self.trouble is not None:
            raise self.trouble
        self.sent.append(Sent(to, subject, text, about))


def a_wish(email: str = "rita@example.org", language: str = "en") -> Wish:
    """What somebody says who wants to ride."""
    return Wish(email, PASSWORD, "Rita Rider", language, "Europe/Berlin", REQUIRED)


def a_known_customer(db: Db, customer_id: str, at: datetime) -> None:
    """Somebody with this id who went through the sign-up before."""
    account = Account(
        id=UUID(customer_id),
        tenant=DEMO.tenant,
        city=DEMO.city,
        name=f"customer-{customer_id}",
        kind="customer",
        role="customer",
        scopes=(),
        password_hash="",
        created_at=at,
        disabled_at=None,
    )
    email, zone = f"{customer_id}@example.org", "Europe/Berlin"
    accounts.add(db, account)
    customers.add(
        db,
        account.id,
        Customer(customer_id, DEMO.tenant, DEMO.city, email, "Rita Rider", "en", zone, at),
    )


@dataclass
class World:
    """Identity on one connection, with a mailbox at its door."""

    db: Db
    clock: ManualClock
    mailbox: Mailbox = field(default_factory=Mailbox)

    def __post_init__(self) -> None:
        tokens = VerificationTokens(TOKEN_KEY)
        self.post = Post(self.mailbox, tokens, URL, self.clock)
        self.tokens = tokens
        self.sign_in: SignIn = a_sign_in(self.db, self.clock)
        self.sign_up = SignUp(
            lambda: nullcontext(self.db), self.clock, tokens, self.sign_in, passwords=QUICK
        )
        register(self.db, ["identity"], subscribers(self.post))

    def deliver(self) -> int:
        return run_due(self.db, subscribers(self.post), self.clock.now())

    def ask(self, email: str = "rita@example.org", language: str = "en") -> Sent:
        """Sign up and return the mail that came of it."""
        self.sign_up.ask(a_wish(email, language), HERE)
        self.deliver()
        return self.mailbox.sent[-1]

    def customer(self, email: str = "rita@example.org") -> Principal:
        """Somebody who signed up and followed the link."""
        return self.who(self.sign_up.verify(self.ask(email).token, HERE))

    def who(self, tokens: Tokens) -> Principal:
        found = self.sign_in.authenticate(Credentials(token=tokens.access_token))
        assert found is not None
        return found
