"""How seldom questions are shared out over the polls."""

from edge.drivers.turns import Turns


def test_seldom_questions_are_shared_out_over_the_polls() -> None:
    turns = Turns("abcd", 10.0)
    asked = []
    for now_s in range(21):
        due = turns.due(now_s)
        asked.append("".join(due))
        for question in due:
            turns.asked(question, answered=True)
    assert asked == ["a", "b", "c", "d", *[""] * 5, "a", "b", "c", "d", *[""] * 5, "a", "b", "c"]


def test_a_slow_poll_asks_them_all() -> None:
    turns = Turns("abcd", 10.0)
    for now_s, expected in ((0.0, "a"), (9.99, "bcda"), (19.98, "abcd")):
        due = turns.due(now_s)
        assert "".join(due) == expected
        for question in due:
            turns.asked(question, answered=True)


def test_a_question_without_answers_is_asked_less_and_less() -> None:
    turns = Turns("a", 1.0)
    asked = [now_s for now_s in range(100) if _missed(turns, now_s)]
    assert asked == [0, 2, 6, 14, 29, 44, 59, 74, 89]
    turns.start_over()
    assert turns.due(100) == ["a"]


def _missed(turns: Turns[str], now_s: float) -> bool:
    due = turns.due(now_s)
    for question in due:
        turns.asked(question, answered=False)
    return bool(due)
