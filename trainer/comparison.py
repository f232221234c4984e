"""Which of several weights is best: measured beside each other, in the process that calls.

As `trainer.api`: a plain function, nothing printed, errors of one tree.
"""

from __future__ import annotations

import glob
import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from trainer.api import load_run
from trainer.config.overrides import Overrides, spell_overrides
from trainer.errors import WeightsError
from trainer.loading import ConfigSource, LoadOptions, Say
from trainer.process_state import process_kept
from trainer.progress import NO_PROGRESS, Progress
from trainer.ranks import read_ranks
from trainer.results import SelectionResult

_LOG = logging.getLogger("trainer")


def compare_weights(
    config: ConfigSource | None = None,
    weights: Sequence[str | Path] = (),
    *,
    job: str | None = None,
    set: Overrides = (),
    ensemble: bool = False,
    tta: Sequence[Literal["flip", "scales"]] = (),
    report: str | Path | None = None,
    strict: bool = False,
    extra_modules: Sequence[str] = (),
    warn: Say = _LOG.warning,
    progress: Progress = NO_PROGRESS,
) -> SelectionResult:
    """Measure several weights on `DataLoader.Eval`, their mean answer, or more looks at each image.

    Args:
        config: The config, where `job` names none.
        weights: Files, or patterns such as `output/epoch_*.pdparams`; none for what `evaluate` takes.
        job: Name of a job that was submitted from this machine.
        set: Changes of the config.
        ensemble: Measure the mean of the probabilities of all of them, too.
        tta: Look at each image mirrored, too, and smaller and larger: of the mean, or else of each file.
        report: As for `trainer.api.evaluate`, of what is measured last.
        strict: As for `trainer.api.train`.
        extra_modules: As for `trainer.api.train`.
        warn: Told what is odd.
        progress: Is told of every batch.

    Raises:
        TrainerError: As for `trainer.api.evaluate`.
    """
    ranks = read_ranks()
    options = LoadOptions(overrides=spell_overrides(set), strict=strict, extra_modules=tuple(extra_modules))
    given = find_patterns(weights)
    with process_kept():
        run = load_run(
            config, job, options, ranks, weights=given[0] if given else None,
            warn=warn if ranks.is_first else lambda _: None,
        )  # fmt: skip
        from trainer.engine.ensemble import Views
        from trainer.engine.selection import compare_weights as compare
        from trainer.engine.trained import choose_weights
        from trainer.reporting import Reporter

        found = compare(
            run.config, ranks, ensemble=ensemble, progress=progress,
            weights=[run.find(path) or path for path in given]
            or [choose_weights(run.config.run, run.config.arch)],
            views=Views(flip="flip" in tta, scales="scales" in tta),
            answered=None if report is None else Reporter(run.config, folder=Path(report)),
        )  # fmt: skip
    for note in found.notes:
        warn(note)  # of any rank: each reads other images
    return found


def find_patterns(weights: Sequence[str | Path]) -> list[Path]:
    """Return files, each once, with patterns replaced by what they find.

    Raises:
        WeightsError: One finds nothing.
    """
    found: list[Path] = []
    for given in map(str, weights):
        has_wildcard = any(letter in given for letter in "*?[") and not Path(given).exists()
        # Path.glob takes no absolute pattern.
        matching = _once(glob.glob(given, recursive=True)) if has_wildcard else [given]  # noqa: PTH207
        if not matching:
            raise WeightsError(where=given, expected="weights that the pattern finds", got="none")
        found += map(Path, matching)
    named: dict[Path, Path] = {}  # a file that is named twice would count twice in a mean
    for path in found:
        named.setdefault(path.resolve(), path)
    return list(named.values())


def _once(places: Sequence[str]) -> list[str]:
    """Leave out what a link leads to a second time, such as `latest`: in a mean it would count twice."""
    kept: dict[Path, str] = {}
    for place in sorted(places, key=lambda place: (Path(place).resolve() != Path(place).absolute(), place)):
        kept.setdefault(Path(place).resolve(), place)
    return sorted(kept.values())
