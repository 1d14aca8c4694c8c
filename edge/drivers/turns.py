"""Which of the seldom questions a poll asks, so that none of them crowds out the quick ones."""

import math
from collections import Counter
from collections.abc import Hashable, Sequence
from typing import Final, Generic, TypeVar

QuestionT = TypeVar("QuestionT", bound=Hashable)

# A poll that comes a little early must not leave its question for the next one.
_EARLY: Final = 0.9
_LONGEST_PAUSE: Final = 16


class Turns(Generic[QuestionT]):
    """Shares questions out over polls: each is asked every `every_s`, as evenly as possible.

    One that finds no answer is asked after twice, four times … 16 times as long. Times are
    monotonic seconds.
    """

    def __init__(self, questions: Sequence[QuestionT], every_s: float) -> None:
        self._questions = questions
        self._every_s = every_s
        self._polled_s = -math.inf
        self._due_s: dict[QuestionT, float] = {}
        self._misses: Counter[QuestionT] = Counter()

    def due(self, now_s: float) -> list[QuestionT]:
        """Return what this poll is to ask, the longest due first; call it once a poll."""
        passed_s = now_s - self._polled_s
        first = self._polled_s == -math.inf
        self._polled_s = now_s
        ready = [one for one in self._questions if self._due_s.get(one, -math.inf) <= now_s]
        ready.sort(key=lambda one: self._due_s.get(one, -math.inf))
        share = 1 if first else math.ceil(len(self._questions) * passed_s / self._every_s)
        return ready[: max(share, 1)]

    def asked(self, question: QuestionT, *, answered: bool) -> None:
        """Note how a question of this poll went."""
        self._misses[question] = 0 if answered else self._misses[question] + 1
        pause = min(1 << min(self._misses[question], 5), _LONGEST_PAUSE)
        self._due_s[question] = self._polled_s + _EARLY * self._every_s * pause

    def start_over(self) -> None:
        """Make everything due: what was answered is forgotten, or another pack is there."""
        self._due_s.clear()
        self._misses.clear()
