"""Hashes and access tokens: what is good, and every way in which it is not."""

import threading
from concurrent.futures import ThreadPoolExecutor, as_completed
from datetime import UTC, datetime, timedelta
from itertools import islice
from typing import Any
from uuid import UUID

import jwt
import pytest
from argon2 import PasswordHasher

from cloud.identity.passwords import BusyError, Passwords
from cloud.identity.tokens import LIFETIME, AccessTokens
from tests.cloud.identity.parts import PASSWORD, QUICK
from tests.cloud.signed_in import TOKEN_KEY, a_principal

NOON = datetime(2026, 7, 1, 12, tzinfo=UTC)
SESSION = UUID(int=7)
TOKENS = AccessTokens(TOKEN_KEY)


def test_a_password_matches_its_hash_and_no_other() -> None:
    found = QUICK.hash(PASSWORD)
    assert found.startswith("$argon2id$")
    assert QUICK.matches(found, PASSWORD)
    assert not QUICK.matches(found, PASSWORD + " ")
    assert QUICK.hash(PASSWORD) != found


def test_an_accent_matches_however_it_was_typed() -> None:
    assert QUICK.matches(
        QUICK.hash("caf\N{LATIN SMALL LETTER E WITH ACUTE} at noon"), "café at noon"
    )


def test_nobody_has_no_password_and_is_checked_as_hard_as_somebody() -> None:
    worked: list[str] = []

    class Watched(PasswordHasher):
        def verify(self, hash: str | bytes, password: str | bytes) -> Any:  # noqa: A002 - theirs
            worked.append(str(hash)[: len("$argon2id$v=19$m=8,t=1,p=1$")])
            return super().verify(hash, password)

    watched = Passwords(Watched(time_cost=1, memory_cost=8, parallelism=1))
    assert not watched.matches(None, PASSWORD)
    assert watched.matches(QUICK.hash(PASSWORD), PASSWORD)
    assert worked[0] == worked[1] == "$argon2id$v=19$m=8,t=1,p=1$"


def test_a_hash_of_other_parameters_is_outdated() -> None:
    stronger = Passwords(PasswordHasher(time_cost=2, memory_cost=16, parallelism=1))
    assert stronger.is_outdated(QUICK.hash(PASSWORD))
    assert not stronger.is_outdated(stronger.hash(PASSWORD))


class Slow(PasswordHasher):
    """Hashes when told to, and knows how many hash at once."""

    def __init__(self) -> None:
        super().__init__()
        self.go, self.lock = threading.Event(), threading.Lock()
        self.at_once = self.most = 0

    def hash(self, password: str | bytes, *, salt: bytes | None = None) -> str:
        with self.lock:
            self.at_once += 1
            self.most = max(self.most, self.at_once)
        self.go.wait(30)
        with self.lock:
            self.at_once -= 1
        return "hashed"


def test_two_hash_at_once_sixteen_wait_and_the_next_is_told_to_come_back() -> None:
    slow = Slow()
    passwords = Passwords(slow)
    with ThreadPoolExecutor(40) as threads:
        asked = [threads.submit(passwords.hash, PASSWORD) for _ in range(40)]
        refused = list(islice(as_completed(asked, timeout=30), 22))
        assert all(isinstance(each.exception(), BusyError) for each in refused)
        slow.go.set()
        assert sum(each.exception() is None for each in asked) == 18
    assert slow.most == 2
    assert passwords.hash(PASSWORD) == "hashed"


def test_a_token_says_who_it_speaks_of_until_it_ends() -> None:
    who = a_principal("operator", name="ada")
    token = TOKENS.issue(who, SESSION, NOON)
    assert TOKENS.read(token, NOON) == who
    assert TOKENS.read(token, NOON + LIFETIME - timedelta(seconds=1)) == who
    assert TOKENS.read(token, NOON + LIFETIME) is None
    assert TOKENS.read(token, NOON - timedelta(minutes=1)) is None


def forged(**changes: Any) -> str:
    """A token signed with the right key whose header or claims are changed."""
    token = TOKENS.issue(a_principal(), SESSION, NOON)
    claims = jwt.decode(token, options={"verify_signature": False})
    header = {"typ": changes.pop("typ", "at+jwt")}
    key, algorithm = changes.pop("key", TOKEN_KEY), changes.pop("algorithm", "HS256")
    claims = {name: value for name, value in (claims | changes).items() if value is not None}
    return jwt.encode(claims, key, algorithm, headers=header)


def test_an_unchanged_token_made_by_hand_is_good() -> None:
    assert TOKENS.read(forged(), NOON) == a_principal()


@pytest.mark.parametrize(
    "changes",
    [
        {"key": "another-key-of-thirty-two-bytes-or-more"},
        {"algorithm": "none", "key": ""},
        {"algorithm": "HS512"},
        {"iss": "elsewhere"},
        {"typ": "JWT"},
        {"sub": "ada"},
        {"sub": None},
        {"exp": None},
        {"exp": "later"},
        {"scope": None},
        {"scope": 7},
    ],
    ids=str,
)
@pytest.mark.filterwarnings("ignore::jwt.warnings.InsecureKeyLengthWarning")
def test_a_token_that_was_tampered_with_is_nobodys(changes: dict[str, Any]) -> None:
    assert TOKENS.read(forged(**changes), NOON) is None


@pytest.mark.parametrize("token", ["", ".", "a.b.c", "\0", "é", "x" * 10_000])
def test_what_is_no_token_is_nobodys(token: str) -> None:
    assert TOKENS.read(token, NOON) is None


def test_a_scope_that_is_no_more_gives_nothing() -> None:
    found = TOKENS.read(forged(scope="vehicles:read vehicles:teleport"), NOON)
    assert found is not None
    assert found.scopes == {"vehicles:read"}


def test_a_key_that_is_too_short_is_refused() -> None:
    with pytest.raises(ValueError, match="at least 32 bytes"):
        AccessTokens("short")
