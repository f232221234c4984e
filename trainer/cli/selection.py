"""What `trainer eval` prints of several weights: a table, or a document."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path

from trainer.cli.printing import warn
from trainer.config.problems import ConfigError, Problem
from trainer.results import SelectionResult


def refuse_few(weights: Sequence[Path], *, ensemble: bool, reports: bool) -> list[Path]:
    """Return the files that are meant, with patterns replaced by what they find.

    Raises:
        ConfigError: There are too few for a mean, or too many for one report.
        WeightsError: A pattern finds nothing.
    """
    from trainer.comparison import find_patterns

    files = find_patterns(weights)
    if len(files) < len(weights):
        warn(f"--weights: {len(weights) - len(files)} of {len(weights)} name a file again, which counts once")
    message = ""
    if ensemble and len(files) < 2:
        message = f"expected two files or more in --weights, of which it is the mean, got {len(files)}"
    if message:
        raise ConfigError([Problem(file="--ensemble", message=message)])
    if reports and not ensemble and len(files) > 1:
        message = f"expected --ensemble or one FILE beside --report, got {len(files)}"
        raise ConfigError([Problem(file="--weights", message=message)])
    return files


def refuse_tables(*, listed: bool, per_class: bool, by: bool, wrong: bool = False) -> None:
    """Refuse what is there for one evaluation alone.

    Raises:
        ConfigError: It was asked for.
    """
    typed = [
        name
        for name, is_set in (("--list", listed), ("--per-class", per_class), ("--by", by), ("--wrong", wrong))
        if is_set
    ]
    if typed:
        message = "expected one FILE in --weights, without --ensemble and --tta, got several evaluations"
        raise ConfigError([Problem(file=name, message=message) for name in typed])


def write_selection(found: SelectionResult, form: str) -> Iterator[str]:
    """Yield lines: one JSON document, or a row for each candidate, of which the best has a star."""
    if form == "json":
        yield json.dumps(_to_json(found))
        return
    names = list(found.candidates[0].values)
    names = [found.metric, *(name for name in names if name != found.metric)]
    head = ["", *names, "seconds", "passes"]
    rows = [
        [
            f"{'*' if number == found.best else ' '} {item.label}",
            *(f"{item.values[name]:.5f}" for name in names), f"{item.seconds:.1f}", str(item.passes),
        ]
        for number, item in enumerate(found.candidates)
    ]  # fmt: skip
    widths = [max(len(row[column]) for row in (head, *rows)) for column in range(len(head))]
    for row in (head, *rows):
        first, *cells = row
        numbers = (cell.rjust(width) for cell, width in zip(cells, widths[1:], strict=True))
        yield "  ".join([first.ljust(widths[0]), *numbers])
    best, least = found.candidates[found.best], "least" if found.less_is_better else "best"
    yield (
        f"{least} {found.metric}: {best.label}, {best.passes} forward "
        f"{'pass' if best.passes == 1 else 'passes'} an image"
    )


def _to_json(found: SelectionResult) -> dict[str, object]:
    return {
        "items": [
            {
                "weights": [str(path) for path in item.weights], "views": list(item.views),
                "passes": item.passes, "seconds": item.seconds, **item.values,
            }
            for item in found.candidates
        ],
        "metric": found.metric, "less_is_better": found.less_is_better, "best": found.best,
        "images": found.images, "bad_images": found.bad_images,
    }  # fmt: skip
