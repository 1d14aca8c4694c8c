"""Context fleet: the vehicles, and how they are right now."""
