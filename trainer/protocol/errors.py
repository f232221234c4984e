"""The root of the errors that are raised on purpose, that of the trainer's, and how one of these is said.

An error carries its parts as fields, so that whoever shows it can choose what to show, and nobody takes a
sentence apart again. `where: expected X, got Y; what to do` is made of them here and nowhere else.

The root lives in this room because `trainer.protocol` and `trainer.node` import nothing else of the trainer.
Must not: know a kind of error; each room has its own, derived from `TrainerError`.
"""

from __future__ import annotations

from typing import ClassVar

from trainer.protocol.exits import Exit


class Error(Exception):
    """The root of all errors that are raised on purpose, in both packages; all else that escapes is a bug.

    Whatever the class, the parts of the sentence are attributes, each empty where the error has no such part.

    Attributes:
        exit_code: What a process ends with that ends by this error.
    """

    exit_code: ClassVar[int] = 1

    @property
    def where(self) -> str:
        """File with line and column, option or object that it is about."""
        return ""

    @property
    def expected(self) -> str:
        """What would have been right."""
        return ""

    @property
    def got(self) -> str:
        """What was found instead."""
        return ""

    @property
    def said(self) -> str:
        """The words of somebody else about that: a system's, an engine's, a server's."""
        return ""

    @property
    def fix(self) -> str:
        """What to do."""
        return ""

    @property
    def message(self) -> str:
        """Instead of `expected` and `got`: a sentence that has no such form."""
        return ""

    @property
    def problems(self) -> tuple[object, ...]:
        """Each thing that is wrong, where there may be several; text of each by `str`."""
        return ()


class TrainerError(Error):
    """Something that a person can mend; anything else that escapes from the trainer is a bug.

    Attributes:
        where: File with line and column, document with field, or object; empty where there is none.
        expected: What should have been there; empty where the error is one sentence.
        got: What was there, shortened by whoever raises.
        fix: What to do; empty where `expected` says it.
        message: Instead of `expected` and `got` where the error has no such parts.
        exit_code: What a process ends with that ends by this error.
    """

    exit_code: ClassVar[Exit] = Exit.INTERNAL
    # Values of the class, without which the properties of `Error` would refuse those of an instance.
    where: str = ""
    expected: str = ""
    got: str = ""
    said: str = ""
    fix: str = ""
    message: str = ""
    problems: tuple[object, ...] = ()

    def __init__(
        self, message: str = "", *, where: object = "", expected: str = "", got: str = "", fix: str = ""
    ) -> None:
        # `message` is what an error says that has no parts of its own: several problems at once, or what a
        # library said. Where it is empty, the sentence is made of the parts.
        self.message = message
        self.where, self.expected, self.got, self.fix = str(where), expected, got, fix
        # The one argument is what a copy or a pickle is made of; the fields travel in `__dict__`.
        super().__init__(str(self))

    def __str__(self) -> str:
        return sentence(self.message, where=self.where, expected=self.expected, got=self.got, fix=self.fix)

    def add_place(self, where: str) -> None:
        """Name what holds the place, as whoever lets the error pass knows it."""
        self.where = f"{where}: {self.where}" if self.where else where


def sentence(message: str = "", *, where: str = "", expected: str = "", got: str = "", fix: str = "") -> str:
    """Write `where: expected X, got Y; what to do`, without the parts that are empty."""
    parts = ", ".join(f"{word} {part}" for word, part in (("expected", expected), ("got", got)) if part)
    found = message or parts
    return ": ".join(filter(None, (where, "; ".join(filter(None, (found, fix))))))
