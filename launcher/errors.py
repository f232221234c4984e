"""The launcher's own errors, one class for each thing that a caller does differently.

An error carries its parts as fields, and whoever shows it makes a sentence of them:
`where: expected X, got Y; what to do`. Nobody takes a sentence apart again (`tests/test_house_rules.py`).
The cause is chained. Only `launcher.cli` prints errors, as sentences or as a document.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from enum import IntEnum
from typing import TYPE_CHECKING, ClassVar, TypedDict, TypeVar

from trainer.protocol.errors import Error

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from trainer.config.problems import Problem
    from trainer.protocol.errors import TrainerError


class CliExit(IntEnum):
    """Exit codes of the command line."""

    OK = 0
    INTERNAL = 1
    USAGE = 2
    UNREACHABLE = 3
    NOT_FOUND = 4
    JOB_FAILED = 5
    CANCELLED = 6
    DIFFERS = 7
    """Something was looked at as asked, and a check failed or a copy differs."""
    TIMEOUT = 124
    INTERRUPTED = 130


CLI_MEANINGS: dict[CliExit, str] = {
    CliExit.OK: "done as asked",
    CliExit.INTERNAL: "a fault of ftlaunch itself",
    CliExit.USAGE: "a mistake in a command, a config or the data",
    CliExit.UNREACHABLE: "a cluster or an engine that does not answer, or does not let the user in",
    CliExit.NOT_FOUND: "a job, study or file that is not there",
    CliExit.JOB_FAILED: "the job that was waited for has failed",
    CliExit.CANCELLED: "the job that was waited for was cancelled",
    CliExit.DIFFERS: "it was looked at as asked, and a check failed, a copy differs or rows are left",
    CliExit.TIMEOUT: "what was waited for did not come within `--timeout`",
    CliExit.INTERRUPTED: "interrupted with Ctrl-C; the job goes on",
}
"""What the exit codes of the command line mean; docs/reference/exit-codes.md shows them."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Issue:
    """One thing that a person has to mend, in parts.

    Attributes:
        where: File, option or object that it is about; empty where the sentence says it.
        expected: What would have been right.
        got: What was found instead.
        said: The words of somebody else about that: a system's, an engine's, a server's.
        fix: What to do; empty where that is not known.
        message: Instead of `expected`: a sentence that has no such form.
    """

    where: str = ""
    expected: str = ""
    got: str = ""
    said: str = ""
    fix: str = ""
    message: str = ""

    def __str__(self) -> str:
        """Write it as a sentence."""
        where = f"{self.where}: " if self.where else ""
        text = self.message or (f"expected {self.expected}" if self.expected else "")
        got = f", got {self.got}" if self.got else ", got" if self.said else ""
        said = f": {self.said}" if self.said else ""
        return f"{where}{text}{got}{said}" + (f"; {self.fix}" if self.fix else "")


class Fields(TypedDict, total=False):
    """Parts of an `Issue` as keywords of an error; whatever they are, they become text."""

    where: object
    expected: object
    got: object
    said: object
    fix: object


E = TypeVar("E", bound="LaunchError")


class LaunchError(Error):
    """Something that a person can mend; anything else that escapes is a bug.

    Attributes:
        issue: What is wrong, in parts; empty where `problems` says it all.
        problems: Each thing that is wrong, where there may be several.
    """

    exit_code: ClassVar[CliExit] = CliExit.INTERNAL
    problems: tuple[Issue | Problem, ...] = ()

    def __init__(
        self, message: str = "", *, problems: Iterable[Issue | Problem] = (), **fields: Unpack[Fields]
    ) -> None:
        """Make the sentence of the parts.

        Args:
            message: A sentence that has no form of `expected X, got Y`.
            problems: Written below it, a line each.
            fields: Parts of the issue.
        """
        self.issue = Issue(message=message, **{name: str(value) for name, value in fields.items()})
        self.problems = tuple(problems)
        head = str(self.issue)
        super().__init__("\n".join([*([head] if head else []), *map(str, self.problems)]))

    @classmethod
    def of(cls: type[E], error: TrainerError, *, fix: str = "") -> E:
        """Return an error of this class that says what one of the trainer's protocol says.

        Args:
            error: What a reader of a format or of a list has found.
            fix: Instead of what the error says to do.
        """
        return cls(
            error.message, where=error.where, expected=error.expected, got=error.got, fix=fix or error.fix
        )

    def recast(self, kind: type[E]) -> E:
        """Return an error of another class, for another answer to it, that says the same."""
        other = kind(problems=self.problems)
        other.issue, other.args = self.issue, self.args
        return other

    @property
    def where(self) -> str:
        """File, option or object that it is about; empty where the sentence says it."""
        return self.issue.where

    @property
    def expected(self) -> str:
        """What would have been right."""
        return self.issue.expected

    @property
    def got(self) -> str:
        """What was found instead."""
        return self.issue.got

    @property
    def said(self) -> str:
        """The words of somebody else about that."""
        return self.issue.said

    @property
    def fix(self) -> str:
        """What to do; empty where that is not known."""
        return self.issue.fix

    @property
    def message(self) -> str:
        """Instead of `expected`: a sentence that has no such form."""
        return self.issue.message

    @property
    def finding(self) -> str:
        """The sentence without what to do."""
        return str(replace(self.issue, fix="")) or str(self)


class UsageError(LaunchError):
    """The command line or the config asks for something that cannot be."""

    exit_code = CliExit.USAGE


class TakenError(UsageError):
    """A name is in use by another run."""


class NotFoundError(LaunchError):
    """There is no such job, run or object."""

    exit_code = CliExit.NOT_FOUND


class UnreachableError(LaunchError):
    """The backend does not answer or does not let us in."""

    exit_code = CliExit.UNREACHABLE


class NothingSentError(UnreachableError):
    """What would run the job cannot be reached, and that was found before anything was asked of it."""


class NotAllowedError(UnreachableError):
    """The backend answers and does not let us in: it has done nothing, and will not until somebody acts."""
