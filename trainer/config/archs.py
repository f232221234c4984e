"""What `Arch.name` may be, a declaration a family (PaddleClas d178931, ppcls/arch/backbone)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, TypeAlias

from pydantic import ConfigDict, Field, model_validator

from trainer.config import arch_names
from trainer.config.arch_base import (
    BaseArch,
    FiveFactors,
    Probability,
)
from trainer.config.declaration import Catalogue, Later, later, named
from trainer.config.outputs import STUDENT
from trainer.config.scalars import Positive


class PPHGNetV2Arch(BaseArch):
    """PP-HGNetV2, made for GPUs."""

    names = tuple(f"PPHGNetV2_B{size}" for size in range(7))

    dropout_prob: Probability = 0.0
    class_expand: Positive = 2048
    lr_mult_list: FiveFactors = (1.0, 1.0, 1.0, 1.0, 1.0)
    """Learning-rate factors of the stem and the four stages."""
    use_last_conv: bool = True


_MOBILE = "trainer.config.arch_mobile"
_CONVOLUTIONS, _ATTENTION = "trainer.config.arch_convolutions", "trainer.config.arch_attention"
SINGLE_ARCHS = Catalogue(
    *later("trainer.config.arch_resnet", {"ResNetArch": arch_names.RESNET}),
    *later(_MOBILE, {"PPLCNetArch": arch_names.PPLCNET}),
    *later(
        _CONVOLUTIONS, {"PPLCNetV2Arch": arch_names.PPLCNET_V2, "PPHGNetArch": arch_names.PPHGNET},
    ),
    PPHGNetV2Arch, *later(_MOBILE, {"MobileNetV3Arch": arch_names.MOBILENET_V3}),
    *later(
        _CONVOLUTIONS,
        {
            "ResNeXtArch": arch_names.RESNEXT, "SEResNetArch": arch_names.SE_RESNET,
            "Res2NetArch": arch_names.RES2NET, "MobileNetV1Arch": arch_names.MOBILENET_V1,
            "MobileNetV2Arch": arch_names.MOBILENET_V2, "ShuffleNetV2Arch": arch_names.SHUFFLENET_V2,
            "VGGArch": arch_names.VGG, "DenseNetArch": arch_names.DENSENET,
            "RepVGGArch": arch_names.REPVGG, "HRNetArch": arch_names.HRNET,
        },
    ),
    *later(
        _ATTENTION,
        {
            "EfficientNetArch": arch_names.EFFICIENTNET, "SwinArch": arch_names.SWIN,
            "ViTArch": arch_names.VIT, "ConvNeXtArch": arch_names.CONVNEXT,
        },
    ),
    *later("trainer.config.arch_foreign", {"PaddleClasArch": arch_names.FOREIGN}),
)  # fmt: skip
"""All that are one network."""
if TYPE_CHECKING:
    SingleArch: TypeAlias = BaseArch
else:  # the union that chooses by name exists at run time only
    SingleArch = named(SINGLE_ARCHS, extra=Later("trainer.config.extra_declarations", "ExtraArch"))


class DistillationArch(BaseArch):
    """Several networks that see the same images and learn from each other, or one from the others."""

    model_config = ConfigDict(extra="allow")
    names = ("DistillationModel",)

    models: Annotated[
        tuple[Annotated[dict[str, SingleArch], Field(min_length=1, max_length=1)], ...],
        Field(strict=False, min_length=1),
    ]
    """`- Teacher: {name: …}` each; the one called Student is evaluated."""
    freeze_params_list: Annotated[tuple[bool, ...], Field(strict=False)] | None = None
    """Of each network, whether its parameters stay as they are."""
    pretrained_list: Annotated[tuple[None, ...], Field(strict=False)] | None = None
    """Must be empty: PaddleClas fails with it, and each network has its own `pretrained`."""
    infer_model_name: str = STUDENT
    """The network that predicts and is exported."""

    @model_validator(mode="before")
    @classmethod
    def _classes_of_models(cls, values: object) -> object:
        """Where `Arch` has no class_num of its own, it has that of its models, which they then share."""
        if not isinstance(values, dict) or values.get("class_num") is not None:
            return values
        models = values.get("models")
        told = [
            arch.get("class_num", BaseArch.model_fields["class_num"].default)
            for item in (models if isinstance(models, list | tuple) else ())
            for arch in (item.values() if isinstance(item, dict) else ())
            if isinstance(arch, dict)
        ]
        return {**values, "class_num": told[0]} if told else values

    @property
    def by_name(self) -> dict[str, BaseArch]:
        """The networks' architectures."""
        return {name: arch for item in self.models for name, arch in item.items()}

    @property
    def frozen(self) -> tuple[str, ...]:
        """Names of the networks whose parameters stay as they are."""
        flags = self.freeze_params_list or (False,) * len(self.models)
        return tuple(name for name, flag in zip(self.by_name, flags, strict=True) if flag)

    @model_validator(mode="after")
    def _fitting(self) -> DistillationArch:
        names = [name for item in self.models for name in item]
        flags = self.freeze_params_list
        problems = []
        if len(set(names)) < len(names):
            problems.append(f"expected models with different names, got {names}")
        if flags is not None and len(flags) != len(names):
            problems.append(f"expected {len(names)} flags in freeze_params_list, got {len(flags)}")
        if STUDENT not in names or self.infer_model_name not in names:
            wanted = f"{STUDENT}, which is evaluated" if STUDENT not in names else self.infer_model_name
            problems.append(f"expected a model called {wanted}, got {names}; rename one")
        if self.pretrained:
            problems.append("expected no pretrained beside several models, each of which has its own")
        if len(flags or ()) == len(names) and all(flags or (False,)):
            problems.append("expected a model that learns, got freeze_params_list with True only")
        classes = {name: arch.class_num for item in self.models for name, arch in item.items()}
        if set(classes.values()) != {self.class_num}:
            problems.append(
                f"expected one class_num of Arch and every model, got {self.class_num} and {classes}; "
                "labels, loss and metrics are the same for all of them"
            )
        if problems:
            raise ValueError("; ".join(problems))
        return self


ARCHS = Catalogue(*SINGLE_ARCHS.items, DistillationArch)
if TYPE_CHECKING:
    Arch: TypeAlias = BaseArch
else:  # as above
    Arch = named(ARCHS, extra=Later("trainer.config.extra_declarations", "ExtraArch"))


def answering(arch: Arch) -> tuple[BaseArch, str]:
    """Return the architecture that predicts, and what the keys of its weights begin with."""
    if isinstance(arch, DistillationArch):
        return arch.by_name[arch.infer_model_name], f"{arch.infer_model_name}."
    return arch, ""
