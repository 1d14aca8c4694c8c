"""The published language: what each context tells the others, one module a context."""

from cloud.kit.events import Event

__all__ = ["Event"]
