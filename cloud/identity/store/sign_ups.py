"""Sign-ups, and the mail that is owed for them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal
from uuid import UUID

from psycopg import sql
from psycopg.rows import class_row
from psycopg.types.json import Jsonb

from cloud.kit.db import Db

LetterKind = Literal["sign_up", "reset", "password_changed"]


@dataclass(frozen=True, slots=True)
class SignUp:
    """Somebody who asked for an account."""

    id: UUID
    tenant: str
    city: str
    email: str
    name: str
    language: str
    time_zone: str
    password_hash: str
    consents: Sequence[Mapping[str, Any]]
    asked_at: datetime
    expires_at: datetime
    verified_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Letter:
    """A mail that is owed; `sign_up_id` is None when somebody asked for a mail again.

    `used_at`: a new password was set by its link, or by a newer one.
    """

    id: UUID
    tenant: str
    city: str
    email: str
    language: str
    sign_up_id: UUID | None
    asked_at: datetime
    outcome: str | None = None
    kind: LetterKind = "sign_up"
    used_at: datetime | None = None


_SIGN_UP = sql.SQL(
    "id, tenant, city, email, name, language, time_zone, password_hash, consents, asked_at,"
    " expires_at, verified_at"
)
_LETTER = sql.SQL("id, tenant, city, email, language, sign_up_id, asked_at, outcome, kind, used_at")


def add(db: Db, asked: SignUp) -> None:
    """Note that somebody asked for an account."""
    db.execute(
        "INSERT INTO identity.sign_up (id, tenant, city, email, name, language, time_zone,"
        " password_hash, consents, asked_at, expires_at)"
        " VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s)",
        (
            asked.id,
            asked.tenant,
            asked.city,
            asked.email,
            asked.name,
            asked.language,
            asked.time_zone,
            asked.password_hash,
            Jsonb(asked.consents),
            asked.asked_at,
            asked.expires_at,
        ),
    )


def find(db: Db, sign_up_id: UUID, *, lock: bool = False) -> SignUp | None:
    """Return a sign-up; locked, nobody else verifies it until the transaction ends."""
    with db.cursor(row_factory=class_row(SignUp)) as cursor:
        return cursor.execute(
            sql.SQL("SELECT {} FROM identity.sign_up WHERE id = %s").format(_SIGN_UP)
            + sql.SQL(" FOR UPDATE" if lock else ""),
            (sign_up_id,),
        ).fetchone()


def newest_open(db: Db, email: str, now: datetime) -> SignUp | None:
    """Return the newest sign-up of an address that can still be verified."""
    with db.cursor(row_factory=class_row(SignUp)) as cursor:
        return cursor.execute(
            sql.SQL(
                "SELECT {} FROM identity.sign_up WHERE email = %s AND verified_at IS NULL"
                " AND expires_at > %s ORDER BY asked_at DESC, id DESC LIMIT 1"
            ).format(_SIGN_UP),
            (email, now),
        ).fetchone()


def renew(db: Db, email: str, expires_at: datetime) -> None:
    """Let the newest sign-up of an address that nobody has confirmed end later."""
    db.execute(
        "UPDATE identity.sign_up SET expires_at = %s WHERE id = (SELECT id FROM identity.sign_up"
        " WHERE email = %s AND verified_at IS NULL ORDER BY asked_at DESC, id DESC LIMIT 1)",
        (expires_at, email),
    )


def verified(db: Db, sign_up_id: UUID, at: datetime) -> None:
    """Note that a sign-up became an account, and forget what was said in it."""
    db.execute(
        "UPDATE identity.sign_up SET verified_at = %s, name = '', password_hash = '',"
        " consents = '[]' WHERE id = %s",
        (at, sign_up_id),
    )


def add_letter(db: Db, letter: Letter) -> None:
    """Note that a mail is owed."""
    db.execute(
        "INSERT INTO identity.letter (id, tenant, city, email, language, sign_up_id, asked_at,"
        " kind) VALUES (%s, %s, %s, %s, %s, %s, %s, %s)",
        (
            letter.id,
            letter.tenant,
            letter.city,
            letter.email,
            letter.language,
            letter.sign_up_id,
            letter.asked_at,
            letter.kind,
        ),
    )


def letter(db: Db, letter_id: UUID, *, lock: bool = False) -> Letter | None:
    """Return a mail that is or was owed; locked, only this transaction uses its link."""
    with db.cursor(row_factory=class_row(Letter)) as cursor:
        return cursor.execute(
            sql.SQL("SELECT {} FROM identity.letter WHERE id = %s").format(_LETTER)
            + sql.SQL(" FOR UPDATE" if lock else ""),
            (letter_id,),
        ).fetchone()


def use_resets(db: Db, email: str, at: datetime) -> None:
    """Note that no link to a new password for this address is good any more."""
    db.execute(
        "UPDATE identity.letter SET used_at = %s"
        " WHERE email = %s AND kind = 'reset' AND used_at IS NULL",
        (at, email),
    )


def letter_done(db: Db, letter_id: UUID, outcome: str, at: datetime) -> None:
    """Note what became of a mail."""
    db.execute(
        "UPDATE identity.letter SET outcome = %s, done_at = %s WHERE id = %s",
        (outcome, at, letter_id),
    )


def drop_old(db: Db, before: datetime) -> None:
    """Delete sign-ups that ended before then, and the mail of that time."""
    db.execute("DELETE FROM identity.letter WHERE asked_at < %s", (before,))
    db.execute("DELETE FROM identity.sign_up WHERE expires_at < %s", (before,))
