"""Where a network looked: class activation maps of single answers.

R. R. Selvaraju and others, "Grad-CAM: Visual Explanations from Deep Networks via Gradient-based
Localization", 2017, equations 1 and 2: each channel of the last convolutional features counts by the mean of
the gradient that the answer's logit has there, and what is left below zero is left out.

Which features these are is seen, not looked up: layers are watched through one forward pass. The last
convolution with a map of more than one place begins them, and layers behind it that keep its shape (batch
norm, activation) go on. Where tokens follow it, as in a ViT, whose only convolution cuts the image into
patches, there are no such features, and none are made up.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import paddle
from numpy.typing import NDArray

from trainer.config.ops import ImageOp
from trainer.config.outputs import STUDENT, logits_of
from trainer.config.sections import MAX_IMAGE_PIXELS
from trainer.data.encoded import read_encoded
from trainer.data.ops.build import build_transform
from trainer.data.rng import per_sample
from trainer.data.seen import show_images
from trainer.errors import ImageError

_BATCH = 8


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class ActivationMaps:
    """Maps of some images.

    Attributes:
        indices: int64 [N], samples of the list; those that cannot be read are left out.
        maps: uint8 [N, h, w], 255 where the network looked most.
        pictures: uint8 [N, H, W, 3], RGB, as the network saw them.
        layer: Whose features they are of; empty where there are none.
        why_not: Why there are none.
    """

    indices: NDArray[np.int64]
    maps: NDArray[np.uint8]
    pictures: NDArray[np.uint8]
    layer: str = ""
    why_not: str = ""


def no_maps(why_not: str) -> ActivationMaps:
    """Return none, and why."""
    empty = np.zeros(0, dtype=np.int64)
    nothing = np.zeros((0, 0, 0), dtype=np.uint8)
    return ActivationMaps(indices=empty, maps=nothing, pictures=nothing[..., None], why_not=why_not)


def explain_answers(
    model: paddle.nn.Layer, paths: Sequence[str], indices: Sequence[int], ops: Sequence[ImageOp], *,
    max_pixels: int = MAX_IMAGE_PIXELS,
) -> ActivationMaps:  # fmt: skip
    """Make maps of the classes that a network names.

    Args:
        model: Left in evaluation mode; of several networks (distillation) Student's is explained. Neither
            weights nor their gradients change.
        paths: Of the list.
        indices: Samples of it.
        ops: That make its images.
        max_pixels: Images that claim more are left out.
    """
    model.eval()
    transform = build_transform(ops)
    found, images = [], []
    for index in indices:
        with contextlib.suppress(ImageError, OSError):
            encoded = read_encoded(Path(paths[index]), max_pixels=max_pixels)
            images.append(transform(encoded.data, per_sample(0, epoch=0, index=int(index))))
            found.append(int(index))
    if not images:
        return no_maps("none of the images can be read")
    if len({image.shape for image in images}) > 1:
        return no_maps("the images are of different sizes")
    whole = np.stack(images)
    maps, layer = [], ""
    for begin in range(0, len(whole), _BATCH):
        made = _explain(model, whole[begin : begin + _BATCH])
        if isinstance(made, str):
            return no_maps(made)
        layer = made[0]
        maps.append(made[1])
    return ActivationMaps(
        indices=np.array(found, dtype=np.int64), maps=np.concatenate(maps),
        pictures=show_images(whole, ops)[0], layer=layer,
    )  # fmt: skip


def _explain(model: paddle.nn.Layer, images: NDArray[np.float32]) -> tuple[str, NDArray[np.uint8]] | str:
    """Return the layer and uint8 [B, h, w]; or why there are none."""
    given = paddle.to_tensor(images, stop_gradient=False)  # so that frozen layers have gradients, too
    with _watching(dict(model.named_children()).get(STUDENT, model)) as seen:
        logits = logits_of(model(given))
    if seen.features is None:
        return f"{seen.why_not}, so there is no map of where it looked"
    best = paddle.nn.functional.one_hot(logits.argmax(axis=1), logits.shape[1]).astype(logits.dtype)
    # Only the features' gradient is asked for: parameters keep theirs, and hooks of data parallelism rest.
    (gradient,) = paddle.grad((logits * best).sum(), [seen.features], allow_unused=True)
    if gradient is None:
        return "no gradient reaches its convolutional features"
    features, slope = (tensor.astype("float32").numpy() for tensor in (seen.features, gradient))
    maps = np.maximum((features * slope.mean(axis=(2, 3), keepdims=True)).sum(axis=1), 0.0)
    highest = maps.max(axis=(1, 2), keepdims=True)
    scaled = np.divide(255 * maps, highest, out=np.zeros_like(maps), where=highest > 0)
    return seen.layer, np.rint(scaled).astype(np.uint8)


@dataclass(slots=True)
class _Seen:
    """The last convolutional features of a forward pass so far."""

    features: paddle.Tensor | None = None
    layer: str = ""
    why_not: str = "the network has no convolution with a map"
    hooks: list[Any] = field(default_factory=list)

    def look(self, name: str, layer: paddle.nn.Layer, output: object) -> None:
        if not isinstance(output, paddle.Tensor):
            return
        shape = tuple(output.shape)
        is_map = len(shape) == 4 and shape[2] * shape[3] > 1
        goes_on = self.features is not None and shape == tuple(self.features.shape)
        if is_map and (goes_on or isinstance(layer, paddle.nn.Conv2D)):
            self.features, self.layer = output, name
        elif len(shape) == 3 and shape[1] > 1:
            self.features, self.why_not = None, "the network ends in tokens, not in a convolution"


@contextlib.contextmanager
def _watching(network: paddle.nn.Layer) -> Iterator[_Seen]:
    seen = _Seen()

    def hook_of(name: str) -> Any:
        return lambda layer, _, output: seen.look(name, layer, output)

    for name, layer in network.named_sublayers():
        if not list(layer.children()):
            seen.hooks.append(layer.register_forward_post_hook(hook_of(name)))
    try:
        yield seen
    finally:
        for hook in seen.hooks:
            hook.remove()
