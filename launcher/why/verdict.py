"""What a rule says: one sentence, what it rests on, what fixes it, and whether it passes by itself."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from enum import Enum

from launcher.why.codes import CODES

MAX_EVIDENCE = 300
_COUNT = re.compile(r" \(x\d+\)$")
_NO_EVENT = re.compile(r"(\[a\d+ [nr]\d+\])?( ?[a-z0-9.-]+:)?")
"""A log's tag, or who an event is about, with nothing behind it."""
_SHORT = 30
"""Fewer signs are no repetition that tires anybody, such as `exit code 1` behind a pod's name."""


class Resolves(Enum):
    """What resolves the matter, if anything has to."""

    ITSELF = "itself"
    """The job goes on, or has ended: nothing stands in its way."""
    LATER = "later"
    """The job goes on without anybody's doing once something that passes has passed."""
    BY_CHANGE = "by-change"
    """It stays so until somebody changes the job or the cluster."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Verdict:
    """One reason why a job stands as it does.

    Attributes:
        code: One of `CODES`; stable, for programs.
        sentence: For people, without a full stop.
        evidence: What was seen, such as an event's own words.
        fix: A command to copy, or a short advice; empty where there is nothing to do.
        resolves: What becomes of it by itself.
        prospect: For people, instead of what `resolves` stands for, where that is not sure.
    """

    code: str
    sentence: str
    evidence: tuple[str, ...] = ()
    fix: str = ""
    resolves: Resolves
    prospect: str = ""

    def __post_init__(self) -> None:
        """Refuse a code that the table does not have."""
        if self.code not in CODES:
            raise ValueError(f"code: expected one of CODES, got {self.code!r}")


def without_repeats(verdict: Verdict) -> Verdict:
    """Put an ellipsis for the end of a line of evidence where the sentence has the same words.

    A sentence often ends with the line of a log or the words of an event that decided, and the same line is
    evidence. What is left of that is who said so, an event's reason and its count; of a log's line nothing.
    """
    sentence = " ".join(verdict.sentence.split())
    shortened = (_without(sentence, line) for line in verdict.evidence)
    return replace(verdict, evidence=tuple(dict.fromkeys(line for line in shortened if line)))


def _without(sentence: str, line: str) -> str:
    found = _COUNT.search(line)
    count = found[0] if found else ""
    words = line.removesuffix(count).split(" ")
    for index in range(len(words)):
        rest = " ".join(words[index:]).rstrip(". ")
        if len(rest) < _SHORT:
            break
        if rest in sentence:
            head = " ".join(words[:index])
            return "" if _NO_EVENT.fullmatch(head) else f"{head} …{count}"
    return line


def last_words(text: str, *, most: int) -> str:
    """Return as much of a text's end as `most` signs hold, without a part of a word."""
    flat = " ".join(text.split())
    return flat if len(flat) <= most else f"… {flat[-most:].partition(' ')[2]}"


def evidence(*lines: str) -> tuple[str, ...]:
    """Bring what was seen into lines of one form: no empty ones, none twice, none endless."""
    short = (" ".join(line.split())[:MAX_EVIDENCE] for line in lines)
    return tuple(dict.fromkeys(line for line in short if line))
