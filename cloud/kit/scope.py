"""Whose data it is: every row belongs to a tenant and a city."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Scope:
    """A tenant and one of its cities."""

    tenant: str
    city: str


DEMO = Scope("demo", "demo")
