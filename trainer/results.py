"""What a training, an evaluation, predictions and an export come to.

Plain values, so that whoever works with results needs neither paddle nor numpy.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeAlias

from trainer.protocol.evaluated import Evaluated

Answer: TypeAlias = Mapping[str, Sequence[Any]]
"""Lists by PaddleClas's names: class_ids, scores, label_names; or attributes, output; or probabilities."""


@dataclass(frozen=True, kw_only=True, slots=True)
class TrainResult:
    """A training that came to its end. On ranks other than 0 there are no files: they write none.

    Attributes:
        run_id: 32 hexadecimal digits.
        output_dir: Holds checkpoints, `train.log`, and the weights under PaddleClas's names.
        epochs: Completed, those of earlier attempts counted.
        steps: Optimizer steps, those of earlier attempts counted.
        train: Means of losses and metrics over the last epoch that this call trained; empty where there was
            nothing left to train.
        evaluation: Losses and metrics of the last evaluation of this call; empty without one.
        metric: What chooses the best checkpoint, of the last evaluation of the run; None without one.
        best_metric: Its best value.
        best_epoch: Epochs completed when that was reached.
        checkpoint: Folder of the last checkpoint that this call wrote.
        best_weights: `best_model.pdparams`, where there is one.
        metrics_file: `metrics.jsonl`: a row a step, an epoch, an evaluation and a checkpoint.
        early_end: Why it ended before its last epoch; None where it did not.
    """

    run_id: str
    output_dir: Path
    epochs: int
    steps: int
    train: Mapping[str, float] = field(default_factory=dict)
    evaluation: Mapping[str, float] = field(default_factory=dict)
    metric: float | None = None
    best_metric: float | None = None
    best_epoch: int | None = None
    checkpoint: Path | None = None
    best_weights: Path | None = None
    metrics_file: Path | None = None
    early_end: str | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class ClassResult:
    """How well a class is told from the others; a number that nothing is known of is None.

    Attributes:
        label: Its number.
        name: `class 3` where it has none.
        images: Of it.
        predicted: That were taken for it.
        correct: Images of it that were.
        precision: Correct of predicted.
        recall: Correct of its images.
        recall_low, recall_high: Between which that lies for 95 of 100 such lists (Wilson's).
        f1: Harmonic mean of precision and recall.
        average_precision: Area below precision over recall.
    """

    label: int
    name: str
    images: int
    predicted: int
    correct: int
    precision: float | None
    recall: float | None
    recall_low: float | None
    recall_high: float | None
    f1: float | None
    average_precision: float | None


@dataclass(frozen=True, kw_only=True, slots=True)
class FolderResult:
    """How many images of a folder are answered rightly.

    Attributes:
        folder: As the list's image root names it, such as `val/site3`; `.` for the root itself.
        images: In it.
        correct: Of those.
        accuracy: Share of these.
        low, high: Between which that lies for 95 of 100 such lists (Wilson's).
    """

    folder: str
    images: int
    correct: int
    accuracy: float
    low: float
    high: float


@dataclass(frozen=True, kw_only=True, slots=True)
class EvaluateResult:
    """What an evaluation measured, equal on every rank.

    Attributes:
        weights: The file that was evaluated.
        losses: Means over all samples, by name; `loss` is their sum.
        metrics: By name, in the order of the config.
        images: Samples in the list.
        bad_images: Of those, the ones that could not be read and are left out, on all ranks together.
        notes: What this rank has to say of images that cannot be read, or not without doubt.
        evaluated: top1 beside always answering the largest class; None without top1, or with several labels.
        classes: Each class, on rank 0 and where asked for; those with a part in most wrong answers first.
        folders: Each folder of images, on rank 0 and where asked for; that of the lowest share first.
    """

    weights: Path
    losses: Mapping[str, float]
    metrics: Mapping[str, float]
    images: int
    bad_images: int = 0
    notes: tuple[str, ...] = ()
    evaluated: Evaluated | None = None
    classes: tuple[ClassResult, ...] = ()
    folders: tuple[FolderResult, ...] = ()

    @property
    def values(self) -> dict[str, float]:
        """Losses and metrics together."""
        return {**self.losses, **self.metrics}


@dataclass(frozen=True, kw_only=True, slots=True)
class Candidate:
    """One thing that was evaluated of several.

    Attributes:
        weights: The file, or those of which it is the mean answer.
        views: How each image is looked at besides as it is: flip, scales.
        passes: Forward passes for each image.
        seconds: That the evaluation took, reading the images included.
        losses: As of EvaluateResult.
        metrics: As of EvaluateResult.
    """

    weights: tuple[Path, ...]
    views: tuple[str, ...]
    passes: int
    seconds: float
    losses: Mapping[str, float]
    metrics: Mapping[str, float]

    @property
    def values(self) -> dict[str, float]:
        """Losses and metrics together."""
        return {**self.losses, **self.metrics}

    @property
    def label(self) -> str:
        """What it is called in a table."""
        name = str(self.weights[0]) if len(self.weights) == 1 else f"mean of {len(self.weights)}"
        return " + ".join((name, *self.views))


@dataclass(frozen=True, kw_only=True, slots=True)
class SelectionResult:
    """Several evaluations of one list, equal on every rank but for the seconds.

    Attributes:
        candidates: The files in their order, then what was made of them.
        metric: What decides.
        less_is_better: Of it.
        best: Place of the best of the candidates.
        images: As of EvaluateResult.
        bad_images: As of EvaluateResult.
        notes: As of EvaluateResult.
    """

    candidates: tuple[Candidate, ...]
    metric: str
    less_is_better: bool
    best: int
    images: int
    bad_images: int = 0
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True, slots=True)
class AveragedCheckpoint:
    """One of the checkpoints that are averaged.

    Attributes:
        name: Such as `e003-s001200`.
        folder: Its files.
        metric: Of its evaluation while training; None where it was not evaluated.
    """

    name: str
    folder: Path
    metric: float | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class AverageResult:
    """What averaging checkpoints came to.

    Attributes:
        checkpoints: What was averaged.
        metric: Name of what decides; empty where nothing was evaluated.
        averaged: Its value of the averaged weights; None where nothing was evaluated.
        best: Its value of the best checkpoint, measured in the same way.
        best_weights: That checkpoint's weights.
        weights: The averaged weights; None where they are not better, and so were not written.
    """

    checkpoints: tuple[AveragedCheckpoint, ...]
    metric: str = ""
    averaged: float | None = None
    best: float | None = None
    best_weights: Path | None = None
    weights: Path | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Prediction:
    """One image's answer, or the reason why there is none.

    Attributes:
        file: The image.
        answer: Empty where the image cannot be read.
        problem: Why it cannot, with the file's name; else empty.
    """

    file: Path
    answer: Answer = field(default_factory=dict)
    problem: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class PredictResult:
    """Answers of a network.

    Attributes:
        weights: Weights, or folder of an exported model, that answered.
        predictions: Of each image, in the order in which they were named.
        notes: What people should know of the names of the classes.
    """

    weights: Path
    predictions: tuple[Prediction, ...]
    notes: tuple[str, ...] = ()

    @property
    def answers(self) -> dict[Path, Answer]:
        """The answers by file, without images that cannot be read."""
        return {found.file: found.answer for found in self.predictions if not found.problem}


@dataclass(frozen=True, kw_only=True, slots=True)
class ExportResult:
    """What was written, and how far it was compared.

    Attributes:
        folder: Holds the files.
        names: Of the files.
        weights: What it was made of.
        compared: Images of the validation list that both models answered; 0 where there is no list.
        largest: Largest difference of a logit, as a share of the largest logit of its image.
        notes: What people should know of the names of the classes.
    """

    folder: Path
    names: tuple[str, ...]
    weights: Path
    compared: int
    largest: float
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True, slots=True)
class CheckResult:
    """What a check of a config, its lists, images and weights found; it raised where training would.

    Attributes:
        arch: Of the network.
        classes: Its classes.
        train: Images of the training list; None where the config alone was checked.
        evaluation: Of the evaluation list.
        images: A sentence about the images that were read; empty where none was.
        model: A sentence about the network and its weights; empty where the config alone was checked.
        warnings: What is odd, a sentence each.
    """

    arch: str
    classes: int
    train: int | None = None
    evaluation: int | None = None
    images: str = ""
    model: str = ""
    warnings: tuple[str, ...] = ()
