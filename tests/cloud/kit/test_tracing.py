"""Spans: whose child they are, which are kept, where they go, and that off is off."""

import json
import logging
import subprocess
import sys
import threading
from collections.abc import Callable, Sequence
from datetime import timedelta
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import httpx
import pytest
from fastapi import APIRouter, FastAPI, HTTPException
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import SpanExportResult
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from cloud.kit import tracing
from cloud.kit.logs import configure_logs
from cloud.kit.settings import CloudSettings
from cloud.kit.traced_http import Traced
from cloud.kit.tracing_sdk import Calm, JsonLines
from tests.cloud.sealed import NOON

TRACE_ID, CALLER_ID = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
CALLER = f"00-{TRACE_ID}-{CALLER_ID}-01"
UNSAMPLED = f"00-{TRACE_ID}-{CALLER_ID}-00"
MOMENT = (NOON, NOON + timedelta(milliseconds=5))


def kept(work: Callable[[], object], ratio: float = 1.0) -> list[ReadableSpan]:
    """The spans that `work` leaves, in the order in which they ended."""
    exporter = InMemorySpanExporter()
    with tracing.recording(exporter, ratio):
        work()
    return list(exporter.get_finished_spans())


def ids(span: ReadableSpan) -> tuple[str, str, str]:
    """Trace, span and parent as they are in a traceparent; no parent is empty."""
    assert span.context is not None
    parent = f"{span.parent.span_id:016x}" if span.parent else ""
    return f"{span.context.trace_id:032x}", f"{span.context.span_id:016x}", parent


def test_off_keeps_nothing_and_names_nothing() -> None:
    with tracing.span("command.relay", parent=CALLER) as span:
        span.set("n", 1)
        span.rename("other")
        span.fail("why")
        assert (span.traceparent, tracing.current()) == (None, None)
    assert tracing.record("ack", MOMENT, parent=CALLER) is None
    assert not tracing.is_on()


def test_the_environment_says_where_spans_go() -> None:
    assert CloudSettings.from_env({}).traces == "off"
    told = CloudSettings.from_env({"MOBILITY_TRACES": "file", "MOBILITY_TRACES_RATIO": "0.5"})
    assert (told.traces, told.traces_ratio) == ("file", 0.5)
    with pytest.raises(ValueError, match="traces"):
        CloudSettings.from_env({"MOBILITY_TRACES": "somewhere"})


def test_off_imports_nothing_of_the_sdk() -> None:
    code = (
        "import sys, cloud.serve; from cloud.kit import tracing; from pathlib import Path\n"
        "with tracing.running('off', Path('/nonexistent'), 1.0): pass\n"
        "print([name for name in sys.modules if name.startswith('opentelemetry.sdk')])"
    )
    assert subprocess.check_output([sys.executable, "-c", code], text=True).strip() == "[]"


def test_a_span_goes_on_with_its_parents_trace_and_those_inside_with_its_own() -> None:
    def work() -> None:
        with tracing.span("outer", parent=CALLER) as outer:
            assert tracing.current() == outer.traceparent
            with tracing.span("inner", parent="00-" + "1" * 32 + "-" + "2" * 16 + "-01"):
                pass

    inner, outer = kept(work)
    assert ids(outer)[::2] == (TRACE_ID, CALLER_ID)
    assert ids(inner)[::2] == (TRACE_ID, ids(outer)[1])


@pytest.mark.parametrize("told", [None, "", "00-xyz", "00-" + "0" * 32 + "-" + "0" * 16 + "-01"])
def test_without_a_parent_that_is_one_a_span_begins_a_trace(told: str | None) -> None:
    def work() -> None:
        with tracing.span("root", parent=told):
            pass

    assert not tracing.is_traceparent(told)
    (root,) = kept(work)
    assert root.parent is None


def test_a_parent_that_is_not_sampled_is_followed_but_not_kept() -> None:
    said = []

    def work() -> None:
        with tracing.span("relay", parent=UNSAMPLED) as span:
            said.append(span.traceparent)
        said.append(tracing.record("ack", MOMENT, parent=UNSAMPLED))

    assert kept(work) == []
    assert [(one or "")[:36] for one in said] == [f"00-{TRACE_ID}-"] * 2
    assert [(one or "")[-2:] for one in said] == ["00", "00"]


def test_a_span_of_the_past_has_its_times_and_may_have_its_own_name() -> None:
    def work() -> None:
        whole = tracing.record("segment", MOMENT, own=CALLER)
        assert whole == CALLER
        tracing.record("ack", MOMENT, parent=whole)

    whole, ack = kept(work)
    assert ids(whole) == (TRACE_ID, CALLER_ID, "")
    assert ids(ack)[::2] == (TRACE_ID, CALLER_ID)
    assert ids(ack)[1] != CALLER_ID
    assert ack.start_time == int(NOON.timestamp()) * 1_000_000_000
    assert ack.end_time == ack.start_time + 5_000_000


def test_what_raises_is_a_failed_span() -> None:
    def work() -> None:
        with pytest.raises(KeyError), tracing.span("root"):
            raise KeyError("no such thing")

    (root,) = kept(work)
    assert not root.status.is_ok
    assert root.events == ()


def test_a_log_line_names_the_trace_it_belongs_to(capsys: pytest.CaptureFixture[str]) -> None:
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level

    def work() -> None:
        with tracing.span("root", parent=CALLER):
            logging.getLogger("cloud.test").warning("inside")
        logging.getLogger("cloud.test").warning("outside")

    try:
        configure_logs(json=True)
        kept(work)
    finally:
        root.handlers[:] = handlers
        root.setLevel(level)
        logging.captureWarnings(capture=False)
    lines = [json.loads(line) for line in capsys.readouterr().err.splitlines()]
    traces = {line["message"]: line.get("trace_id") for line in lines}
    assert traces == {"inside": TRACE_ID, "outside": None}


def test_a_file_has_a_line_of_json_for_each_span_and_is_begun_anew(tmp_path: Path) -> None:
    path = tmp_path / "logs" / "traces.jsonl"
    exporter = JsonLines(path, kept_bytes=1)
    for name in ("old", "new"):
        with tracing.recording(exporter):
            tracing.record(name, MOMENT, parent=CALLER, attributes={"device.id": "demo-001"})
    (line,) = path.read_text("utf-8").splitlines()
    told = json.loads(line)
    assert told.pop("span_id") not in ("", CALLER_ID)
    assert told == {
        "trace_id": TRACE_ID,
        "parent_id": CALLER_ID,
        "name": "new",
        "kind": "internal",
        "start": "2026-07-01T12:00:00.000Z",
        "duration_ms": 5.0,
        "attributes": {"device.id": "demo-001"},
    }
    (old,) = path.with_name("traces.jsonl.1").read_text("utf-8").splitlines()
    assert json.loads(old)["name"] == "old"


def test_the_console_is_stderr(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with tracing.running("console", tmp_path, 1.0), tracing.span("root") as span:
        span.fail("for a reason")
    out, err = capsys.readouterr()
    assert (out, json.loads(err)["error"]) == ("", "for a reason")
    assert list(tmp_path.iterdir()) == []


def test_a_collector_is_sent_what_otlp_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    taken: list[tuple[str, bytes]] = []

    class Collector(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            taken.append((self.path, body))
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_: object) -> None: ...

    with HTTPServer(("127.0.0.1", 0), Collector) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        url = f"http://127.0.0.1:{server.server_port}"
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", url)
        with tracing.running("otlp", tmp_path, 1.0):
            tracing.record("ack", MOMENT, parent=CALLER)
        server.shutdown()
    (path, body), *_ = taken
    (told,) = ExportTraceServiceRequest.FromString(body).resource_spans
    named = {each.key: each.value.string_value for each in told.resource.attributes}
    (span,) = told.scope_spans[0].spans
    assert (path, named["service.name"]) == ("/v1/traces", "mobility-cloud")
    assert (span.name, span.trace_id.hex(), span.parent_span_id.hex()) == (
        "ack",
        TRACE_ID,
        CALLER_ID,
    )


@pytest.mark.slow
def test_a_collector_that_is_away_is_told_of_once_and_holds_nobody_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:9")
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_TIMEOUT", "1")
    ended = threading.Event()

    def work() -> None:
        with tracing.running("otlp", tmp_path, 1.0):
            for _ in range(3):
                with tracing.span("root"):
                    pass
                threading.Event().wait(1.5)
        ended.set()

    threading.Thread(target=work, daemon=True).start()
    assert ended.wait(15)
    told = [record.getMessage() for record in caplog.records]
    assert [line[:29] for line in told] == ["the collector takes no spans,"]


def test_a_collector_that_is_back_is_told_of_too(caplog: pytest.LogCaptureFixture) -> None:
    class Moody(InMemorySpanExporter):
        results = iter("FFSS")

        def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
            super().export(spans)
            is_up = next(self.results) == "S"
            return SpanExportResult.SUCCESS if is_up else SpanExportResult.FAILURE

    calm = Calm(Moody())
    for _ in range(4):
        calm.export([])
    told = [record.getMessage()[:31] for record in caplog.records]
    assert told == ["the collector takes no spans, t", "the collector takes spans again"]


def a_site() -> FastAPI:
    """An application with a read, a change and something that breaks, one router inside another."""
    inner, outer = APIRouter(prefix="/things"), APIRouter(prefix="/api")

    @inner.get("/{name}")
    def read(name: str) -> dict[str, str | None]:
        return {"name": name, "current": tracing.current()}

    @inner.post("/{name}")
    def change(name: str) -> dict[str, str | None]:
        return read(name)

    @inner.delete("/{name}")
    def breaks(name: str) -> None:
        raise HTTPException(503, name)

    outer.include_router(inner)
    site = FastAPI()
    site.add_middleware(Traced)
    site.include_router(outer)
    return site


async def asked(
    method: str, traceparent: str | None = None, *, ratio: float = 0.0
) -> tuple[httpx.Response, list[ReadableSpan]]:
    exporter = InMemorySpanExporter()
    headers = {} if traceparent is None else {"traceparent": traceparent}
    with tracing.recording(exporter, ratio):
        transport = httpx.ASGITransport(a_site())
        async with httpx.AsyncClient(transport=transport, base_url="http://site") as client:
            answer = await client.request(method, "/api/things/a?who=ada", headers=headers)
    return answer, list(exporter.get_finished_spans())


async def test_a_request_goes_on_with_its_callers_trace_without_its_query() -> None:
    answer, (span,) = await asked("GET", CALLER)
    assert ids(span)[::2] == (TRACE_ID, CALLER_ID)
    assert answer.json()["current"][:52] == f"00-{TRACE_ID}-{ids(span)[1]}"
    assert span.name == "GET /api/things/{name}"
    assert span.attributes == {
        "http.request.method": "GET",
        "http.response.status_code": 200,
        "http.route": "/api/things/{name}",
    }


@pytest.mark.parametrize(
    ("method", "traceparent", "ratio", "spans"),
    [
        ("GET", None, 0.0, 0),
        ("GET", None, 1.0, 1),
        ("GET", "00-rubbish", 0.0, 0),
        ("POST", None, 0.0, 1),
        ("POST", "00-rubbish", 0.0, 1),
        ("POST", UNSAMPLED, 1.0, 0),
    ],
)
async def test_changes_begin_a_trace_and_reads_by_chance(
    method: str, traceparent: str | None, ratio: float, spans: int
) -> None:
    _, found = await asked(method, traceparent, ratio=ratio)
    assert len(found) == spans


async def test_an_error_of_ours_is_a_failed_span() -> None:
    _, (span,) = await asked("DELETE")
    assert (span.status.is_ok, span.status.description) == (False, "HTTP 503")
