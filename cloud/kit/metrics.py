"""Figures for `/metrics`. A context declares its own beside its code, prefixed `mobility_`."""

from prometheus_client import CONTENT_TYPE_LATEST, Counter, generate_latest

ENGINE_RESTARTS = Counter(
    "mobility_engine_restarts", "Times an embedded engine died and was started again", ["engine"]
)
EVENT_DELIVERIES = Counter(
    "mobility_event_deliveries", "Events handed to subscribers", ["subscriber", "outcome"]
)


def exposition() -> tuple[bytes, str]:
    """Return everything this process counts, in the Prometheus text format, and its type."""
    return generate_latest(), CONTENT_TYPE_LATEST
