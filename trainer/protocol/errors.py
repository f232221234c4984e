"""The root of the errors that the trainer raises on purpose, and how one is said.

An error carries its parts as fields, so that whoever shows it can choose what to show, and nobody takes a
sentence apart again. `where: expected X, got Y; what to do` is made of them here and nowhere else.

The root lives in this room because `trainer.protocol` and `trainer.node` import nothing else of the trainer.
Must not: know a kind of error; each room has its own, derived from `TrainerError`.
"""

from __future__ import annotations


class TrainerError(Exception):
    """Something that a person can mend; anything else that escapes from the trainer is a bug.

    Attributes:
        where: File with line and column, document with field, or object; empty where there is none.
        expected: What should have been there; empty where the error is one sentence.
        got: What was there, shortened by whoever raises.
        fix: What to do; empty where `expected` says it.
    """

    def __init__(
        self, message: str = "", *, where: object = "", expected: str = "", got: str = "", fix: str = ""
    ) -> None:
        # `message` is the whole sentence of an error that has no parts of its own: several problems at once,
        # or what a library said. Where it is empty, the sentence is made of the parts.
        self.where, self.expected, self.got, self.fix = str(where), expected, got, fix
        # The one argument is what a copy or a pickle is made of; the fields travel in `__dict__`.
        super().__init__(message or sentence(where=self.where, expected=expected, got=got, fix=fix))


def sentence(*, where: str = "", expected: str = "", got: str = "", fix: str = "") -> str:
    """Write `where: expected X, got Y; what to do`, without the parts that are empty."""
    found = ", ".join(f"{word} {part}" for word, part in (("expected", expected), ("got", got)) if part)
    return ": ".join(filter(None, (where, "; ".join(filter(None, (found, fix))))))
