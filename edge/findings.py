"""What the doctor finds."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Finding:
    """What was found about one part; `next_step` says what to do when it is not ok."""

    part: str
    ok: bool
    found: str
    next_step: str = ""


def trouble(part: str, error: Exception, otherwise: str) -> Finding:
    """Return an error as a finding: what follows its last semicolon is what to do."""
    found, _, step = str(error).rpartition("; ")
    return Finding(part, ok=False, found=found or step, next_step=step if found else otherwise)
