"""The door of identity: who somebody is, accounts, and the audit chain."""

from cloud.identity.accounts import (
    AccountView,
    NoSuchAccountError,
    add_account,
    console,
    disable_account,
    ensure_account,
    list_accounts,
    unlock_account,
)
from cloud.identity.model import ROLES, Actor, Who
from cloud.identity.passwords import BusyError, Passwords, generated
from cloud.identity.service import (
    PageSession,
    RefreshRefusedError,
    ScopeRefusedError,
    SignIn,
    SignInRefusedError,
    Tokens,
    TooManyAttemptsError,
)
from cloud.identity.tokens import AccessTokens
from cloud.identity.trail import audit, newest, verify

__all__ = [
    "ROLES",
    "AccessTokens",
    "AccountView",
    "Actor",
    "BusyError",
    "NoSuchAccountError",
    "PageSession",
    "Passwords",
    "RefreshRefusedError",
    "ScopeRefusedError",
    "SignIn",
    "SignInRefusedError",
    "Tokens",
    "TooManyAttemptsError",
    "Who",
    "add_account",
    "audit",
    "console",
    "disable_account",
    "ensure_account",
    "generated",
    "list_accounts",
    "newest",
    "unlock_account",
    "verify",
]
