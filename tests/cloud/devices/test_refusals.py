"""Refusals: every one counted, each kind told once a minute."""

import pytest
from prometheus_client import REGISTRY

from cloud.devices.refusals import Refusals, host_of


class Seconds:
    def __init__(self) -> None:
        self.now = 1_000.0

    def __call__(self) -> float:
        return self.now


def counted() -> float:
    labels = {"what": "connect", "reason": "test_reason"}
    return REGISTRY.get_sample_value("mobility_refused_total", labels) or 0


def test_a_refusal_is_told_once_a_minute_and_counted_every_time(
    caplog: pytest.LogCaptureFixture,
) -> None:
    seconds, before = Seconds(), counted()
    refusals = Refusals(seconds)
    for _ in range(5):
        refusals.note("connect", "test_reason", "bike-7", "from 203.0.113.9")
    refusals.note("connect", "test_reason", "bike-8")
    assert [record.getMessage() for record in caplog.records] == [
        "refused connect of bike-7: test reason, from 203.0.113.9",
        "refused connect of bike-8: test reason",
    ]
    seconds.now += 61
    refusals.note("connect", "test_reason", "bike-7")
    assert (len(caplog.records), counted()) == (3, before + 7)


def test_a_flood_from_many_addresses_is_counted_but_not_written_out(
    caplog: pytest.LogCaptureFixture,
) -> None:
    before, refusals = counted(), Refusals(Seconds())
    for number in range(5_000):
        refusals.note("connect", "test_reason", f"198.51.100.{number}")
    assert counted() == before + 5_000
    assert 0 < len(caplog.records) < 200
    assert len(refusals._told) < 5_000


@pytest.mark.parametrize(
    ("address", "host"),
    [
        ("203.0.113.9:5123", "203.0.113.9"),
        ("[2001:db8::1]:5123", "2001:db8::1"),
        ("somewhere", "somewhere"),
    ],
)
def test_ports_are_not_told_apart(address: str, host: str) -> None:
    assert host_of(address) == host
