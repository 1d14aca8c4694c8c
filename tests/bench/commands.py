"""Commands: from the request over HTTP to the latch that the sensor sees, and back.

Asks a real cloud over one kept HTTP connection, which signs and sends; a real agent verifies, has a
lock unit on a pty move, and answers. Beside it a listener at the broker notes what passes there.
"""

import asyncio
import contextlib
import http.client
import json
import time
import uuid
from collections.abc import AsyncIterator, Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from statistics import median, quantiles
from subprocess import Popen
from urllib.parse import urlsplit
from uuid import UUID

import nats
from nats.aio.msg import Msg

from cloud.identity import api as identity
from protocol.segment import open_segment
from tests.bench.house import Cloud, configuration, serving, shim
from tests.bench.probe import Probe, observed
from tests.bench.processes import rss_mb
from tests.bench.rows import Row, Target, at_most
from tests.cloud.signed_in import TOKEN_KEY, a_principal

DEVICE = "told"
COMMANDS, FEW = 300, 6
MOTOR_MS = 150.0
"""How long a cable lock's latch travels, for the row that says what a person waits."""
_WARM_UP = 10
_ACCOUNT_MAY = 50
_WAIT_S = 10


@dataclass(slots=True)
class Moments:
    """One command, in seconds of the monotonic clock; None for what was not seen.

    Attributes:
        asked_s: before the request was written.
        promised_s: when its answer, 202, was read.
        sent_s: when the signed command passed the broker.
        answered_s: when the device's first fact about it did.
        acked_s: when the acknowledgement of that fact did.
        told_s: when the API had said that it is done.
    """

    asked_s: float
    promised_s: float = 0.0
    told_s: float = 0.0
    sent_s: float | None = None
    answered_s: float | None = None
    acked_s: float | None = None


@dataclass(slots=True)
class Listener:
    """What passed the broker, one command at a time."""

    now: Moments = field(default_factory=lambda: Moments(0.0))

    async def command(self, _: Msg) -> None:
        """Note a command on its way down."""
        if self.now.sent_s is None:
            self.now.sent_s = time.monotonic()

    async def facts(self, message: Msg) -> None:
        """Note the first answer to it on its way up."""
        at_s = time.monotonic()
        kinds = [fact.kind for fact in open_segment(message.data).facts or ()]
        if self.now.answered_s is None and any(kind.startswith("command.") for kind in kinds):
            self.now.answered_s = at_s

    async def ack(self, _: Msg) -> None:
        """Note the acknowledgement of the answer."""
        if self.now.answered_s is not None and self.now.acked_s is None:
            self.now.acked_s = time.monotonic()


class Asker:
    """A client of the API that keeps its connection; each account asks as often as it may."""

    def __init__(self, api_url: str) -> None:
        place = urlsplit(api_url)
        self._http = http.client.HTTPConnection(place.hostname or "", place.port, timeout=30)
        self._asked = 0
        self._token = ""

    def close(self) -> None:
        """Hang up."""
        self._http.close()

    def ask(self, kind: str, moments: Moments) -> None:
        """Ask for one command and wait for its end. Raises RuntimeError unless it is done."""
        if self._asked % _ACCOUNT_MAY == 0:
            self._token = _token(number=self._asked // _ACCOUNT_MAY + 1)
        self._asked += 1
        body = json.dumps({"kind": kind, "reason": "benchmark"})
        moments.asked_s = time.monotonic()
        made = self.send("POST", f"/vehicles/{DEVICE}/commands", body)
        moments.promised_s = time.monotonic()
        ended = self.send("GET", f"/commands/{made['id']}?wait_s={_WAIT_S}")
        moments.told_s = time.monotonic()
        if ended["state"] != "done":
            raise RuntimeError(f"{kind} is {ended['state']} {ended['state_reason']}")

    def send(self, method: str, path: str, body: str | None = None) -> dict[str, str]:
        """Make one request and read its answer; RuntimeError unless it is a 2xx."""
        headers = {"Authorization": f"Bearer {self._token or _token(1)}"}
        if body is not None:
            headers |= {"Content-Type": "application/json", "Idempotency-Key": str(uuid.uuid4())}
        self._http.request(method, f"/api/v1{path}", body, headers)
        answer = self._http.getresponse()
        text = answer.read()
        if not http.client.OK <= answer.status < http.client.MULTIPLE_CHOICES:
            raise RuntimeError(f"{method} {path}: {answer.status} {text[:200]!r}")
        return dict(json.loads(text))


def _token(number: int) -> str:
    who = replace(a_principal("supervisor"), account_id=UUID(int=number))
    return identity.AccessTokens(TOKEN_KEY).issue(who, UUID(int=number), datetime.now(UTC))


def measure(work: Path, *, quick: bool) -> Iterator[Row]:
    """Yield p50 and p99 of the round trip and its parts; the same with a motor's time."""
    with (
        serving(work, "fleet") as cloud,
        shim(work, "battery") as (line, _),
        shim(work, "lock", controller="lock_unit") as (lock, unit),
    ):
        config = configuration(work, cloud, DEVICE, line, lock)

        async def run() -> tuple[list[Moments], list[Moments], float]:
            async with observed(cloud, config, DEVICE) as probe, _listening(cloud) as listener:
                with contextlib.closing(Asker(cloud.api_url)) as asker:
                    await _ready(probe, asker)
                    _set_motor(unit, 0.0)
                    await asyncio.to_thread(_many, asker, listener, _WARM_UP)
                    count = FEW if quick else COMMANDS
                    at_once = await asyncio.to_thread(_many, asker, listener, count)
                    rss = rss_mb(probe.pid)
                    _set_motor(unit, MOTOR_MS)
                    moved = await asyncio.to_thread(_many, asker, listener, FEW)
            return at_once, moved, rss

        at_once, moved, rss = asyncio.run(run())
    yield from _rows(at_once, moved)
    yield Row("commands: agent RSS", rss, "MB", at_most(40), "TLS up, commands verified and done")


@contextlib.asynccontextmanager
async def _listening(cloud: Cloud) -> AsyncIterator[Listener]:
    listener = Listener()
    client = await nats.connect(cloud.nats_url)
    try:
        await client.subscribe(f"mc.1.{DEVICE}.cmd", cb=listener.command)
        await client.subscribe(f"f.*.{DEVICE}", cb=listener.facts)
        await client.subscribe(f"mc.1.{DEVICE}.ack", cb=listener.ack)
        await client.flush()
        yield listener
    finally:
        await client.close()


async def _ready(probe: Probe, asker: Asker) -> None:
    """Wait until the vehicle is known to fleet and its device has said hello."""
    await probe.until(lambda: "sent segment" in probe.first, "first segment")

    def is_known() -> bool:
        try:
            return bool(asker.send("GET", f"/vehicles/{DEVICE}"))
        except RuntimeError:
            return False

    await probe.until(is_known, "vehicle")
    await asyncio.sleep(2)  # the twin that every device gets first


def _set_motor(unit: "Popen[bytes]", travel_ms: float) -> None:
    assert unit.stdin is not None
    unit.stdin.write(json.dumps({"set": {"travel_ms": travel_ms}}).encode() + b"\n")
    unit.stdin.flush()


def _many(asker: Asker, listener: Listener, count: int) -> list[Moments]:
    """Unlock and lock in turn, so that the latch moves each time."""
    done = []
    for number in range(count):
        moments = listener.now = Moments(0.0)
        asker.ask("lock" if number % 2 else "unlock", moments)
        done.append(moments)
        time.sleep(0.01)
    return done


def _rows(at_once: Sequence[Moments], moved: Sequence[Moments]) -> Iterator[Row]:
    note = f"POST, GET ?wait_s, kept connection, latch without motor time; {len(at_once)} commands"
    whole = [one.told_s - one.asked_s for one in at_once]
    yield from _of("request to result in the API", whole, note, at_most(15), at_most(60))
    device = [one.answered_s - one.sent_s for one in at_once if one.answered_s and one.sent_s]
    about = "signed command to the first answer, both at the broker; journalled before and after"
    yield from _of("broker to the agent's answer", device, about, at_most(5), None)
    down = [one.sent_s - one.asked_s for one in at_once if one.sent_s]
    yield from _of("request to the broker", down, "authorised, committed, signed", None, None)
    up = [one.told_s - one.answered_s for one in at_once if one.answered_s]
    yield from _of("answer at the broker to the API", up, "committed, told", None, None)
    acked = [one.acked_s - one.answered_s for one in at_once if one.acked_s and one.answered_s]
    yield from _of("answer at the broker to its ack", acked, "committed", None, None)
    spent = [one.told_s - one.asked_s for one in moved]
    note = f"the same with a latch that travels {MOTOR_MS:.0f} ms; {len(moved)} commands"
    yield Row("commands: with a motor, p50", median(spent) * 1000, "ms", note=note)


def _of(
    name: str, seconds: Sequence[float], note: str, half: Target | None, most: Target | None
) -> Iterator[Row]:
    if len(seconds) < 2:
        raise RuntimeError(f"no sample of {name}")
    cuts = quantiles(seconds, n=100, method="inclusive")
    yield Row(f"commands: {name}, p50", cuts[49] * 1000, "ms", half, note)
    yield Row(f"commands: {name}, p99", cuts[98] * 1000, "ms", most, note)
