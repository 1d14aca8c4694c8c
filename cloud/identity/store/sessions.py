"""Sign-ins and the refresh tokens that follow from them."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from cloud.identity.model import Account
from cloud.kit.db import Db


@dataclass(frozen=True, slots=True)
class Session:
    """One sign-in that has not ended, and whose it is; `asked` is None when all scopes were."""

    id: UUID
    account: Account
    asked: Sequence[str] | None
    expires_at: datetime


@dataclass(frozen=True, slots=True)
class Refresh:
    """A refresh token that was shown, its session locked; `ended` when that is over."""

    session: Session
    used_at: datetime | None
    ended: bool


_OF_SESSION = "s.id, s.asked_scopes, s.expires_at, s.ended_at"
_OF_ACCOUNT = (
    "a.id, a.tenant, a.city, a.name, a.kind, a.role, a.scopes, a.password_hash, a.created_at,"
    " a.disabled_at"
)


def start(
    db: Db,
    session_id: UUID,
    account: Account,
    asked: Sequence[str] | None,
    at: datetime,
    expires_at: datetime,
    *,
    secret_hash: bytes | None = None,
) -> None:
    """Note a sign-in: a page's with the hash of its secret, else one that refresh tokens follow."""
    db.execute(
        "INSERT INTO identity.session (id, tenant, city, account_id, kind, secret_hash,"
        " asked_scopes, started_at, expires_at) VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s)",
        (
            session_id,
            account.tenant,
            account.city,
            account.id,
            "token" if secret_hash is None else "page",
            secret_hash,
            None if asked is None else list(asked),
            at,
            expires_at,
        ),
    )


def add_refresh_token(db: Db, session: UUID, account: Account, token: bytes, at: datetime) -> None:
    """Note a refresh token by its hash."""
    db.execute(
        "INSERT INTO identity.refresh_token (hash, tenant, city, session_id, issued_at)"
        " VALUES (%s, %s, %s, %s, %s)",
        (token, account.tenant, account.city, session, at),
    )


def lock_refresh(db: Db, token: bytes, now: datetime) -> Refresh | None:
    """Return what is known of a refresh token; nobody else uses it, or its family, meanwhile."""
    row = db.execute(
        f"SELECT {_OF_SESSION}, {_OF_ACCOUNT} FROM identity.session AS s"  # noqa: S608 - constants
        " JOIN identity.account AS a ON a.id = s.account_id"
        " WHERE s.id = (SELECT session_id FROM identity.refresh_token WHERE hash = %s)"
        " FOR UPDATE OF s",
        (token,),
    ).fetchone()
    if row is None:
        return None
    # Read under the lock: whoever held it may have used the token.
    used = db.execute(
        "SELECT used_at FROM identity.refresh_token WHERE hash = %s", (token,)
    ).fetchone()
    session, ended_at = _session(row)
    ended = ended_at is not None or session.expires_at <= now
    return Refresh(session, None if used is None else used[0], ended)


def use_refresh(db: Db, token: bytes, at: datetime) -> None:
    """Note that a refresh token was used; it is good for nothing any more."""
    db.execute("UPDATE identity.refresh_token SET used_at = %s WHERE hash = %s", (at, token))


def page_session(db: Db, secret_hash: bytes, now: datetime) -> Session | None:
    """Return the page's session that is still good."""
    row = db.execute(
        f"SELECT {_OF_SESSION}, {_OF_ACCOUNT} FROM identity.session AS s"  # noqa: S608 - constants
        " JOIN identity.account AS a ON a.id = s.account_id WHERE s.secret_hash = %s"
        " AND s.ended_at IS NULL AND s.expires_at > %s AND a.disabled_at IS NULL",
        (secret_hash, now),
    ).fetchone()
    return None if row is None else _session(row)[0]


def end(db: Db, session_id: UUID, reason: str, at: datetime) -> bool:
    """End one sign-in; False when it had ended."""
    done = db.execute(
        "UPDATE identity.session SET ended_at = %s, end_reason = %s"
        " WHERE id = %s AND ended_at IS NULL",
        (at, reason, session_id),
    )
    return done.rowcount == 1


def end_all(db: Db, account: Account, reason: str, at: datetime) -> int:
    """End every sign-in of an account; return how many there were."""
    done = db.execute(
        "UPDATE identity.session SET ended_at = %s, end_reason = %s"
        " WHERE account_id = %s AND ended_at IS NULL",
        (at, reason, account.id),
    )
    return done.rowcount


def drop_expired(db: Db, before: datetime) -> int:
    """Delete sign-ins, with their refresh tokens, that expired before a moment."""
    return db.execute("DELETE FROM identity.session WHERE expires_at < %s", (before,)).rowcount


def _session(row: Sequence[object]) -> tuple[Session, datetime | None]:
    session_id, asked, expires_at, ended_at, *of_account = row
    return Session(session_id, Account(*of_account), asked, expires_at), ended_at  # type: ignore[arg-type,return-value]  # as the columns are
