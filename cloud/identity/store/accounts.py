"""Accounts, and the wrong passwords that were tried."""

from collections.abc import Sequence
from datetime import datetime, timedelta

from psycopg import sql
from psycopg.rows import class_row

from cloud.identity.model import Account, Attempts
from cloud.kit.db import Db
from cloud.kit.scope import Scope

_COLUMNS = sql.SQL(
    "id, tenant, city, name, kind, role, scopes, password_hash, created_at, disabled_at"
)


def by_name(db: Db, name: str) -> Account | None:
    """Return the account with this user name, disabled or not."""
    with db.cursor(row_factory=class_row(Account)) as cursor:
        return cursor.execute(
            sql.SQL("SELECT {} FROM identity.account WHERE name = %s").format(_COLUMNS), (name,)
        ).fetchone()


def by_sign_in_name(db: Db, typed: str) -> Account | None:
    """Return the account that signs in so: by its user name, or a customer's e-mail address."""
    with db.cursor(row_factory=class_row(Account)) as cursor:
        return cursor.execute(
            sql.SQL(
                "SELECT {} FROM identity.account WHERE name = %(typed)s OR id ="
                " (SELECT account_id FROM identity.customer WHERE email = %(typed)s)"
                " ORDER BY name = %(typed)s DESC LIMIT 1"
            ).format(_COLUMNS),
            {"typed": typed},
        ).fetchone()


def every(db: Db, tenant: str | None = None) -> Sequence[Account]:
    """Return staff's and programs' accounts, of one tenant if told, by name."""
    with db.cursor(row_factory=class_row(Account)) as cursor:
        return cursor.execute(
            sql.SQL(
                "SELECT {} FROM identity.account"
                " WHERE kind <> 'customer' AND (%(tenant)s::text IS NULL OR tenant = %(tenant)s)"
                " ORDER BY name"
            ).format(_COLUMNS),
            {"tenant": tenant},
        ).fetchall()


def add(db: Db, account: Account) -> bool:
    """Insert an account; False when the name is taken."""
    done = db.execute(
        "INSERT INTO identity.account (id, tenant, city, name, kind, role, scopes, password_hash,"
        " created_at, password_changed_at) VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s)"
        " ON CONFLICT (name) DO NOTHING",
        (
            account.id,
            account.tenant,
            account.city,
            account.name,
            account.kind,
            account.role,
            list(account.scopes),
            account.password_hash,
            account.created_at,
            account.created_at,
        ),
    )
    return done.rowcount == 1


def set_password(db: Db, account: Account, password_hash: str, at: datetime) -> None:
    """Store another password."""
    db.execute(
        "UPDATE identity.account SET password_hash = %s, password_changed_at = %s WHERE id = %s",
        (password_hash, at, account.id),
    )


def rehash(db: Db, account: Account, password_hash: str) -> None:
    """Store the same password hashed anew, unless it was changed meanwhile."""
    db.execute(
        "UPDATE identity.account SET password_hash = %s WHERE id = %s AND password_hash = %s",
        (password_hash, account.id, account.password_hash),
    )


def set_role(db: Db, account: Account, role: str) -> None:
    """Give a member of staff another role."""
    db.execute("UPDATE identity.account SET role = %s WHERE id = %s", (role, account.id))


def disable(db: Db, account: Account, at: datetime) -> bool:
    """Disable an account; False when it was."""
    done = db.execute(
        "UPDATE identity.account SET disabled_at = %s WHERE id = %s AND disabled_at IS NULL",
        (at, account.id),
    )
    return done.rowcount == 1


def attempts(db: Db, kind: str, subject: bytes) -> Attempts:
    """Return the wrong passwords of one user name or address."""
    with db.cursor(row_factory=class_row(Attempts)) as cursor:
        found = cursor.execute(
            "SELECT failed_at, locked_until FROM identity.attempts"
            " WHERE kind = %s AND subject = %s",
            (kind, subject),
        ).fetchone()
    return found or Attempts()


def lock_attempts(db: Db, scope: Scope, kind: str, subject: bytes, at: datetime) -> Attempts:
    """Return them and keep others from counting until this transaction is over."""
    db.execute(
        "INSERT INTO identity.attempts (kind, subject, tenant, city, changed_at)"
        " VALUES (%s, %s, %s, %s, %s) ON CONFLICT DO NOTHING",
        (kind, subject, scope.tenant, scope.city, at),
    )
    with db.cursor(row_factory=class_row(Attempts)) as cursor:
        found = cursor.execute(
            "SELECT failed_at, locked_until FROM identity.attempts"
            " WHERE kind = %s AND subject = %s FOR UPDATE",
            (kind, subject),
        ).fetchone()
    return found or Attempts()


def save_attempts(db: Db, kind: str, subject: bytes, attempts: Attempts, at: datetime) -> None:
    """Store what was counted."""
    db.execute(
        "UPDATE identity.attempts SET failed_at = %s, locked_until = %s, changed_at = %s"
        " WHERE kind = %s AND subject = %s",
        (list(attempts.failed_at), attempts.locked_until, at, kind, subject),
    )


def forget_attempts(db: Db, kind: str, subject: bytes) -> bool:
    """Let a user name or address begin anew; True when there was something to forget."""
    done = db.execute(
        "DELETE FROM identity.attempts WHERE kind = %s AND subject = %s", (kind, subject)
    )
    return done.rowcount == 1


def drop_old_attempts(db: Db, before: datetime) -> None:
    """Delete what no longer counts."""
    db.execute(
        "DELETE FROM identity.attempts WHERE (kind, subject) IN (SELECT kind, subject"
        " FROM identity.attempts WHERE changed_at < %s FOR UPDATE SKIP LOCKED)",
        (before,),
    )


def locked_names(db: Db, names: Sequence[tuple[str, bytes]], now: datetime) -> dict[str, timedelta]:
    """Return which of these user names, given with their digests, are locked and for how long."""
    rows = db.execute(
        "SELECT subject, locked_until FROM identity.attempts"
        " WHERE kind = 'user' AND subject = ANY(%s) AND locked_until > %s",
        ([subject for _, subject in names], now),
    ).fetchall()
    until = {bytes(subject): locked_until for subject, locked_until in rows}
    return {name: until[subject] - now for name, subject in names if subject in until}
