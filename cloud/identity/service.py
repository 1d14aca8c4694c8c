"""Signing in, staying signed in, signing out: one function an intention.

A password is hashed with no connection held. What a failure leaves behind (the count, a lock, a
dead family) is committed before the caller is told.
"""

import logging
import secrets
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

from cloud.identity import model
from cloud.identity.metrics import REFRESHES, SIGN_INS
from cloud.identity.model import Account, Actor
from cloud.identity.passwords import PASSWORDS, Passwords
from cloud.identity.store import accounts, sessions, sign_ups
from cloud.identity.tokens import LIFETIME, AccessTokens
from cloud.identity.trail import audit
from cloud.kit.clock import Clock
from cloud.kit.db import Db
from cloud.kit.ids import new_id
from cloud.kit.principal import Credentials, Principal
from cloud.kit.scope import DEMO

log = logging.getLogger(__name__)

Connections = Callable[[], AbstractContextManager[Db]]
"""Lends a connection, such as a pool's `connection`."""


class SignInRefusedError(Exception):
    """A user name and a password that do not belong together, whichever of them is wrong."""


class RefreshRefusedError(Exception):
    """A refresh token that is unknown, used, or over."""


class TooManyAttemptsError(Exception):
    """Too many wrong passwords; `wait` says until when nothing is let through."""

    def __init__(self, wait: timedelta) -> None:
        super().__init__("too many wrong passwords")
        self.wait = wait


class ScopeRefusedError(Exception):
    """A scope that was asked for and that the account does not have."""

    def __init__(self, scope: str) -> None:
        super().__init__(scope)
        self.scope = scope


@dataclass(frozen=True, slots=True)
class Tokens:
    """What a client holds after signing in."""

    access_token: str
    refresh_token: str
    expires_in: timedelta
    scopes: frozenset[str]


@dataclass(frozen=True, slots=True)
class PageSession:
    """What a browser holds after signing in: the secret of its cookie, and until when."""

    secret: str
    lifetime: timedelta
    who: Principal


class SignIn:
    """The sign-in of one process."""

    def __init__(
        self,
        connections: Connections,
        clock: Clock,
        tokens: AccessTokens,
        *,
        passwords: Passwords = PASSWORDS,
    ) -> None:
        self._connections = connections
        self._clock = clock
        self._tokens = tokens
        self._passwords = passwords

    def authenticate(self, shown: Credentials) -> Principal | None:
        """Return who shows these; a bearer token needs no database, a page's session does."""
        now = self._clock.now()
        if shown.token is not None:
            return self._tokens.read(shown.token, now)
        if shown.session is None:
            return None
        with self._connections() as db:
            session = sessions.page_session(db, model.digest(shown.session), now)
        return None if session is None else session.account.principal(by_cookie=True)

    def sign_in(
        self, user: str, password: str, address: str, asked: Sequence[str] | None = None
    ) -> Tokens:
        """Return tokens for a program, or a person's program, with the asked scopes or all.

        Raises:
            SignInRefusedError: wrong name or password, or the account is disabled.
            TooManyAttemptsError: the name or the address is locked.
            ScopeRefusedError: an asked scope that the account does not have.
            BusyError: too many sign in at once.
        """
        account, now = self._checked(user, password, address)
        missing = sorted(set(asked or ()) - account.may)
        if missing:
            raise ScopeRefusedError(missing[0])
        with self._connections() as db, db.transaction():
            return self.begin(db, account, address, now, asked)

    def begin(
        self,
        db: Db,
        account: Account,
        address: str,
        now: datetime,
        asked: Sequence[str] | None = None,
    ) -> Tokens:
        """Return tokens for somebody who has shown who they are; last in the caller's transaction.

        They are good for nothing unless it commits.
        """
        session = new_id(now)
        refresh = secrets.token_urlsafe(32)
        expires_at = now + model.SESSION_LIFETIME
        sessions.start(db, session, account, asked, now, expires_at)
        sessions.add_refresh_token(db, session, account, model.digest(refresh), now)
        told = {"session": session, "address": address}
        audit(db, account.principal(), "session.started", account.name, told, now)
        return self._handed_out(account.principal(asked), session, refresh, now)

    def refresh(self, token: str) -> Tokens:
        """Exchange a refresh token for new tokens; the old one is good for nothing any more.

        A token that comes twice has been copied: its whole family ends.

        Raises:
            RefreshRefusedError: unknown, used, signed out, expired, or the account is disabled.
        """
        now, shown, following = self._clock.now(), model.digest(token), secrets.token_urlsafe(32)
        with self._connections() as db, db.transaction():
            found = sessions.lock_refresh(db, shown, now)
            outcome = _judged(found)
            if found is not None and outcome == "ok":
                sessions.use_refresh(db, shown, now)
                sessions.add_refresh_token(
                    db, found.session.id, found.session.account, model.digest(following), now
                )
            elif found is not None and outcome == "reused":
                _kill_family(db, found.session, now)
        REFRESHES.labels(outcome).inc()
        if found is None or outcome != "ok":
            raise RefreshRefusedError
        who = found.session.account.principal(found.session.asked)
        return self._handed_out(who, found.session.id, following, now)

    def sign_out(self, token: str) -> None:
        """End the family of a refresh token; an unknown one is none of ours and changes nothing."""
        now = self._clock.now()
        with self._connections() as db, db.transaction():
            found = sessions.lock_refresh(db, model.digest(token), now)
            if found is not None:
                _end(db, found.session, now)

    def sign_in_page(self, user: str, password: str, address: str) -> PageSession:
        """Return a new session for a browser; raises as `sign_in` does."""
        account, now = self._checked(user, password, address)
        session, secret = new_id(now), secrets.token_urlsafe(32)
        lifetime = model.SESSION_LIFETIME
        who = account.principal(by_cookie=True)
        with self._connections() as db, db.transaction():
            sessions.start(
                db, session, account, None, now, now + lifetime, secret_hash=model.digest(secret)
            )
            told = {"session": session, "address": address, "page": True}
            audit(db, who, "session.started", account.name, told, now)
        return PageSession(secret, lifetime, who)

    def sign_out_page(self, secret: str) -> None:
        """End a browser's session; one that is over stays so."""
        now = self._clock.now()
        with self._connections() as db, db.transaction():
            session = sessions.page_session(db, model.digest(secret), now)
            if session is not None:
                _end(db, session, now)

    def tidy(self) -> int:
        """Delete sign-ins that expired a day ago, and old sign-ups; return how many sign-ins."""
        now = self._clock.now()
        with self._connections() as db, db.transaction():
            accounts.drop_old_attempts(db, now - 2 * model.WINDOW)
            sign_ups.drop_old(db, now - model.SIGN_UPS_KEPT_FOR)
            return sessions.drop_expired(db, now - timedelta(days=1))

    def _checked(self, user: str, password: str, address: str) -> tuple[Account, datetime]:
        """Return the account whose password this is, and now."""
        name, now = model.canonical_name(user), self._clock.now()
        guards = _guards(name, address)
        with self._connections() as db:
            _refuse_locked(
                [accounts.attempts(db, kind, subject) for kind, subject, _ in guards], now
            )
            account = accounts.by_sign_in_name(db, name)
        known = None if account is None else account.password_hash
        right = self._passwords.matches(known, password)
        if account is None or account.disabled_at is not None or not right:
            self._count_failure(account, guards, address, now)
            SIGN_INS.labels("refused").inc()
            raise SignInRefusedError
        rehashed = (
            self._passwords.hash(password)
            if self._passwords.is_outdated(account.password_hash)
            else None
        )
        with self._connections() as db, db.transaction():
            # Guesses made meanwhile may have locked it: then nobody learns that one was right.
            (kind, subject, _), by_address = guards
            found = [
                accounts.lock_attempts(db, DEMO, kind, subject, now),
                accounts.attempts(db, by_address[0], by_address[1]),
            ]
            _refuse_locked(found, now)
            accounts.forget_attempts(db, kind, subject)
            if rehashed is not None:
                accounts.rehash(db, account, rehashed)
        SIGN_INS.labels("ok").inc()
        return account, now

    def _count_failure(
        self, account: Account | None, guards: Sequence["_Guard"], address: str, now: datetime
    ) -> None:
        """Count a wrong password by name and by address, and write it down."""
        who = Actor("nobody", "system", DEMO.tenant, DEMO.city)
        target = "unknown" if account is None else account.name
        with self._connections() as db, db.transaction():
            locked: list[str] = []
            for kind, subject, limit in guards:
                before = accounts.lock_attempts(db, DEMO, kind, subject, now)
                if before.wait(now) is not None:
                    continue
                after = before.fail(now, limit)
                accounts.save_attempts(db, kind, subject, after, now)
                if after.locked_until is not None:
                    locked.append(kind)
            audit(db, who, "session.refused", target, {"address": address}, now)
            for kind in locked:
                told = {"for_s": model.WINDOW.total_seconds(), "address": address}
                what = target if kind == "user" else address
                audit(db, who, f"{kind}.locked", what, told, now)
        for kind in locked:
            log.warning(
                "too many wrong passwords: the %s %s is locked for %d min",
                kind,
                target if kind == "user" else address,
                model.WINDOW.total_seconds() // 60,
            )

    def _handed_out(self, who: Principal, session: UUID, refresh: str, now: datetime) -> Tokens:
        return Tokens(self._tokens.issue(who, session, now), refresh, LIFETIME, who.scopes)


_Guard = tuple[str, bytes, int]


def _guards(name: str, address: str) -> tuple[_Guard, _Guard]:
    """What is counted, always locked in this order: by user name, known or not, then by address."""
    group = model.address_group(address)
    return (
        ("user", model.digest(name), model.USER_LIMIT),
        ("address", model.digest(group), model.ADDRESS_LIMIT),
    )


def _refuse_locked(found: Sequence[model.Attempts], now: datetime) -> None:
    waits = [wait for attempts in found if (wait := attempts.wait(now)) is not None]
    if waits:
        SIGN_INS.labels("locked").inc()
        raise TooManyAttemptsError(max(waits))


def _judged(found: sessions.Refresh | None) -> str:
    if found is None:
        return "unknown"
    if found.ended or found.session.account.disabled_at is not None:
        return "ended"
    return "ok" if found.used_at is None else "reused"


def _kill_family(db: Db, session: sessions.Session, now: datetime) -> None:
    account = session.account
    sessions.end(db, session.id, "a refresh token was used twice", now)
    audit(
        db,
        account.principal(),
        "session.reuse_detected",
        account.name,
        {"session": session.id},
        now,
    )
    log.warning(
        "a refresh token of %s was used twice, so it was copied: that sign-in has ended",
        account.name,
    )


def _end(db: Db, session: sessions.Session, now: datetime) -> None:
    if sessions.end(db, session.id, "signed out", now):
        account = session.account
        told = {"session": session.id}
        audit(db, account.principal(), "session.ended", account.name, told, now)
