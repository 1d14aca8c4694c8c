"""A process that dies between sending a mail and noting it."""

import signal
import subprocess
import sys
from email import message_from_bytes
from pathlib import Path

import pytest

from cloud.identity.reactions import Post, subscribers
from cloud.identity.service import SignIn
from cloud.identity.sign_up import SignUp
from cloud.identity.tokens import AccessTokens
from cloud.identity.verification import VerificationTokens
from cloud.kit.clock import SystemClock
from cloud.kit.db import open_pool
from cloud.kit.events import register, run_due
from cloud.kit.ports.mail import OutboxMail
from tests.cloud.identity.customers_parts import URL, a_wish
from tests.cloud.identity.parts import HERE, QUICK
from tests.cloud.signed_in import TOKEN_KEY

DIES = """
import os, signal, sys
from pathlib import Path
from cloud.identity.reactions import Post, subscribers
from cloud.identity.verification import VerificationTokens
from cloud.kit.clock import SystemClock
from cloud.kit.db import connect
from cloud.kit.events import run_due
from cloud.kit.ports.mail import OutboxMail

class Dies(OutboxMail):
    def send(self, *args, **named):
        super().send(*args, **named)
        os.kill(os.getpid(), signal.SIGKILL)

dsn, folder, key, url = sys.argv[1:]
clock = SystemClock()
post = Post(Dies(Path(folder), clock), VerificationTokens(key), url, clock)
run_due(connect(dsn), subscribers(post), clock.now())
"""


@pytest.mark.slow
def test_a_kill_between_sending_and_noting_leaves_at_most_the_same_mail_twice(
    dsn: str, tmp_path: Path
) -> None:
    clock, tokens = SystemClock(), VerificationTokens(TOKEN_KEY)
    first, second = tmp_path / "first", tmp_path / "second"
    post = Post(OutboxMail(second, clock), tokens, URL, clock)
    with open_pool(dsn, max_size=2) as pool:
        with pool.connection() as db:
            register(db, ["identity"], subscribers(post))
        sign_in = SignIn(pool.connection, clock, AccessTokens(TOKEN_KEY), passwords=QUICK)
        sign_up = SignUp(pool.connection, clock, tokens, sign_in, passwords=QUICK)
        sign_up.ask(a_wish(), HERE)
        died = subprocess.run(
            [sys.executable, "-c", DIES, dsn, first, TOKEN_KEY, URL], timeout=60, check=False
        )
        assert died.returncode == -signal.SIGKILL
        with pool.connection() as db:
            assert run_due(db, subscribers(post), clock.now()) == 1
            assert run_due(db, subscribers(post), clock.now()) == 0
    (before,), (after,) = list(first.iterdir()), list(second.iterdir())
    told = [message_from_bytes(file.read_bytes()) for file in (before, after)]
    # In one folder it is one file: the repeat replaces it.
    assert before.name == after.name
    assert told[0]["Message-ID"] == told[1]["Message-ID"]
    assert told[0].get_payload() == told[1].get_payload()
