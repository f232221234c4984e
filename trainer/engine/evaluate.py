"""An evaluation over all ranks, as exact as one of a single rank.

Every rank measures its share of the list. The share is padded, so that all ranks have as many batches and
meet in the same exchanges; padding repeats samples, and is left out by `Batch.valid` before anything counts.

Two kinds of metrics are brought together in different ways. What adds up (losses times samples, numbers of
right answers) is summed over ranks once at the end, in float64, and divided by the number of samples that
counted: whole numbers, so that the order of ranks does not show. What is a function of the whole list (mean
precision, rates at thresholds) needs all logits: they are gathered with the samples' places and put into the
list's order, because ties are broken by it. Averaging such metrics over ranks, which would be simpler, gives
other numbers on two ranks than on one.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import numpy as np
import paddle
from numpy.typing import NDArray

from trainer.checkpoints.contents import read_settings
from trainer.checkpoints.pdfiles import Array
from trainer.config.ops import ImageOp
from trainer.config.outputs import logits_of
from trainer.config.root import TrainConfig
from trainer.data.lists import SampleList, load_list
from trainer.data.loader import Loader
from trainer.engine.changes import find_changed_lists
from trainer.engine.class_activation import ActivationMaps, explain_answers, no_maps
from trainer.engine.collective import Collective, join_ranks
from trainer.engine.feed import FedBatch, feed
from trainer.engine.liveness import Liveness
from trainer.engine.pending import PendingSums
from trainer.engine.precision import FLOAT32, Precision, choose_precision
from trainer.engine.run_log import format_values
from trainer.engine.setup import make_eval_loader
from trainer.engine.trained import choose_weights, load_weights
from trainer.errors import CheckpointError, DataError
from trainer.losses.build import LossFunction, build_loss
from trainer.metrics.batch import Sum
from trainer.metrics.build import Measure, build_measures
from trainer.models.registry import build_model
from trainer.progress import NO_PROGRESS, Progress
from trainer.protocol.codec import FormatError
from trainer.protocol.evaluated import Evaluated
from trainer.protocol.heartbeat import Phase
from trainer.ranks import Ranks
from trainer.results import EvaluateResult


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Answers:
    """What a network answered to each image of a list, padding and unreadable images left out.

    Attributes:
        indices: int64 [N], samples of the list, in its order.
        logits: float32 [N, K].
        labels: int64 [N, 1], or float32 [N, K] of several labels an image.
    """

    indices: NDArray[np.int64]
    logits: NDArray[np.float32]
    labels: Array


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Answered:
    """An evaluation of weights, for whoever reports it.

    Attributes:
        answers: To each image.
        samples: The list.
        weights: The file.
        unreadable: Images that could not be read.
        explain: Says where the network looked, for some samples of the list.
    """

    answers: Answers
    samples: SampleList
    weights: Path
    unreadable: int
    explain: Callable[[list[int]], ActivationMaps]


_FETCHED_TOGETHER = 32  # batches whose numbers the host waits for at once
_ALONE = Collective(world_size=1)


@dataclass(frozen=True, kw_only=True, slots=True)
class Evaluation:
    """What was measured, equal on every rank.

    Attributes:
        losses: Means over all samples, by name; `loss` is their sum.
        metrics: By name, in the order of the config: the first one chooses the best checkpoint.
        bad_images: Samples that could not be read and are left out of both, on all ranks together.
        images: Samples that were measured.
        largest_class: Share of these that are of the most frequent class; None where any has several.
        answers: To all images, where they were asked for.
    """

    losses: dict[str, float]
    metrics: dict[str, float]
    bad_images: int = 0
    images: int = 0
    largest_class: float | None = None
    answers: Answers | None = None

    @property
    def values(self) -> dict[str, float]:
        """Losses and metrics together."""
        return {**self.losses, **self.metrics}


def evaluate_model(
    model: paddle.nn.Layer,
    loader: Loader,
    *,
    loss: LossFunction,
    measures: Sequence[Measure],
    collective: Collective,
    liveness: Liveness,
    precision: Precision = FLOAT32,
    progress: Progress = NO_PROGRESS,
    keeps_answers: bool = False,
) -> Evaluation:
    """Measure losses and metrics over all samples of `loader`.

    Args:
        model: Left in evaluation mode.
        loader: Of this rank.
        loss: Outputs and labels -> tensors by name.
        measures: In the order of the config.
        collective: The process group.
        liveness: Is told of every batch.
        precision: Of the forward passes.
        progress: Is told of every batch, too.
        keeps_answers: Return the answer to each image as well.

    Raises:
        DataError: Images cannot be read, and none or not so many are to be left out.
    """
    collective.broadcast_buffers(model)
    model.eval()
    tally = _Tally(loss, measures, _no_labels(loader.samples), keeps_answers=keeps_answers)
    with paddle.no_grad():
        progress.begin("evaluating", len(loader))
        for fed in feed(loader, loader.batches(0), valid_only=True):
            liveness.enter(Phase.EVAL)
            with precision.evaluation():
                tally.add(model, fed)
            progress.advance()
    found = tally.finish(collective, source=loader.source)
    loader.bad_images.refuse_too_many(found.bad_images)
    return found


def evaluate_weights(
    config: TrainConfig, ranks: Ranks, *, weights: Path | None, progress: Progress = NO_PROGRESS,
    answered: Callable[[Answered], None] | None = None,
) -> EvaluateResult:  # fmt: skip
    """Evaluate weights on `DataLoader.Eval`, outside of training.

    Args:
        config: Checked.
        ranks: This process.
        weights: A `.pdparams`; None for Global.pretrained_model, else the best checkpoint of the output
            folder, else its latest.
        progress: Is told of every batch.
        answered: Is given the answer to each image, on rank 0.

    Raises:
        WeightsError: There are none, or they are another model's.
        DataError: The list is refused.
    """
    if config.data.Eval is None:
        raise DataError(["DataLoader.Eval: expected a section to evaluate with, got none; add it"])
    samples = load_list(config.data.Eval.dataset, class_num=config.arch.class_num, path_map=ranks.path_map)
    chosen = weights or choose_weights(config.run, config.arch)
    collective = join_ranks(config.run.device, ranks)
    model = build_model(config.arch)
    load_weights(model, chosen)
    loader = make_eval_loader(config.data.Eval, samples, run=config.run, ranks=ranks)
    with contextlib.closing(loader):
        found = evaluate_model(
            model, loader,
            loss=build_loss(config.loss.in_evaluation),
            measures=build_measures(config.metric.Eval),
            collective=collective, liveness=Liveness(None, local_rank=0),
            precision=choose_precision(config.amp, on_gpu=config.run.on_gpu),
            progress=progress, keeps_answers=answered is not None,
        )  # fmt: skip
    if answered is not None and found.answers is not None and ranks.is_first:
        try:
            explain = partial(
                _explain, model, samples.paths, ops=config.data.Eval.dataset.transform_ops,
                max_pixels=config.run.max_image_pixels,
            )  # fmt: skip
            answered(
                Answered(
                    answers=found.answers, samples=samples, weights=chosen, unreadable=found.bad_images,
                    explain=explain,
                )
            )  # fmt: skip
        except CheckpointError as error:
            error.fix = f"what was measured: {format_values({**found.losses, **found.metrics})}"
            raise
    top1, floor = found.metrics.get("top1"), found.largest_class
    evaluated = None
    if top1 is not None and floor is not None:
        evaluated = Evaluated(top1=top1, best_top1=top1, largest_class=floor, images=found.images)
    return EvaluateResult(
        weights=chosen, losses=found.losses, metrics=found.metrics, images=len(samples),
        bad_images=found.bad_images,
        notes=(
            *(f"warning: {note}" for note in samples.notes if ranks.is_first),
            *(_note_other_lists(config, chosen) if ranks.is_first else ()),
            *loader.take_unsaid(),
        ),
        evaluated=evaluated,
    )  # fmt: skip


def _note_other_lists(config: TrainConfig, weights: Path) -> list[str]:
    """Say that both lists are others than in the training: a new division may mix what it kept apart."""
    try:
        changed = find_changed_lists(config, read_settings(weights.parent))
    except (FormatError, OSError):
        return []
    if changed != ["Train", "Eval"]:
        return []
    return [
        "warning: the lists for training and evaluation hold something else than when these weights were "
        "trained: images that they were trained on may be among those that were measured"
    ]


def _explain(
    model: paddle.nn.Layer, paths: Sequence[str], indices: list[int], *, ops: Sequence[ImageOp],
    max_pixels: int,
) -> ActivationMaps:  # fmt: skip
    try:
        return explain_answers(model, paths, indices, ops, max_pixels=max_pixels)
    except Exception as error:  # noqa: BLE001 - an evaluation is done by then, whatever a network raises
        return no_maps(f"{type(error).__name__}: {error}"[:300])


def _no_labels(samples: SampleList) -> NDArray[np.int64]:
    """Return a zero for each class of a list whose samples have one class each; nothing for others."""
    labels = samples.labels
    if labels is None or labels.ndim != 1 or not len(labels):
        return np.zeros(0, dtype=np.int64)
    return np.zeros(int(labels.max()) + 1, dtype=np.int64)


@dataclass(slots=True)
class _Tally:
    """What a rank has seen: sums of what adds up, and all answers where a metric needs them.

    Sums are by place and name, where -1 is the losses and the others are indices of `measures`. Those of the
    last batches are still on the device.
    """

    loss: LossFunction
    measures: Sequence[Measure]
    classes: NDArray[np.int64]
    keeps_answers: bool = False
    sums: dict[tuple[int, str], float] = field(default_factory=dict)
    samples: int = 0
    bad_images: int = 0
    kept: list[tuple[Array, Array]] = field(default_factory=list)
    answers: list[Array] = field(default_factory=list)
    pending: PendingSums[tuple[int, str]] = field(default_factory=PendingSums)
    logits: list[paddle.Tensor] = field(default_factory=list)

    def add(self, model: paddle.nn.Layer, fed: FedBatch) -> None:
        """Measure a batch, of which padding is left out."""
        batch = fed.batch
        self.bad_images += batch.bad_images
        chosen = np.flatnonzero(batch.valid)
        if chosen.size == 0:
            return
        outputs, on_device = model(fed.images), fed.labels
        labels, indices = batch.labels, batch.indices
        if chosen.size < len(batch.valid):
            labels, indices = labels[chosen], indices[chosen]
        if self.classes.size:
            self.classes += np.bincount(labels.ravel(), minlength=self.classes.size)
        self.samples += int(chosen.size)
        losses = self.loss(outputs, on_device)
        sums = {(-1, name): Sum(value, times=float(chosen.size)) for name, value in losses.items()}
        for place, measure in enumerate(self.measures):
            if measure.of_batch is not None:
                found = measure.of_batch(outputs, on_device)
                sums.update({(place, name): total for name, total in found.items()})
        self.pending.keep(sums)
        if self._needs_answers:
            self.logits.append(logits_of(outputs).astype("float32"))
            self.kept.append((indices, labels))
        if len(self.pending) >= _FETCHED_TOGETHER:
            self._fetch()

    def _fetch(self) -> None:
        """Bring what lies on the device here; of this rank alone, because ranks may have other batches."""
        for of_batch in self.pending.fetch(_ALONE)[0] if len(self.pending) else ():
            for key, value in of_batch.sums.items():
                self.sums[key] = self.sums.get(key, 0.0) + value
        if self.logits:
            self.answers.append(paddle.concat(self.logits).numpy())
            self.logits.clear()

    def finish(self, collective: Collective, *, source: str) -> Evaluation:
        """Add all ranks up.

        Raises:
            DataError: Not one image of the list `source` could be read.
        """
        self._fetch()
        # A rank may have had nothing but padding, and then knows no names.
        own = "\n".join(f"{place} {name}" for place, name in self.sums)
        lines = (collective.broadcast_text(own) or "").splitlines()
        keys = [(int(place), name) for place, _, name in (line.partition(" ") for line in lines)]
        counts = [self.samples, self.bad_images, *self.classes.tolist()]
        total, bad, *summed = collective.sum([*counts, *(self.sums.get(key, 0.0) for key in keys)])
        classes, summed = summed[: self.classes.size], summed[self.classes.size :]
        if not total:
            raise DataError([f"{source}: expected images to evaluate with, got none that can be read"])
        means = {key: value / total for key, value in zip(keys, summed, strict=True)}
        found = {
            place: {name: value for (at, name), value in means.items() if at == place} for place, _ in keys
        }
        answers = self._gather(collective) if self._needs_answers else None
        if answers is not None:
            labels = answers.labels[:, 0, :] if answers.labels.ndim == 3 else answers.labels
            for index, measure in enumerate(self.measures):
                if measure.of_list is not None:
                    found[index] = measure.of_list(answers.logits, labels)
        losses = found.pop(-1, {})
        metrics = {name: value for place in sorted(found) for name, value in found[place].items()}
        return Evaluation(
            losses=losses, metrics=metrics, bad_images=int(bad), images=int(total),
            largest_class=max(classes) / total if classes else None,
            answers=answers if self.keeps_answers else None,
        )  # fmt: skip

    @property
    def _needs_answers(self) -> bool:
        return self.keeps_answers or any(measure.of_list is not None for measure in self.measures)

    def _gather(self, collective: Collective) -> Answers:
        """Return all ranks' answers in the order of the list."""
        columns = None
        if self.kept:
            indices, labels = (np.concatenate(column) for column in zip(*self.kept, strict=True))
            columns = [indices, np.concatenate(self.answers), labels]
        indices, logits, labels = collective.gather_rows(columns)
        order = np.argsort(indices, kind="stable")
        return Answers(indices=indices[order], logits=logits[order], labels=labels[order])
