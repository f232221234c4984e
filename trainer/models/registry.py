"""From a declaration to its network."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import paddle
from paddle import nn
from pydantic import TypeAdapter, ValidationError

from trainer.config.archs import ARCHS, Arch, MobileNetV3Arch, PPHGNetV2Arch, PPLCNetArch, ResNetArch
from trainer.config.declaration import Declaration, all_names
from trainer.config.problems import ConfigError, Problem
from trainer.config.suggest import suggest
from trainer.models.mobilenet_v3 import MobileNetV3
from trainer.models.pphgnet_v2 import PPHGNetV2
from trainer.models.pplcnet import PPLCNet
from trainer.models.resnet import ResNet

BUILDERS: Mapping[type[Declaration], Callable[[Any], nn.Layer]] = {  # each takes its own declaration
    ResNetArch: ResNet,
    PPLCNetArch: PPLCNet,
    MobileNetV3Arch: MobileNetV3,
    PPHGNetV2Arch: PPHGNetV2,
}


def build_model(arch: Arch) -> nn.Layer:
    """Build a network with initial weights from Paddle's generator.

    Automatic parameter names are those of a process that builds nothing else (`conv2d_0.w_0`), because the
    keys of an optimizer's state are made of them.
    """
    with paddle.utils.unique_name.guard():
        model = BUILDERS[type(arch)](arch)
    if arch.freeze_norm_stats:
        for layer in model.sublayers():
            if isinstance(layer, nn.BatchNorm | nn.BatchNorm2D):
                layer._use_global_stats = True
    if arch.use_sync_bn and paddle.device.get_device().startswith("gpu"):
        model = nn.SyncBatchNorm.convert_sync_batchnorm(model)
    return model


def create_model(name: str, **arch_kwargs: object) -> nn.Layer:
    """Build a network by name.

    Args:
        name: As in `Arch.name`.
        **arch_kwargs: The other keys of `Arch`.

    Raises:
        ConfigError: The name or a parameter is unknown, or a value is refused.
    """
    known = all_names(ARCHS)
    if name not in known:
        message = f"expected the name of an architecture, got {name!r}{suggest(name, known)}"
        raise ConfigError([Problem(file="Arch", path=("name",), message=message)])
    try:
        arch: Arch = TypeAdapter(Arch).validate_python({"name": name, **arch_kwargs})
    except ValidationError as error:
        problems = [
            Problem(
                file="Arch",
                path=tuple(item["loc"][1:]),
                message=f"{item['msg'].lower()}, got {item['input']!r}",
            )
            for item in error.errors(include_url=False)
        ]
        raise ConfigError(problems) from error
    return build_model(arch)
