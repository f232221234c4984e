"""Joins the answers of an evaluation with the pages that show them: the two rooms do not know each other."""

from __future__ import annotations

import os
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path

from trainer.config.archs import DistillationArch
from trainer.config.data import CustomLabelDataset
from trainer.config.root import TrainConfig
from trainer.data.make_lists import LABELS
from trainer.engine.evaluate import Answered
from trainer.engine.predict import load_names
from trainer.engine.reports import surest_mistakes
from trainer.errors import DataError
from trainer.insight.classification import ClassScores, by_harm, share
from trainer.insight.evaluation_report import (
    CSV,
    Maps,
    Origin,
    classify_predictions,
    refuse_unwritable,
    write_page,
    write_table,
    write_wrong,
)
from trainer.insight.predictions import Predictions
from trainer.postprocess.build import name_of, read_names
from trainer.results import ClassResult, FolderResult

_DISTILLED = ("Of several networks (distillation) all answers are Student's.",)


class Reporter:
    """Takes an evaluation's answers: writes its report, and adds up classes and folders."""

    def __init__(
        self, config: TrainConfig, *, folder: Path | None = None, per_class: bool = False,
        by_folder: bool = False, wrong: Path | None = None,
    ) -> None:  # fmt: skip
        """Prepare.

        Names of classes are those of `Infer.PostProcess`, else of the labels.txt that `make_lists` writes
        beside the list.

        Args:
            config: Checked.
            folder: For the report, made and tried at once; None for no report.
            per_class: Look at each class.
            by_folder: Look at each folder of images.
            wrong: File for the wrong answers; None for none.

        Raises:
            CheckpointError: The folder cannot be written.
            NamesError: The file of class names is refused.
        """
        if folder is not None:
            refuse_unwritable(folder)
        if wrong is not None:
            refuse_unwritable(wrong.absolute().parent)
        self._config, self._folder, self._wrong = config, folder, wrong
        self._per_class, self._by_folder = per_class, by_folder
        post_process = config.infer.post_process if config.infer is not None else None
        self._names = load_names(post_process, None, classes=config.arch.class_num).names
        self.classes: tuple[ClassResult, ...] = ()
        """Those with a part in most wrong answers first."""
        self.folders: tuple[FolderResult, ...] = ()
        """That of the lowest share first."""

    @property
    def is_wanted(self) -> bool:
        """Whether any of it was asked for."""
        return self._folder is not None or self._wrong is not None or self._per_class or self._by_folder

    def __call__(self, answered: Answered) -> None:
        """Take the answers, on rank 0.

        Raises:
            CheckpointError: The report cannot be written.
            DataError: Folders were asked for, and an image may be of several classes.
        """
        predictions = self._predictions(answered)
        if self._by_folder:
            self.folders = measure_folders(predictions, _image_root(self._config))
        numbers, probabilities = None, predictions.probabilities()
        if self._wrong is not None:
            write_wrong(predictions, probabilities, self._wrong.absolute())
        if self._per_class or self._folder is not None:
            numbers = classify_predictions(predictions, probabilities)
        if self._per_class and numbers is not None:
            self.classes = tuple(_class_result(of, predictions.names) for of in by_harm(numbers.classes))
        if self._folder is not None:
            notes = _DISTILLED if isinstance(self._config.arch, DistillationArch) else ()
            origin = Origin(
                weights=str(answered.weights), listed=answered.samples.source, version=version("ftlaunch"),
                unreadable=answered.unreadable, notes=notes,
            )  # fmt: skip
            write_table(predictions, probabilities, self._folder / CSV)
            write_page(
                predictions, probabilities, self._folder, origin, numbers=numbers, maps=_make_maps(answered),
                max_pixels=self._config.run.max_image_pixels,
            )  # fmt: skip

    def _predictions(self, answered: Answered) -> Predictions:
        answers, samples = answered.answers, answered.samples
        beside = Path(samples.source).with_name(LABELS)
        found = self._names or (read_names(beside) if beside.is_file() else {})
        indices = answers.indices.tolist()
        single = answers.labels.ndim == 2 and answers.labels.shape[1] == 1
        return Predictions(
            paths=[samples.paths[index] for index in indices],
            places=[samples.place(index) for index in indices],
            labels=answers.labels[:, 0] if single or answers.labels.ndim == 3 else answers.labels,
            logits=answers.logits,
            names=[name_of(label, found) for label in range(answers.logits.shape[1])],
        )


def measure_folders(predictions: Predictions, root: str) -> tuple[FolderResult, ...]:
    """Return how many images of each folder are answered rightly, the lowest share first.

    Args:
        predictions: Of one class an image.
        root: Folders are named relative to it.

    Raises:
        DataError: An image may be of several classes.
    """
    if not predictions.is_single:
        raise DataError(["--by folder: expected one class an image, got several"])
    right = predictions.logits.argmax(axis=1) == predictions.labels
    counts: dict[str, list[int]] = {}
    for path, is_right in zip(predictions.paths, right.tolist(), strict=True):
        count = counts.setdefault(os.path.relpath(os.path.dirname(path), root), [0, 0])  # noqa: PTH120 - of texts
        count[0] += 1
        count[1] += is_right
    found = []
    for folder, (images, correct) in counts.items():
        part = share(correct, images)
        assert part is not None
        found.append(
            FolderResult(
                folder=folder, images=images, correct=correct, accuracy=part.value, low=part.low,
                high=part.high,
            )
        )  # fmt: skip
    return tuple(sorted(found, key=lambda of: (of.accuracy, of.folder)))


def with_list(config: TrainConfig, path: Path) -> TrainConfig:
    """Return the config with another list to evaluate on, of the same image root and form.

    Raises:
        DataError: There is no `DataLoader.Eval`.
    """
    if config.data.Eval is None:
        raise DataError(["DataLoader.Eval: expected a section to evaluate with, got none; add it"])
    dataset = config.data.Eval.dataset
    key = "sample_list_path" if isinstance(dataset, CustomLabelDataset) else "cls_label_path"
    other = config.data.Eval.model_copy(update={"dataset": dataset.model_copy(update={key: str(path)})})
    return config.model_copy(update={"data": config.data.model_copy(update={"Eval": other})})


def _image_root(config: TrainConfig) -> str:
    return config.data.Eval.dataset.image_root if config.data.Eval is not None else "."


def _class_result(of: ClassScores, names: Sequence[str]) -> ClassResult:
    recall = of.recall
    return ClassResult(
        label=of.label, name=names[of.label], images=of.support, predicted=of.predicted, correct=of.correct,
        precision=of.precision.value if of.precision is not None else None,
        recall=recall.value if recall is not None else None,
        recall_low=recall.low if recall is not None else None,
        recall_high=recall.high if recall is not None else None,
        f1=of.f1, average_precision=of.average_precision,
    )  # fmt: skip


def _make_maps(answered: Answered) -> Maps:
    rows = surest_mistakes(answered.answers)
    if not len(rows):
        return Maps()
    made = answered.explain(answered.answers.indices[rows].tolist())
    paths = [answered.samples.paths[index] for index in made.indices.tolist()]
    return Maps(
        heat=dict(zip(paths, made.maps, strict=True)), pictures=dict(zip(paths, made.pictures, strict=True)),
        layer=made.layer, why_not=made.why_not,
    )  # fmt: skip
