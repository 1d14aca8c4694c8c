"""The composition root: which contexts a process runs, on which engines, with which parts."""

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Callable, Coroutine, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from functools import partial
from socket import socket
from typing import Any

import psycopg
from fastapi import APIRouter, FastAPI
from psycopg.conninfo import conninfo_to_dict, make_conninfo
from psycopg_pool import PoolTimeout

from cloud.booking import http as booking_http
from cloud.booking.api import Follower, Meters, real_parts, searcher
from cloud.booking.reactions import subscribers as booking_subscribers
from cloud.devices import gauges as device_gauges
from cloud.devices import http as devices_http
from cloud.devices import requests as device_requests
from cloud.devices.api import CommandHub, Limits, sound_sensed
from cloud.devices.broker_log import BrokerLog
from cloud.devices.commit import Classify, Parts
from cloud.devices.device_http import Door
from cloud.devices.gate import Gate
from cloud.devices.ingest import Ingest, Settle, commit_then_ack
from cloud.devices.link import COMMAND_PROBE, connect_link
from cloud.devices.listener import Listener
from cloud.devices.model import classify
from cloud.devices.presence import Presence
from cloud.devices.refusals import Refusals
from cloud.devices.relay import Relay
from cloud.fleet import http as fleet_http
from cloud.fleet.api import Contact, Live
from cloud.fleet.reactions import subscribers as fleet_subscribers
from cloud.identity import customer_http
from cloud.identity import http as identity_http
from cloud.identity.api import AccessTokens, SignIn
from cloud.identity.password_reset import PasswordReset
from cloud.identity.reactions import Post
from cloud.identity.reactions import subscribers as identity_subscribers
from cloud.identity.sign_up import SignUp
from cloud.identity.verification import VerificationTokens
from cloud.kit import idempotency
from cloud.kit.auth import tell_auth
from cloud.kit.clock import Clock, SystemClock
from cloud.kit.db import Pool, connect, open_pool
from cloud.kit.engine import EngineError
from cloud.kit.events import Subscriber, register, run_events
from cloud.kit.health import ReadinessCheck, health_router
from cloud.kit.http import HeadAsGet, install_problems
from cloud.kit.migrations import migrate
from cloud.kit.nats import GATE_INBOX, Broker, EmbeddedNats
from cloud.kit.ports.authority import FileAuthority
from cloud.kit.ports.mail import mail_by
from cloud.kit.ports.payment import PaymentProvider, SandboxPayments
from cloud.kit.ports.signing import FileSigner, signer_keys
from cloud.kit.postgres import EmbeddedPostgres
from cloud.kit.settings import DEFAULT_HTTP_PORT, CloudSettings, token_key
from cloud.kit.traced_http import Traced
from cloud.pages import http as pages_http
from cloud.payments import http as payments_http
from cloud.payments.api import Settler, reconcile_all, renew_ending
from cloud.payments.stripe_adapter import StripePayments
from cloud.returns import http as returns_http
from cloud.returns.adapters import real_parts as return_parts
from cloud.returns.api import Parts as ReturnParts
from cloud.returns.api import forget_photos
from cloud.returns.reactions import Post as ReturnsPost
from cloud.returns.reactions import subscribers as returns_subscribers
from cloud.telemetry import api as telemetry
from cloud.telemetry import http as telemetry_http

log = logging.getLogger(__name__)

CONTEXTS = ("identity", "devices", "telemetry", "fleet", "payments", "booking", "returns", "pages")
ROUTERS: Mapping[str, Sequence[APIRouter]] = {
    "identity": (identity_http.router, customer_http.router),
    "devices": (devices_http.router,),
    "telemetry": (telemetry_http.router,),
    "fleet": (fleet_http.router,),
    "payments": (payments_http.router,),
    "booking": (booking_http.router,),
    "returns": (returns_http.router,),
    "pages": (pages_http.router,),
}
LARGE_BODIES = returns_http.LARGE_BODIES
PROJECTORS = (telemetry.project, sound_sensed)

_DATABASE_PATIENCE_S = 30
_LOOK_EVERY_S = 1.0
_FOLLOW_EVERY_S = 1.0
_METERS_EVERY_S = 10.0
_CONTACT_EVERY_S = 5.0
_TIDY_EVERY = timedelta(minutes=10)
_RENEW_EVERY_S = 300.0
_COMPARE_EVERY = timedelta(hours=6)


@dataclass(frozen=True, slots=True)
class Promise:
    """How ingest keeps its word; only tests that must see it broken pass other functions.

    Attributes:
        settle: the order of commit and ack.
        classify: the rule against doubles.
    """

    settle: Settle = commit_then_ack
    classify: Classify = classify


@dataclass(frozen=True, slots=True)
class Engines:
    """Where database and broker are, and the processes that are ours."""

    dsn: str
    broker: Broker
    pids: Mapping[str, int] = field(default_factory=dict)


OnReady = Callable[[Engines], None]
OnFailure = Callable[[BaseException], None]


def chosen_contexts(settings: CloudSettings) -> tuple[str, ...]:
    """Return the contexts to run, all when none is named; raises ValueError for a stranger."""
    strangers = [name for name in settings.contexts if name not in CONTEXTS]
    if strangers:
        raise ValueError(f"no context named {strangers[0]!r}; there are {', '.join(CONTEXTS)}")
    return tuple(name for name in CONTEXTS if name in settings.contexts) or CONTEXTS


def build(
    settings: CloudSettings,
    *,
    clock: Clock | None = None,
    promise: Promise | None = None,
    device_listener: socket | None = None,
    on_ready: OnReady = lambda _engines: None,
    on_failure: OnFailure = lambda _error: None,
) -> FastAPI:
    """Return the application for the chosen contexts; its lifespan starts and stops everything.

    Args:
        settings: engines, data folder, contexts.
        clock: the machine's when None.
        promise: how ingest keeps its word.
        device_listener: where devices enrol; None for a process that lets nobody.
        on_ready: called when requests can be served.
        on_failure: called when a background task ends with an error nobody expected.

    Raises:
        ValueError: a context that does not exist, or a broker that gets no commands.
    """
    contexts = chosen_contexts(settings)
    settings.check_broker(contexts)
    settings.check_payments()
    running = Running(settings, contexts, clock or SystemClock(), promise or Promise(), on_failure)
    running.device_listener = device_listener

    @contextlib.asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        async with contextlib.AsyncExitStack() as stack:
            engines = await running.start(app, stack)
            on_ready(engines)
            yield

    app = FastAPI(
        title="MobilityCorp",
        summary="The open platform a city's shared vehicles run on",
        lifespan=lifespan,
        docs_url=None,
        redoc_url=None,
    )
    app.state.command_limits = _limits(settings)
    app.state.booking, app.state.returns = running.parts.booking, running.parts
    app.state.search = searcher(running.parts.booking)
    app.add_middleware(HeadAsGet)
    app.add_middleware(Traced)
    install_problems(app)
    tell_auth(app)
    app.include_router(health_router(running.checks()))
    for name in contexts:
        for router in ROUTERS[name]:
            app.include_router(router)
    if "pages" in contexts:
        pages_http.install(app)
    return app


class Running:
    """One process at work: what its lifespan opens, in order, and closes in reverse."""

    def __init__(
        self,
        settings: CloudSettings,
        contexts: Sequence[str],
        clock: Clock,
        promise: Promise,
        on_failure: OnFailure,
    ) -> None:
        self._settings = settings
        self._contexts = contexts
        self.clock = clock
        self.parts = working_parts(settings, clock)
        self._promise = promise
        self._on_failure = on_failure
        self._pool: Pool | None = None
        self._link_is_up: Callable[[], bool] = lambda: True
        self._nats: EmbeddedNats | None = None
        self._refusals = Refusals()
        self._device_https: Listener | None = None
        self.device_listener: socket | None = None

    async def start(self, app: FastAPI, stack: contextlib.AsyncExitStack) -> Engines:
        """Open everything; what was opened is closed by `stack`."""
        engines = await self._engines(stack)
        subscribers = all_subscribers(self._settings, self.clock)
        await asyncio.to_thread(prepare_database, engines.dsn, self.clock, subscribers)
        pool = await self._open_pool(stack, engines.dsn, "http")
        self._pool = pool
        app.state.pool, app.state.clock = pool, self.clock
        data_dir = self._settings.data_dir
        app.state.outbox = None if self._settings.mail else data_dir / "outbox"
        app.state.street_map = data_dir / "city.geojson"
        app.state.live = Live(pool, self.clock)
        app.state.commands = CommandHub(engines.dsn)
        app.state.commands.watch(app.state.live.tell_command)
        identity = SignIn(pool.connection, self.clock, AccessTokens(token_key(self._settings)))
        app.state.identity, app.state.authenticate = identity, identity.authenticate
        links = VerificationTokens(token_key(self._settings))
        most = self._settings.sign_ups_per_address
        app.state.sign_up = SignUp(pool.connection, self.clock, links, identity, address_limit=most)
        app.state.password_reset = PasswordReset(
            pool.connection, self.clock, links, address_limit=most
        )
        work: dict[str, Coroutine[Any, Any, None]] = {"commands": app.state.commands.run()}
        if "identity" in self._contexts:
            pause_s = _TIDY_EVERY.total_seconds()
            work["sign-ins"] = self._every(pause_s, lambda _pool: identity.tidy(), pool)
        if "devices" in self._contexts:
            work |= await self._device_work(stack, engines, pool, app.state.commands)
        if "fleet" in self._contexts:
            work["contact"] = self._every(_CONTACT_EVERY_S, Contact(self.clock).look, pool)
        if "booking" in self._contexts:
            work["places"] = self._every(_FOLLOW_EVERY_S, Follower(self.clock).look, pool)
            meters = Meters(app.state.booking)
            work["meters"] = self._every(_METERS_EVERY_S, meters.look, pool)
        app.state.payment_providers = providers = self._payment_providers(stack)
        if "payments" in self._contexts and providers:
            work["payments"] = Settler(pool, providers, self.clock).run(engines.dsn)
            compare = partial(reconcile_all, providers=providers, clock=self.clock)
            renew = partial(renew_ending, clock=self.clock)
            work["card-holds"] = self._every(_RENEW_EVERY_S, renew, pool)
            work["books"] = self._every(_COMPARE_EVERY.total_seconds(), compare, pool)
        ours = [s for s in subscribers if s.name.partition(".")[0] in self._contexts]
        if ours:
            work["events"] = run_events(engines.dsn, pool, ours, self.clock)
        for name, task in work.items():
            stack.push_async_callback(_end, self._begin(name, task))
        return engines

    def checks(self) -> list[ReadinessCheck]:
        """Return what must be there for this process to be ready."""
        return [
            ReadinessCheck("postgres", self._database_trouble),
            ReadinessCheck("nats", self._link_trouble),
        ]

    async def _engines(self, stack: contextlib.AsyncExitStack) -> Engines:
        settings, pids = self._settings, {}
        dsn, broker = settings.database_url, settings.external_broker()
        if dsn is None:
            postgres = EmbeddedPostgres(settings.data_dir)
            stack.push_async_callback(asyncio.to_thread, postgres.stop)
            dsn = await asyncio.to_thread(postgres.start)
            postgres.watch()
            pids["postgres"] = postgres.pid or 0
        if broker is None:
            nats = EmbeddedNats(settings.data_dir, door=settings.mqtt_door)
            stack.push_async_callback(asyncio.to_thread, nats.stop)
            await asyncio.to_thread(nats.start)
            nats.watch()
            self._nats = nats
            broker = nats.broker
            pids["nats"] = nats.pid or 0
        return Engines(dsn, broker, pids)

    def _payment_providers(self, stack: contextlib.AsyncExitStack) -> Mapping[str, PaymentProvider]:
        settings = self._settings
        secrets = settings.payment_key, settings.payment_webhook_secret
        provider: SandboxPayments | StripePayments
        if settings.payment_provider == "stripe":
            provider = StripePayments(*secrets, settings.payment_url)
        elif settings.payment_url is not None:
            provider = SandboxPayments(settings.payment_url, *secrets)
        else:
            return {}
        stack.callback(provider.close)
        return {provider.name: provider}

    async def _device_work(
        self, stack: contextlib.AsyncExitStack, engines: Engines, pool: Pool, hub: CommandHub
    ) -> dict[str, Coroutine[Any, Any, None]]:
        work = await self._gate_work(stack, engines)
        if self.device_listener is not None:
            work["device-https"] = self._open_door(self.device_listener, engines, pool).run()
        client = await connect_link(engines.broker.ingest_url)
        stack.push_async_callback(client.close)
        self._link_is_up = lambda: client.is_connected
        dsn = durable(engines.dsn)
        parts = Parts(telemetry.keep, PROJECTORS, self._promise.classify)
        settle = self._promise.settle
        ingest = Ingest(client, dsn, self.clock, parts, settle=settle, told=hub.tell)
        url = engines.broker.commands_url
        commands = await connect_link(url, name="mobility-commands", sends=COMMAND_PROBE)
        stack.push_async_callback(commands.close)
        signer = FileSigner(self._settings.data_dir, self.clock)
        relay = Relay(commands, dsn, signer, self.clock)
        presence = Presence(client, dsn, self.clock, greeted=relay.greeted)
        return work | {
            "relay": relay.run(),
            "ingest": ingest.run(),
            "presence": presence.run(),
            "tidy": self._every(_TIDY_EVERY.total_seconds(), self._tidy, pool),
            "look": self._every(_LOOK_EVERY_S, self._look, pool),
        }

    async def _gate_work(
        self, stack: contextlib.AsyncExitStack, engines: Engines
    ) -> dict[str, Coroutine[Any, Any, None]]:
        """Return what watches over devices' connections, as far as this process is told to."""
        broker, refusals = engines.broker, self._refusals
        work: dict[str, Coroutine[Any, Any, None]] = {}
        if broker.gate_url is not None:
            client = await connect_link(broker.gate_url, name="mobility-gate", inbox=GATE_INBOX)
            stack.push_async_callback(client.close)
            gate = Gate(client, broker.issuer_seed, engines.dsn, self.clock, refusals=refusals)
            work["gate"] = gate.run()
        if broker.log_path is not None:
            work["broker-log"] = BrokerLog(broker.log_path, refusals).run()
        return work

    def _open_door(self, listening: socket, engines: Engines, pool: Pool) -> Listener:
        settings = self._settings
        door = Door(
            pool=pool,
            clock=self.clock,
            authority=FileAuthority(settings.data_dir, self.clock),
            lifetime=settings.certificate_lifetime,
            mqtt=(engines.broker.mqtt_host, engines.broker.mqtt_port),
            signers=partial(signer_keys, settings.data_dir),
            blobs=settings.data_dir / "blobs",
            refusals=self._refusals,
        )
        self._device_https = Listener(door, listening, settings.device_hosts)
        return self._device_https

    async def _open_pool(self, stack: contextlib.AsyncExitStack, dsn: str, name: str) -> Pool:
        pool = await asyncio.to_thread(open_pool, dsn, name=name, timeout_s=10)
        stack.push_async_callback(asyncio.to_thread, pool.close)
        return pool

    def _begin(self, name: str, work: Coroutine[Any, Any, None]) -> "asyncio.Task[None]":
        task = asyncio.create_task(work, name=name)
        task.add_done_callback(self._ended)
        return task

    def _ended(self, task: "asyncio.Task[None]") -> None:
        if not task.cancelled() and (error := task.exception()) is not None:
            log.critical("%s ended, so this process ends too", task.get_name(), exc_info=error)
            self._on_failure(error)

    async def _every(self, pause_s: float, work: Callable[[Pool], object], pool: Pool) -> None:
        while True:
            try:
                await asyncio.to_thread(work, pool)
            except (psycopg.Error, PoolTimeout) as trouble:
                log.debug("put off: %s", trouble)
            await asyncio.sleep(pause_s)

    def _tidy(self, pool: Pool) -> None:
        if self._nats is not None and self._nats.renew_certificate():
            log.info("the broker has a new certificate")
        if self._device_https is not None and self._device_https.renew_certificate():
            log.info("the device listener has a new certificate")
        with pool.connection() as db:
            now = self.clock.now()
            telemetry.prepare_partitions(db, now)
            telemetry.merge_minutes(db, now)
            dropped = telemetry.drop_expired(db, now)
            device_requests.trim(db, now)
            device_gauges.look_at_certificates(db, now, self._settings.certificate_lifetime)
            idempotency.trim(db, now)
            if "returns" in self._contexts:
                forget_photos(db, self.parts, now)
        if dropped:
            log.info("dropped what is older than we keep: %s", ", ".join(dropped))

    def _look(self, pool: Pool) -> None:
        with pool.connection() as db:
            device_gauges.look(db, self.clock.now())

    async def _database_trouble(self) -> str | None:
        if self._pool is None:
            return "not started yet"
        await asyncio.to_thread(_reach, self._pool)
        return None

    async def _link_trouble(self) -> str | None:
        return None if self._link_is_up() else "no connection to the broker; is it running?"


def all_subscribers(
    settings: CloudSettings, clock: Clock, key: str | None = None
) -> tuple[Subscriber, ...]:
    """Return who acts on events, of every context; `key` is for who delivers nothing.

    Raises:
        ValueError: `settings.mail` is no mail server.
    """
    post = Post(
        mail_by(settings.mail, settings.mail_from, settings.data_dir / "outbox", clock),
        VerificationTokens(token_key(settings) if key is None else key),
        _public_url(settings),
        clock,
    )
    parts = working_parts(settings, clock)
    return (
        *identity_subscribers(post),
        *fleet_subscribers(clock),
        *booking_subscribers(parts.booking),
        *returns_subscribers(parts, ReturnsPost(post.mail, post.public_url, clock)),
    )


def working_parts(settings: CloudSettings, clock: Clock) -> ReturnParts:
    """Return what returns work with, and in it what booking does."""
    parts = real_parts(clock, _limits(settings), _public_url(settings))
    return return_parts(parts, settings.data_dir / "photos")


def _public_url(settings: CloudSettings) -> str:
    return (
        settings.public_url
        or f"http://{settings.http_host}:{settings.http_port or DEFAULT_HTTP_PORT}"
    )


def _limits(settings: CloudSettings) -> Limits:
    return Limits(settings.commands_per_minute, settings.fleet_commands_per_minute)


def prepare_database(dsn: str, clock: Clock, subscribers: Sequence[Subscriber]) -> None:
    """Migrate every context, and make the partitions and subscriptions that publishing needs.

    Waits for a database that is still starting.

    Raises:
        EngineError: it does not answer.
    """
    _await_database(dsn)
    for name in migrate(dsn, CONTEXTS, clock):
        log.info("applied %s", name)
    with connect(dsn) as db:
        register(db, CONTEXTS, subscribers)
        telemetry.prepare_partitions(db, clock.now())


def durable(dsn: str) -> str:
    """Return the connection URL with synchronous commits, whatever the server's default is."""
    options = str(conninfo_to_dict(dsn).get("options") or "")
    return make_conninfo(dsn, options=f"{options} -c synchronous_commit=on".strip())


def _await_database(dsn: str) -> None:
    try:
        open_pool(dsn, max_size=1, timeout_s=_DATABASE_PATIENCE_S, name="start").close()
    except PoolTimeout:
        where = conninfo_to_dict(dsn)
        raise EngineError(
            f"Postgres at {where.get('host')}:{where.get('port', 5432)} does not answer;"
            " start it, or correct DATABASE_URL"
        ) from None


def _reach(pool: Pool) -> None:
    with pool.connection(timeout=1):
        pass


async def _end(task: "asyncio.Task[None]") -> None:
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError, Exception):
        await task
