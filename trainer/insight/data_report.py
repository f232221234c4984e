"""Reads lists and every image that they name, and writes what is wrong: a page, JSON, cleaned lists."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from trainer.config.sections import MAX_IMAGE_PIXELS
from trainer.data.image_cache import ImageCache
from trainer.data.image_check import Measuring, check_images
from trainer.errors import DataError
from trainer.insight.data_health import DataHealth, Finding, ListDoubts, Split, examine
from trainer.insight.data_page import make_page
from trainer.insight.image_facts import FACTS, VERSION, measure
from trainer.insight.label_doubts import SIDE, find_label_doubts, make_thumb
from trainer.progress import NO_PROGRESS, Progress
from trainer.protocol.lists import Grammar, ListError, guess_grammar, read_list
from trainer.protocol.pathmap import PathMap
from trainer.protocol.safe_files import make_folders, replace_file

SCHEMA = 1
PAGE, JSON = "report.html", "report.json"


@dataclass(frozen=True, kw_only=True, slots=True)
class ListSource:
    """A list before it is read.

    Attributes:
        name: What it is for.
        path: The file.
        image_root: Folder that its paths are relative to.
        grammar: How its lines are read; guessed where None.
        class_num: Labels are below; None where that is not known.
    """

    name: str
    path: str
    image_root: str
    grammar: Grammar | None = None
    class_num: int | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class WrittenReport:
    """A data report and its files.

    Attributes:
        health: What was found.
        page: The page for people.
        json: The same for programs.
        cleaned: By split, the list without the lines that should be left out; where there are any.
    """

    health: DataHealth
    page: Path
    json: Path
    cleaned: Mapping[str, Path]


def read_splits(sources: Sequence[ListSource], *, path_map: PathMap | None = None) -> list[Split]:
    """Read lists; bad lines are kept with their reasons.

    Raises:
        DataError: A list cannot be read at all; says so of all that cannot.
    """
    splits, problems = [], []
    for source in sources:
        try:
            grammar = source.grammar or guess_grammar(source.path)
            listed = read_list(
                source.path, grammar, class_num=source.class_num, image_root=source.image_root,
                path_map=path_map,
            )  # fmt: skip
        except ListError as error:
            problems.append(str(error))
            continue
        paths = [
            os.path.join(source.image_root, name) if number not in listed.problems else ""  # noqa: PTH118
            for number, name in enumerate(listed.names, start=1)
        ]
        splits.append(Split(name=source.name, listed=listed, paths=paths))
    if problems:
        raise DataError(problems)
    return splits


def report(
    splits: Sequence[Split], output: Path, *, names: Sequence[str] = (), crop: tuple[int, int] | None = None,
    max_pixels: int = MAX_IMAGE_PIXELS, version: str, cache: ImageCache | None = None,
    label_doubts: bool = False, progress: Progress = NO_PROGRESS,
) -> WrittenReport:  # fmt: skip
    """Read every image once, and write what was found.

    Args:
        splits: The lists; the training's first.
        output: Folder for the report's files; made where it is not there.
        names: Of the classes, by label.
        crop: Width and height that a training makes of the images; None where that is not known.
        max_pixels: Images that claim more are bad.
        version: Of this program, for the page.
        cache: What was found before; files that have not changed since are not read.
        label_doubts: Hold every label against a small classifier; images are read anew for that once.
        progress: Told of every image.

    Raises:
        DataError: The report cannot be written.
    """
    paths = list(dict.fromkeys(path for split in splits for path in split.paths if path))
    progress.begin("reading images", len(paths))
    measuring = _measure_facts() if not label_doubts else _measure_thumbs()
    verdicts = check_images(
        paths, max_pixels=max_pixels, cache=cache, done=progress.advance, measuring=measuring
    )
    doubts = _doubt(splits, measuring.found, progress) if label_doubts else None
    records = {path: record[: FACTS.itemsize] for path, record in measuring.found.items()}
    health = examine(splits, verdicts, records, names=names, crop=crop, doubts=doubts)
    page = make_page(health, splits, names=names, version=version, max_pixels=max_pixels)
    files = {PAGE: page.encode("utf-8"), JSON: _to_json(health, version)}
    cleaned = {}
    for split in splits:
        if left_out := health.leave_out[split.name]:
            cleaned[split.name] = name = f"{Path(split.listed.source).stem}.clean.txt"
            files[name] = _without(split.listed.source, left_out)
    try:
        make_folders(output, root=output.parent)
        for name, content in files.items():
            replace_file(output / name, content)
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise DataError([f"{output}: expected a folder to write into, got: {reason}"]) from error
    return WrittenReport(
        health=health, page=output / PAGE, json=output / JSON,
        cleaned={split: output / name for split, name in cleaned.items()},
    )  # fmt: skip


def _measure_facts() -> Measuring:
    return Measuring(how=f"{VERSION}", measure=lambda data, pixels: measure(data, pixels).tobytes())


def _measure_thumbs() -> Measuring:
    """Measure the facts, and behind them the small picture that labels are doubted by."""
    return Measuring(
        how=f"{VERSION} with thumbs",
        measure=lambda data, pixels: measure(data, pixels).tobytes() + make_thumb(pixels).tobytes(),
    )


def _doubt(splits: Sequence[Split], found: Mapping[str, bytes], progress: Progress) -> ListDoubts:
    """Doubt the labels of all lists together: images of one list say what is odd in another."""
    lines = [
        (number, place, label)
        for number, split in enumerate(splits)
        for place, (path, label) in enumerate(zip(split.paths, split.listed.labels, strict=True))
        if path in found and isinstance(label, int) and label >= 0
    ]
    progress.begin("doubting labels", 1)
    thumbs = np.empty((len(lines), SIDE, SIDE, 3), dtype=np.uint8)
    for row, (number, place, _) in enumerate(lines):
        record = found[splits[number].paths[place]]
        thumbs[row] = np.frombuffer(record, dtype=np.uint8, offset=FACTS.itemsize).reshape(SIDE, SIDE, 3)
    doubts = find_label_doubts(thumbs, np.array([label for *_, label in lines], dtype=np.int64))
    progress.advance()
    return ListDoubts(lines=tuple((number, place) for number, place, _ in lines), found=doubts)


def _without(source: str, left_out: frozenset[int]) -> bytes:
    """Return a list's bytes without some of its lines, the others as they stand."""
    lines = Path(source).read_bytes().split(b"\n")
    return b"\n".join(line for place, line in enumerate(lines) if place not in left_out)


def _to_json(health: DataHealth, version: str) -> bytes:
    said = {
        "schema": SCHEMA,
        "version": version,
        "splits": dict(health.splits),
        "classes": [{"label": of.label, "name": of.name, "counts": dict(of.counts)} for of in health.classes],
        "crop": health.crop,
        "findings": [_finding_to_json(finding) for finding in health.findings],
        "left_out": {split: len(places) for split, places in health.leave_out.items()},
    }
    return (json.dumps(said, ensure_ascii=True, indent=1) + "\n").encode()


def _finding_to_json(finding: Finding) -> Mapping[str, object]:
    groups = [
        {
            "samples": [
                {"split": of.split, "place": of.place, "path": of.path, "label": of.label} for of in group
            ],
            **({"detail": finding.details[place]} if place in finding.details else {}),
        }
        for place, group in enumerate(finding.groups)
    ]
    return {
        "kind": finding.kind, "problem": finding.is_problem, "title": finding.title, "fix": finding.fix,
        "count": finding.count, "groups": groups,
    }  # fmt: skip
