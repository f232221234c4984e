"""Several networks in one, and layers that hand their outputs on."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

import paddle
from paddle import nn
from paddle.utils import unique_name

from trainer.config.problems import ConfigError, Problem, show


class Distillation(nn.Layer):
    """Networks under their names, which begin the keys of their weights (`Student.conv1.conv.weight`)."""

    def __init__(self, models: Mapping[str, nn.Layer]) -> None:
        super().__init__()
        self._order = list(models)
        for name, model in models.items():
            self.add_sublayer(name, model)

    def forward(self, images: paddle.Tensor) -> dict[str, paddle.Tensor]:
        """Return each network's outputs by its name."""
        return {name: self._sub_layers[name](images) for name in self._order}


def tell_apart(models: Mapping[str, nn.Layer]) -> None:
    """Give parameters that bear a name twice another one, by which an optimizer keeps its state of them."""
    seen: set[str] = set()
    for name, model in models.items():
        for tensor in model.state_dict().values():
            if tensor.name in seen:
                tensor.name = f"{name}.{tensor.name}"
            seen.add(tensor.name)


def allow_names_again() -> None:
    """Let the next network write out names that one before it has; automatic names go on counting."""
    generator, _ = unique_name.switch()
    unique_name.switch(generator)


def freeze(model: nn.Layer) -> None:
    """Keep all parameters as they are; batch norm's statistics still follow the batches, as in PaddleClas."""
    for parameter in model.parameters():
        parameter.stop_gradient = True


def hand_on(model: nn.Layer, patterns: Sequence[str]) -> None:
    """Have the model return a mapping: `logits`, and the output of each layer that a pattern names.

    PaddleClas d178931, ppcls/arch/backbone/base/theseus_layer.py: `blocks[2]` is the third of `blocks`.

    Raises:
        ConfigError: There is no such layer.
    """
    layers, features = dict(model.named_sublayers()), {}
    found = {pattern: layers.get(re.sub(r"\[(\d+)\]", r".\1", pattern)) for pattern in patterns}
    missing = [pattern for pattern, layer in found.items() if layer is None]
    if missing:
        names = ", ".join(name for name, _ in model.named_children())
        message = f"expected layers of the network ({names}), got {show(missing)}; correct the names"
        raise ConfigError([Problem(file="config", path=("Arch", "return_patterns"), message=message)])

    def keep(pattern: str, layer: nn.Layer) -> None:
        def hook(_: nn.Layer, inputs: object, output: paddle.Tensor) -> None:
            del inputs
            features[pattern] = output

        layer.register_forward_post_hook(hook)

    for pattern, layer in found.items():
        if layer is not None:
            keep(pattern, layer)

    def finish(_: nn.Layer, inputs: object, output: paddle.Tensor) -> dict[str, paddle.Tensor]:
        del inputs
        outputs = {"logits": output, **features}
        features.clear()
        return outputs

    model.register_forward_post_hook(finish)
