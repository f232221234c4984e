"""How much memory a training step will take, from the sizes of the network's own layers: an estimate.

Three things make it up. Arrays of the weights' size: weights, gradients, what the optimizer keeps, an
average. What the forward pass keeps for the backward pass, which is about the outputs of all layers and
grows with the batch. And what the process has before it does anything. The second is counted by one forward
pass of one image. For convolutional networks it comes within a tenth of what is measured; what layers
compute inside, such as the maps of attention, is not seen, so that a transformer takes 1.6 times as much
(benchmarks/RESULTS.md). `trainer fit-batch` measures.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import paddle

from trainer.config.pipeline import find_size
from trainer.config.root import TrainConfig
from trainer.config.step_memory import StepEstimate

ARRAYS_KEPT = {"SGD": 0, "Momentum": 1, "RMSProp": 3, "Adam": 2, "AdamW": 2, "AdamWDL": 2}
"""Arrays of a parameter's size that an optimizer keeps of each (paddle 3.3, python/paddle/optimizer)."""
_FLOAT32, _HALF = 4, 2


def estimate_step(config: TrainConfig, model: paddle.nn.Layer) -> StepEstimate | None:
    """Estimate what a step takes; None where the images' size is not known before they are read.

    Args:
        config: Checked.
        model: That it names, on the CPU. One image of zeros is put through it; its weights stay as they are.
    """
    found = find_size(config.data.Train.dataset.transform_ops)
    if found is None:
        return None
    width, height = found[1]
    channels = config.run.image_shape[0] if config.run.image_shape is not None else 3
    outputs, multiplications = _count(model, (1, channels, height, width))
    each = _HALF if config.amp is not None and config.run.on_gpu else _FLOAT32
    return StepEstimate(
        weights_bytes=weights_bytes(config, model),
        image_bytes=outputs * each,
        multiplications=multiplications,
    )


def weights_bytes(config: TrainConfig, model: paddle.nn.Layer) -> int:
    """Return the bytes of weights, gradients, the optimizer's arrays and the average, in float32."""
    count = sum(int(tensor.size) for tensor in model.parameters())
    trained = sum(int(tensor.size) for tensor in model.parameters() if not tensor.stop_gradient)
    kept = max(ARRAYS_KEPT.get(type(item).__name__, 0) for _, item in config.optimizers)
    averaged = count if config.ema is not None else 0
    return _FLOAT32 * (count + (1 + kept) * trained + averaged)


def _count(model: paddle.nn.Layer, shape: Sequence[int]) -> tuple[int, int]:
    """Return numbers in the outputs of all innermost layers, and their multiply-adds, for one image."""
    sums = [0, 0]

    def note(layer: paddle.nn.Layer, _: object, output: object) -> None:
        for tensor in output if isinstance(output, list | tuple) else (output,):
            if not isinstance(tensor, paddle.Tensor):
                continue
            sums[0] += int(tensor.size)
            weight = getattr(layer, "weight", None)
            if weight is not None and weight.ndim >= 2:
                out_channels = tensor.shape[1] if weight.ndim > 2 else tensor.shape[-1]
                sums[1] += int(tensor.size) // max(1, out_channels) * math.prod(weight.shape)

    hooks = [
        layer.register_forward_post_hook(note)
        for layer in model.sublayers(include_self=True)
        if not layer.sublayers()
    ]
    was_training = model.training
    model.eval()  # batch norm of one image, and no moving means that are touched
    try:
        with paddle.no_grad():
            model(paddle.zeros(list(shape)))
    finally:
        for hook in hooks:
            hook.remove()
        if was_training:
            model.train()
    return sums[0], sums[1]
