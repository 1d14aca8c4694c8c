"""Why a command or a twin is not taken, and how HTTP says so."""

import math
from datetime import timedelta
from http import HTTPStatus
from typing import Literal

from cloud.kit.http import Problem

Fault = Literal[
    "device-unknown",
    "command-unknown",
    "args-refused",
    "capability-unknown",
    "capability-missing",
    "device-revoked",
    "too-many-commands",
    "approval-needed",
    "not-awaiting-approval",
    "second-person-needed",
]

_STATUS_AND_TITLE: dict[Fault, tuple[HTTPStatus, str]] = {
    "device-unknown": (HTTPStatus.NOT_FOUND, "There is no such device"),
    "command-unknown": (HTTPStatus.NOT_FOUND, "There is no such command"),
    "args-refused": (HTTPStatus.UNPROCESSABLE_ENTITY, "The arguments do not fit"),
    "capability-unknown": (HTTPStatus.CONFLICT, "Nobody knows what this vehicle can do"),
    "capability-missing": (HTTPStatus.CONFLICT, "This vehicle cannot do that"),
    "device-revoked": (HTTPStatus.CONFLICT, "This device is cut off"),
    "too-many-commands": (HTTPStatus.TOO_MANY_REQUESTS, "Too many commands"),
    "approval-needed": (HTTPStatus.CONFLICT, "This needs two people"),
    "not-awaiting-approval": (HTTPStatus.CONFLICT, "This command awaits no approval"),
    "second-person-needed": (HTTPStatus.FORBIDDEN, "This needs a second person"),
}


class CommandRefusedError(Exception):
    """Not taken; `fault` is the problem's name, the message says what to do next."""

    def __init__(self, fault: Fault, advice: str, *, retry_after: timedelta | None = None) -> None:
        super().__init__(advice)
        self.fault: Fault = fault
        self.retry_after = retry_after

    @property
    def problem(self) -> Problem:
        """The same over HTTP."""
        status, title = _STATUS_AND_TITLE[self.fault]
        headers = {}
        if self.retry_after is not None:
            headers["Retry-After"] = str(max(1, math.ceil(self.retry_after.total_seconds())))
        return Problem(status, title, str(self), kind=f"/problems/{self.fault}", headers=headers)
