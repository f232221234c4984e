"""Trained weights: which file is meant, and the network that it belongs to."""

from __future__ import annotations

import contextlib
from pathlib import Path

import paddle

from trainer.checkpoints.contents import PARAMS, read_settings
from trainer.checkpoints.store import CheckpointStore
from trainer.config.archs import Arch, predicting_arch
from trainer.config.sections import GlobalSection
from trainer.errors import CheckpointError, WeightsError
from trainer.models.registry import build_model
from trainer.models.weights import apply_weights, read_weights
from trainer.protocol.codec import FormatError
from trainer.protocol.lastrun import newest_run, runs_beside
from trainer.protocol.layout import OutputLayout


def choose_weights(run: GlobalSection, arch: Arch) -> Path:
    """Return the file that the config's user means when none is named.

    That is the best checkpoint of the newest run in the output folder; where that run trained another
    network, of the newest run beside it that trained this one.

    Raises:
        WeightsError: There is none.
        CheckpointError: It is damaged.
    """
    if run.pretrained_model:
        return Path(run.pretrained_model)
    output = newest_run(Path(run.output_dir))
    newest = _find_checkpoint(output)
    other = _describe_other(arch, newest)
    if other is None:
        return newest / PARAMS
    for beside in runs_beside(output):
        with contextlib.suppress(WeightsError, CheckpointError):
            found = _find_checkpoint(beside)
            if _describe_other(arch, found) is None:
                return found / PARAMS
    raise WeightsError(
        where=str(output),
        expected="a run of this config",
        got=f"one that trained {other}",
        fix="name that run's config, train this one, or pass --weights FILE",
    )


def _find_checkpoint(output: Path) -> Path:
    store = CheckpointStore(OutputLayout(output))
    found = store.find_best()
    if found.checkpoint is None and not found.damaged:
        found = store.find_latest()
    if found.damaged:  # another one would be taken for the one that was meant
        raise CheckpointError(
            where=str(output),
            expected="whole weights",
            got=f"damaged ones: {found.damaged[0]}",
            fix="name others by --weights FILE",
        )
    if found.checkpoint is None:
        raise WeightsError(
            where=str(output), expected="a checkpoint", got="none", fix="train first, or pass --weights FILE"
        )
    return found.checkpoint.folder


def _describe_other(arch: Arch, checkpoint: Path) -> str | None:
    """Say which network a checkpoint is of where it is not this one; None too where nothing is known."""
    try:
        settings = read_settings(checkpoint)
    except (FormatError, OSError):
        return None
    for key, value in arch.model_dump(mode="json", by_alias=True, include={"name", "class_num"}).items():
        trained = settings.get(f"Arch.{key}", value)
        if trained != value:
            return f"Arch.{key} {trained} where this config says {value}"
    return None


def load_network(arch: Arch, path: Path) -> paddle.nn.Layer:
    """Build the network that predicts, with its weights: those of several networks, or its own.

    Raises:
        WeightsError: They are another network's, or the file cannot be read.
    """
    part, prefix = predicting_arch(arch)
    model = build_model(part.without_features())
    load_weights(model, path, prefix=prefix)
    model.eval()
    return model


def load_weights(model: paddle.nn.Layer, path: Path, *, prefix: str = "") -> None:
    """Put weights into a model that they must fit in every key.

    Args:
        model: The network.
        path: A `.pdparams`.
        prefix: Taken off the keys that begin with it, where there are such keys.

    Raises:
        WeightsError: They do not fit, or the file cannot be read.
    """
    try:
        weights = read_weights(path)
        own = {key.removeprefix(prefix): value for key, value in weights.items() if key.startswith(prefix)}
        odd = apply_weights(model, own or weights).misfits
    except WeightsError as error:
        error.add_place("weights")
        raise
    if odd:
        raise WeightsError(
            f"{path}: expected weights of this model, but {len(odd)} keys do not fit, such as {odd[0]}; "
            "use the config that they were trained with"
        )
