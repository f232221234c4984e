"""What `Arch.name` may be: names, what all architectures share, and several networks at once.

The specs of one network are in `archs_*`, a class a family of networks; `DistillationArch` holds several.
Source: PaddleClas d178931, ppcls/arch/backbone.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, ClassVar, Literal, TypeAlias

from pydantic import ConfigDict, Field, model_validator

from trainer.config.outputs import STUDENT
from trainer.config.registry import STRICT, Lazy, Registry, Section, Spec, lazy, named
from trainer.config.scalars import Pixels, Positive, Stride

RESNET = tuple(f"ResNet{depth}{kind}" for kind in ("", "_vd") for depth in (18, 34, 50, 101, 152, 200))
PPLCNET = tuple(f"PPLCNet_x{scale}" for scale in ("0_25", "0_35", "0_5", "0_75", "1_0", "1_5", "2_0", "2_5"))
# What PaddleClas exports or its configs name, without those that this trainer has.
_FOREIGN = """
AdaFace_IR_101 AdaFace_IR_152 AdaFace_IR_18 AdaFace_IR_34 AdaFace_IR_50 AdaFace_IR_SE_101
AdaFace_IR_SE_152 AdaFace_IR_SE_200 AdaFace_IR_SE_50 AlexNet BEiTv2_vit_base_patch16_224
BEiTv2_vit_large_patch16_224 CAE_vit_base_patch16_224 CLIP_large_patch14_224_aesthetic
CLIP_vit_base_patch16_224 CLIP_vit_base_patch32_224 CLIP_vit_large_patch14_224
CLIP_vit_large_patch14_336 CSPDarkNet53 CSWinTransformer_base_224 CSWinTransformer_base_384
CSWinTransformer_large_224 CSWinTransformer_large_384 CSWinTransformer_small_224
CSWinTransformer_tiny_224 CvT_13_224 CvT_13_384 CvT_21_224 CvT_21_384 CvT_W24_384 DLA102 DLA102x
DLA102x2 DLA169 DLA34 DLA46_c DLA46x_c DLA60 DLA60x DLA60x_c DPN107 DPN131 DPN68 DPN92 DPN98
DSNet_base DSNet_small DSNet_tiny DarkNet53 ESNet_x0_25 ESNet_x0_5 ESNet_x0_75 ESNet_x1_0
EVA_vit_giant_patch14 EfficientNetB3_watermark EfficientNetV2_S FasterNet_L FasterNet_M FasterNet_S
FasterNet_T0 FasterNet_T1 FasterNet_T2 GhostNet_x0_5 GhostNet_x1_0 GhostNet_x1_3 GoogLeNet
HarDNet39_ds HarDNet68 HarDNet68_ds HarDNet85 InceptionV3 InceptionV4 LeViT_128 LeViT_128S LeViT_192
LeViT_256 LeViT_384 MAE_vit_base_patch16 MAE_vit_huge_patch14 MAE_vit_large_patch16 MOCOV3_vit_base
MOCOV3_vit_small MicroNet_M0 MicroNet_M1 MicroNet_M2 MicroNet_M3 MixNet_L MixNet_M MixNet_S
MobileNeXt_x0_35 MobileNeXt_x0_5 MobileNeXt_x0_75 MobileNeXt_x1_0 MobileNeXt_x1_4
MobileNetV4_conv_large MobileNetV4_conv_medium MobileNetV4_conv_small MobileNetV4_hybrid_large
MobileNetV4_hybrid_medium MobileViTV2_x0_5 MobileViTV2_x0_75 MobileViTV2_x1_0 MobileViTV2_x1_25
MobileViTV2_x1_5 MobileViTV2_x1_75 MobileViTV2_x2_0 MobileViTV3_S MobileViTV3_S_L2 MobileViTV3_XS
MobileViTV3_XS_L2 MobileViTV3_XXS MobileViTV3_XXS_L2 MobileViTV3_x0_5 MobileViTV3_x0_75
MobileViTV3_x1_0 MobileViT_S MobileViT_XS MobileViT_XXS NextViT_base_224 NextViT_base_384
NextViT_large_224 NextViT_large_384 NextViT_small_224 NextViT_small_384 PPLCNetV2_base_ShiTu
PPLCNet_x2_5_Tanh PVT_V2_B0 PVT_V2_B1 PVT_V2_B2 PVT_V2_B2_Linear PVT_V2_B3 PVT_V2_B4 PVT_V2_B5
PeleeNet ReXNet_1_0 ReXNet_1_3 ReXNet_1_5 ReXNet_2_0 ReXNet_3_0 RedNet101 RedNet152 RedNet26
RedNet38 RedNet50 RegNetX_12GF RegNetX_1600MF RegNetX_16GF RegNetX_200MF RegNetX_3200MF RegNetX_32GF
RegNetX_400MF RegNetX_4GF RegNetX_600MF RegNetX_6400MF RegNetX_800MF RegNetX_8GF ResNeSt101
ResNeSt200 ResNeSt269 ResNeSt50 ResNeSt50_fast_1s1x64d ResNeXt101_32x16d_wsl ResNeXt101_32x32d_wsl
ResNeXt101_32x48d_wsl ResNeXt101_32x8d_wsl ResNet50_adaptive_max_pool2d ResNet50_last_stage_stride1
ResNet50_metabin ResNet50_vc SENet154_vd SE_ResNeXt101_32x4d SE_ResNeXt152_64x4d SE_ResNeXt50_32x4d
SE_ResNeXt50_vd_32x4d SVTR_base SVTR_large SVTR_tiny SqueezeNet1_0 SqueezeNet1_1 StarNet_S1
StarNet_S2 StarNet_S3 StarNet_S4 SwinTransformerV2_base_patch4_window16_256
SwinTransformerV2_base_patch4_window24_384 SwinTransformerV2_base_patch4_window8_256
SwinTransformerV2_large_patch4_window16_256 SwinTransformerV2_large_patch4_window24_384
SwinTransformerV2_small_patch4_window16_256 SwinTransformerV2_small_patch4_window8_256
SwinTransformerV2_tiny_patch4_window16_256 SwinTransformerV2_tiny_patch4_window8_256
SwinTransformer_base_patch4_window7_224_SOLIDER SwinTransformer_small_patch4_window7_224_SOLIDER
SwinTransformer_tiny_patch4_window7_224_SOLIDER TNT_base TNT_small TinyNet_A TinyNet_B TinyNet_C
TinyNet_D TinyNet_E UniFormer_base UniFormer_base_ls UniFormer_small UniFormer_small_plus
UniFormer_small_plus_dim64 VAN_B0 VAN_B1 VAN_B2 VAN_B3 VGG19Sigmoid WideResNet Xception41
Xception41_deeplab Xception65 Xception65_deeplab Xception71 alt_gvt_base alt_gvt_large alt_gvt_small
cae_base_patch16_224 cae_large_patch16_224 pcpvt_base pcpvt_large pcpvt_small
"""
FOREIGN = tuple(_FOREIGN.split())
Factor = Annotated[float, Field(ge=0)]
Stage = Annotated[int, Field(ge=0)]
DropRate = Annotated[float, Field(ge=0, lt=1)]
Strides = Annotated[tuple[Stride, ...], Field(strict=False, min_length=5, max_length=5)]
FiveFactors = Annotated[tuple[Factor, ...], Field(strict=False, min_length=5, max_length=5)]
SixFactors = Annotated[tuple[Factor, ...], Field(strict=False, min_length=6, max_length=6)]


BACKBONE = "backbone"
"""All layers but the last one, which makes the logits."""


class Freeze(Section):
    """Layers that do not learn. PaddleClas has no such key."""

    model_config = ConfigDict(**{**STRICT, "extra": "forbid"})

    until: str | Stage
    """The last of them, in the order in which the network runs them: a layer as `return_patterns` name it
    (`blocks3`, `blocks[2]`), the number of a stage, from 0, or `backbone`: all but the one of the logits."""
    epochs: Positive | None = None
    """For so many epochs from the first; None for all."""


class BaseArch(Spec):
    """Keys of `Arch` that every architecture takes."""

    exports_one_size: ClassVar[bool] = False
    """Exported, it takes images of one size only: what the transforms make."""
    reads_stages: ClassVar[bool] = True
    """`return_stages` is this trainer's to read, not the network's own."""

    @classmethod
    def known_names(cls) -> tuple[str, ...]:
        """As `SINGLE_ARCHS` says; of what is not one network, as the class says."""
        return _NAMES.get(cls.__name__) or super().known_names()

    name: str
    class_num: Annotated[int, Field(gt=0, le=1_000_000)] = 1000
    """Number of classes; labels run from 0 to class_num − 1."""
    pretrained: bool | str = False
    """True for PaddleClas's ImageNet weights, a `.pdparams` file (the ending may be missing) or its URL."""
    use_ssld: bool = False
    """With `pretrained: True`, take the weights that were distilled with SSLD."""
    use_sync_bn: bool = False
    """Batch-norm statistics over all ranks (GPU only)."""
    freeze_norm_stats: bool = False
    """Ours: batch norm uses and keeps its stored statistics in training too."""
    freeze: Freeze | None = None
    """Ours: layers that do not learn at first, or at all."""
    infer_add_softmax: bool = True
    """Read by export and prediction only."""
    return_patterns: Annotated[tuple[str, ...], Field(strict=False)] | None = None
    """Layers such as `blocks3` or `blocks[2]`, whose outputs are handed on beside `logits`, for losses."""
    return_stages: bool | Stage | Annotated[tuple[Stage, ...], Field(strict=False)] | None = None
    """The same by stages: all of them (True), or their numbers from 0; `return_patterns` win."""

    @model_validator(mode="after")
    def _known_stages(self) -> BaseArch:
        known, wanted = self.stage_layers, self.return_stages
        if not self.reads_stages or self.return_patterns or wanted in (None, False, ()):
            return self
        if not known:
            raise ValueError(
                f"expected return_patterns, which name layers, got return_stages: {wanted}; {self.name} has "
                "no stages that it knows by number"
            )
        numbers = wanted if isinstance(wanted, tuple) else (wanted,)
        if wanted is not True and any(number >= len(known) for number in numbers):
            raise ValueError(
                f"expected return_stages below {len(known)}, the number of stages of {self.name} "
                f"({', '.join(known)}), got {list(numbers)}"
            )
        return self

    @model_validator(mode="after")
    def _known_frozen_stage(self) -> BaseArch:
        until = self.freeze.until if self.freeze is not None else None
        known = self.stage_layers
        if not isinstance(until, int) or until < len(known):
            return self
        if not known:
            raise ValueError(
                f"expected a layer or {BACKBONE} in freeze.until, got {until}; {self.name} has no stages "
                "that it knows by number"
            )
        raise ValueError(
            f"expected freeze.until below {len(known)}, the number of stages of {self.name} "
            f"({', '.join(known)}), got {until}"
        )

    @property
    def published_name(self) -> str:
        """The name under which PaddleClas publishes weights that fit."""
        return self.name

    @property
    def stage_layers(self) -> tuple[str, ...]:
        """The layers that end its stages, as `return_patterns` would name them; empty where it has none.

        PaddleClas d178931, `MODEL_STAGES_PATTERN` of ppcls/arch/backbone.
        """
        return ()

    @property
    def fused_keys(self) -> tuple[str, ...]:
        """Parameters that ask for fused kernels, which this trainer computes in plain operations."""
        return ()

    @property
    def features(self) -> tuple[str, ...]:
        """The layers whose outputs are handed on, by `return_patterns` or else by `return_stages`."""
        wanted, known = self.return_stages, self.stage_layers
        if self.return_patterns or not known or wanted is None or wanted is False:
            return self.return_patterns or ()
        if wanted is True:
            return known
        return tuple(known[number] for number in (wanted if isinstance(wanted, tuple) else (wanted,)))

    def without_features(self) -> BaseArch:
        """Return it as it is where only the logits are of interest."""
        return self.model_copy(update={"return_patterns": None, "return_stages": None})

    def refuse_size(self, size: Pixels) -> str:  # noqa: ARG002 - most take any
        """Return what is expected instead of images of this size; empty where they can be taken."""
        return ""


class ChannelsFirstArch(BaseArch):
    """An architecture whose reference takes its convolutions' data format."""

    data_format: Literal["NCHW", "NHWC"] = "NCHW"
    """Layout in memory; ours computes in NCHW, with the same result."""


_PP, _RESNET = "trainer.config.archs_pp", "trainer.config.archs_resnet"
_CONVOLUTIONAL = "trainer.config.archs_convolutional"
_MOBILENET_SCALES = ("_x0_25", "_x0_5", "_x0_75", "")
# A line a class of networks: its names stand here alone, because they are known before it is imported.
SINGLE_ARCHS = Registry(
    *lazy(_RESNET, {"ResNetArch": RESNET}),
    *lazy(
        _PP,
        {
            "PPLCNetArch": PPLCNET,
            "PPLCNetV2Arch": tuple(f"PPLCNetV2_{size}" for size in ("small", "base", "large")),
            "PPHGNetArch": tuple(f"PPHGNet_{size}" for size in ("tiny", "small", "base")),
            "PPHGNetV2Arch": tuple(f"PPHGNetV2_B{size}" for size in range(7)),
        },
    ),
    *lazy(
        _CONVOLUTIONAL,
        {
            "MobileNetV3Arch": tuple(
                f"MobileNetV3_{size}_x{scale}"
                for size in ("small", "large")
                for scale in ("0_35", "0_5", "0_75", "1_0", "1_25")
            )
        },
    ),
    *lazy(
        _RESNET,
        {
            "ResNeXtArch": tuple(
                f"ResNeXt{depth}{kind}_{wide}"
                for kind in ("", "_vd")
                for depth in (50, 101, 152)
                for wide in ("32x4d", "64x4d")
            ),
            "SEResNetArch": tuple(f"SE_ResNet{depth}_vd" for depth in (18, 34, 50)),
            "Res2NetArch": (
                "Res2Net50_26w_4s", "Res2Net50_14w_8s", "Res2Net50_vd_26w_4s", "Res2Net101_vd_26w_4s",
                "Res2Net200_vd_26w_4s",
            ),
        },
    ),
    *lazy(
        _CONVOLUTIONAL,
        {
            "MobileNetV1Arch": tuple(f"MobileNetV1{scale}" for scale in _MOBILENET_SCALES),
            "MobileNetV2Arch": tuple(
                f"MobileNetV2{scale}" for scale in (*_MOBILENET_SCALES, "_x1_5", "_x2_0")
            ),
            "ShuffleNetV2Arch": tuple(
                f"ShuffleNetV2_{kind}"
                for kind in ("x0_25", "x0_33", "x0_5", "x1_0", "x1_5", "x2_0", "swish")
            ),
            "VGGArch": tuple(f"VGG{depth}" for depth in (11, 13, 16, 19)),
            "DenseNetArch": tuple(f"DenseNet{depth}" for depth in (121, 161, 169, 201, 264)),
            "RepVGGArch": (
                "RepVGG_A0", "RepVGG_A1", "RepVGG_A2", "RepVGG_B0", "RepVGG_B1", "RepVGG_B1g2",
                "RepVGG_B1g4", "RepVGG_B2", "RepVGG_B2g4", "RepVGG_B3", "RepVGG_B3g4", "RepVGG_D2se",
            ),
            "HRNetArch": (
                *(f"HRNet_W{width}_C" for width in (18, 30, 32, 40, 44, 48, 60, 64)), "SE_HRNet_W64_C",
            ),
        },
    ),
    *lazy(
        "trainer.config.archs_attention",
        {
            "EfficientNetArch": (*(f"EfficientNetB{size}" for size in range(8)), "EfficientNetB0_small"),
            "SwinArch": tuple(
                f"SwinTransformer_{kind}"
                for kind in (
                    "tiny_patch4_window7_224", "small_patch4_window7_224", "base_patch4_window7_224",
                    "base_patch4_window12_384", "large_patch4_window7_224", "large_patch4_window12_384",
                )
            ),
            "ViTArch": (
                "ViT_small_patch16_224", "ViT_base_patch16_224", "ViT_base_patch16_384",
                "ViT_base_patch32_384", "ViT_large_patch16_224", "ViT_large_patch16_384",
                "ViT_large_patch32_384", "DeiT_tiny_patch16_224", "DeiT_small_patch16_224",
                "DeiT_base_patch16_224", "DeiT_base_patch16_384", "DeiT_tiny_distilled_patch16_224",
                "DeiT_small_distilled_patch16_224", "DeiT_base_distilled_patch16_224",
                "DeiT_base_distilled_patch16_384",
            ),
            "ConvNeXtArch": tuple(
                f"ConvNeXt_{kind}"
                for kind in ("tiny", "small", "base_224", "base_384", "large_224", "large_384")
            ),
        },
    ),
    *lazy("trainer.config.zoo", {"PaddleClasArch": FOREIGN}),
)  # fmt: skip
"""All that are one network."""
_NAMES = {item.class_name: item.names for item in SINGLE_ARCHS.items if isinstance(item, Lazy)}
if TYPE_CHECKING:
    SingleArch: TypeAlias = BaseArch
else:  # the union that chooses by name exists at run time only
    SingleArch = named(SINGLE_ARCHS, extra=Lazy("trainer.config.extras", "ExtraArch"))


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
        if self.freeze is not None:
            problems.append("expected freeze in the model that it is of, got it beside several models")
        problems += [
            f"expected no freeze of {name}, which freeze_params_list freezes as a whole"
            for name, flag in zip(names, flags or (), strict=False)
            if flag and self.by_name[name].freeze is not None
        ]
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


ARCHS = Registry(*SINGLE_ARCHS.items, DistillationArch)
if TYPE_CHECKING:
    Arch: TypeAlias = BaseArch
else:  # as above
    Arch = named(ARCHS, extra=Lazy("trainer.config.extras", "ExtraArch"))


def predicting_arch(arch: Arch) -> tuple[BaseArch, str]:
    """Return the architecture that predicts, and what the keys of its weights begin with."""
    if isinstance(arch, DistillationArch):
        return arch.by_name[arch.infer_model_name], f"{arch.infer_model_name}."
    return arch, ""
