"""The journal: what the vehicle knows and the cloud has not yet committed, on disk."""

from edge.journal.journal import Journal
from edge.journal.lock import JournalBusyError
from edge.journal.records import LaneView, Range, Sealed
from edge.journal.schema import JournalVersionError

__all__ = ["Journal", "JournalBusyError", "JournalVersionError", "LaneView", "Range", "Sealed"]
