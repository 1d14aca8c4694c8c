"""One trace from the API to the latch and back, and one from the journal to the ack."""

import json
from collections.abc import Iterator
from typing import Any
from uuid import uuid4

import psycopg
import pytest

from cloud.kit.tracing import FILE
from protocol.segment import read_header
from tests.stories.one_vehicle import OneVehicle, until

pytestmark = [pytest.mark.story, pytest.mark.slow]

TRACE_ID, CALLER_ID = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
Line = dict[str, Any]


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[OneVehicle]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MOBILITY_TRACES", "file")
        patch.setenv("MOBILITY_TRACES_RATIO", "1")
        with OneVehicle(tmp_path_factory.mktemp("house")) as house:
            yield house


def spans(house: OneVehicle) -> list[Line]:
    """Every span that was handed over so far."""
    path = house.folder / "data" / FILE
    text = path.read_text("utf-8") if path.exists() else ""
    return [json.loads(line) for line in text.splitlines() if line.endswith("}")]


def parents_by_name(found: list[Line]) -> dict[str, str | None]:
    """For each span the name of the one it belongs to; None for one of somebody else's."""
    names = {one["span_id"]: one["name"] for one in found}
    return {one["name"]: names.get(one["parent_id"]) for one in found}


def test_a_command_is_one_trace_from_the_callers_span_to_the_latch_and_back(
    house: OneVehicle,
) -> None:
    headers = {"Idempotency-Key": str(uuid4()), "traceparent": f"00-{TRACE_ID}-{CALLER_ID}-01"}
    with house.client("operator") as http:
        asked = http.post(
            f"/api/v1/vehicles/{house.device}/commands",
            json={"kind": "unlock", "args": {}, "reason": "a story about traces"},
            headers=headers,
        )
        ended = http.get(asked.headers["Location"], params={"wait_s": 30}).json()
    assert (ended["state"], ended["trace_id"]) == ("done", TRACE_ID)

    def of_the_command() -> list[Line]:
        return [one for one in spans(house) if one["trace_id"] == TRACE_ID]

    until("the spans are written", lambda: "ack" in parents_by_name(of_the_command()))
    found = of_the_command()
    post = "POST /api/v1/vehicles/{vehicle_id}/commands"
    answered = parents_by_name(found)
    assert answered == {
        post: None,
        "command.request": post,
        "command.relay": "command.request",
        "vehicle.command": "command.relay",
        "command.accepted": "vehicle.command",
        "actuate": "vehicle.command",
        "command.answer": "vehicle.command",
        "ingest.decode": "command.answer",
        "ingest.commit": "command.answer",
        "ack": "command.answer",
    } | ({"uplink": "command.answer"} if "uplink" in answered else {})
    (first,) = (one for one in found if one["name"] == post)
    assert first["parent_id"] == CALLER_ID
    assert first["attributes"]["http.response.status_code"] == 202
    of_vehicle = {
        one["attributes"]["command.id"] for one in found if one["name"] == "vehicle.command"
    }
    assert of_vehicle == {ended["id"]}


def test_a_caller_that_is_not_sampled_is_followed_without_spans(house: OneVehicle) -> None:
    trace_id = uuid4().hex
    headers = {"Idempotency-Key": str(uuid4()), "traceparent": f"00-{trace_id}-{CALLER_ID}-00"}
    with house.client("operator") as http:
        asked = http.post(
            f"/api/v1/vehicles/{house.device}/commands",
            json={"kind": "lock", "args": {}, "reason": "a story about traces"},
            headers=headers,
        )
        ended = http.get(asked.headers["Location"], params={"wait_s": 30}).json()
    assert (ended["state"], ended["trace_id"]) == ("done", trace_id)
    known = len(spans(house))
    until("others are written", lambda: len(spans(house)) > known)
    assert not [one for one in spans(house) if one["trace_id"] == trace_id]


def test_a_segments_trace_is_that_of_its_commit(house: OneVehicle) -> None:
    def committed() -> list[Line]:
        found = spans(house)
        acked = {one["trace_id"] for one in found if one["name"] == "ack"}
        signal = "signal"
        return [
            one
            for one in found
            if one["attributes"].get("segment.lane") == signal and one["trace_id"] in acked
        ]

    until("a segment is told of", lambda: bool(committed()))
    whole = committed()[0]
    dsn = json.loads((house.folder / "data" / "cloud.json").read_text("utf-8"))["postgres_dsn"]
    with psycopg.connect(dsn) as db:
        row = db.execute(
            "SELECT payload FROM telemetry.segment WHERE device_id = %s AND lane = 1"
            " AND epoch = %s AND first_seq = %s",
            (
                whole["attributes"]["device.id"],
                whole["attributes"]["segment.epoch"],
                whole["attributes"]["segment.first_seq"],
            ),
        ).fetchone()
    assert row is not None
    header = read_header(bytes(row[0]))
    assert header.traceparent == f"00-{whole['trace_id']}-{whole['span_id']}-01"
    family = [one for one in spans(house) if one["trace_id"] == whole["trace_id"]]
    steps = parents_by_name(family)
    assert steps.pop("segment") is None
    assert steps.keys() >= {"vehicle.journal", "ingest.decode", "ingest.commit", "ack"}
    assert set(steps.values()) == {"segment"}
