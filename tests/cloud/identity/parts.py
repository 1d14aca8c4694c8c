"""The sign-in on one connection, with passwords that are quick to hash."""

from contextlib import nullcontext

from argon2 import PasswordHasher

from cloud.identity.accounts import add_account
from cloud.identity.passwords import Passwords
from cloud.identity.service import SignIn
from cloud.identity.tokens import AccessTokens
from cloud.kit.clock import ManualClock
from cloud.kit.db import Db
from tests.cloud.signed_in import TOKEN_KEY

PASSWORD = "correct horse battery"
QUICK = Passwords(PasswordHasher(time_cost=1, memory_cost=8, parallelism=1))
HERE = "192.0.2.7"


def a_sign_in(db: Db, clock: ManualClock, passwords: Passwords = QUICK) -> SignIn:
    """The sign-in of a process that has one connection."""
    return SignIn(lambda: nullcontext(db), clock, AccessTokens(TOKEN_KEY), passwords=passwords)


def an_account(db: Db, clock: ManualClock, name: str = "ada", role: str = "operator") -> str:
    """Add a member of staff whose password is PASSWORD; return the name."""
    add_account(db, name, clock.now(), role=role, password=PASSWORD, passwords=QUICK)
    return name


def actions(db: Db) -> list[str]:
    """What the audit chain holds, oldest first."""
    rows = db.execute("SELECT action FROM identity.audit ORDER BY seq").fetchall()
    return [action for (action,) in rows]
