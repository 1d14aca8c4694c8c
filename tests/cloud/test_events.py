"""What docs/events.json says of the events is so."""

import json
from typing import Any

import jsonschema
import pytest

from cloud.kit.events import Event
from tests.cloud.events import PAGE, document, events, example, render
from tests.protocol.test_published import ASYNCAPI_SCHEMA

KINDS = list(events().values())


def test_the_file_is_what_the_code_makes_of_the_events() -> None:
    assert PAGE.read_text("utf-8") == render(), "run make schema"


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.TYPE)
def test_an_example_keeps_to_its_schema_and_reads_back(kind: type[Event]) -> None:
    message = document()["components"]["messages"][kind.TYPE]
    (told,) = message["examples"]
    jsonschema.validate(told["payload"], message["payload"]["schema"])
    assert kind.from_cloud_event(told["payload"]) == example(kind)
    assert message["summary"].endswith((".", ";", "`", ":")) or message.get("description")
    wrong: dict[str, Any] = told["payload"] | {"data": {}}
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(wrong, message["payload"]["schema"])


def test_it_fits_the_official_schema_of_asyncapi() -> None:
    if not ASYNCAPI_SCHEMA.is_file():
        pytest.fail("the official AsyncAPI schema is not installed: run `make setup`")
    schema = json.loads(ASYNCAPI_SCHEMA.read_text("utf-8"))
    jsonschema.Draft7Validator(schema).validate(document())
