"""Spans: what took how long on the way of a request, a command or a segment. Off unless asked for.

While it is off nothing of OpenTelemetry is imported and nothing is kept. A span is named by its W3C
traceparent, which is what travels: in HTTP headers, command rows, commands and segment headers.
"""

import contextlib
import re
import secrets
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, nullcontext
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Final, Literal, Protocol

if TYPE_CHECKING:
    from opentelemetry.sdk.trace.export import SpanExporter

Where = Literal["off", "console", "file", "otlp"]
Kind = Literal["internal", "server", "producer", "consumer"]
Attributes = Mapping[str, str | int | float | bool]

FILE: Final = Path("logs", "traces.jsonl")
"""Where `file` writes, in the data folder."""

_TRACEPARENT: Final = re.compile(r"00-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}")
_CHANCES: Final = 1 << 32


class Span(Protocol):
    """A span that has begun; `traceparent` is None while tracing is off."""

    @property
    def traceparent(self) -> str | None:
        """Its name for whoever goes on with the trace."""
        ...

    def rename(self, name: str) -> None:
        """Give it another name than it began with."""
        ...

    def set(self, key: str, value: str | int) -> None:
        """Add an attribute."""
        ...

    def fail(self, why: str) -> None:
        """Mark what it stands for as failed."""
        ...


class Recorder(Protocol):
    """What keeps spans; `cloud.kit.tracing_sdk` has the one there is."""

    def live(
        self, name: str, parent: str | None, kind: Kind, attributes: Attributes
    ) -> AbstractContextManager[Span]:
        """Return a context in which a new span is the current one."""
        ...

    def past(
        self,
        name: str,
        times: tuple[datetime, datetime],
        *,
        parent: str | None,
        own: str | None,
        kind: Kind,
        attributes: Attributes,
    ) -> str:
        """Keep a span whose begin and end are known."""
        ...

    def current(self) -> str | None:
        """Return the current span's traceparent."""
        ...


class _Nothing:
    """The span while tracing is off."""

    traceparent = None

    def rename(self, name: str) -> None: ...

    def set(self, key: str, value: str | int) -> None: ...

    def fail(self, why: str) -> None: ...


class _Process:
    """What this process traces with; the share is that of reads that begin a trace here."""

    recorder: Recorder | None = None
    ratio: float = 0.0


_process = _Process()
_NOTHING: Final[AbstractContextManager[Span]] = nullcontext(_Nothing())


def is_on() -> bool:
    """Tell whether spans are kept."""
    return _process.recorder is not None


def is_traceparent(told: str | None) -> bool:
    """Tell whether this is a W3C traceparent of version 00 with valid ids."""
    return told is not None and _TRACEPARENT.fullmatch(told) is not None


def trace_id_of(traceparent: str | None) -> str | None:
    """Return the trace id in a traceparent, 32 hex digits."""
    return None if traceparent is None else traceparent[3:35]


def by_chance() -> bool:
    """Draw lots: whether something that may begin a trace does."""
    return secrets.randbelow(_CHANCES) < _process.ratio * _CHANCES


def current() -> str | None:
    """Return the traceparent of the span we are in; None when there is none."""
    return None if _process.recorder is None else _process.recorder.current()


def span(
    name: str,
    *,
    parent: str | None = None,
    kind: Kind = "internal",
    attributes: Attributes | None = None,
) -> AbstractContextManager[Span]:
    """Open a span for the time of a `with` block; what is opened inside becomes its child.

    It belongs to the span we are in, else to `parent`, else it begins a trace. One whose parent
    is not sampled is not kept either, but has a traceparent that says so.

    Args:
        name: what is done, `command.relay`.
        parent: traceparent of what came before, in another process.
        kind: its part in the talk of processes.
        attributes: what else there is to know; nothing about people.
    """
    if _process.recorder is None:
        return _NOTHING
    return _process.recorder.live(name, parent, kind, attributes or {})


def record(
    name: str,
    times: tuple[datetime, datetime],
    *,
    parent: str | None = None,
    own: str | None = None,
    kind: Kind = "internal",
    attributes: Attributes | None = None,
) -> str | None:
    """Keep a span whose times are known afterwards; return its traceparent, None when off.

    Args:
        name: what was done.
        times: begin and end.
        parent: traceparent of the span it belongs to.
        own: its own traceparent, when somebody else has named it: it begins a trace.
        kind: as for `span`.
        attributes: as for `span`.
    """
    if _process.recorder is None:
        return None
    return _process.recorder.past(
        name, times, parent=parent, own=own, kind=kind, attributes=attributes or {}
    )


@contextlib.contextmanager
def running(where: Where, data_dir: Path, ratio: float) -> Iterator[None]:
    """Keep this process's spans for the time of a `with` block.

    Args:
        where: `off`; `console`, a JSON line each on stderr; `file`, the same in the data folder's
            `logs/traces.jsonl`; `otlp`, to the collector of OTEL_EXPORTER_OTLP_ENDPOINT.
        data_dir: the data folder.
        ratio: share of reads over HTTP that begin a trace, 0 to 1.
    """
    if where == "off":
        yield
        return
    from cloud.kit.tracing_sdk import exporter_for

    with recording(exporter_for(where, data_dir / FILE), ratio):
        yield


@contextlib.contextmanager
def recording(exporter: "SpanExporter", ratio: float = 1.0) -> Iterator[None]:
    """Hand spans to an exporter for the time of a `with` block; the last are handed over then."""
    from cloud.kit.tracing_sdk import SdkRecorder

    recorder = SdkRecorder(exporter)
    _process.recorder, _process.ratio = recorder, ratio
    try:
        yield
    finally:
        _process.recorder = None
        recorder.close()
