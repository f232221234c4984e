"""The classes that a run gets wrong most, from the numbers of its report, where that lies on this machine."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from trainer.protocol.safe_files import read_file
from trainer.protocol.untrusted import FormatError, parse_object

_DOCUMENT = "report.json"
_MAX_BYTES = 32 * 1024 * 1024
"""Of a report on a thousand classes with its matrix."""
_MAX_NAME = 40


@dataclass(frozen=True, kw_only=True, slots=True)
class ClassScore:
    """A class in the last evaluation.

    Attributes:
        name: Of the class, or its number.
        support: Images of it.
        correct: How many of them were answered so.
        taken_for: Images of other classes that were taken for it.
    """

    name: str
    support: int
    correct: int
    taken_for: int

    @property
    def harm(self) -> int:
        """Wrong answers that it has a part in."""
        return self.support - self.correct + self.taken_for


def find_worst_classes(output_dir: Path, *, count: int = 3) -> list[ClassScore]:
    """Return the classes with the most wrong answers, the worst first; none where no report tells of any.

    Args:
        output_dir: Of the run.
        count: At most so many; a class without a wrong answer is none of them.
    """
    try:
        data = read_file(output_dir / _DOCUMENT, max_bytes=_MAX_BYTES)
        document = parse_object(data, where=_DOCUMENT, max_bytes=_MAX_BYTES)
    except (OSError, FormatError):
        return []
    names, classes = document.get("names"), document.get("classes")
    if not isinstance(classes, list):
        return []
    found = [_read(item, names if isinstance(names, list) else []) for item in classes]
    wrong = [score for score in found if score is not None and score.harm > 0]
    return sorted(wrong, key=lambda score: -score.harm)[:count]


def _read(item: object, names: list[object]) -> ClassScore | None:
    if not isinstance(item, Mapping):
        return None
    numbers = [item.get(key) for key in ("label", "support", "correct", "predicted")]
    if not all(isinstance(number, int) and number >= 0 for number in numbers):
        return None
    label, support, correct, predicted = (int(str(number)) for number in numbers)
    name = str(names[label]) if label < len(names) and names[label] else str(label)
    return ClassScore(
        name=name[:_MAX_NAME], support=support, correct=correct, taken_for=max(0, predicted - correct)
    )
