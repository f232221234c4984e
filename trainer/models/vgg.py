"""VGG without batch norm (Simonyan and Zisserman, 2015; PaddleClas d178931, legendary_models/vgg.py)."""

from __future__ import annotations

import paddle
from paddle import nn
from paddle.nn import functional

from trainer.config.archs_convolutional import VGGArch
from trainer.models.image_size import require_size

_CONVOLUTIONS = {11: (1, 1, 2, 2, 2), 13: (2, 2, 2, 2, 2), 16: (2, 2, 3, 3, 3), 19: (2, 2, 4, 4, 4)}
_CHANNELS = (3, 64, 128, 256, 512, 512)


class _Block(nn.Layer):
    """3×3 convolutions with ReLU, then half the sides."""

    def __init__(self, inputs: int, outputs: int, count: int) -> None:
        super().__init__()
        for number in range(1, count + 1):
            setattr(
                self, f"conv{number}",
                nn.Conv2D(inputs if number == 1 else outputs, outputs, 3, padding=1, bias_attr=False),
            )  # fmt: skip

    def forward(self, x: paddle.Tensor) -> paddle.Tensor:
        """float32 [B, inputs, H, W] -> [B, outputs, H / 2, W / 2]."""
        for layer in self.children():
            x = functional.relu(layer(x))
        return functional.max_pool2d(x, 2, stride=2)


class VGG(nn.Layer):
    """Depths 11, 13, 16 and 19; the first linear layer fits images of 224 pixels only."""

    def __init__(self, arch: VGGArch) -> None:
        super().__init__()
        self._arch = arch
        self._blocks = []
        for index, count in enumerate(_CONVOLUTIONS[int(arch.name.removeprefix("VGG"))]):
            block = _Block(_CHANNELS[index], _CHANNELS[index + 1], count)
            self._blocks.append(self.add_sublayer(f"conv_block_{index + 1}", block))
            if index < arch.stop_grad_layers:
                for parameter in block.parameters():
                    parameter.trainable = False
        self.drop = nn.Dropout(0.5, mode="downscale_in_infer")
        self.fc1 = nn.Linear(7 * 7 * 512, 4096)
        self.fc2 = nn.Linear(4096, 4096)
        self.fc3 = nn.Linear(4096, arch.class_num)

    def forward(self, x: paddle.Tensor) -> paddle.Tensor:
        """Images float32 [B, 3, 224, 224] -> logits [B, K].

        Raises:
            ImageSizeError: The images have another size.
        """
        if paddle.in_dynamic_mode():
            require_size(self._arch, x)
        for block in self._blocks:
            x = block(x)
        x = self.drop(functional.relu(self.fc1(x.flatten(1))))
        return self.fc3(self.drop(functional.relu(self.fc2(x))))
