"""Where PaddleClas's weights for ImageNet are published. Pure.

The addresses follow one rule; what departs from it is listed. Source: PaddleClas d178931, `MODEL_URLS` of
ppcls/arch/backbone and ppcls/utils/save_load.py.
"""

from __future__ import annotations

import re

HOST = "https://paddle-imagenet-models-name.bj.bcebos.com/dygraph"

_LEGENDARY = re.compile(
    r"(MobileNetV[134]|InceptionV3|SwinTransformer_|PPHGNet|PPLCNet|VGG\d|HRNet_W|ESNet_|ResNet\d+(_vd|_dbb)?$)"
)
_VARIANT = re.compile(r"(_SOLIDER|_Tanh|_ShiTu|Sigmoid|_metabin|_pool2d|_stride1)$")
_FOUNDATION = re.compile(r"(CLIP_vit|BEiTv2|CAE_vit|MOCOV3|MAE_vit)")
_UNPUBLISHED = re.compile(
    r"(PPHGNet_base|ResNet200|MobileNeXt_x(0|1_4)|EVA_|AdaFace_|HRNet_W60|SE_HRNet_|MobileViTV2_x\d_[27]5|SVTR_"
    r"|WideResNet|ResNet(?!18_dbb)\w+_dbb)"
)
_PRACTICAL = "https://paddleclas.bj.bcebos.com/models/practical/pretrained"
_ELSEWHERE = {
    name: f"{_PRACTICAL}/{name}_pretrained.pdparams"
    for name in ("CLIP_large_patch14_224_aesthetic", "EfficientNetB3_watermark")
}
_OTHER_FILES = {"ResNeXt101_32x16d_wsl": "ResNeXt101_32x16_wsl"}


def published_url(name: str, *, use_ssld: bool) -> str | None:
    """Return the address of an architecture's weights, or None where PaddleClas publishes none.

    `use_ssld` asks for those distilled with SSLD, which not every architecture has. PP-HGNetV2's are
    stage 1 of SSLD, whatever is asked for.
    """
    if name in _ELSEWHERE:
        return _ELSEWHERE[name]
    if (_UNPUBLISHED.match(name) and not name.endswith("ResNet200_vd")) or _VARIANT.search(name):
        return None
    if _FOUNDATION.match(name):
        return f"{HOST}/foundation_models/{name}.pdparams"
    kind = "_ssld_stage1" if name.startswith("PPHGNetV2") else "_ssld" if use_ssld else ""
    folder = "/legendary_models" if _LEGENDARY.match(name) else ""
    return f"{HOST}{folder}/{_OTHER_FILES.get(name, name)}{kind}_pretrained.pdparams"
