"""Names of architectures, for it to be known which module declares them: a config has one.

PaddleClas d178931, ppcls/arch/backbone.
"""

from __future__ import annotations

MOBILENET_SCALES = ("_x0_25", "_x0_5", "_x0_75", "")
_WIDE = ("32x4d", "64x4d")
_SWIN = ("tiny_patch4_window7_224", "small_patch4_window7_224", "base_patch4_window7_224",
         "base_patch4_window12_384", "large_patch4_window7_224", "large_patch4_window12_384")  # fmt: skip

PPLCNET_V2 = tuple(f"PPLCNetV2_{size}" for size in ("small", "base", "large"))
PPHGNET = tuple(f"PPHGNet_{size}" for size in ("tiny", "small", "base"))
RESNEXT = tuple(
    f"ResNeXt{depth}{kind}_{wide}" for kind in ("", "_vd") for depth in (50, 101, 152) for wide in _WIDE
)
SE_RESNET = tuple(f"SE_ResNet{depth}_vd" for depth in (18, 34, 50))
RES2NET = (
    "Res2Net50_26w_4s", "Res2Net50_14w_8s", "Res2Net50_vd_26w_4s", "Res2Net101_vd_26w_4s",
    "Res2Net200_vd_26w_4s",
)  # fmt: skip
MOBILENET_V1 = tuple(f"MobileNetV1{scale}" for scale in MOBILENET_SCALES)
MOBILENET_V2 = tuple(f"MobileNetV2{scale}" for scale in (*MOBILENET_SCALES, "_x1_5", "_x2_0"))
SHUFFLENET_V2 = tuple(
    f"ShuffleNetV2_{kind}" for kind in ("x0_25", "x0_33", "x0_5", "x1_0", "x1_5", "x2_0", "swish")
)
VGG = tuple(f"VGG{depth}" for depth in (11, 13, 16, 19))
DENSENET = tuple(f"DenseNet{depth}" for depth in (121, 161, 169, 201, 264))
REPVGG = (
    "RepVGG_A0", "RepVGG_A1", "RepVGG_A2", "RepVGG_B0", "RepVGG_B1", "RepVGG_B1g2", "RepVGG_B1g4",
    "RepVGG_B2", "RepVGG_B2g4", "RepVGG_B3", "RepVGG_B3g4", "RepVGG_D2se",
)  # fmt: skip
HRNET = (*(f"HRNet_W{width}_C" for width in (18, 30, 32, 40, 44, 48, 60, 64)), "SE_HRNet_W64_C")

EFFICIENTNET = (*(f"EfficientNetB{size}" for size in range(8)), "EfficientNetB0_small")
SWIN = tuple(f"SwinTransformer_{kind}" for kind in _SWIN)
VIT = (
    "ViT_small_patch16_224", "ViT_base_patch16_224", "ViT_base_patch16_384", "ViT_base_patch32_384",
    "ViT_large_patch16_224", "ViT_large_patch16_384", "ViT_large_patch32_384", "DeiT_tiny_patch16_224",
    "DeiT_small_patch16_224", "DeiT_base_patch16_224", "DeiT_base_patch16_384",
    "DeiT_tiny_distilled_patch16_224", "DeiT_small_distilled_patch16_224",
    "DeiT_base_distilled_patch16_224", "DeiT_base_distilled_patch16_384",
)  # fmt: skip
CONVNEXT = tuple(
    f"ConvNeXt_{kind}" for kind in ("tiny", "small", "base_224", "base_384", "large_224", "large_384")
)

# What PaddleClas exports or its configs name, without those that this trainer has.
RESNET = tuple(f"ResNet{depth}{kind}" for kind in ("", "_vd") for depth in (18, 34, 50, 101, 152, 200))
_PPLCNET_SCALES = ("0_25", "0_35", "0_5", "0_75", "1_0", "1_5", "2_0", "2_5")
PPLCNET = tuple(f"PPLCNet_x{scale}" for scale in _PPLCNET_SCALES)
MOBILENET_V3 = tuple(
    f"MobileNetV3_{size}_x{scale}"
    for size in ("small", "large")
    for scale in ("0_35", "0_5", "0_75", "1_0", "1_25")
)
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
