"""The networks, one file an architecture family, with PaddleClas's parameter names, order and multipliers.

Structure and initial values follow PaddleClas d178931 (ppcls/arch/backbone); so do the names, on which its
weight files and optimizer states depend. Images come in as float32 [B, 3, H, W], logits go out as [B, K].
Must not: read data, or know how it is trained.
"""
