"""Building blocks that several families share. Attribute names are keys of state dicts: they are fixed."""

from __future__ import annotations

from typing import Literal, TypeAlias

import paddle
from paddle import ParamAttr, nn
from paddle.nn import functional
from paddle.regularizer import L2Decay

Activation = Literal["relu", "hardswish"]
Stride: TypeAlias = int | tuple[int, int]
_ACTIVATIONS = {"relu": nn.ReLU, "hardswish": nn.Hardswish}


def round_channels(channels: float, *, divisor: int = 8) -> int:
    """Round to a multiple of `divisor`, at least one, never more than a tenth below.

    The rule of MobileNet's scaled variants (Howard et al., 2017; PaddleClas `make_divisible`).
    """
    rounded = max(divisor, int(channels + divisor / 2) // divisor * divisor)
    return rounded + divisor if rounded < 0.9 * channels else rounded


class LearnableAffine(nn.Layer):
    """y = scale × x + bias with two scalars that learn at a hundredth of the rate."""

    def __init__(self, *, lr_mult: float = 1.0) -> None:
        super().__init__(name_scope="learnable_affine_block")  # its parameters' own names are made of it
        attr = ParamAttr(learning_rate=0.01 * lr_mult)
        self.scale = self.create_parameter([1], attr=attr, default_initializer=nn.initializer.Constant(1.0))
        self.bias = self.create_parameter([1], attr=attr, default_initializer=nn.initializer.Constant(0.0))

    def forward(self, x: paddle.Tensor) -> paddle.Tensor:
        """float32 [B, C, H, W] -> the same."""
        return self.scale * x + self.bias


class ConvBN(nn.Layer):
    """Convolution without bias, batch norm, and an activation where one is named."""

    def __init__(
        self, inputs: int, outputs: int, kernel: int, *, stride: Stride = 1, groups: int = 1,
        act: Activation | None = None, padding: int | str | None = None, lr_mult: float = 1.0,
        decay_norm: bool = False, affine: bool = False, old_norm: bool = False,
    ) -> None:  # fmt: skip
        """Build it.

        Args:
            inputs: Channels.
            outputs: Channels.
            kernel: Side in pixels.
            stride: In pixels, or (down, across).
            groups: `inputs` for a depthwise convolution.
            act: None for none.
            padding: None keeps the size at stride 1.
            lr_mult: Factor on the learning rate of all parameters.
            decay_norm: Let the optimizer's weight decay touch batch norm too.
            affine: Put a `LearnableAffine` after the activation.
            old_norm: Use `nn.BatchNorm`, whose automatic parameter names are other ones.
        """
        super().__init__()
        self.conv = nn.Conv2D(
            inputs, outputs, kernel, stride=stride, groups=groups, bias_attr=False,
            padding=(kernel - 1) // 2 if padding is None else padding,
            weight_attr=ParamAttr(learning_rate=lr_mult),
        )  # fmt: skip
        norm = {} if decay_norm else {"regularizer": L2Decay(0.0)}
        attr = ParamAttr(learning_rate=lr_mult, **norm)
        self.bn = (
            nn.BatchNorm(outputs, param_attr=attr, bias_attr=attr)
            if old_norm
            else nn.BatchNorm2D(outputs, weight_attr=attr, bias_attr=attr)
        )
        self._act = act
        if act is not None:
            self.act = _ACTIVATIONS[act]()
            if affine:
                self.lab = LearnableAffine(lr_mult=lr_mult)
        self._affine = affine and act is not None

    def forward(self, x: paddle.Tensor) -> paddle.Tensor:
        """float32 [B, inputs, H, W] -> [B, outputs, H / stride, W / stride], rounded up."""
        x = self.bn(self.conv(x))
        if self._act is not None:
            x = self.act(x)
        return self.lab(x) if self._affine else x


class SqueezeExcite(nn.Layer):
    """Weighs channels by what a small network sees of their means (Hu et al., 2018)."""

    def __init__(self, channels: int, *, slope: float, reduction: int = 4) -> None:
        """`slope` is the hard sigmoid's; families differ in it."""
        super().__init__()
        self.conv1 = nn.Conv2D(channels, channels // reduction, 1)
        self.conv2 = nn.Conv2D(channels // reduction, channels, 1)
        self._slope = slope

    def forward(self, x: paddle.Tensor) -> paddle.Tensor:
        """float32 [B, C, H, W] -> the same, each channel times a number from 0 to 1."""
        weights = functional.adaptive_avg_pool2d(x, 1)
        weights = functional.relu(self.conv1(weights))
        return x * functional.hardsigmoid(self.conv2(weights), slope=self._slope, offset=0.5)


class Pooled(nn.Layer):
    """The head of the light families: mean over the image, 1×1 convolution, activation, dropout, logits.

    Mixed in by inheritance, because its layers' names stand at the top of the state dict.
    """

    def make_head(
        self, channels: int, *, class_num: int, class_expand: int, dropout_prob: float | None,
        act: Activation, use_last_conv: bool = True, affine: bool = False,
    ) -> None:  # fmt: skip
        """Make the layers; without `use_last_conv` the logits come straight from the means."""
        self._use_last_conv, self._affine = use_last_conv, affine and use_last_conv
        if use_last_conv:
            self.last_conv = nn.Conv2D(channels, class_expand, 1, bias_attr=False)
            self.act = _ACTIVATIONS[act]()
            if affine:
                self.lab = LearnableAffine()
            # a probability of 0 keeps every number as it is, at training and after it
            self.dropout = nn.Dropout(dropout_prob or 0.0, mode="downscale_in_infer")
        self.fc = nn.Linear(class_expand if use_last_conv else channels, class_num)

    def classify(self, x: paddle.Tensor) -> paddle.Tensor:
        """Turn features [B, C, H, W] into logits [B, K]."""
        x = functional.adaptive_avg_pool2d(x, 1)
        if self._use_last_conv:
            x = self.act(self.last_conv(x))
            x = self.dropout(self.lab(x) if self._affine else x)
        return self.fc(paddle.flatten(x, 1))


def freeze_norms(model: nn.Layer) -> None:
    """Make batch norm use and keep its stored statistics in training too; weight and bias still learn."""
    for layer in model.sublayers():
        if isinstance(layer, nn.BatchNorm | nn.BatchNorm2D):
            layer._use_global_stats = True


def sync_norms(model: nn.Layer) -> None:
    """Make batch norm compute its statistics over all ranks, which Paddle can do on a GPU only.

    Paddle's `convert_sync_batchnorm` passes over `nn.BatchNorm`, which ResNet and MobileNetV3 are made of.
    """
    for parent in model.sublayers(include_self=True):
        for key, old in list(parent.named_children()):
            if not isinstance(old, nn.BatchNorm | nn.BatchNorm2D):
                continue
            with paddle.utils.unique_name.guard():  # its own parameters give way to the old ones at once
                new = nn.SyncBatchNorm(old._mean.shape[0], momentum=old._momentum, epsilon=old._epsilon)
            for name in ("weight", "bias", "_mean", "_variance"):
                setattr(new, name, getattr(old, name))
            setattr(parent, key, new)


def freeze_up_to(model: nn.Layer, name: str) -> None:
    """Let nothing learn up to a layer, itself included: `blocks4`, or `blocks4[1]` of a sequence.

    PaddleClas d178931 (`freeze_befor` of ppcls/arch/backbone/base/theseus_layer.py) stops the gradient there;
    here the parameters are taken out of learning, so that ranks do not wait for gradients that never come.
    Their batch norms go on with the statistics of the batches, as there.
    """
    last = name.replace("[", ".").removesuffix("]")
    reached = False
    for key, parameter in model.named_parameters():
        inside = key.startswith(f"{last}.")
        if reached and not inside:
            return
        reached = reached or inside
        parameter.stop_gradient = True
    assert reached, f"no layer {name}"


def init_kaiming(model: nn.Layer, *, fc_bias: bool = True) -> None:
    """Draw all convolutions from Kaiming's normal distribution, in the order of the layers."""
    draw = nn.initializer.KaimingNormal()
    for layer in model.sublayers():
        if isinstance(layer, nn.Conv2D):
            draw(layer.weight)
        elif isinstance(layer, nn.Linear) and fc_bias:
            nn.initializer.Constant(0.0)(layer.bias)


def init_kaiming_norms(model: nn.Layer) -> None:
    """Draw the convolutions that a batch norm follows from Kaiming's normal distribution."""
    draw = nn.initializer.KaimingNormal()
    for layer in model.sublayers():
        if isinstance(layer, ConvBN):
            draw(layer.conv.weight)
