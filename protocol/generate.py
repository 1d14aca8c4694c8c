"""Write the published schemas: `python -m protocol.generate`, or `--check` that they are current.

Makes `protocol/schema/*.json` (JSON Schema 2020-12 of every JSON message), `protocol/signals.json`
(the signal catalogue) and `protocol/asyncapi.json` (AsyncAPI 3 of the device link).
"""

import argparse
import json
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

import msgspec

from protocol import commands, messages
from protocol.signals import CATALOGUE
from protocol.topics import LEAVES, MAX_PAYLOAD_BYTES, VERSION, Leaf

ROOT = Path(__file__).parent
_DIALECT = "https://json-schema.org/draft/2020-12/schema"
_SEGMENT_TYPE = f"application/vnd.mobilitycorp.segment.v{VERSION}"

_SIGNED = (
    "On the wire it is the payload of a compact JWS (RFC 7515) signed with EdDSA; its `typ` is "
    "mc-command+jws or mc-twin+jws, its `kid` a key the device has pinned"
)

_CHANNELS: dict[Leaf, tuple[str, list[str]]] = {
    "fact": ("One sealed segment of the fact lane; served first", ["segment"]),
    "up": ("One sealed segment of the signal lane", ["segment"]),
    "ack": ("What the database has committed, cumulative for each lane", ["ack"]),
    "cmd": ("A request to the device; the device decides", ["command"]),
    "twin": ("The desired twin, versioned", ["twin"]),
    "status": ("A device is there; `gone` is its last will", ["hello", "gone"]),
}
_SENT_BY_DEVICE: frozenset[Leaf] = frozenset({"fact", "up", "status"})


def schemas() -> dict[str, dict[str, Any]]:
    """Return the JSON Schemas by file stem."""
    structs: dict[str, type[msgspec.Struct]] = {
        "hello": messages.Hello,
        "gone": messages.Gone,
        "ack": messages.Ack,
        "command": commands.Command,
        "twin": commands.DesiredTwin,
    }
    made = {name: _of_struct(kind) for name, kind in structs.items()}
    return {name: {"$schema": _DIALECT, **schema} for name, schema in made.items()}


def catalogue() -> list[dict[str, Any]]:
    """Return the signal catalogue as data."""
    return [asdict(signal) for signal in CATALOGUE]


def asyncapi() -> dict[str, Any]:
    """Return the AsyncAPI 3 document of the device link."""
    return {
        "asyncapi": "3.0.0",
        "info": {
            "title": "MobilityCorp device link",
            "version": f"{VERSION}.0.0",
            "description": (
                "MQTT 3.1.1, clean session, QoS 0 everywhere, nothing retained. A record leaves "
                "the device when an ack read from committed rows covers it. The segment's bytes "
                f"are described in protocol/segment.py; at most {MAX_PAYLOAD_BYTES} bytes."
            ),
            "license": {"name": "Apache-2.0"},
        },
        "defaultContentType": "application/json",
        "channels": {leaf: _channel(leaf) for leaf in LEAVES},
        "operations": {
            _operation_name(leaf): {
                "action": "receive" if leaf in _SENT_BY_DEVICE else "send",
                "channel": {"$ref": f"#/channels/{leaf}"},
                "summary": _CHANNELS[leaf][0],
            }
            for leaf in LEAVES
        },
        "components": {"messages": _messages(), "schemas": _components()},
    }


def main(arguments: list[str] | None = None) -> int:
    """Write or check the files; 0 when they are current."""
    parser = argparse.ArgumentParser(prog="python -m protocol.generate", description=__doc__)
    parser.add_argument("--check", action="store_true", help="change nothing, exit 1 when stale")
    check = parser.parse_args(arguments).check
    stale = [path for path, text in _files().items() if not _is(path, text)]
    for path in stale:
        if not check:
            path.parent.mkdir(exist_ok=True)
            path.write_text(_files()[path], encoding="utf-8")
    names = ", ".join(path.name for path in stale)
    if check and stale:
        print(f"stale: {names}; run `make schema` and commit the result", file=sys.stderr)
        return 1
    print(f"written: {names}" if stale else "schemas are current")
    return 0


def _files() -> dict[Path, str]:
    made: dict[Path, Any] = {ROOT / "schema" / f"{name}.json": s for name, s in schemas().items()}
    made[ROOT / "signals.json"] = catalogue()
    made[ROOT / "asyncapi.json"] = asyncapi()
    return {path: json.dumps(value, indent=2) + "\n" for path, value in made.items()}


def _is(path: Path, text: str) -> bool:
    return path.is_file() and path.read_text(encoding="utf-8") == text


def _of_struct(kind: type[msgspec.Struct]) -> dict[str, Any]:
    definitions = dict(msgspec.json.schema(kind)["$defs"])
    own: dict[str, Any] = dict(definitions.pop(kind.__name__))
    return own | ({"$defs": definitions} if definitions else {})


def _channel(leaf: Leaf) -> dict[str, Any]:
    text, names = _CHANNELS[leaf]
    return {
        "address": f"mc/{VERSION}/{{device_id}}/{leaf}",
        "description": text,
        "parameters": {"device_id": {"description": "3 to 36 of a-z, 0-9 and -"}},
        "messages": {name: {"$ref": f"#/components/messages/{name}"} for name in names},
    }


def _operation_name(leaf: Leaf) -> str:
    return f"{'receive' if leaf in _SENT_BY_DEVICE else 'send'}_{leaf}"


def _messages() -> dict[str, Any]:
    described: dict[str, Any] = {
        name: {"name": name, "payload": {"$ref": f"#/components/schemas/{name}"}}
        for name in schemas()
    }
    for name in ("command", "twin"):
        described[name] |= {"contentType": "application/jose", "summary": _SIGNED}
    described["segment"] = {
        "name": "segment",
        "contentType": _SEGMENT_TYPE,
        "payload": {"type": "string", "format": "binary", "maxLength": MAX_PAYLOAD_BYTES},
    }
    return described


def _components() -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for name, schema in schemas().items():
        flat[name] = {k: v for k, v in schema.items() if k not in ("$schema", "$defs")}
        flat |= schema.get("$defs", {})
    text = json.dumps(flat).replace("#/$defs/", "#/components/schemas/")
    loaded: dict[str, Any] = json.loads(text)
    return loaded


if __name__ == "__main__":
    sys.exit(main())
