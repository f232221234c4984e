"""Trained weights: which file is meant, and the network that it belongs to."""

from __future__ import annotations

from pathlib import Path

import paddle

from trainer.checkpoints.contents import PARAMS
from trainer.checkpoints.store import CheckpointStore
from trainer.config.archs import Arch, predicting_arch
from trainer.config.sections import GlobalSection
from trainer.errors import CheckpointError, WeightsError
from trainer.models.registry import build_model
from trainer.models.weights import apply_weights, read_weights
from trainer.protocol.lastrun import newest_run
from trainer.protocol.layout import OutputLayout


def choose_weights(run: GlobalSection) -> Path:
    """Return the file that the config's user means when none is named.

    Raises:
        WeightsError: There is none.
        CheckpointError: It is damaged.
    """
    if run.pretrained_model:
        return Path(run.pretrained_model)
    output = newest_run(Path(run.output_dir))
    store = CheckpointStore(OutputLayout(output))
    found = store.find_best()
    if found.checkpoint is None and not found.damaged:
        found = store.find_latest()
    if found.damaged:  # another one would be taken for the one that was meant
        raise CheckpointError(
            f"{output}: expected whole weights, got damaged ones: {found.damaged[0]}; name "
            "others by --weights FILE"
        )
    checkpoint = found.checkpoint
    if checkpoint is None:
        raise WeightsError(f"{output}: expected a checkpoint, got none; train first, or pass --weights FILE")
    return checkpoint.folder / PARAMS


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
