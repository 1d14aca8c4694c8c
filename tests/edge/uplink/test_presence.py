"""When hello is said."""

import math

from edge.uplink.presence import EVERY_S, SILENCE_S, Presence


def calm() -> Presence:
    return Presence(lambda: 0.0)


def test_hello_is_due_at_once_on_a_new_connection() -> None:
    presence = calm()
    presence.heard(5.0, answer=True)
    presence.connected()
    assert presence.due_s(unacked=False) == -math.inf


def test_an_unanswered_hello_is_repeated_ever_more_slowly_up_to_half_a_minute() -> None:
    presence, now_s, waits = calm(), 100.0, []
    for _ in range(8):
        presence.said(now_s)
        waits.append(presence.due_s(unacked=True) - now_s)
        now_s = presence.due_s(unacked=True)
    assert waits == [1, 2, 4, 8, 16, 30, 30, 30]


def test_an_answered_hello_is_said_again_in_a_minute() -> None:
    presence = calm()
    presence.said(100.0)
    presence.heard(100.1, answer=True)
    assert presence.due_s(unacked=False) == 100.1 + EVERY_S


def test_an_ack_that_answers_no_hello_leaves_it_unanswered() -> None:
    presence = calm()
    presence.said(100.0)
    presence.heard(100.1, answer=False)
    assert presence.due_s(unacked=False) == 101.0


def test_silence_while_something_waits_asks_for_acks_after_half_a_minute() -> None:
    presence = calm()
    presence.said(100.0)
    presence.heard(100.1, answer=True)
    assert presence.due_s(unacked=True) == 100.1 + SILENCE_S
    presence.heard(120.0, answer=False)
    assert presence.due_s(unacked=True) == 120.0 + SILENCE_S


def test_jitter_only_ever_shortens_a_wait() -> None:
    presence = Presence(lambda: 1.0)
    presence.said(100.0)
    assert 100.5 < presence.due_s(unacked=False) < 101.0
