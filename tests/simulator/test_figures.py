"""The demo's live line."""

from simulator.figures import (
    COMMITTED,
    CONNECTED,
    LAG_COUNT,
    LAG_SUM,
    RESTARTS,
    Figures,
    figures,
    read_metrics,
)

PAGE = """# HELP mobility_connected_devices Devices connected now
# TYPE mobility_connected_devices gauge
mobility_connected_devices 20.0
mobility_readings_committed_total 1.5e+03
mobility_segments_total{outcome="new"} 260.0
"""


def test_samples_are_read_with_their_labels() -> None:
    assert read_metrics(PAGE) == {
        CONNECTED: 20.0,
        COMMITTED: 1500.0,
        'mobility_segments_total{outcome="new"}': 260.0,
    }


def test_an_engine_that_ended_and_came_back_is_named_once() -> None:
    nats, postgres = (f'{RESTARTS}{{engine="{name}"}}' for name in ("nats", "postgres"))
    assert figures({postgres: 1.0}, {postgres: 1.0, nats: 1.0}, 1.0, 0).restarted == ("NATS",)
    assert figures({nats: 1.0}, {nats: 1.0, postgres: 2.0}, 1.0, 0).restarted == ("Postgres",)
    assert figures({nats: 1.0}, {nats: 1.0}, 1.0, 0).restarted == ()


def test_rates_are_what_grew_between_two_looks() -> None:
    before = {COMMITTED: 100.0, LAG_SUM: 1.0, LAG_COUNT: 10.0}
    now = {CONNECTED: 3.0, COMMITTED: 160.0, LAG_SUM: 1.5, LAG_COUNT: 20.0}
    assert figures(before, now, 2.0, 7) == Figures(3, 30.0, 7, 0.05)


def test_a_cloud_that_restarted_counts_from_zero() -> None:
    told = figures({COMMITTED: 100.0, LAG_COUNT: 9.0}, {COMMITTED: 5.0}, 1.0, 0)
    assert told.committed_per_s == 0.0
    assert told.ack_lag_s is None


def test_the_line_is_calm_and_complete() -> None:
    assert str(Figures(20, 19.6, 3, 0.012)) == (
        "20 vehicles connected · 20 readings/s committed · 3 unacked · ack lag 12 ms"
    )
