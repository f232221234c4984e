"""What commands print for programs: one envelope, a version for each kind, and the schemas of them all.

Every document is an object that begins with `schema` and `kind`: the version of the kind, and its name, which
is the command's. Within a version keys are only ever added. Times are ISO 8601 in UTC, to the second; a list
is an object with `items`. `docs/schemas/<kind>.schema.json` describes each, and `ftlaunch schema` prints it.
Must not: print, or know a command line.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import launcher
from launcher.errors import Issue, LaunchError
from launcher.times import format_unix_time
from trainer.config.problems import Problem, format_path
from trainer.protocol.errors import TrainerError

VERSIONS: Mapping[str, int] = {
    "ckpt-ls": 2, "ckpt-verify": 1, "data-check": 1, "data-push": 1, "data-report": 1, "diff": 1,
    "doctor": 2, "error": 1, "events": 2, "list": 2, "plot": 1, "render-explain": 1, "report": 1,
    "status": 1, "submit": 1, "sweep": 1, "top": 1, "track": 1,
    "validate": 1, "version": 1, "why": 2,
}  # fmt: skip
"""Versions by kind. Lists begin at 2, because they were bare arrays before they had a version."""
LOG_LINE = "logs"
"""Schema of a line of `logs --output json`, which is no document of its own and has no envelope."""
_PACKAGE = Path(launcher.__file__).parent


def make_document(kind: str, /, **fields: object) -> dict[str, object]:
    """Put fields into the envelope of a kind; their order is the order that is printed."""
    return {"schema": VERSIONS[kind], "kind": kind, **fields}


def format_time(unix_s: float | None) -> str | None:
    """Write a Unix time as `2026-11-29T22:51:08Z`; None stays None."""
    return None if unix_s is None else format_unix_time(unix_s)


def describe_error(error: BaseException, *, exit_code: int, message: str = "") -> dict[str, object]:
    """Return the document of an error that ended a command.

    Args:
        error: Of the launcher, of a config, or of anything else.
        exit_code: What the command ends with.
        message: Instead of the error's own sentence.
    """
    if isinstance(error, LaunchError):
        issue = error.issue
    elif isinstance(error, TrainerError):
        issue = Issue(where=error.where, expected=error.expected, got=error.got, fix=error.fix)
    else:
        issue = Issue()
    problems: tuple[Issue | Problem, ...] = getattr(error, "problems", ())
    return make_document(
        "error", exit=exit_code, **{"class": type(error).__name__}, message=message or str(error),
        **_parts(issue), problems=[describe_problem(problem) for problem in problems],
    )  # fmt: skip


def describe_problem(problem: Issue | Problem, *, file: str | None = None) -> dict[str, object]:
    """Return one thing that is wrong, in parts; a key that does not apply is null.

    `file`, `line`, `column` and `path` are of a config. `message` is the sentence, without the place in
    a config.

    Args:
        problem: What is wrong.
        file: The config, where the problem does not name it.
    """
    if isinstance(problem, Issue):
        place: dict[str, object] = {"file": file, "line": None, "column": None, "path": None}
        return {**place, "message": str(problem), "warning": False, **_parts(problem)}
    at = (problem.file, problem.line, problem.column)
    return {
        "file": problem.file, "line": problem.line, "column": problem.column,
        "path": format_path(problem.path), "message": problem.message, "warning": problem.warning,
        **_parts(Issue(where=":".join(str(part) for part in at if part is not None))),
    }  # fmt: skip


def _parts(issue: Issue) -> dict[str, object]:
    got = ": ".join(part for part in (issue.got, issue.said) if part)
    parts = {"where": issue.where, "expected": issue.expected, "got": got, "fix": issue.fix}
    return {name: text or None for name, text in parts.items()}


def load_schema(kind: str) -> dict[str, Any]:
    """Return the JSON Schema of a kind; in a wheel the files lie inside the package.

    Raises:
        KeyError: There is no such kind.
    """
    if kind not in VERSIONS and kind != LOG_LINE:
        raise KeyError(kind)
    folders = (_PACKAGE / "schemas", _PACKAGE.parent / "docs" / "schemas")
    folder = next(folder for folder in folders if folder.is_dir())
    schema: dict[str, Any] = json.loads((folder / f"{kind}.schema.json").read_bytes())
    return schema
