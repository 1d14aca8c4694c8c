"""The commands that the agent performs itself."""

import logging
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from edge.commands.restart import AgentRestart
from edge.commands.wishes import Wishes
from edge.controllers.base import DONE, Outcome
from edge.identity.exchange import CloudAwayError, RefusedError
from edge.identity.keys import KeyStoreError
from protocol.commands import AGENT_KINDS

_log = logging.getLogger(__name__)


class OwnWorks:
    """Reboot, read, set intervals, rotate keys.

    Args:
        wishes: takes intervals.
        rotate: gets a new key certified; None where there is no identity.

    `read_now` is given by the agent: it reads everything, seals it, and tells whether the battery
    answered.
    """

    def __init__(
        self, wishes: Wishes, *, rotate: Callable[[], Awaitable[object]] | None = None
    ) -> None:
        self._wishes = wishes
        self._rotate = rotate
        self.read_now: Callable[[], Awaitable[bool]] | None = None

    @property
    def capabilities(self) -> frozenset[str]:
        """All agent kinds but those whose part is missing."""
        missing = {"rotate_keys": self._rotate, "read_now": self.read_now}
        return AGENT_KINDS - {kind for kind, part in missing.items() if part is None}

    def is_so(self, kind: str, args: Mapping[str, Any]) -> bool | None:
        """Only intervals tell whether they were set: the others leave nothing behind."""
        if kind == "set_intervals":
            return self._wishes.is_set(args["intervals_s"])
        return False

    async def perform(self, kind: str, args: Mapping[str, Any]) -> Outcome:
        """Do it. Raises AgentRestart for a reboot."""
        if kind == "reboot":
            raise AgentRestart("the agent is started again because a command says so")
        if kind == "set_intervals":
            self._wishes.set(args["intervals_s"])
            return DONE
        if kind == "read_now" and self.read_now is not None:
            return DONE if await self.read_now() else Outcome("failed", "no_answer")
        if kind == "rotate_keys" and self._rotate is not None:
            return await _rotated(self._rotate)
        return Outcome("refused", "unsupported")


async def _rotated(rotate: Callable[[], Awaitable[object]]) -> Outcome:
    try:
        await rotate()
    except CloudAwayError as error:
        _log.warning("identity: %s", error)
        return Outcome("failed", "no_answer")
    except (KeyStoreError, RefusedError) as error:
        _log.warning("identity: %s", error)
        return Outcome("failed", "error")
    return DONE
