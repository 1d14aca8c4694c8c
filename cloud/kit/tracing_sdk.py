"""Spans kept by the OpenTelemetry SDK. Imported only when tracing is on: it takes 90 ms."""

import contextlib
import json
import logging
import os
import sys
import threading
from collections.abc import Iterator, Sequence
from contextvars import ContextVar
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import IO, Final, Literal

from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.sdk.resources import SERVICE_NAME, Resource
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult
from opentelemetry.sdk.trace.id_generator import RandomIdGenerator
from opentelemetry.sdk.trace.sampling import ALWAYS_ON, ParentBased
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from cloud.kit.clock import rfc3339
from cloud.kit.tracing import Attributes, Kind, Span

log = logging.getLogger(__name__)

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND: Final = timedelta(microseconds=1)
_KEPT_BYTES: Final = 20_000_000
_HAND_OVER_EVERY_MS: Final = 1_000
_PATIENCE_S: Final = 3.0
_KINDS: Final = {
    "internal": trace.SpanKind.INTERNAL,
    "server": trace.SpanKind.SERVER,
    "producer": trace.SpanKind.PRODUCER,
    "consumer": trace.SpanKind.CONSUMER,
}
_own: ContextVar[trace.SpanContext | None] = ContextVar("own", default=None)


class SdkRecorder:
    """Keeps every span whose parent is sampled or that has none."""

    def __init__(self, exporter: SpanExporter) -> None:
        named = os.environ.get("OTEL_SERVICE_NAME", "mobility-cloud")
        self._provider = TracerProvider(
            sampler=ParentBased(ALWAYS_ON),
            resource=Resource.create({SERVICE_NAME: named}),
            shutdown_on_exit=False,
            id_generator=_Ids(),
        )
        self._provider.add_span_processor(
            BatchSpanProcessor(exporter, schedule_delay_millis=_HAND_OVER_EVERY_MS)
        )
        self._tracer = self._provider.get_tracer("mobilitycorp")
        self._propagator = TraceContextTextMapPropagator()
        self._exporter = exporter

    def close(self) -> None:
        """Hand over what is left; give it up when nobody takes it for three seconds."""
        closing = threading.Thread(target=self._provider.shutdown, name="traces", daemon=True)
        closing.start()
        closing.join(_PATIENCE_S)
        if closing.is_alive():
            self._exporter.shutdown()
            closing.join(_PATIENCE_S)

    @contextlib.contextmanager
    def live(
        self, name: str, parent: str | None, kind: Kind, attributes: Attributes
    ) -> Iterator[Span]:
        """Open a span and be in it."""
        inside = trace.get_current_span().get_span_context().is_valid
        with self._tracer.start_as_current_span(
            name,
            context=None if inside else self._context(parent),
            kind=_KINDS[kind],
            attributes=attributes,
            record_exception=False,
        ) as opened:
            yield _Opened(opened)

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
        """Keep a span with these times."""
        with self._named(own):
            kept = self._tracer.start_span(
                name,
                context=self._context(None if own is not None else parent),
                kind=_KINDS[kind],
                attributes=attributes,
                start_time=_ns(times[0]),
            )
        kept.end(_ns(times[1]))
        return _written(kept.get_span_context())

    def current(self) -> str | None:
        """Return the traceparent of the span this task or thread is in."""
        found = trace.get_current_span().get_span_context()
        return _written(found) if found.is_valid else None

    def _context(self, traceparent: str | None) -> Context:
        """Return what the SDK calls the parent; a text that is no traceparent is none."""
        carrier = {} if traceparent is None else {"traceparent": traceparent}
        return self._propagator.extract(carrier, Context())

    @contextlib.contextmanager
    def _named(self, own: str | None) -> Iterator[None]:
        if own is None:
            yield
            return
        found = trace.get_current_span(self._context(own)).get_span_context()
        token = _own.set(found if found.is_valid else None)
        try:
            yield
        finally:
            _own.reset(token)


class _Ids(RandomIdGenerator):
    """Random ids, except for a span that a vehicle has named."""

    def generate_span_id(self) -> int:
        named = _own.get()
        return super().generate_span_id() if named is None else named.span_id

    def generate_trace_id(self) -> int:
        named = _own.get()
        return super().generate_trace_id() if named is None else named.trace_id

    def is_trace_id_random(self) -> bool:
        return _own.get() is None


class _Opened:
    def __init__(self, opened: trace.Span) -> None:
        self._span = opened

    @property
    def traceparent(self) -> str | None:
        return _written(self._span.get_span_context())

    def rename(self, name: str) -> None:
        self._span.update_name(name)

    def set(self, key: str, value: str | int) -> None:
        self._span.set_attribute(key, value)

    def fail(self, why: str) -> None:
        self._span.set_status(trace.Status(trace.StatusCode.ERROR, why))


class Calm(SpanExporter):
    """Tells once when nobody takes the spans and once when somebody does again; they are lost."""

    def __init__(self, inner: SpanExporter) -> None:
        self._inner = inner
        self._away = False

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        """Hand over spans."""
        result = self._inner.export(spans)
        failed = result is not SpanExportResult.SUCCESS
        if failed and not self._away:
            log.warning(
                "the collector takes no spans, they are lost until it does;"
                " start it, or correct OTEL_EXPORTER_OTLP_ENDPOINT"
            )
        elif self._away and not failed:
            log.warning("the collector takes spans again")
        self._away = failed
        return result

    def shutdown(self) -> None:
        """Give up."""
        self._inner.shutdown()

    def force_flush(self, timeout_millis: int = 30_000) -> bool:
        """Wait until everything is handed over."""
        return self._inner.force_flush(timeout_millis)


class JsonLines(SpanExporter):
    """Writes a span as one line of JSON; a file that has become large is begun anew.

    Args:
        path: where to; None is stderr. One older generation is kept beside it.
        kept_bytes: how large a file may become.
    """

    def __init__(self, path: Path | None = None, *, kept_bytes: int = _KEPT_BYTES) -> None:
        self._path = path
        self._kept_bytes = kept_bytes
        if path is not None:
            path.parent.mkdir(parents=True, exist_ok=True)

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        """Write the spans, oldest end first."""
        text = "".join(f"{as_json(one)}\n" for one in spans)
        try:
            self._write(text)
        except OSError:
            return SpanExportResult.FAILURE
        return SpanExportResult.SUCCESS

    def shutdown(self) -> None:
        """Nothing is open."""

    def force_flush(self, timeout_millis: int = 30_000) -> bool:  # noqa: ARG002 - the SDK's word
        """Nothing waits."""
        return True

    def _write(self, text: str) -> None:
        if self._path is None:
            _put(sys.stderr, text)
            return
        if self._path.exists() and self._path.stat().st_size > self._kept_bytes:
            self._path.replace(self._path.with_name(f"{self._path.name}.1"))
        with self._path.open("a", encoding="utf-8") as file:
            _put(file, text)


def as_json(span: ReadableSpan) -> str:
    """Return a span as a person looks for it: ids as they are in a traceparent, times in UTC."""
    context, began_ns, ended_ns = span.context, span.start_time or 0, span.end_time or 0
    line: dict[str, object] = {
        "trace_id": f"{context.trace_id:032x}" if context else None,
        "span_id": f"{context.span_id:016x}" if context else None,
        "parent_id": f"{span.parent.span_id:016x}" if span.parent else None,
        "name": span.name,
        "kind": span.kind.name.lower(),
        "start": rfc3339(_EPOCH + began_ns // 1_000 * _MICROSECOND),
        "duration_ms": round((ended_ns - began_ns) / 1e6, 3),
        "attributes": dict(span.attributes or {}),
    }
    if span.status.status_code is trace.StatusCode.ERROR:
        line["error"] = span.status.description or "failed"
    return json.dumps(line, ensure_ascii=False, default=str)


def exporter_for(where: Literal["console", "file", "otlp"], file: Path) -> SpanExporter:
    """Return what `where` names; `otlp` reads the standard OTEL_EXPORTER_OTLP_… variables."""
    if where == "otlp":
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter

        # It writes a line for every attempt.
        logging.getLogger("opentelemetry").setLevel(logging.CRITICAL)
        return Calm(OTLPSpanExporter())
    return JsonLines(file if where == "file" else None)


def _put(out: IO[str], text: str) -> None:
    out.write(text)
    out.flush()


def _written(context: trace.SpanContext) -> str:
    return f"00-{context.trace_id:032x}-{context.span_id:016x}-{int(context.trace_flags):02x}"


def _ns(at: datetime) -> int:
    return (at - _EPOCH) // _MICROSECOND * 1_000
