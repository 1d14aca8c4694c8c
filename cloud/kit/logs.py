"""Logs on stderr, one line a record: for people, or JSON for machines.

The standard library does it: uvicorn, psycopg, nats-py and pgqueuer log into it already.
"""

import json
import logging
import sys
from datetime import UTC, datetime

from cloud.kit import tracing

_USUAL = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "color_message"}
_QUIET = ("uvicorn.access", "httpx", "httpcore", "asyncio")


def configure_logs(*, json: bool = False, level: int = logging.INFO) -> None:
    """Send every record of this process to stderr; call once, first thing.

    Fields given as `extra={...}` follow the message. A person's line ends an exception with its
    type, text and place; the JSON line carries the whole traceback. What is logged within a span
    names its trace.
    """
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonFormatter() if json else HumanFormatter())
    handler.addFilter(_with_trace)
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level)
    logging.captureWarnings(capture=True)
    for name in _QUIET:
        logging.getLogger(name).setLevel(logging.WARNING)


class JsonFormatter(logging.Formatter):
    """One JSON object a record: time, level, logger, message, the extras, traceback."""

    def format(self, record: logging.LogRecord) -> str:
        """Write one record as one line."""
        line: dict[str, object] = {
            "time": _time(record),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
            **_extras(record),
        }
        if record.exc_info:
            line["traceback"] = self.formatException(record.exc_info)
        return json.dumps(line, default=str, ensure_ascii=False)


class HumanFormatter(logging.Formatter):
    """A calm line: time of day, level unless it is INFO, message, extras, the exception."""

    def format(self, record: logging.LogRecord) -> str:
        """Write one record as one line."""
        level = "" if record.levelno == logging.INFO else f"{record.levelname.lower()}: "
        extras = "".join(f" {name}={value}" for name, value in _extras(record).items())
        line = f"{_time(record)[11:23]} {level}{record.getMessage()}{extras}{_trouble(record)}"
        return line.replace("\n", " | ")


def _with_trace(record: logging.LogRecord) -> bool:
    trace_id = tracing.trace_id_of(tracing.current())
    if trace_id is not None:
        record.trace_id = trace_id
    return True


def _time(record: logging.LogRecord) -> str:
    moment = datetime.fromtimestamp(record.created, UTC)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _extras(record: logging.LogRecord) -> dict[str, object]:
    return {name: value for name, value in vars(record).items() if name not in _USUAL}


def _trouble(record: logging.LogRecord) -> str:
    if not record.exc_info or record.exc_info[1] is None:
        return ""
    error, trace = record.exc_info[1], record.exc_info[2]
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    place = f" ({trace.tb_frame.f_code.co_filename}:{trace.tb_lineno})" if trace else ""
    return f" [{type(error).__name__}: {error}{place}]"
