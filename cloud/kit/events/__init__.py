"""The event log and what is done about it: publish in your transaction, subscribers follow."""

from cloud.kit.events.deliver import RetryLater, Subscriber, register, run_due
from cloud.kit.events.held import Backlog, HeldJob, backlog, discard, held, replay
from cloud.kit.events.log import Event, publish, publish_async, read
from cloud.kit.events.worker import run_events

__all__ = [
    "Backlog",
    "Event",
    "HeldJob",
    "RetryLater",
    "Subscriber",
    "backlog",
    "discard",
    "held",
    "publish",
    "publish_async",
    "read",
    "register",
    "replay",
    "run_due",
    "run_events",
]
