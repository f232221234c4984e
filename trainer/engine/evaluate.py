"""An evaluation over all ranks: exact means over the samples, padding left out."""

from __future__ import annotations

import numpy as np
import paddle

from trainer.config.root import TrainConfig
from trainer.data.loader import Batch, Loader
from trainer.engine.collective import Collective
from trainer.engine.liveness import Liveness
from trainer.losses.build import LossFunction
from trainer.metrics.build import MetricFunction
from trainer.protocol.board import Phase


def evaluate(
    model: paddle.nn.Layer,
    loader: Loader,
    *,
    loss: LossFunction,
    metrics: MetricFunction,
    collective: Collective,
    liveness: Liveness,
) -> dict[str, float]:
    """Return means of losses and metrics over all samples of `loader`, equal on every rank.

    Args:
        model: Left in evaluation mode.
        loader: Of this rank.
        loss: Logits and labels -> tensors by name.
        metrics: Logits and labels -> means by name.
        collective: The process group.
        liveness: Is told of every batch.
    """
    collective.broadcast_buffers(model)
    model.eval()
    sums: dict[str, float] = {}
    samples = 0
    with paddle.no_grad():
        for batch in loader.batches(0):
            liveness.enter(Phase.EVAL)
            values, count = _measure(model, batch, loss, metrics)
            samples += count
            for key, value in values.items():
                sums[key] = sums.get(key, 0.0) + value * count
    # A rank may have had nothing but padding, and then knows no names.
    names = (collective.broadcast_text("\n".join(sums)) or "").split("\n")
    total, *values_summed = collective.sum([samples, *(sums.get(name, 0.0) for name in names)])
    return {name: value / total for name, value in zip(names, values_summed, strict=True) if name}


def best_key(config: TrainConfig, results: dict[str, float]) -> str | None:
    """Return the name of the result that chooses the best checkpoint: the first metric's first value.

    PaddleClas d178931, ppcls/engine/evaluation/classification.py: never the loss.
    """
    if not config.metric.Eval:
        return None
    losses = {"loss", *(loss.label for loss in config.loss.Eval or config.loss.Train)}
    return next((key for key in results if key not in losses), None)


def _measure(
    model: paddle.nn.Layer, batch: Batch, loss: LossFunction, metrics: MetricFunction
) -> tuple[dict[str, float], int]:
    kept = np.flatnonzero(batch.valid)
    if kept.size == 0:
        return {}, 0
    whole = kept.size == batch.valid.size
    logits = model(paddle.to_tensor(batch.images if whole else batch.images[kept]))
    labels = paddle.to_tensor(batch.labels if whole else batch.labels[kept])
    losses = {key: float(value) for key, value in loss(logits, labels).items()}
    return {**losses, **metrics(logits, labels)}, int(kept.size)
