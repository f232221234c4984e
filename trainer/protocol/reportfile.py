"""The report that a training writes into its output folder: its names, and what is told to its maker.

The page is made by a process of its own (`trainer.insight.training_report`), so that no step waits for it;
rank 0 (`trainer.engine.reports`) sends it these as JSON, and arrays beside them.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

PAGE, DOCUMENT = "report.html", "report.json"
PREDICTIONS = re.compile(r"predictions-e(\d{3,9})\.csv", re.ASCII)
"""Of an evaluation after so many epochs."""
MAX_MESSAGE = 1 << 16
"""Bytes of a message between both processes; all that may be long lies in memory that both have."""


def predictions_name(epoch: int) -> str:
    """Return the name of the answers after so many epochs, such as `predictions-e003.csv`."""
    return f"predictions-e{epoch:03d}.csv"


@dataclass(frozen=True, kw_only=True, slots=True)
class ConfigValue:
    """A value of a config, and where it comes from.

    Attributes:
        key: Such as `Global.epochs`.
        value: As text.
        origin: Such as `cfg.yaml:3`, `-o Global.epochs=3` or `default`.
    """

    key: str
    value: str
    origin: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Fact:
    """Something that is known of a run, such as a version or a hash."""

    name: str
    value: str


@dataclass(frozen=True, kw_only=True, slots=True)
class RunFacts:
    """What does not change while a run goes on.

    Attributes:
        output_dir: `Global.output_dir`.
        listed: List that is evaluated on.
        version: Of this program.
        names: Of the classes.
        max_pixels: Images that claim more are not shown.
        less_is_better: The first metric counts mistakes.
        epochs: `Global.epochs`.
        keep_latest, keep_best, keep_every: Whose predictions are kept, as for checkpoints.
        began_at: Epochs completed where this process took the run up; None where it began it.
        values: The config.
        facts: Versions, hashes and the like.
        notes: What the report has not, and why.
    """

    output_dir: str
    listed: str
    version: str
    names: tuple[str, ...]
    max_pixels: int
    less_is_better: bool = False
    epochs: int = 1
    keep_latest: int = 2
    keep_best: int = 1
    keep_every: int = 0
    began_at: int | None = None
    values: tuple[ConfigValue, ...] = ()
    facts: tuple[Fact, ...] = ()
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True, slots=True)
class EvaluationFacts:
    """One evaluation, whose answers come with it.

    Attributes:
        epoch: Epochs completed.
        step: Optimizer steps completed.
        key: First metric; None where there is none.
        of_average: The answers are those of the moving average of the weights.
        unreadable: Images that could not be read, and are left out.
    """

    epoch: int
    step: int
    key: str | None = None
    of_average: bool = False
    unreadable: int = 0


@dataclass(frozen=True, kw_only=True, slots=True)
class SeenBatch:
    """The first batch of this process as the network saw it, whose pictures come with it.

    Attributes:
        captions: Of each picture.
        exact: The pictures are what was normalised; else each was stretched over all brightnesses.
    """

    captions: tuple[str, ...]
    exact: bool = True


@dataclass(frozen=True, kw_only=True, slots=True)
class MapFacts:
    """Class activation maps of the surest mistakes of the last evaluation, which come with it.

    Attributes:
        layer: Whose features they are of; empty where there are none.
        why_not: Why there are none.
    """

    layer: str = ""
    why_not: str = ""
