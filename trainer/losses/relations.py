"""What the images of a batch are to each other, for a network that learns it from another one."""

from __future__ import annotations

import paddle
from paddle.nn import functional

from trainer.config import losses_distillation as specs
from trainer.config.outputs import Outputs, output_of
from trainer.losses.distillation import NamedLoss, Values


def make_relations(spec: specs.DistillationRKDLoss) -> NamedLoss:
    """Make smooth L1 of the angles between images, and of their distances over the mean distance.

    Formula: PaddleClas d178931, ppcls/loss/rkdloss.py. Features are float32 [B, C, H, W], averaged to
    `target_size` where it is given, or [B, K].
    """

    def relations(outputs: Outputs, labels: paddle.Tensor) -> Values:
        del labels
        values = {}
        for one, other in spec.model_name_pairs:
            for index, keys in enumerate(zip(spec.student_keepkeys, spec.teacher_keepkeys, strict=True)):
                x, y = (
                    _points(output_of(outputs, model, key), spec.target_size)
                    for model, key in zip((one, other), keys, strict=True)
                )
                values[f"loss_angle_{index}_{one}_{other}"] = functional.smooth_l1_loss(
                    _angles(x), _angles(y)
                )
                values[f"loss_dist_{index}_{one}_{other}"] = functional.smooth_l1_loss(
                    _distances(x), _distances(y)
                )
        return values

    return relations


def _points(features: paddle.Tensor, size: int | None) -> paddle.Tensor:
    """Features float32 [B, C, H, W] or [B, K] -> points float32 [B, D]."""
    if size is not None and features.ndim == 4:
        features = functional.adaptive_avg_pool2d(features, size)
    return features.flatten(1)


def _angles(points: paddle.Tensor) -> paddle.Tensor:
    """Points float32 [B, D] -> cosines float32 [B, B, B] of the angles of each two, seen from a third."""
    between = functional.normalize(points.unsqueeze(0) - points.unsqueeze(1), p=2, axis=2)
    return paddle.bmm(between, between.transpose([0, 2, 1]))


def _distances(points: paddle.Tensor) -> paddle.Tensor:
    """Points float32 [B, D] -> distances float32 [B, B], as multiples of their mean."""
    squares = points.pow(2).sum(axis=1)
    products = paddle.matmul(points, points, transpose_y=True)
    found = paddle.clip(squares.unsqueeze(1) + squares.unsqueeze(0) - 2 * products, min=1e-12).sqrt()
    return found / (found.mean() + 1e-12)
