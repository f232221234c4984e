"""What stands between a program and the use cases: keywords are checked, and messages speak of keywords.

A use case says what to do in the words of a command line: `pass --overwrite`. Here, in one place, that
becomes `pass overwrite=True` for a program. Which option is which keyword follows from the names, and from
`OTHER_NAMES` where they differ; tests/ftlaunch/test_keywords.py holds both against every option of every
command. A command that a message quotes, such as `ftlaunch cancel JOB`, stays as it is: it works as well.

Must not: know what a function does.
"""

from __future__ import annotations

import functools
import inspect
import re
from collections.abc import Callable, Generator, Iterator, Mapping
from dataclasses import fields, is_dataclass, replace
from typing import TYPE_CHECKING, Any, TypeVar, cast

from launcher.errors import LaunchError, NotFoundError
from launcher.plan.handle import BACKENDS
from trainer.config.problems import get_near
from trainer.errors import JobNotFoundError
from trainer.protocol.errors import Error, TrainerError

if TYPE_CHECKING:
    from typing_extensions import ParamSpec

    P = ParamSpec("P")
R = TypeVar("R")
C = TypeVar("C", bound=type)

OTHER_NAMES: Mapping[str, tuple[str, ...]] = {
    "continue": ("parent",),
    "container-runtime": ("runtime",),
    "from": ("source", "low"),
    "image-size": ("size",),
    "checkpoint": ("name",),
    "list": ("listed",),
    "metric": ("metrics",),
    "to": ("high", "target"),
    "config": ("source",),
    "override": ("set",),
    "force": ("overwrite",),
    "sweep-seed": ("seed",),
    "timeout": ("timeout_s", "patience_s"),
    "memory": ("memory_bytes",),
    "try": ("most",),
    "by": ("by_folder",),
    "uri": ("settings",),
    "experiment": ("settings",),
    "set": ("settings",),
}
"""Keywords of an option whose name is another one; the first that a function has is meant."""
_SHORT = {"c": "config", "o": "set"}
_CHOICES = {
    "on": BACKENDS,
    "resume": ("auto", "latest", "never"),
    "bad_images": ("skip", "refuse"),
    "images": ("all",),
}
"""Words that stand for values after an option, and not for the sentence going on."""
_OPTION = re.compile(
    r"`[^`]*`"  # a command as a person types it
    r"|(?<![\w-])--(?P<no>no-)?(?P<name>[a-z][a-z0-9-]*)(?P<value>[ =][^\s;,()]+)?"
    r"|(?<![\w-])-(?P<short>[co])\b(?P<pair> KEY=VALUE)?"
)
_VALUE = re.compile(r"[A-Z][A-Z_]*|\d+|[/~]\S*")
_PLACES = ("where", "file")
_CALLED = ("progress", "notes", "say", "warn")


def api(function: Callable[P, R]) -> Callable[P, R]:
    """Make a function part of the API: its keywords are checked, and its errors speak of them."""

    @functools.wraps(function)
    def call(*args: P.args, **kwargs: P.kwargs) -> R:
        _check_keywords(function, kwargs)
        try:
            result = function(*args, **kwargs)
        except Error as error:
            raise _respelled(error, function) from error.__cause__
        if inspect.isgenerator(result):
            return cast("R", _iterate(cast("Generator[Any, None, None]", result), function))
        return result

    if any(item.kind is item.VAR_KEYWORD for item in inspect.signature(function).parameters.values()):
        call.__signature__ = signature_of(function)  # type: ignore[attr-defined]  # what editors and help show
    return call


def api_class(kind: C) -> C:
    """Make every public method of a class part of the API."""
    for name, method in list(vars(kind).items()):
        if inspect.isfunction(method) and not name.startswith("_"):
            setattr(kind, name, api(method))
    return kind


@functools.cache
def signature_of(function: Callable[..., object]) -> inspect.Signature:
    """Return a signature with each keyword of the `TypedDict` that its `**` names."""
    from ftlaunch import keywords

    signature = inspect.signature(function)
    found = []
    for item in signature.parameters.values():
        if item.kind is not item.VAR_KEYWORD:
            found.append(item)
            continue
        named = re.fullmatch(r"Unpack\[(\w+)\]", str(item.annotation))
        assert named is not None, f"{function.__name__}: ** without Unpack[...]"
        kind = getattr(keywords, named[1])
        found += [
            inspect.Parameter(
                name,
                inspect.Parameter.KEYWORD_ONLY,
                default=keywords.DEFAULTS[kind].get(name),
                annotation=text,
            )
            for name, text in keywords.annotations_of(kind).items()
        ]
    return signature.replace(parameters=found)


def spell(text: str, function: Callable[..., object], *, is_place: bool = False) -> str:
    """Write the options of a command in a text as keywords of a function, or of `submit`.

    Args:
        text: A message, or a part of one.
        function: Who was called.
        is_place: It says what is wrong: an option by its name, or with the value that was given.
    """
    if "-" not in text:
        return text
    whole = re.fullmatch(r"--([a-z][a-z0-9-]*)(?: (.+))?", text) if is_place else None
    if whole is not None and (found := find_keyword(whole[1], function)) is not None:
        return found[0] if whole[2] is None else f"{found[0]}={whole[2]!r}"
    return _OPTION.sub(lambda match: _keyword_text(match, function), text)


def find_keyword(option: str, function: Callable[..., object]) -> tuple[str, str] | None:
    """Return the keyword and its annotation for an option's name without dashes; None where there is none."""
    from ftlaunch.job import submit

    for known in (function, inspect.unwrap(submit)):
        parameters = signature_of(known).parameters
        plain = option.replace("-", "_")
        for name in (plain, *OTHER_NAMES.get(option, ()), f"{plain}s"):
            if name in parameters:
                return name, str(parameters[name].annotation)
    return None


def _keyword_text(match: re.Match[str], function: Callable[..., object]) -> str:
    option = match["name"] or _SHORT.get(match["short"] or "")
    found = find_keyword(option, function) if option else None
    if found is None:
        return match[0]
    name, annotation = found
    if match["short"]:
        return 'set={"KEY": VALUE}' if match["pair"] else name
    given = match["value"] or ""
    if annotation.removesuffix(" | None") == "bool":
        return f"{name}={not match['no']}{given}"
    return f"{name}={_value_text(name, given)}"


def _value_text(name: str, given: str) -> str:
    """Write what follows an option as a value, or an ellipsis before it where it is the sentence going on."""
    value = given[1:]
    if value in _CHOICES.get(name, ()):
        return f'"{value}"'
    if not _VALUE.fullmatch(value):
        return f"…{given}"
    return repr(value) if value[0] in "/~" else value


def _check_keywords(function: Callable[..., object], given: Mapping[str, object]) -> None:
    """Refuse what a function does not take, by name and before anything is done.

    Raises:
        TypeError: There is no such keyword, or something cannot be called.
    """
    known = signature_of(function).parameters
    for name, value in given.items():
        if name not in known:
            near = get_near(name, known)
            hint = f"; did you mean {near!r}?" if near is not None else ""
            said = f"{function.__name__}() got an unexpected keyword argument {name!r}{hint}"
            raise TypeError(said)
        if name not in _CALLED:
            continue
        if name == "progress":
            wanted = "an ftlaunch.Progress, such as of a class derived from it"
            fits = all(callable(getattr(value, part, None)) for part in ("begin", "advance", "clear"))
        else:
            wanted, fits = "a function", callable(value)
        if not fits:
            said = f"{function.__name__}() expected {wanted} as {name!r}, got {type(value).__name__}"
            raise TypeError(said)


def _iterate(values: Generator[Any, None, None], function: Callable[..., object]) -> Iterator[Any]:
    try:
        yield from values
    except Error as error:
        raise _respelled(error, function) from error.__cause__


def _respelled(error: Error, function: Callable[..., object]) -> Error:
    """Return the error in the words of Python: the same one, but for a job that the trainer does not find."""

    def write(value: Any, name: str = "") -> Any:
        if isinstance(value, str):
            return spell(value, function, is_place=name in _PLACES)
        if not is_dataclass(value) or isinstance(value, type):
            return value
        parts = {part.name: getattr(value, part.name) for part in fields(value)}
        texts = {key: write(part, key) for key, part in parts.items() if isinstance(part, str)}
        return replace(value, **texts)

    if isinstance(error, JobNotFoundError):
        return NotFoundError(
            where=error.problems[0].file, expected="a job of this machine's runs", got="none",
            fix="see `ftlaunch list`",
        )  # fmt: skip
    if isinstance(error, LaunchError):
        error.issue = write(error.issue)
        error.problems = tuple(map(write, error.problems))
        head = str(error.issue)
        error.args = ("\n".join([*([head] if head else []), *map(str, error.problems)]),)
    elif isinstance(error, TrainerError):
        for name in ("message", "where", "expected", "got", "said", "fix"):
            setattr(error, name, write(getattr(error, name), name))
        error.problems = tuple(map(write, error.problems))
    return error
