"""What a cloud process is told: its data folder, where it listens, which engines are elsewhere."""

import contextlib
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from pydantic import BaseModel, Field

if TYPE_CHECKING:
    from cloud.kit.nats import Broker

DEFAULT_DATA_DIR = Path(".demo")
DEFAULT_HTTP_PORT = 8_080
_MQTT_PORT = 1_883


class CloudSettings(BaseModel, frozen=True, extra="forbid"):
    """Settings of one process; `from_env` reads them, a command line overrides them."""

    data_dir: Path = DEFAULT_DATA_DIR
    contexts: tuple[str, ...] = Field(default=(), description="empty: all of them")
    http_host: str = "127.0.0.1"
    http_port: int | None = Field(default=None, ge=0, le=65_535, description="None: a free one")
    database_url: str | None = Field(default=None, description="None: embedded Postgres")
    nats_url: str | None = Field(default=None, description="None: embedded NATS")
    mqtt_host: str = "127.0.0.1"
    mqtt_port: int = Field(default=_MQTT_PORT, ge=1, le=65_535)
    mqtt_username: str = ""
    mqtt_password: str = Field(default="", repr=False)
    log_json: bool = False

    @classmethod
    def from_env(cls, environ: Mapping[str, str] | None = None, **overrides: Any) -> Self:  # noqa: ANN401 - pydantic checks them
        """Read the environment; an override that is None is not one.

        DATABASE_URL, NATS_URL, MOBILITY_DATA_DIR, MOBILITY_HTTP (HOST:PORT), MOBILITY_MQTT_HOST,
        _PORT, _USERNAME, _PASSWORD (of the broker behind NATS_URL), MOBILITY_LOG (json or human).
        Raises pydantic.ValidationError, a ValueError.
        """
        env = os.environ if environ is None else environ
        found: dict[str, Any] = {
            "data_dir": env.get("MOBILITY_DATA_DIR"),
            "database_url": env.get("DATABASE_URL"),
            "nats_url": env.get("NATS_URL"),
            "mqtt_host": env.get("MOBILITY_MQTT_HOST"),
            "mqtt_port": env.get("MOBILITY_MQTT_PORT"),
            "mqtt_username": env.get("MOBILITY_MQTT_USERNAME"),
            "mqtt_password": env.get("MOBILITY_MQTT_PASSWORD"),
            "log_json": env.get("MOBILITY_LOG") == "json",
        }
        if env.get("MOBILITY_HTTP"):
            found["http_host"], found["http_port"] = host_and_port(env["MOBILITY_HTTP"])
        found |= {name: value for name, value in overrides.items() if value is not None}
        return cls.model_validate(
            {name: value for name, value in found.items() if value not in (None, "")}
        )

    def external_broker(self) -> "Broker | None":
        """The broker somebody else runs; None when NATS is embedded."""
        from cloud.kit.nats import Broker

        if self.nats_url is None:
            return None
        return Broker(
            self.nats_url, self.mqtt_host, self.mqtt_port, self.mqtt_username, self.mqtt_password
        )


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
