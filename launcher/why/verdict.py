"""What a rule says: one sentence, what it rests on, what cures it, and whether it passes by itself."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from launcher.why.codes import CODES

MAX_EVIDENCE = 300


class Outlook(Enum):
    """What becomes of the job if nobody does anything. `-o json` calls it `forever`."""

    NOW = "now"
    """It goes on, or has ended: nothing stands in its way."""
    LATER = "later"
    """It goes on by itself once something that passes has passed."""
    NEVER = "never"
    """It stays so until somebody changes the job or the cluster."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Verdict:
    """One reason why a job stands as it does.

    Attributes:
        code: One of `CODES`; stable, for programs.
        sentence: For people, without a full stop.
        evidence: What was seen, such as an event's own words.
        cure: A command to copy, or a short advice; empty where there is nothing to do.
        outlook: What becomes of it by itself.
    """

    code: str
    sentence: str
    evidence: tuple[str, ...] = ()
    cure: str = ""
    outlook: Outlook

    def __post_init__(self) -> None:
        """Refuse a code that the table does not have."""
        if self.code not in CODES:
            raise ValueError(f"code: expected one of CODES, got {self.code!r}")


def evidence(*lines: str) -> tuple[str, ...]:
    """Bring what was seen into lines of one form: no empty ones, none twice, none endless."""
    short = (" ".join(line.split())[:MAX_EVIDENCE] for line in lines)
    return tuple(dict.fromkeys(line for line in short if line))
