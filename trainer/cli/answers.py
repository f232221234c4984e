"""Answers as text, JSON or CSV, piece by piece: a folder of any size takes no memory."""

from __future__ import annotations

import csv
import io
import json
import textwrap
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, TypeAlias

Answers: TypeAlias = Iterable[tuple[str, Mapping[str, Sequence[Any]]]]
"""The name of each file, and `trainer.postprocess.build.Answer`."""


def write_answers(answers: Answers, form: str, *, one_length: bool = True) -> Iterator[str]:
    """Yield text as answers come.

    Args:
        answers: All have the keys of the first.
        form: One of `FORMS`.
        one_length: Whether each key's list is as long for every image.
    """
    if form == "csv":
        return _write_csv(answers, one_length=one_length)
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


def _write_csv(answers: Answers, *, one_length: bool) -> Iterator[str]:
    """Write a row an image, quoted as RFC 4180 says, so that names may hold spaces, commas and quotes.

    Lists of one length are columns, the best class first: `class_id_1,label_name_1,score_1,class_id_2,…`.
    Others are a column each, as JSON: how many classes the longest one has is known at the end only.
    """
    begun = False
    for file, answer in answers:
        keys = [key for key in _COLUMNS if key in answer] + [key for key in answer if key not in _COLUMNS]
        if not begun:
            begun = True
            yield _to_row(["file_name", *(_headers(answer, keys) if one_length else keys)])
        if one_length:
            cells = [str(part) for row in _interleaved(answer, keys) for part in row]
        else:
            cells = [json.dumps(list(answer[key]), ensure_ascii=False) for key in keys]
        yield _to_row([file, *cells])
    if not begun:
        yield _to_row(["file_name"])


def _headers(answer: Mapping[str, Sequence[Any]], keys: Sequence[str]) -> list[str]:
    lengths = {
        key: [f"{_COLUMNS.get(key, key)}_{place}" for place, _ in enumerate(answer[key], 1)] for key in keys
    }
    return [name for row in _interleaved(lengths, keys) for name in row]


def _interleaved(answer: Mapping[str, Sequence[Any]], keys: Sequence[str]) -> list[Sequence[Any]]:
    """Put what belongs to one class side by side; lists of other lengths follow one another."""
    lists = [answer[key] for key in keys]
    if len({len(found) for found in lists}) == 1:
        return list(zip(*lists, strict=True))
    return lists


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


_COLUMNS = {
    "class_ids": "class_id", "label_names": "label_name", "scores": "score", "attributes": "attribute",
    "probabilities": "probability",
}  # fmt: skip
"""Keys of answers in the order of their columns, and what one item of each is called."""
_WRITERS: Mapping[str, Callable[[Answers], Iterator[str]]] = {
    "text": _write_text, "json": _write_json, "jsonl": _write_jsonl,
}  # fmt: skip
FORMS = (*_WRITERS, "csv")
