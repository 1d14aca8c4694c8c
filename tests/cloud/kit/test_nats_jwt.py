"""The nkeys and JWTs of the callout, against vectors NATS published."""

import base64
import json

import pytest
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from cloud.kit.nats_jwt import AccountKey, Permissions, callout_answer, claims_of, user_jwt

# The pair in the auth callout chapter of the NATS documentation.
SEED = "SAANDLKMXL6CUS3CP52WIXBEDN6YJ545GDKC65U5JZPPV6WH6ESWUA6YAI"
PUBLIC = "ABJHLOVMPA4CI6R5KLNGOB4GSLNIY7IOUPAJC4YFNDLQVIOBYQGUWVLA"


def test_a_published_seed_gives_the_published_key() -> None:
    key = AccountKey.from_seed(SEED)
    assert (key.public, key.seed) == (PUBLIC, SEED)


def test_a_secret_always_gives_the_same_key() -> None:
    key = AccountKey.from_secret("s")
    assert AccountKey.from_secret("s").public == key.public
    assert AccountKey.from_secret("t").public != key.public
    assert AccountKey.from_seed(key.seed).public == key.public


@pytest.mark.parametrize(
    "wrong",
    [
        "",
        "SA",
        "hello",
        SEED[:-1] + "A",
        SEED[:20] + "B" + SEED[21:],
        # A user's seed, as published in the tests of nkeys.
        "SUACSSL3UAHUDXKFSNVUZRF5UHPMWZ6BFDTJ7M6USDXIEDNPPQYYYCU3VY",
    ],
)
def test_what_is_no_account_seed_is_refused(wrong: str) -> None:
    with pytest.raises(ValueError, match="account key"):
        AccountKey.from_seed(wrong)


def test_a_seed_is_not_shown() -> None:
    assert SEED not in repr(AccountKey.from_seed(SEED))


def test_a_users_jwt_says_what_it_may_and_is_signed() -> None:
    key = AccountKey.from_seed(SEED)
    token = user_jwt(
        key,
        user_nkey="UAAA",
        account="FLEET",
        name="demo-001",
        permissions=Permissions(["s.*.demo-001"], ["mc.1.demo-001.ack"]),
        issued_s=1_790_000_000,
        expires_s=1_790_000_100,
    )
    claims = claims_of(token.encode())
    assert (claims["sub"], claims["aud"], claims["iss"]) == ("UAAA", "FLEET", PUBLIC)
    assert (claims["iat"], claims["exp"]) == (1_790_000_000, 1_790_000_100)
    assert claims["nats"]["pub"] == {"allow": ["s.*.demo-001"]}
    assert claims["nats"]["sub"] == {"allow": ["mc.1.demo-001.ack"]}
    assert claims["nats"]["allowed_connection_types"] == ["MQTT"]
    check(token.encode())
    header, _, rest = token.partition(".")
    with pytest.raises(InvalidSignature):
        check(f"{header}.{rest[:-90]}x{rest[-89:]}".encode())


def test_an_answer_is_a_jwt_or_a_reason() -> None:
    key = AccountKey.from_seed(SEED)
    yes = callout_answer(key, user_nkey="UAAA", server_id="NAAA", issued_s=1, jwt="a.b.c")
    no = callout_answer(key, user_nkey="UAAA", server_id="NAAA", issued_s=1, error="revoked")
    assert claims_of(yes)["nats"] == {
        "type": "authorization_response",
        "version": 2,
        "jwt": "a.b.c",
    }
    assert claims_of(no)["nats"]["error"] == "revoked"
    assert claims_of(no)["aud"] == "NAAA"
    check(no)


@pytest.mark.parametrize("wrong", [b"", b"a.b", b"a.!.c", b"a.W10.c", b"a.eA.c"])
def test_what_is_no_jwt_is_a_value_error(wrong: bytes) -> None:
    with pytest.raises(ValueError, match=r"."):
        claims_of(wrong)


def check(token: bytes) -> None:
    """Verify by the public nkey alone, as the server does."""
    signed, _, signature = token.rpartition(b".")
    raw = base64.b32decode(PUBLIC)[1:33]
    Ed25519PublicKey.from_public_bytes(raw).verify(decoded(signature), signed)
    assert json.loads(decoded(signed.partition(b".")[0])) == {"typ": "JWT", "alg": "ed25519-nkey"}


def decoded(part: bytes) -> bytes:
    return base64.urlsafe_b64decode(part + b"=" * (-len(part) % 4))
