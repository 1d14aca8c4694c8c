"""When to say hello. Pure: time and chance are passed in."""

from collections.abc import Callable

FIRST_WAIT_S = 1.0
LONGEST_WAIT_S = 30.0
SILENCE_S = 30.0
EVERY_S = 60.0
_JITTER = 0.2


class Presence:
    """Hello at once, again after 1, 2, 4 … 30 s until answered, then once a minute.

    While something is unacknowledged and no ack has come for 30 s, hello is due as well.
    """

    def __init__(self, chance: Callable[[], float]) -> None:
        self._chance = chance
        self._unanswered = 0
        self._due_s = float("-inf")
        self._heard_s = float("-inf")

    def connected(self) -> None:
        """Begin a new connection: hello is due now."""
        self._unanswered = 0
        self._due_s = self._heard_s = float("-inf")

    def ask(self) -> None:
        """There is something new to say: hello is due now, and again until answered."""
        self._unanswered = 0
        self._due_s = float("-inf")

    def due_s(self, *, unacked: bool) -> float:
        """Return when the next hello is due."""
        if unacked and not self._unanswered:
            return min(self._due_s, self._heard_s + SILENCE_S)
        return self._due_s

    def said(self, now_s: float) -> None:
        """A hello was sent."""
        wait_s = min(FIRST_WAIT_S * 2**self._unanswered, LONGEST_WAIT_S)
        self._unanswered = min(self._unanswered + 1, 10)
        self._due_s = now_s + wait_s * (1 - _JITTER * self._chance())

    def heard(self, now_s: float, *, answer: bool) -> None:
        """An ack has come; `answer` when it names this connection's hello."""
        self._heard_s = now_s
        if answer:
            self._unanswered = 0
            self._due_s = now_s + EVERY_S * (1 - _JITTER * self._chance())
