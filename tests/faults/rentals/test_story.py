"""How long riders waited after a kill, from requests made up here."""

from tests.faults.rentals.riders import Request, Told
from tests.faults.rentals.story import Plan, Report, Strike


def test_only_what_was_asked_after_a_kill_was_answered_after_it() -> None:
    in_flight, before, next_one, later = (
        Request(1, 9.0, 11.0),
        Request(2, 7.0, 8.0),
        Request(1, 11.0, 14.0),
        Request(1, 15.0, 16.0),
    )
    told = Told(1, requests=[in_flight, before, next_one, later])
    report = Report(1, Plan(1, 2, 1, 1, 1.0, 1.0), told=told)
    assert report.answered_after_s(Strike("api", 10.0, 0.0, 0, 1)) == [4.0]
