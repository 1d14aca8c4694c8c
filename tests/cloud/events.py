"""Every event that contexts publish, as AsyncAPI 3: `python -m tests.cloud.events [--check]`.

Writes docs/events.json: one channel a context, one message an event, each with an example.
"""

import argparse
import importlib
import json
import pkgutil
import sys
import types
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal, Union, get_args, get_origin
from uuid import UUID, uuid5

import cloud.events
from cloud.kit.clock import rfc3339
from cloud.kit.events import Event

PAGE = Path(__file__).resolve().parents[2] / "docs" / "events.json"
NOON = datetime(2026, 7, 1, 12, tzinfo=UTC)
NAMES = UUID("6f1d4f0e-0000-4000-8000-000000000000")
"""Ids of examples are made of names, so that the file is always the same."""

EXAMPLES: dict[str, Any] = {
    "amount_minor": 350,
    "battery": "jbd_uart",
    "brand": "Visa",
    "capture_before": "2026-07-08T12:00:00.000Z",
    "code": "insufficient_funds",
    "currency": "EUR",
    "customer_id": str(uuid5(NAMES, "customer_id")),
    "device_id": "demo-001",
    "document": "terms",
    "expires_at": "2026-07-01T12:15:00.000Z",
    "file": "town.geojson",
    "language": "de",
    "number": "DEMO-000042",
    "open_minor": 0,
    "outage_s": 0.0,
    "pause_s": 120.0,
    "plan_id": "go",
    "provider": "sandbox",
    "ride_s": 570.4,
    "started_at": "2026-07-01T11:50:29.600Z",
    "time_zone": "Europe/Berlin",
    "total_minor": 350,
    "vehicle_id": "demo-001",
    "version": "1",
}
"""What a field of this name says, where its type takes it."""

ABOUT = """The events that contexts tell each other: CloudEvents 1.0 in the table kit.event, each \
written in the transaction of what it tells, and handed to every subscriber at least once. Readers \
ignore what they do not know; a changed meaning is a new version beside the old one. Amounts are \
minor units; times are RFC 3339, UTC."""


def events() -> dict[str, type[Event]]:
    """Every event there is, by type."""
    for module in pkgutil.iter_modules(cloud.events.__path__):
        importlib.import_module(f"cloud.events.{module.name}")
    ours = {name: kind for name, kind in Event.by_type.items() if "tests" not in kind.__module__}
    return dict(sorted(ours.items()))


def example(kind: type[Event]) -> Event:
    """An event of this type as it could be."""
    told: dict[str, Any] = {
        "id": uuid5(NAMES, kind.TYPE),
        "tenant": "demo",
        "city": "demo",
    }
    for name, field in kind.model_fields.items():
        if name not in told:
            told[name] = _value(name, field.annotation)
    return kind.told(NOON, told)


def document() -> dict[str, Any]:
    """The AsyncAPI document."""
    kinds = events()
    contexts = sorted({kind.TYPE.partition(".")[0] for kind in kinds.values()})
    return {
        "asyncapi": "3.0.0",
        "info": {
            "title": "MobilityCorp events",
            "version": "1.0.0",
            "description": ABOUT,
            "license": {"name": "Apache-2.0"},
        },
        "defaultContentType": "application/cloudevents+json",
        "channels": {
            context: {
                "address": f"/cloud/{context}",
                "description": f"What the context {context} tells",
                "messages": {
                    name: {"$ref": f"#/components/messages/{name}"}
                    for name in kinds
                    if name.startswith(f"{context}.")
                },
            }
            for context in contexts
        },
        "operations": {
            f"send_{context}": {"action": "send", "channel": {"$ref": f"#/channels/{context}"}}
            for context in contexts
        },
        "components": {
            "messages": {name: _message(kind) for name, kind in kinds.items()},
        },
    }


def _message(kind: type[Event]) -> dict[str, Any]:
    told = example(kind).cloud_event()
    summary, _, rest = (kind.__doc__ or "").strip().partition("\n")
    description = "\n".join(line.strip() for line in rest.strip().splitlines())
    return {
        "name": kind.TYPE,
        "summary": summary,
        **({"description": description} if description else {}),
        "payload": {"schemaFormat": _FORMAT, "schema": _schema(kind)},
        "examples": [{"name": "typical", "payload": told}],
    }


_FORMAT = "application/schema+json;version=draft-07"


def _schema(kind: type[Event]) -> dict[str, Any]:
    """The JSON Schema of the CloudEvent; `data` holds what is the event's own."""
    own = kind.model_json_schema(ref_template="#/definitions/{model}")
    definitions = own.pop("$defs", {})
    envelope = ("id", "tenant", "city")
    text = {"type": "string", "minLength": 1}
    data = {
        "type": "object",
        "properties": {n: s for n, s in own["properties"].items() if n not in envelope},
        "required": [name for name in own.get("required", []) if name not in envelope],
    }
    fields = {
        "specversion": {"const": "1.0"},
        "id": {"type": "string", "format": "uuid"},
        "source": {"const": kind.source()},
        "type": {"const": kind.TYPE},
        "time": {"type": "string", "format": "date-time"},
        "subject": text,
        "datacontenttype": {"const": "application/json"},
        "tenant": text,
        "city": text,
        "data": data,
    }
    schema = {"type": "object", "properties": fields, "required": list(fields)}
    return schema | ({"definitions": definitions} if definitions else {})


def _value(name: str, annotation: Any) -> Any:  # noqa: PLR0911 - of any type
    """Something a field of this name and type can say."""
    known = EXAMPLES.get(name)
    origin, inner = get_origin(annotation), get_args(annotation)
    if origin in (Union, types.UnionType):
        return _value(name, next(one for one in inner if one is not type(None)))
    if origin is Literal:
        return inner[0]
    if origin in (list, tuple, set, frozenset):
        return [_value(name, inner[0])] if inner else []
    if origin is dict or annotation is dict:
        return {"reason": "example"}
    if annotation is UUID:
        return str(uuid5(NAMES, name))
    if annotation is bool:
        return True
    if annotation in (int, float):
        return known if isinstance(known, int | float) else annotation(1)
    if annotation is str:
        return known if isinstance(known, str) else name.replace("_", "-")
    return known or rfc3339(NOON)


def render() -> str:
    """The file."""
    return json.dumps(document(), indent=2, ensure_ascii=False) + "\n"


def main() -> int:
    """Write the file, or with --check say whether it is up to date."""
    parser = argparse.ArgumentParser(description="Write docs/events.json from cloud/events.")
    parser.add_argument("--check", action="store_true", help="only compare; exit 1 when stale")
    page = render()
    if not parser.parse_args().check:
        PAGE.write_text(page, "utf-8")
        return 0
    if PAGE.exists() and PAGE.read_text("utf-8") == page:
        return 0
    sys.stderr.write("docs/events.json is out of date: run make schema.\n")
    return 1


if __name__ == "__main__":
    sys.exit(main())
