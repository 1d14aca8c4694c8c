"""The demo's members of staff: one of each kind, with passwords that the data folder keeps."""

from pathlib import Path

_ROLES = {"staff": "admin", "supervisor": "supervisor", "viewer": "viewer"}


def make_logins(dsn: str, data_dir: Path) -> dict[str, dict[str, str]]:
    """Make sure that the demo's accounts are there; return user and password by what they are.

    Raises:
        psycopg.Error: the database does not take them.
    """
    from cloud.identity.api import ensure_account
    from cloud.kit.clock import SystemClock
    from cloud.kit.db import connect
    from cloud.kit.folder import DataFolder

    folder = DataFolder(data_dir)
    logins: dict[str, dict[str, str]] = {}
    with connect(dsn) as db:
        for user, role in _ROLES.items():
            password = folder.secret(f"login_{user}")
            ensure_account(db, user, password, role, SystemClock().now())
            logins[user] = {"user": user, "password": password}
    return logins
