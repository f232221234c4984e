"""What is wrong with a config, and where."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from trainer.protocol.errors import TrainerError
from trainer.protocol.exits import Exit

KeyPath = tuple[str | int, ...]
MAX_SHOWN = 80


@dataclass(frozen=True, kw_only=True, slots=True)
class Problem:
    """One thing that a person has to mend.

    Attributes:
        file: Name of the file as the user typed it, or the source of the value, such as `-o`.
        line: From 1, or None where there is no place in a file.
        column: From 1, or None.
        path: Keys and indices from the root to the value.
        message: `expected X, got Y; what to do`, lower case, no full stop.
        warning: Said, but not an error.
    """

    file: str
    line: int | None = None
    column: int | None = None
    path: KeyPath = ()
    message: str
    warning: bool = False

    def __str__(self) -> str:
        place = ":".join(str(part) for part in (self.file, self.line, self.column) if part is not None)
        where = f"{format_path(self.path)}: " if self.path else ""
        return f"{place}: {'warning: ' if self.warning else ''}{where}{self.message}"


class ConfigError(TrainerError):
    """A config was refused. Holds all problems that were found, warnings included."""

    exit_code = Exit.CONFIG
    problems: tuple[Problem, ...]

    def __init__(self, problems: Iterable[Problem]) -> None:
        self.problems = tuple(problems)
        super().__init__("\n".join(str(problem) for problem in self.problems))


def format_path(path: KeyPath) -> str:
    """Write a key path as `-o` takes it, such as `DataLoader.Train.dataset.transform_ops.1.RandCropImage`."""
    return ".".join(str(part) for part in path)


def show(value: object) -> str:
    """Show a value in a message: its repr, capped; of a large one, no more is made than is shown."""
    text = ""
    for piece in _pieces(value):
        text += piece
        if len(text) > MAX_SHOWN:
            return text[: MAX_SHOWN - 1] + "…"
    return text


def _pieces(value: object) -> Iterator[str]:
    """Yield the parts of a repr; those of a text are made of its beginning only."""
    if isinstance(value, dict):
        for index, (key, item) in enumerate(value.items()):
            yield ", " if index else "{"
            yield from _pieces(key)
            yield ": "
            yield from _pieces(item)
        yield "}" if value else "{}"
    elif isinstance(value, list):
        for index, item in enumerate(value):
            yield ", " if index else "["
            yield from _pieces(item)
        yield "]" if value else "[]"
    else:
        yield repr(value[: MAX_SHOWN + 1] if isinstance(value, str) else value)


def suggest(word: object, known: Iterable[str]) -> str:
    """Return `; did you mean 'x'?` for the nearest known word, or an empty string."""
    near = get_near(word, known)
    return f"; did you mean {near!r}?" if near is not None else ""


def get_near(word: object, known: Iterable[str]) -> str | None:
    """Return the known word that is spelled most like another, or None where none is near."""
    import difflib  # here: most configs have no such mistake

    by_lower = {name.lower(): name for name in known if name != word}
    matches = difflib.get_close_matches(str(word).lower(), by_lower, n=1, cutoff=0.6)
    return by_lower[matches[0]] if matches else None
