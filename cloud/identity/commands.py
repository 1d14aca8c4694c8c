"""What `mobility-cloud accounts` and `mobility-cloud audit` print; returns exit codes."""

import argparse
import json
import math
import sys
from dataclasses import asdict

from cloud.identity import accounts, trail
from cloud.identity.chain import Entry
from cloud.kit.clock import Clock, rfc3339
from cloud.kit.db import Db

DONE, TROUBLE = 0, 1


def add(arguments: argparse.Namespace, db: Db, clock: Clock) -> int:
    """Add an account and print its password, once."""
    password = sys.stdin.readline().rstrip("\r\n") if arguments.password_stdin else None
    chosen = accounts.add_account(
        db,
        arguments.user,
        clock.now(),
        role=arguments.role or "",
        scopes=arguments.scope or (),
        password=password,
    )
    told = {"user": arguments.user.strip().lower(), "password": chosen, "role": arguments.role}
    if arguments.service:
        told = {**told, "role": "service", "scopes": sorted(set(arguments.scope))}
    _print(told)
    return DONE


def list_all(arguments: argparse.Namespace, db: Db, clock: Clock) -> int:
    """List every account."""
    found = accounts.list_accounts(db, clock.now())
    if arguments.json:
        _print([{**asdict(a), "locked_for": _seconds(a)} for a in found])
        return DONE
    if not found:
        sys.stderr.write("there is no account; add one with `mobility-cloud accounts add`\n")
    for account in found:
        what = account.role or " ".join(account.scopes)
        sys.stdout.write(f"{account.name}\t{account.kind}\t{what}\t{_state(account)}\n")
    return DONE


def disable(arguments: argparse.Namespace, db: Db, clock: Clock) -> int:
    """Disable an account."""
    ended = accounts.disable_account(db, arguments.user, clock.now())
    sys.stdout.write(
        f"{arguments.user} is disabled; {ended} sign-ins ended, and access tokens handed out"
        " before end within ten minutes\n"
    )
    return DONE


def unlock(arguments: argparse.Namespace, db: Db, clock: Clock) -> int:
    """Forget an account's wrong passwords."""
    forgotten = accounts.unlock_account(db, arguments.user, clock.now())
    said = "can try again" if forgotten else "had no wrong passwords to forget"
    sys.stdout.write(f"{arguments.user} {said}\n")
    return DONE


def verify(arguments: argparse.Namespace, db: Db, _clock: Clock) -> int:
    """Check the audit chain; name the first bad row."""
    verdict = trail.verify(db)
    good = verdict.bad_seq is None
    if arguments.json:
        _print({"ok": good, **asdict(verdict)})
    elif good:
        sys.stdout.write(f"{verdict.rows} rows are as they were written; head {verdict.head}\n")
    if not good:
        sys.stderr.write(
            f"mobility-cloud: row {verdict.bad_seq} of the audit chain {verdict.reason};"
            f" the {verdict.rows} before it are good. Keep the database as it is, and compare it"
            " with a backup\n"
        )
    return DONE if good else TROUBLE


def list_audit(arguments: argparse.Namespace, db: Db, _clock: Clock) -> int:
    """List the newest rows of the audit chain, the newest last."""
    for entry in reversed(trail.newest(db, arguments.limit)):
        sys.stdout.write((json.dumps(_row(entry)) if arguments.json else _line(entry)) + "\n")
    return DONE


def _line(entry: Entry) -> str:
    detail = json.dumps(dict(entry.detail), ensure_ascii=False)
    who = f"{entry.actor_kind} {entry.actor}"
    return f"{entry.seq}\t{rfc3339(entry.at)}\t{who}\t{entry.action}\t{entry.target}\t{detail}"


def _row(entry: Entry) -> dict[str, object]:
    return {**asdict(entry), "at": rfc3339(entry.at)}


def _state(account: accounts.AccountView) -> str:
    if account.disabled_at is not None:
        return f"disabled {rfc3339(account.disabled_at)}"
    if account.locked_for is not None:
        return f"locked for {math.ceil(account.locked_for.total_seconds() / 60)} min"
    return "active"


def _seconds(account: accounts.AccountView) -> float | None:
    return None if account.locked_for is None else account.locked_for.total_seconds()


def _print(document: object) -> None:
    sys.stdout.write(json.dumps(document, default=rfc3339) + "\n")
