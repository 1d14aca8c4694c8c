"""Accounts: one function an intention. Passwords are hashed before a transaction, never in one."""

import getpass
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from cloud.identity import model
from cloud.identity.model import Account, AccountKind, Actor, Who
from cloud.identity.passwords import PASSWORDS, Passwords, generated
from cloud.identity.store import accounts as store
from cloud.identity.store import sessions
from cloud.identity.trail import audit
from cloud.kit.db import Db
from cloud.kit.ids import new_id
from cloud.kit.scope import DEMO, Scope


class NoSuchAccountError(ValueError):
    """Nobody has this user name."""

    def __init__(self, name: str) -> None:
        super().__init__(f"no account named {name!r}; `mobility-cloud accounts list` shows all")


@dataclass(frozen=True, slots=True)
class AccountView:
    """An account as lists show it; `locked_for` is how long it cannot sign in, None if it can."""

    name: str
    kind: AccountKind
    role: str
    scopes: Sequence[str]
    tenant: str
    city: str
    created_at: datetime
    disabled_at: datetime | None
    locked_for: timedelta | None


def console(scope: Scope = DEMO) -> Actor:
    """Return the person at the machine's own console, who needs no account."""
    try:
        name = getpass.getuser()
    except (KeyError, OSError):
        name = "unknown"
    return Actor(f"console:{name}", "system", scope.tenant, scope.city)


def add_account(
    db: Db,
    name: str,
    at: datetime,
    *,
    role: str = "",
    scopes: Sequence[str] = (),
    password: str | None = None,
    by: Who | None = None,
    scope: Scope = DEMO,
    passwords: Passwords = PASSWORDS,
) -> str:
    """Add a member of staff with a role, or a program with scopes; return the password.

    Args:
        db: connection, outside of any transaction.
        name: user name; capitals do not count.
        at: now.
        role: one of ROLES; empty for a service account.
        scopes: of a service account.
        password: a generated one when None.
        by: who does it; the console when None.
        scope: tenant and city it belongs to.
        passwords: what hashes them.

    Raises:
        ValueError: a name, role, scope or password that cannot be, or a name that is taken.
        BusyError: too many hash passwords now.
    """
    chosen = generated() if password is None else password
    account = _new(name, role, scopes, scope, at)
    model.check_password(chosen)
    password_hash = passwords.hash(chosen)
    with db.transaction():
        is_taken = store.by_sign_in_name(db, account.name) is not None
        if is_taken or not store.add(db, replace(account, password_hash=password_hash)):
            raise ValueError(f"{account.name!r} is taken; choose another user name")
        told = {"kind": account.kind, "role": account.role, "scopes": account.scopes}
        audit(db, by or console(scope), "account.added", account.name, told, at)
    return chosen


def ensure_account(
    db: Db,
    user: str,
    password: str,
    role: str,
    at: datetime,
    *,
    passwords: Passwords = PASSWORDS,
) -> None:
    """Make sure that a member of staff can sign in with this password and role.

    Idempotent; a disabled account stays disabled. Raises as `add_account` does.
    """
    name = model.canonical_name(user)
    found = store.by_name(db, name)
    if found is None:
        add_account(db, name, at, role=role, password=password, passwords=passwords)
        return
    model.check_account(name, "staff", role, ())
    model.check_password(password)
    changed = not passwords.matches(found.password_hash, password)
    password_hash = passwords.hash(password) if changed else found.password_hash
    if not changed and found.role == role:
        return
    with db.transaction():
        if changed:
            store.set_password(db, found, password_hash, at)
            sessions.end_all(db, found, "the password was changed", at)
            audit(db, console(), "account.password_changed", name, {}, at)
        if found.role != role:
            store.set_role(db, found, role)
            told = {"from": found.role, "to": role}
            audit(db, console(), "account.role_changed", name, told, at)


def disable_account(db: Db, user: str, at: datetime, *, by: Who | None = None) -> int:
    """Disable an account and end its sign-ins; return how many there were.

    An access token that was handed out stays good until it ends, ten minutes at most.

    Raises:
        NoSuchAccountError: nobody has this name.
    """
    with db.transaction():
        account = _existing(db, user)
        ended = sessions.end_all(db, account, "the account was disabled", at)
        if store.disable(db, account, at):
            audit(db, by or console(), "account.disabled", account.name, {"sessions": ended}, at)
        return ended


def unlock_account(db: Db, user: str, at: datetime, *, by: Who | None = None) -> bool:
    """Forget an account's wrong passwords; False when there were none.

    Raises:
        NoSuchAccountError: nobody has this name.
    """
    with db.transaction():
        account = _existing(db, user)
        typed = {account.name, model.canonical_name(user)}
        subjects = [model.digest(name) for name in sorted(typed)]
        forgotten = sum(store.forget_attempts(db, "user", subject) for subject in subjects) > 0
        if forgotten:
            audit(db, by or console(), "account.unlocked", account.name, {}, at)
        return forgotten


def list_accounts(db: Db, now: datetime, *, tenant: str | None = None) -> list[AccountView]:
    """Return every account of staff and programs, of one tenant if told, by name."""
    found = store.every(db, tenant)
    locked = store.locked_names(db, [(a.name, model.digest(a.name)) for a in found], now)
    return [
        AccountView(
            name=account.name,
            kind=account.kind,
            role=account.role,
            scopes=sorted(account.may),
            tenant=account.tenant,
            city=account.city,
            created_at=account.created_at,
            disabled_at=account.disabled_at,
            locked_for=locked.get(account.name),
        )
        for account in found
    ]


def _existing(db: Db, user: str) -> Account:
    account = store.by_sign_in_name(db, model.canonical_name(user))
    if account is None:
        raise NoSuchAccountError(user)
    return account


def _new(name: str, role: str, scopes: Sequence[str], scope: Scope, at: datetime) -> Account:
    kind: AccountKind = "staff" if role else "service"
    account = Account(
        id=new_id(at),
        tenant=scope.tenant,
        city=scope.city,
        name=model.canonical_name(name),
        kind=kind,
        role=role,
        scopes=() if role else sorted(set(scopes)),
        password_hash="",
        created_at=at,
        disabled_at=None,
    )
    model.check_account(account.name, kind, role, account.scopes)
    return account
