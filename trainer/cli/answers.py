"""Answers as text, JSON or CSV, piece by piece: a folder of any size takes no memory."""

from __future__ import annotations

import csv
import io
import json
import textwrap
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, TypeAlias

Answers: TypeAlias = Iterable[tuple[str, Mapping[str, Sequence[Any]]]]
"""The name of each file, and `trainer.answers.build.Answer`."""


def write_answers(answers: Answers, form: str) -> Iterator[str]:
    """Yield text as answers come.

    Args:
        answers: All have the keys of the first.
        form: One of `FORMS`.
    """
    return _WRITERS[form](answers)


def _write_text(answers: Answers) -> Iterator[str]:
    for file, answer in answers:
        yield f"{file}: {_describe(answer)}\n"


def _write_json(answers: Answers) -> Iterator[str]:
    before = "["
    for file, answer in answers:
        row = json.dumps({"file_name": file, **answer}, ensure_ascii=False, indent=1)
        yield f"{before}\n{textwrap.indent(row, ' ')}"
        before = ","
    yield "[]\n" if before == "[" else "\n]\n"


def _write_jsonl(answers: Answers) -> Iterator[str]:
    for file, answer in answers:
        yield json.dumps({"file_name": file, **answer}, ensure_ascii=False) + "\n"


def _write_csv(answers: Answers) -> Iterator[str]:
    keys: list[str] | None = None
    for file, answer in answers:
        if keys is None:
            keys = list(answer)
            yield _to_row(["file_name", *keys])
        yield _to_row([file, *(" ".join(str(part) for part in answer.get(key, ())) for key in keys)])
    if keys is None:
        yield _to_row(["file_name"])


def _to_row(cells: Sequence[str]) -> str:
    written = io.StringIO()
    csv.writer(written, lineterminator="\n").writerow(cells)
    return written.getvalue()


def _describe(answer: Mapping[str, Sequence[Any]]) -> str:
    if "class_ids" not in answer:
        return ", ".join(str(part) for part in answer.get("attributes") or answer["probabilities"])
    names = answer.get("label_names") or [f"class {index}" for index in answer["class_ids"]]
    return (
        ", ".join(f"{name} {score:.3f}" for name, score in zip(names, answer["scores"], strict=True))
        or "none"
    )


_WRITERS: Mapping[str, Callable[[Answers], Iterator[str]]] = {
    "text": _write_text, "json": _write_json, "jsonl": _write_jsonl, "csv": _write_csv,
}  # fmt: skip
FORMS = tuple(_WRITERS)
