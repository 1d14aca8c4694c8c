"""Logs: one line a record, for people or for machines."""

import json
import logging

from cloud.kit.logs import HumanFormatter, JsonFormatter


def a_record(**extra: object) -> logging.LogRecord:
    try:
        int("one\ntwo")
    except ValueError as error:
        trouble = (type(error), error, error.__traceback__)
    record = logging.LogRecord("cloud.kit", logging.ERROR, __file__, 1, "%s fell", ("it",), trouble)
    record.created = 1_782_907_200.5
    vars(record).update(extra)
    return record


def test_a_json_line_carries_extras_and_the_whole_traceback() -> None:
    text = JsonFormatter().format(a_record(device="bike-7"))
    assert "\n" not in text
    line = json.loads(text)
    assert "Traceback (most recent call last)" in line.pop("traceback")
    assert line == {
        "time": "2026-07-01T12:00:00.500Z",
        "level": "error",
        "logger": "cloud.kit",
        "message": "it fell",
        "device": "bike-7",
    }


def test_a_persons_line_is_one_line_that_ends_with_the_trouble() -> None:
    text = HumanFormatter().format(a_record(device="bike-7"))
    assert text.startswith("12:00:00.500 error: it fell device=bike-7 [ValueError: invalid")
    assert f"({__file__}:" in text
    assert "\n" not in text
