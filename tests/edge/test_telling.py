"""What an agent tells, and what it keeps to itself."""

import logging

import pytest

from edge.drivers.base import BatteryReading
from edge.telling import Teller

READING = BatteryReading(voltage_v=36.9, current_a=-2.5, soc_pct=80)


def said(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [each.getMessage() for each in caplog.records if each.levelno >= logging.INFO]


def poll(teller: Teller, reading: BatteryReading | None, **changed: object) -> None:
    told = {"offline": False, "trouble": None, "model": None, **changed}
    teller.polled(reading, **told)  # type: ignore[arg-type]  # keyword by keyword is no clearer


@pytest.fixture
def teller(caplog: pytest.LogCaptureFixture) -> Teller:
    caplog.set_level(logging.DEBUG, "edge")
    return Teller("/dev/x")


def test_a_battery_that_answers_is_told_once(
    teller: Teller, caplog: pytest.LogCaptureFixture
) -> None:
    for _ in range(100):
        poll(teller, READING, model="SP10")
    assert said(caplog) == [
        "battery /dev/x answers: 36.9 V, -2.5 A, 80 %",
        "battery is a SP10",
    ]


def test_a_battery_that_never_answered_is_told_at_once_with_what_to_do(
    teller: Teller, caplog: pytest.LogCaptureFixture
) -> None:
    for _ in range(10):
        poll(teller, None, trouble="Cannot open /dev/x; check the cable.")
    assert said(caplog) == ["battery /dev/x does not answer: Cannot open /dev/x; check the cable."]


def test_a_poll_that_was_missed_is_no_news_but_silence_is(
    teller: Teller, caplog: pytest.LogCaptureFixture
) -> None:
    poll(teller, READING)
    poll(teller, None)
    poll(teller, READING)
    assert len(said(caplog)) == 1
    for _ in range(3):
        poll(teller, None, offline=True)
    poll(teller, READING)
    assert [line.split(":")[0] for line in said(caplog)[1:]] == [
        "battery /dev/x does not answer",
        "battery /dev/x answers",
    ]


def test_how_things_are_is_told_once_a_minute(
    teller: Teller, caplog: pytest.LogCaptureFixture
) -> None:
    poll(teller, READING)
    for second in range(121):
        teller.state(float(second), "riding", unacked=second, connected=second > 60)
    assert said(caplog)[1:] == [
        "riding, battery 36.9 V, -2.5 A, 80 %, broker not connected, 60 records wait for their ack",
        "riding, battery 36.9 V, -2.5 A, 80 %, broker connected, 120 records wait for their ack",
    ]
