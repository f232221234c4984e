"""From a spec to its network."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import paddle
from paddle import nn
from pydantic import Field

from trainer.config.archs import Arch, DistillationArch
from trainer.config.archs_attention import ConvNeXtArch, EfficientNetArch, SwinArch, ViTArch
from trainer.config.archs_convolutional import (
    DenseNetArch,
    HRNetArch,
    MobileNetV1Arch,
    MobileNetV2Arch,
    MobileNetV3Arch,
    RepVGGArch,
    ShuffleNetV2Arch,
    VGGArch,
)
from trainer.config.archs_pp import PPHGNetArch, PPHGNetV2Arch, PPLCNetArch, PPLCNetV2Arch  # fmt: skip
from trainer.config.archs_resnet import Res2NetArch, ResNetArch, ResNeXtArch, SEResNetArch  # fmt: skip
from trainer.config.document import Document
from trainer.config.extras import ExtraArch, make_extra, refuse
from trainer.config.load import check
from trainer.config.registry import Section, Spec
from trainer.config.zoo import PaddleClasArch
from trainer.models.convnext import ConvNeXt
from trainer.models.densenet import DenseNet
from trainer.models.distillation import Distillation, allow_names_again, freeze, hand_on, tell_apart
from trainer.models.efficientnet import EfficientNet
from trainer.models.foreign import build_foreign
from trainer.models.hrnet import HRNet
from trainer.models.layers import freeze_norms, sync_norms
from trainer.models.mobilenet import MobileNetV1, MobileNetV2
from trainer.models.mobilenet_v3 import MobileNetV3
from trainer.models.pphgnet import PPHGNet
from trainer.models.pphgnet_v2 import PPHGNetV2
from trainer.models.pplcnet import PPLCNet
from trainer.models.pplcnet_v2 import PPLCNetV2
from trainer.models.repvgg import RepVGG
from trainer.models.residual import build_res2net, build_resnext, build_se_resnet
from trainer.models.resnet import ResNet
from trainer.models.shufflenet_v2 import ShuffleNetV2
from trainer.models.swin import SwinTransformer
from trainer.models.vgg import VGG
from trainer.models.vit import VisionTransformer

_SINGLE: Mapping[type[Spec], Callable[[Any], nn.Layer]] = {  # each takes its own spec
    ResNetArch: ResNet,
    PPLCNetArch: PPLCNet,
    PPLCNetV2Arch: PPLCNetV2,
    PPHGNetArch: PPHGNet,
    PPHGNetV2Arch: PPHGNetV2,
    MobileNetV3Arch: MobileNetV3,
    ResNeXtArch: build_resnext,
    SEResNetArch: build_se_resnet,
    Res2NetArch: build_res2net,
    MobileNetV1Arch: MobileNetV1,
    MobileNetV2Arch: MobileNetV2,
    ShuffleNetV2Arch: ShuffleNetV2,
    VGGArch: VGG,
    DenseNetArch: DenseNet,
    RepVGGArch: RepVGG,
    HRNetArch: HRNet,
    EfficientNetArch: EfficientNet,
    SwinArch: SwinTransformer,
    ViTArch: VisionTransformer,
    ConvNeXtArch: ConvNeXt,
    PaddleClasArch: build_foreign,
}


def _build_distillation(spec: DistillationArch) -> nn.Layer:
    models: dict[str, nn.Layer] = {}
    for name, arch in spec.by_name.items():
        models[name] = _build(arch)
        allow_names_again()
    tell_apart(models)
    for name in spec.frozen:
        freeze(models[name])
    return Distillation(models)


BUILDERS: Mapping[type[Spec], Callable[[Any], nn.Layer]] = {
    **_SINGLE,
    DistillationArch: _build_distillation,
}


def _build(arch: Arch) -> nn.Layer:
    model = _build_extra(arch) if isinstance(arch, ExtraArch) else BUILDERS[type(arch)](arch)
    if arch.features:
        hand_on(model, arch.features)
    return model


def _build_extra(spec: ExtraArch) -> nn.Layer:
    made = make_extra(spec, class_num=spec.class_num)
    if not isinstance(made, nn.Layer):
        raise refuse("model", spec.name, f"expected a paddle.nn.Layer, got {made!r}")
    return made


def build_model(arch: Arch) -> nn.Layer:
    """Build a network with initial weights from Paddle's generator.

    Automatic parameter names are those of a process that builds nothing else (`conv2d_0.w_0`), because the
    keys of an optimizer's state are made of them.
    """
    with paddle.utils.unique_name.guard():
        model = _build(arch)
    if arch.freeze_norm_stats:
        freeze_norms(model)  # nothing is left to synchronise
    elif arch.use_sync_bn and paddle.device.get_device().startswith("gpu"):
        sync_norms(model)
    return model


class _OnlyArch(Section):
    arch: Arch = Field(alias="Arch")


def create_model(name: str, **arch_kwargs: object) -> nn.Layer:
    """Build a network by name.

    Args:
        name: As in `Arch.name`.
        **arch_kwargs: The other keys of `Arch`.

    Raises:
        ConfigError: The name or a parameter is unknown, or a value is refused.
    """
    document = Document(name="create_model", values={"Arch": {"name": name, **arch_kwargs}})
    return build_model(check(document, _OnlyArch).config.arch)
