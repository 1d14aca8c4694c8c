"""What others build against: golden files, schemas, AsyncAPI, the catalogue, topics."""

import json
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jsonschema
import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocol import commands, generate, messages
from protocol.controllers import CONTROLLERS
from protocol.segment import Fact, SegmentError, lane_name, open_segment
from protocol.signals import BY_ID, BY_KEY, BY_NAME, CATALOGUE
from protocol.topics import LEAVES, check_device_id, device_of, subject, topic

ROOT = Path(__file__).parents[2]
GOLDEN = ROOT / "protocol" / "golden" / "v1"
ASYNCAPI_SCHEMA = ROOT / "cloud/pages/assets/node_modules/@asyncapi/specs/schemas/3.0.0.json"


def golden(prefix: str) -> list[Any]:
    found = [(p.stem, json.loads(p.read_text())) for p in sorted(GOLDEN.glob(f"{prefix}*.json"))]
    assert found, f"no golden files {prefix}*"
    return [pytest.param(content, id=name) for name, content in found]


@pytest.mark.parametrize("case", golden("segment-"))
def test_a_golden_segment_opens_as_it_always_did(case: dict[str, Any]) -> None:
    opened = open_segment(bytes.fromhex(case["payload_hex"]))
    header = msgspec.structs.asdict(opened.header) | {"lane": lane_name(opened.header.lane)}
    assert header == case["header"]
    if opened.signals is not None:
        assert opened.signals.times_ms == case["times_ms"]
        assert opened.signals.columns == {int(k): c for k, c in case["columns"].items()}
    else:
        assert opened.facts == msgspec.convert(case["facts"], list[Fact])


@pytest.mark.parametrize("case", golden("refused-"))
def test_a_golden_refusal_keeps_its_reason(case: dict[str, Any]) -> None:
    with pytest.raises(SegmentError) as refused:
        open_segment(bytes.fromhex(case["payload_hex"]))
    assert refused.value.reason == case["reason"]


@pytest.mark.parametrize("name", ["hello", "gone", "ack", "command", "twin"])
def test_a_golden_message_round_trips_and_fits_its_schema(name: str) -> None:
    case = json.loads((GOLDEN / f"{name}.json").read_text())
    text = json.dumps(case["json"]).encode()
    assert json.loads(msgspec.json.encode(DECODE[name](text))) == case["json"]
    jsonschema.validate(case["json"], generate.schemas()[name])


DECODE: dict[str, Callable[[bytes], msgspec.Struct]] = {
    "hello": messages.decode_status,
    "gone": messages.decode_status,
    "ack": messages.decode_ack,
    "command": commands.decode_command,
    "twin": commands.decode_twin,
}
HELLO = json.loads((GOLDEN / "hello.json").read_text())["json"]


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("nonce", "nonce\0000"),
        ("nonce", "nonce-0001\n"),
        ("nonce", "nonce 0001"),
        ("agent_version", "1.0\0"),
        ("agent_version", "1.0\n"),
        ("battery", "\x1b[31mjbd"),
        ("capabilities", ["locate", "\0"]),
        ("sent_at_ms", 2**47),
        ("lanes", [{"lane": "fact", "epoch": "0" * 16 + "\n", "floor_seq": 1, "last_seq": 0}]),
        ("lanes", [{"lane": "fact", "epoch": "0" * 16, "floor_seq": 1, "last_seq": 2**62 + 1}]),
    ],
)
def test_a_hello_that_no_database_could_keep_is_refused(field: str, value: object) -> None:
    said = HELLO | {field: value}
    with pytest.raises(messages.MessageError):
        messages.decode_status(json.dumps(said).encode())
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(said, generate.schemas()["hello"])


def test_the_catalogue_is_published_beside_the_schemas_not_among_them() -> None:
    published = json.loads((ROOT / "protocol" / "signals.json").read_text())
    assert [signal["name"] for signal in published] == [signal.name for signal in CATALOGUE]
    for file in (ROOT / "protocol" / "schema").glob("*.json"):
        jsonschema.Draft202012Validator.check_schema(json.loads(file.read_text()))


def test_no_golden_file_was_ever_changed_or_deleted() -> None:
    git = shutil.which("git")
    if git is None or not (ROOT / ".git").exists():
        pytest.skip("not a git checkout")
    for command in (["log", "--format=%h"], ["diff", "--name-only", "HEAD"]):
        done = subprocess.run(
            [git, *command, "--diff-filter=MDR", "--", str(GOLDEN)],
            cwd=ROOT,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.stdout == "", "golden files are add-only: put a new one beside the old one"


def test_the_published_schemas_are_current() -> None:
    assert generate.main(["--check"]) == 0


def test_the_asyncapi_document_fits_the_official_schema() -> None:
    if not ASYNCAPI_SCHEMA.is_file():
        pytest.fail("the official AsyncAPI schema is not installed: run `make setup`")
    schema = json.loads(ASYNCAPI_SCHEMA.read_text())
    document = generate.asyncapi()
    jsonschema.Draft7Validator(schema).validate(document)
    del document["channels"]["ack"]["address"], document["info"]["title"]
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.Draft7Validator(schema).validate(document)


def test_every_reference_of_the_asyncapi_document_leads_somewhere() -> None:
    document = generate.asyncapi()

    def follow(node: Any) -> None:
        if isinstance(node, dict):
            if "$ref" in node:
                place: Any = document
                for step in node["$ref"].removeprefix("#/").split("/"):
                    place = place[step]
            for child in node.values():
                follow(child)
        elif isinstance(node, list):
            for child in node:
                follow(child)

    follow(document)


@pytest.mark.parametrize("leaf", LEAVES)
def test_topics_and_subjects_name_the_same_device(leaf: Any) -> None:
    assert topic("demo-001", leaf) == f"mc/1/demo-001/{leaf}"
    assert device_of(topic("demo-001", leaf)) == device_of(subject("demo-001", leaf)) == "demo-001"


@pytest.mark.parametrize(
    "wrong", ["mc/2/demo-001/up", "mc/1/x/up", "mc/1/demo-001/rm", "mc/1.demo-001.up", ""]
)
def test_a_topic_of_somebody_else_is_refused(wrong: str) -> None:
    with pytest.raises(ValueError, match="not a topic"):
        device_of(wrong)


@pytest.mark.parametrize("wrong", ["ab", "A-1", "a" * 37, "a.b", "a/b", "é-1", "abc\n"])
def test_a_bad_device_id_is_refused_with_what_it_may_be(wrong: str) -> None:
    with pytest.raises(ValueError, match="3 to 36"):
        check_device_id(wrong)


def test_the_catalogue_is_one_to_one() -> None:
    assert len(BY_ID) == len(BY_KEY) == len(BY_NAME) == len(CATALOGUE)
    assert all(signal.name.startswith("Vehicle.") for signal in CATALOGUE)


def test_the_catalogue_is_add_only() -> None:
    pinned = {
        1: ("voltage_v", 100),
        2: ("current_a", 100),
        3: ("soc_pct", 10),
        5: ("remaining_ah", 100),
    }
    pinned |= {
        7: ("cycles", 1),
        8: ("temperature_1_c", 10),
        16: ("cell_1_v", 1000),
        63: ("lock_state", 1),
        64: ("speed_limit_kmh", 1),
        65: ("speed_mode", 1),
        66: ("tip_over", 1),
        67: ("tamper", 1),
        68: ("charge_cable", 1),
        69: ("battery_compartment_open", 1),
        70: ("immobilised", 1),
        71: ("lights_on", 1),
        72: ("accuracy_m", 10),
        73: ("altitude_m", 1),
        74: ("heading_deg", 1),
        75: ("position_age_s", 1),
        76: ("charger_power_w", 1),
        77: ("charger_energy_wh", 1),
        78: ("bay_occupied", 1),
        79: ("connector_locked", 1),
        80: ("led_state", 1),
        81: ("charger_state", 1),
    }
    for signal_id, (key, per_unit) in pinned.items():
        assert (BY_ID[signal_id].key, BY_ID[signal_id].per_unit) == (key, per_unit)


@given(st.sampled_from(CATALOGUE), st.data())
def test_every_wire_value_in_range_survives_the_way_to_a_value_and_back(
    signal: Any, data: st.DataObject
) -> None:
    raw = data.draw(st.integers(signal.raw_low, signal.raw_high))
    assert signal.to_raw(signal.from_raw(raw)) == raw


@given(st.sampled_from(CATALOGUE))
def test_what_cannot_be_true_travels_as_null(signal: Any) -> None:
    for value in (None, float("nan"), float("inf"), signal.high + 1, signal.low - 1):
        assert signal.to_raw(value) is None


def test_controllers_read_only_what_the_catalogue_has() -> None:
    for controller in CONTROLLERS.values():
        assert controller.reads <= BY_KEY.keys()
