"""Losses between features that learn, too: small networks that turn a student's features into its teacher's.

They are trained with the student, saved beside it (`loss_func.…`), and not part of what predicts.
"""

from __future__ import annotations

import paddle
from paddle import nn
from paddle.nn import functional

from trainer.config.losses_distillation import DistillationPairLoss
from trainer.config.outputs import Outputs, output_of
from trainer.config.problems import ConfigError, Problem


class PairPart:
    """A loss of pairs with a network of its own."""

    def __init__(self, spec: DistillationPairLoss) -> None:
        """Make the network with initial weights from Paddle's generator."""
        self._spec = spec
        with paddle.utils.unique_name.guard("loss_"):  # apart from the names in the networks
            self.layer = _Generator(spec) if spec.base_loss_name == "MGDLoss" else _Projectors(spec)

    @property
    def names(self) -> tuple[str, str]:
        """Names of the loss, and of the one between each two features."""
        return self._spec.label, self._spec.base_loss_name

    def __call__(self, outputs: Outputs, labels: paddle.Tensor) -> dict[str, paddle.Tensor]:
        """Return a value for each pair."""
        del labels
        spec, values = self._spec, {}
        for index, (one, other) in enumerate(spec.model_name_pairs):
            x, y = output_of(outputs, one, spec.student_key), output_of(outputs, other, spec.teacher_key)
            wanted = [*self.layer.channels, y.shape[2:]]
            if [x.shape[1], y.shape[1], x.shape[2:]] != wanted:
                found = f"{list(x.shape[1:])} of {one} and {list(y.shape[1:])} of {other}"
                message = (
                    f"expected features of {wanted[0]} and {wanted[1]} channels and one size, got {found}; "
                    "correct the channels or the keys"
                )
                path = ("Loss", "Train", spec.label)
                raise ConfigError([Problem(file="config", path=path, message=message)])
            values[f"{spec.name or 'loss'}_{index}_{one}_{other}"] = self.layer(x, y)
        return values


class _Generator(nn.Layer):  # type: ignore[misc]  # paddle has no types
    """Masked generative distillation (Yang et al., 2022): a teacher's features from a part of the student's.

    Formula: PaddleClas d178931, ppcls/loss/mgd_loss.py: alpha × mean square of y − generation(m·x), where m
    is 0 for a random share lambda of each image's channels.
    """

    def __init__(self, spec: DistillationPairLoss) -> None:
        super().__init__()
        one, other = spec.channels
        self.channels = (one, other)
        self.align = nn.Conv2D(one, other, 1) if one != other else None
        self.generation = nn.Sequential(
            nn.Conv2D(other, other, 3, padding=1), nn.ReLU(), nn.Conv2D(other, other, 3, padding=1)
        )
        for layer in self.sublayers():
            if isinstance(layer, nn.Conv2D):
                outputs, _, height, width = layer.weight.shape
                spread = (2 / (outputs * height * width)) ** 0.5
                layer.weight.set_value(paddle.normal(0.0, spread, layer.weight.shape))
        self._alpha, self._share = spec.alpha_mgd, spec.lambda_mgd

    def forward(self, x: paddle.Tensor, y: paddle.Tensor) -> paddle.Tensor:
        """Compare features float32 [B, C, H, W] and [B, D, H, W]."""
        if self.align is not None:
            x = self.align(x)
        kept = (paddle.rand([*y.shape[:2], 1, 1]) >= self._share).astype("float32")
        return functional.mse_loss(self.generation(x * kept), y) * self._alpha


class _Projectors(nn.Layer):  # type: ignore[misc]  # paddle has no types
    """Projector ensemble (Chen et al., 2022): one minus the cosine of y and the mean of several projections.

    Formula: PaddleClas d178931, ppcls/loss/pefdloss.py.
    """

    def __init__(self, spec: DistillationPairLoss) -> None:
        super().__init__()
        one, other = spec.channels
        self.channels = (one, other)
        self.projectors = nn.LayerList([_Projector(one, other) for _ in range(spec.num_projectors)])

    def forward(self, x: paddle.Tensor, y: paddle.Tensor) -> paddle.Tensor:
        """Compare features float32 [B, C, H, W] and [B, D, H, W]."""
        mean = paddle.add_n([projector(x) for projector in self.projectors]) / len(self.projectors)
        own, other = mean.flatten(1), y.flatten(1)
        cosine = (own * other).sum(axis=1) / (own.norm(axis=1) * other.norm(axis=1))
        return (1 - cosine).mean()


class _Projector(nn.Layer):  # type: ignore[misc]  # paddle has no types
    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.conv = nn.Conv2D(inputs, outputs, 1)

    def forward(self, x: paddle.Tensor) -> paddle.Tensor:
        return functional.relu(self.conv(x))
