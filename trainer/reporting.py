"""Joins the answers of an evaluation with the pages that show them: the two rooms do not know each other."""

from __future__ import annotations

from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path

from trainer.config.archs import DistillationArch
from trainer.config.root import TrainConfig
from trainer.data.make_lists import LABELS
from trainer.engine.evaluate import Answered
from trainer.engine.predict import load_names
from trainer.engine.reports import surest_mistakes
from trainer.insight.evaluation_report import Maps, Origin, Predictions, refuse_unwritable, write_report
from trainer.postprocess.build import name_of, read_names


def make_reporter(config: TrainConfig, folder: Path) -> Callable[[Answered], None]:
    """Return what writes an evaluation's report.

    Names of classes are those of `Infer.PostProcess`, else of the labels.txt that `make_lists` writes beside
    the list. The folder is made and tried at once.

    Raises:
        CheckpointError: It cannot be written.
        NamesError: The file of class names is refused.
    """
    refuse_unwritable(folder)
    post_process = config.infer.post_process if config.infer is not None else None
    names = load_names(post_process, None, classes=config.arch.class_num).names
    notes = (
        ("Of several networks (distillation) all answers are Student's.",)
        if isinstance(config.arch, DistillationArch)
        else ()
    )

    def write(answered: Answered) -> None:
        answers, samples = answered.answers, answered.samples
        beside = Path(samples.source).with_name(LABELS)
        found = names or (read_names(beside) if beside.is_file() else {})
        indices = answers.indices.tolist()
        single = answers.labels.ndim == 2 and answers.labels.shape[1] == 1
        predictions = Predictions(
            paths=[samples.paths[index] for index in indices],
            places=[samples.place(index) for index in indices],
            labels=answers.labels[:, 0] if single or answers.labels.ndim == 3 else answers.labels,
            logits=answers.logits,
            names=[name_of(label, found) for label in range(answers.logits.shape[1])],
        )
        origin = Origin(
            weights=str(answered.weights), listed=samples.source, version=version("ftlaunch"),
            unreadable=answered.unreadable, notes=notes,
        )  # fmt: skip
        write_report(
            predictions, folder, origin, max_pixels=config.run.max_image_pixels, maps=_make_maps(answered)
        )

    return write


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
