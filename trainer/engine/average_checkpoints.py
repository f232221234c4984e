"""The mean of the weights of a run's best checkpoints, kept only where it evaluates better than the best one.

Weights along one run lie around an optimum, and their mean nearer to it than any of them (Izmailov et al.,
2018, arXiv:1803.05407); whether that holds for this run is measured, and not believed. Running statistics of
batch norm are averaged with the weights: the paper computes them anew over the training images, which takes
an epoch.

Averaged is what predicts: where a run keeps a moving average (`EMA`), that one.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from trainer.checkpoints.contents import OPTIMIZER, PARAMS, STATES
from trainer.checkpoints.durable import write_file
from trainer.checkpoints.paddleclas import AVERAGED
from trainer.checkpoints.pdfiles import Array, UnsafeFileError, read_weights_file, write_arrays
from trainer.checkpoints.store import CheckpointStore, TornCheckpointError
from trainer.config.checks import has_less_is_better
from trainer.config.root import TrainConfig
from trainer.engine.evaluate import evaluate_weights
from trainer.errors import CheckpointError
from trainer.models.weights import as_float32
from trainer.progress import NO_PROGRESS, Progress
from trainer.protocol.lastrun import newest_run
from trainer.protocol.layout import CheckpointName, Manifest, OutputLayout
from trainer.protocol.safe_files import link_or_copy, rename
from trainer.ranks import Ranks
from trainer.results import AveragedCheckpoint, AverageResult


def average_checkpoints(
    config: TrainConfig, ranks: Ranks, *, best: int | None, last: int | None, dry_run: bool = False,
    progress: Progress = NO_PROGRESS,
) -> AverageResult:  # fmt: skip
    """Average checkpoints of the newest run in the output folder, and evaluate what comes out.

    Args:
        config: Of the run.
        ranks: This process.
        best: So many with the best evaluations; None where `last` says which.
        last: So many of the furthest.
        dry_run: Only say which they would be.
        progress: Is told of every batch.

    Raises:
        CheckpointError: There are fewer than two, one is damaged, or the folder cannot be written.
        DataError: There is no list to evaluate with.
    """
    layout = OutputLayout(newest_run(Path(config.run.output_dir)))
    store = CheckpointStore(layout)
    manifests = store.manifests()
    chosen = _choose(manifests, best=best, last=last, layout=layout)
    used = tuple(
        AveragedCheckpoint(name=str(name), folder=layout.checkpoint_dir(name), metric=manifests[name].metric)
        for name in chosen
    )
    if dry_run:
        return AverageResult(checkpoints=used)
    pointed = store.best() or store.latest()
    assert pointed is not None
    try:
        for name in chosen:
            store.verify(name)
        furthest = sorted(chosen, key=lambda name: name.step, reverse=True)
        arrays, names = average_weights([layout.checkpoint_dir(name) / PARAMS for name in furthest])
        with tempfile.TemporaryDirectory(prefix="average-") as folder:
            candidate = Path(folder) / f"{AVERAGED}.pdparams"
            write_file(candidate, write_arrays(arrays, names))
            ours = evaluate_weights(config, ranks, weights=candidate, progress=progress)
        theirs = evaluate_weights(config, ranks, weights=pointed.folder / PARAMS, progress=progress)
        metric = next(iter(ours.metrics), "loss")
        sign = -1.0 if metric == "loss" or has_less_is_better(config) else 1.0
        accepted = sign * ours.values[metric] > sign * theirs.values[metric]
        weights = layout.output_dir / f"{AVERAGED}.pdparams"
        if accepted and ranks.is_first:
            _publish(layout, weights, arrays, names, newest=furthest[0])
    except TornCheckpointError as error:
        raise CheckpointError(str(error)) from error
    except (UnsafeFileError, OSError) as error:
        raise CheckpointError(
            where=str(layout.output_dir), expected="checkpoints to average", got=str(error)
        ) from error
    return AverageResult(
        checkpoints=used, metric=metric, averaged=ours.values[metric], best=theirs.values[metric],
        best_weights=pointed.folder / PARAMS, weights=weights if accepted else None,
    )  # fmt: skip


def _choose(
    found: dict[CheckpointName, Manifest], *, best: int | None, last: int | None, layout: OutputLayout
) -> list[CheckpointName]:
    if last is not None:
        chosen, what, fix = list(found)[:last], "checkpoints", "keep more by Global.keep_latest"
    else:
        measured = [name for name in found if found[name].metric is not None]

        def rank(name: CheckpointName) -> float:
            metric = found[name].metric or 0.0
            return metric if found[name].less_is_better else -metric

        chosen = sorted(measured, key=rank)[: best or 0]
        what, fix = (
            "evaluated checkpoints",
            "keep more by Global.keep_best, or average the last ones by --last",
        )
    if len(chosen) < 2:
        raise CheckpointError(
            where=str(layout.checkpoints_dir), expected=f"two {what} or more", got=str(len(chosen)), fix=fix
        )
    return chosen


def average_weights(paths: Sequence[Path]) -> tuple[dict[str, Array], dict[str, str]]:
    """Return the mean of files of weights, and Paddle's own names of the parameters.

    Real numbers are added up in float64, one file in memory at a time, and are rounded once to the type that
    they had; bfloat16, which is read as uint16, to that. Whole numbers, such as tables of indices and counts
    of batches, have no mean: they are those of the first file.

    Args:
        paths: The first one is that of the furthest checkpoint.

    Raises:
        CheckpointError: They are of different networks.
        UnsafeFileError: One is broken.
        OSError: One cannot be read.
    """
    first, names = read_weights_file(paths[0])
    sums = {key: _as_float64(value) for key, value in first.items() if _is_real(value)}
    for path in paths[1:]:
        arrays, _ = read_weights_file(path)
        odd = next((key for key in first if key not in arrays or arrays[key].shape != first[key].shape), None)
        if odd is not None or len(arrays) != len(first):
            raise CheckpointError(
                where=str(path), expected=f"weights of the network of {paths[0]}",
                got=f"others, such as {odd or next(iter(arrays.keys() - first.keys()))}",
                fix="average checkpoints of one run",
            )  # fmt: skip
        for key in sums:
            sums[key] += _as_float64(arrays[key])
    means = {key: _as_saved(total / len(paths), first[key].dtype) for key, total in sums.items()}
    return {key: means.get(key, value) for key, value in first.items()}, names


def _is_real(values: Array) -> bool:
    return values.dtype.kind == "f" or values.dtype == np.uint16


def _as_float64(values: Array) -> Array:
    return as_float32(values).astype(np.float64)


def _as_saved(values: Array, dtype: np.dtype[np.generic]) -> Array:
    if dtype != np.uint16:
        return values.astype(dtype)
    bits = values.astype(np.float32).view(np.uint32)
    return ((bits + 0x7FFF + ((bits >> 16) & 1)) >> 16).astype(np.uint16)  # to the nearest, ties to even


def _publish(
    layout: OutputLayout, weights: Path, arrays: dict[str, Array], names: dict[str, str], *,
    newest: CheckpointName,
) -> None:  # fmt: skip
    root, partial = layout.output_dir, weights.with_name(f"{weights.name}.{os.getpid()}.tmp")
    try:
        write_file(partial, write_arrays(arrays, names), root=root)
        rename(partial, weights, root=root)
    finally:
        partial.unlink(missing_ok=True)
    for file_name in (OPTIMIZER, STATES):  # so that --resume takes it by name
        source = layout.checkpoint_dir(newest) / file_name
        link_or_copy(source, weights.with_suffix(Path(file_name).suffix), root=root)
