"""What a cloud process is told: its data folder, where it listens, which engines are elsewhere."""

import contextlib
import os
from collections.abc import Collection, Iterator, Mapping
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, Self
from urllib.parse import urlsplit

from pydantic import BaseModel, Field

from cloud.kit.tracing import Where

if TYPE_CHECKING:
    from cloud.kit.nats import Broker, MqttDoor

DEFAULT_DATA_DIR = Path(".demo")
DEFAULT_HTTP_PORT = 8_080
DEFAULT_DEVICE_PORT = 8_443
_MQTT_PORT = 1_883
_ANY_HOST = ("0.0.0.0", "::")  # noqa: S104 - compared, not bound


Host = Annotated[str, Field(pattern=r"^[A-Za-z0-9.:-]{1,253}$")]


class CloudSettings(BaseModel, frozen=True, extra="forbid"):
    """Settings of one process; `from_env` reads them, a command line overrides them."""

    data_dir: Path = DEFAULT_DATA_DIR
    contexts: tuple[str, ...] = Field(default=(), description="empty: all of them")
    http_host: str = "127.0.0.1"
    http_port: int | None = Field(default=None, ge=0, le=65_535, description="None: a free one")
    device_https_host: str = "127.0.0.1"
    device_https_port: int | None = Field(
        default=None, ge=0, le=65_535, description="None: a free one"
    )
    device_url: str | None = Field(
        default=None,
        pattern=r"^https://[^/?#]+/?$",
        description="what devices call the listener; None: by its host and port",
    )
    certificate_days: float = Field(default=90, gt=0, le=3_650, description="a device's")
    database_url: str | None = Field(default=None, description="None: embedded Postgres")
    nats_url: str | None = Field(
        default=None, repr=False, description="the user ingest's; None: embedded NATS"
    )
    nats_commands_url: str | None = Field(
        default=None, repr=False, description="None: this process sends no commands"
    )
    nats_gate_url: str | None = Field(
        default=None, repr=False, description="None: this process answers no auth callout"
    )
    nats_issuer_seed: str = Field(default="", repr=False, description="signs callout answers")
    nats_log: Path | None = Field(default=None, description="to count what the broker refuses")
    mqtt_host: str = "127.0.0.1"
    mqtt_port: int = Field(default=_MQTT_PORT, ge=1, le=65_535)
    mqtt_listen_host: str = Field(default="127.0.0.1", description="of the embedded broker")
    mqtt_listen_port: int | None = Field(
        default=None, ge=1, le=65_535, description="None: a free one"
    )
    broker_hosts: tuple[Host, ...] = Field(
        default=(), description="what vehicles call this machine, the first one is what they try"
    )
    token_key: str | None = Field(
        default=None, min_length=32, repr=False, description="None: the data folder's own"
    )
    commands_per_minute: int = Field(default=60, ge=1, description="of one account")
    fleet_commands_per_minute: int = Field(default=600, ge=1, description="of a tenant's accounts")
    mail: str | None = Field(
        default=None, repr=False, description="URL of a mail server; None: the folder outbox"
    )
    mail_from: str = "MobilityCorp <no-reply@localhost>"
    public_url: str | None = Field(
        default=None, pattern=r"^https?://[^/?#]+/?$", description="what customers call our pages"
    )
    sign_ups_per_address: int = Field(default=50, ge=1, description="in a quarter of an hour")
    payment_provider: Literal["sandbox", "stripe"] = "sandbox"
    payment_url: str | None = Field(
        default=None, description="of the provider; None: no sandbox, or Stripe's own"
    )
    payment_key: str = Field(default="", repr=False)
    payment_webhook_secret: str = Field(default="", repr=False)
    log_json: bool = False
    traces: Where = Field(default="off", description="where spans go")
    traces_ratio: float = Field(default=0.01, ge=0, le=1, description="of reads that begin a trace")

    @classmethod
    def from_env(cls, environ: Mapping[str, str] | None = None, **overrides: Any) -> Self:  # noqa: ANN401 - pydantic checks them
        """Read the environment; an override that is None is not one.

        DATABASE_URL, MOBILITY_DATA_DIR, MOBILITY_HTTP (HOST:PORT), MOBILITY_LOG (json or human),
        MOBILITY_DEVICE_HTTPS (HOST:PORT), MOBILITY_DEVICE_URL, MOBILITY_CERTIFICATE_DAYS,
        MOBILITY_TOKEN_KEY (signs access tokens, the same in every process of one cloud);
        MOBILITY_COMMANDS_PER_MINUTE, MOBILITY_FLEET_COMMANDS_PER_MINUTE;
        NATS_URL, NATS_COMMANDS_URL, NATS_GATE_URL (a URL for each user), NATS_ISSUER_SEED,
        NATS_LOG, MOBILITY_MQTT_HOST, MOBILITY_MQTT_PORT of a broker that is not embedded;
        MOBILITY_MQTT (HOST:PORT) of the embedded one, MOBILITY_BROKER_HOSTS (with commas);
        MOBILITY_TRACES (off, console, file or otlp), MOBILITY_TRACES_RATIO;
        MOBILITY_MAIL (smtp+starttls://…), MOBILITY_MAIL_FROM, MOBILITY_PUBLIC_URL,
        MOBILITY_SIGN_UPS_PER_ADDRESS; MOBILITY_PAYMENT_PROVIDER (sandbox or stripe),
        MOBILITY_PAYMENT_URL, MOBILITY_PAYMENT_KEY, MOBILITY_PAYMENT_WEBHOOK_SECRET.
        Raises pydantic.ValidationError, a ValueError.
        """
        env = os.environ if environ is None else environ
        found: dict[str, Any] = {
            "data_dir": env.get("MOBILITY_DATA_DIR"),
            "device_url": env.get("MOBILITY_DEVICE_URL"),
            "certificate_days": env.get("MOBILITY_CERTIFICATE_DAYS"),
            "database_url": env.get("DATABASE_URL"),
            "nats_url": env.get("NATS_URL"),
            "nats_commands_url": env.get("NATS_COMMANDS_URL"),
            "nats_gate_url": env.get("NATS_GATE_URL"),
            "nats_issuer_seed": env.get("NATS_ISSUER_SEED"),
            "nats_log": env.get("NATS_LOG"),
            "mqtt_host": env.get("MOBILITY_MQTT_HOST"),
            "mqtt_port": env.get("MOBILITY_MQTT_PORT"),
            "token_key": env.get("MOBILITY_TOKEN_KEY"),
            "commands_per_minute": env.get("MOBILITY_COMMANDS_PER_MINUTE"),
            "fleet_commands_per_minute": env.get("MOBILITY_FLEET_COMMANDS_PER_MINUTE"),
            "mail": env.get("MOBILITY_MAIL"),
            "mail_from": env.get("MOBILITY_MAIL_FROM"),
            "public_url": env.get("MOBILITY_PUBLIC_URL"),
            "sign_ups_per_address": env.get("MOBILITY_SIGN_UPS_PER_ADDRESS"),
            "payment_provider": env.get("MOBILITY_PAYMENT_PROVIDER"),
            "payment_url": env.get("MOBILITY_PAYMENT_URL"),
            "payment_key": env.get("MOBILITY_PAYMENT_KEY"),
            "payment_webhook_secret": env.get("MOBILITY_PAYMENT_WEBHOOK_SECRET"),
            "log_json": env.get("MOBILITY_LOG") == "json",
            "traces": env.get("MOBILITY_TRACES"),
            "traces_ratio": env.get("MOBILITY_TRACES_RATIO"),
        }
        if env.get("MOBILITY_HTTP"):
            found["http_host"], found["http_port"] = host_and_port(env["MOBILITY_HTTP"])
        if env.get("MOBILITY_MQTT"):
            where = host_and_port(env["MOBILITY_MQTT"])
            found["mqtt_listen_host"], found["mqtt_listen_port"] = where
        if env.get("MOBILITY_BROKER_HOSTS"):
            named = env["MOBILITY_BROKER_HOSTS"].split(",")
            found["broker_hosts"] = tuple(host.strip() for host in named)
        if env.get("MOBILITY_DEVICE_HTTPS"):
            where = host_and_port(env["MOBILITY_DEVICE_HTTPS"])
            found["device_https_host"], found["device_https_port"] = where
        found |= {name: value for name, value in overrides.items() if value is not None}
        return cls.model_validate(
            {name: value for name, value in found.items() if value not in (None, "")}
        )

    @property
    def certificate_lifetime(self) -> timedelta:
        """How long a device's certificate lives."""
        return timedelta(days=self.certificate_days)

    @property
    def device_hosts(self) -> tuple[str, ...]:
        """What the certificate of the device listener must name, beside this machine itself."""
        named = urlsplit(self.device_url or "").hostname
        bound = None if self.device_https_host in _ANY_HOST else self.device_https_host
        return tuple(host for host in (named, bound, *self.broker_hosts) if host)

    def device_url_at(self, port: int) -> str:
        """Return what devices call the listener when it has this port."""
        if self.device_url is not None:
            return self.device_url.rstrip("/")
        host = self.device_https_host
        if host in _ANY_HOST:
            host = self.broker_hosts[0] if self.broker_hosts else "127.0.0.1"
        return f"https://[{host}]:{port}" if ":" in host else f"https://{host}:{port}"

    @property
    def mqtt_door(self) -> "MqttDoor":
        """Where the embedded broker lets vehicles in."""
        from cloud.kit.nats import MqttDoor

        return MqttDoor(self.mqtt_listen_host, self.mqtt_listen_port, self.broker_hosts)

    def check_payments(self) -> None:
        """Raise ValueError, with what to set, for a Stripe that could not be spoken to."""
        if self.payment_provider == "stripe" and not (
            self.payment_key and self.payment_webhook_secret
        ):
            raise ValueError(
                "MOBILITY_PAYMENT_PROVIDER=stripe needs two secrets of your Stripe account; set"
                " MOBILITY_PAYMENT_KEY to its key and MOBILITY_PAYMENT_WEBHOOK_SECRET to that of"
                " the webhook"
            )

    def check_broker(self, contexts: Collection[str]) -> None:
        """Raise ValueError, with what to set, for a broker that would not get what is sent."""
        if self.nats_url is None:
            return
        if "devices" in contexts and self.nats_commands_url is None:
            raise ValueError(
                "NATS_URL alone receives and sends no commands; set NATS_COMMANDS_URL to the URL of"
                " the broker's user commands too, or serve contexts without devices"
            )
        if self.mqtt_listen_port is not None:
            raise ValueError(
                "--mqtt is where the embedded broker listens, and NATS_URL names another broker;"
                " leave one of them out"
            )

    def external_broker(self) -> "Broker | None":
        """The broker somebody else runs; None when NATS is embedded."""
        from cloud.kit.nats import Broker

        if self.nats_url is None:
            return None
        return Broker(
            ingest_url=self.nats_url,
            commands_url=self.nats_commands_url or self.nats_url,
            mqtt_host=self.mqtt_host,
            mqtt_port=self.mqtt_port,
            gate_url=self.nats_gate_url,
            issuer_seed=self.nats_issuer_seed,
            log_path=self.nats_log,
        )


def token_key(settings: CloudSettings) -> str:
    """Return what signs access tokens: the told key, or one that the data folder keeps."""
    from cloud.kit.folder import DataFolder

    return settings.token_key or DataFolder(settings.data_dir).secret("token_key")


def host_and_port(text: str) -> tuple[str, int]:
    """Split `HOST:PORT`; raises ValueError with an example."""
    host, _, port = text.rpartition(":")
    if not host or not port.isdecimal() or int(port) > 65_535:  # noqa: PLR2004 - the last port
        raise ValueError(f"{text!r} is not HOST:PORT; write for example 127.0.0.1:8080")
    return host.strip("[]"), int(port)


@contextlib.contextmanager
def database_for(settings: CloudSettings) -> Iterator[str]:
    """Lend a command the database, as a connection URL: DATABASE_URL, or the data folder's own.

    An embedded one that runs is used and left running; else it is started and stopped after.
    Migrates nothing. Raises EngineError.
    """
    if settings.database_url is not None:
        yield settings.database_url
        return
    from cloud.kit.postgres import EmbeddedPostgres

    server = EmbeddedPostgres(settings.data_dir)
    started = server.started_here()
    try:
        yield server.dsn
    finally:
        if started:
            server.stop()
