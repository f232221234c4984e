"""Losses between networks: formulas of two outputs, applied to the networks that a config names.

A distilled model is several networks under names, whose outputs come as a mapping; a loss names pairs of
them and, where a network has several outputs, the key of one. `_of_pairs` turns a formula of two tensors into
a loss of all pairs, each with a value of its own, so that the log shows which pair learns what. Which of the
networks learn is not decided here: a teacher is frozen where it is built (`trainer.models.distillation`), so
that no formula needs to stop gradients; those that do so stop them as PaddleClas's do.

Formulas: PaddleClas d178931, ppcls/loss. x is the learner's output and y its teacher's, float32 [B, K] unless
told otherwise; T is a temperature above 0. Each value is float32 []. Values have PaddleClas's names.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

import paddle
from paddle.nn import functional

from trainer.config import losses_distillation as specs
from trainer.config.outputs import Outputs, output_of
from trainer.losses.cross_entropy import cross_entropy
from trainer.losses.multi_label import multi_label, ratio_weights

Values: TypeAlias = dict[str, paddle.Tensor]
NamedLoss: TypeAlias = Callable[[Outputs, paddle.Tensor], Values]
"""Outputs of all networks by name, and labels -> values by name."""
PairLoss: TypeAlias = Callable[[paddle.Tensor, paddle.Tensor, paddle.Tensor], paddle.Tensor]
"""x, y (float32 [B, K], or features of one shape) and labels int64 [B, 1] -> float32 [], a mean."""

_TINY = 1e-12


def make_gt_cross_entropy(spec: specs.DistillationGTCELoss) -> NamedLoss:
    """Make CELoss of each network."""
    loss = cross_entropy(spec.epsilon)
    return lambda outputs, labels: {
        f"CELoss_{model}": loss(output_of(outputs, model, spec.key), labels) for model in spec.model_names
    }


def make_gt_multi_label(spec: specs.DistillationMultiLabelLoss) -> NamedLoss:
    """Make MultiLabelLoss of each network."""
    loss = multi_label(spec.epsilon, size_sum=spec.size_sum, weight_ratio=spec.weight_ratio)
    return lambda outputs, labels: {
        f"MultiLabelLoss_{model}": loss(output_of(outputs, model, spec.key), labels)
        for model in spec.model_names
    }


def make_cross_entropy_of_pairs(spec: specs.DistillationCELoss) -> NamedLoss:
    """Make CELoss with y's softmax as labels; with an epsilon, y itself is smoothed, as there."""
    loss = cross_entropy(spec.epsilon)
    return _of_pairs(spec, lambda x, y, _: loss(x, y), name="CELoss_{0}_{1}")


def make_mutual(spec: specs.DistillationDMLLoss) -> NamedLoss:
    """Make the mean of K·(q·log(q/p) + p·log(p/q))/2 with p and q the activations of x and y.

    `weight_ratio` weighs classes as MultiLabelLoss does; `sum_across_class_dim` adds classes up.
    """
    act = _activation(spec.act)

    def mutual(x: paddle.Tensor, y: paddle.Tensor, labels: paddle.Tensor) -> paddle.Tensor:
        p, q = act(x), act(y)
        ratio = paddle.log((q + _TINY) / (p + _TINY))
        inverse = paddle.log((p + _TINY) / (q + _TINY))
        costs = (q * ratio + p * inverse) * (x.shape[-1] / 2)
        if spec.weight_ratio:
            costs = costs * ratio_weights(labels, labels[:, 0, :])
        return costs.sum(axis=1).mean() if spec.sum_across_class_dim else costs.mean()

    return _of_pairs(spec, mutual, name="DMLLoss_{0}_{1}_{2}")


def make_distance(spec: specs.DistillationDistanceLoss) -> NamedLoss:
    """Make a distance of outputs of any one shape."""
    act = _activation(spec.act)
    measure = {
        "l1": functional.l1_loss, "l2": functional.mse_loss, "smooth_l1": functional.smooth_l1_loss,
    }[spec.mode]  # fmt: skip

    def distance(x: paddle.Tensor, y: paddle.Tensor, labels: paddle.Tensor) -> paddle.Tensor:
        del labels
        return measure(act(x), act(y), reduction=spec.reduction)

    name = f"{spec.name or 'loss_'}{spec.mode}_loss_{spec.mode}"
    return _of_pairs(spec, distance, name=name + "_{2}")


def make_divergence(spec: specs.DistillationKLDivLoss) -> NamedLoss:
    """Make T²·KL(softmax(y/T) ‖ softmax(x/T)), mean over images."""

    def divergence(x: paddle.Tensor, y: paddle.Tensor, labels: paddle.Tensor) -> paddle.Tensor:
        del labels
        return _softened(x, y, spec.temperature)

    return _of_pairs(spec, divergence, name="loss_kldiv_{0}_{1}")


def make_decoupled(spec: specs.DistillationDKDLoss) -> NamedLoss:
    """Make α·T²·KL of (label, rest) plus β·T²·KL among the rest; -1000 takes the label out of a softmax."""

    def decoupled(x: paddle.Tensor, y: paddle.Tensor, labels: paddle.Tensor) -> paddle.Tensor:
        label, t = _label(x, y, labels, of_teacher=spec.use_target_as_gt), spec.temperature
        p, q = (functional.softmax(of / t, axis=1) for of in (x, y))
        both = [
            paddle.concat(
                [(of * label).sum(1, keepdim=True), (of * (1 - label)).sum(1, keepdim=True)], axis=1
            )
            for of in (p, q)
        ]
        first = functional.kl_div(paddle.log(both[0]), both[1], reduction="sum") * t**2 / x.shape[0]
        without = 1000.0 * t * label
        return spec.alpha * first + spec.beta * _softened(x - without, y - without, t)

    return _of_pairs(spec, decoupled, name=(spec.name or "loss_dkd") + "_{0}_{1}")


def make_weighted(spec: specs.DistillationWSLLoss) -> NamedLoss:
    """Make T²·(1 − e^(−r))·CE(softmax(y/T), x/T), mean over images, r = CE(label, x) ÷ CE(label, y)."""

    def weighted(x: paddle.Tensor, y: paddle.Tensor, labels: paddle.Tensor) -> paddle.Tensor:
        label, t = _label(x, y, labels, of_teacher=spec.use_target_as_gt), spec.temperature
        own, other = (_entropy(label, of.detach()) for of in (x, y))
        weight = 1 - paddle.exp(-paddle.clip(own / (other + 1e-7), min=0.0))
        return t**2 * (_entropy(functional.softmax(y / t, axis=1), x / t) * weight).mean()

    return _of_pairs(spec, weighted, name=(spec.name or "loss_wsl") + "_{0}_{1}")


def make_spherical(spec: specs.DistillationSKDLoss) -> NamedLoss:
    """Make α·T²·CE(softmax(v/T), u/T) + (1 − α)·CE(label, u), u and v x and y of mean 0 and deviation m."""

    def spherical(x: paddle.Tensor, y: paddle.Tensor, labels: paddle.Tensor) -> paddle.Tensor:
        label, t = _label(x, y, labels, of_teacher=spec.use_target_as_gt), spec.temperature
        u, v = (functional.layer_norm(of, of.shape[1:], epsilon=1e-7) * spec.multiplier for of in (x, y))
        soft = _entropy(functional.softmax(v / t, axis=1), u / t).mean() * t**2
        return spec.alpha * soft + (1 - spec.alpha) * _entropy(label, u).mean()

    return _of_pairs(spec, spherical, name=(spec.name or "loss_skd") + "_{0}_{1}")


def make_correlation(spec: specs.DistillationDISTLoss) -> NamedLoss:
    """Make β·(1 − mean correlation of the images' probabilities) + γ·(the same of the classes')."""

    def correlation(x: paddle.Tensor, y: paddle.Tensor, labels: paddle.Tensor) -> paddle.Tensor:
        del labels
        p, q = functional.softmax(x, axis=-1), functional.softmax(y, axis=-1)
        return spec.beta * _uncorrelated(p, q) + spec.gamma * _uncorrelated(p.t(), q.t())

    return _of_pairs(spec, correlation, name=(spec.name or "loss_dist") + "_{0}_{1}")


def _of_pairs(
    spec: specs.DistillationCELoss
    | specs.DistillationDMLLoss
    | specs.DistillationDistanceLoss
    | specs.DistillationKLDivLoss
    | specs.DistillationDKDLoss
    | specs.DistillationWSLLoss
    | specs.DistillationSKDLoss
    | specs.DistillationDISTLoss,
    loss: PairLoss,
    *,
    name: str,
) -> NamedLoss:
    """Apply a formula to each pair; `name` is filled with the pair's names and its index."""

    def of_pairs(outputs: Outputs, labels: paddle.Tensor) -> Values:
        return {
            name.format(one, other, index): loss(
                output_of(outputs, one, spec.key), output_of(outputs, other, spec.key), labels
            )
            for index, (one, other) in enumerate(spec.model_name_pairs)
        }

    return of_pairs


def _activation(act: specs.Act) -> Callable[[paddle.Tensor], paddle.Tensor]:
    if act == "softmax":
        return lambda x: functional.softmax(x, axis=-1)
    return functional.sigmoid if act == "sigmoid" else lambda x: x


def _entropy(targets: paddle.Tensor, logits: paddle.Tensor) -> paddle.Tensor:
    """Cross entropy of each image: targets and logits float32 [B, K] -> float32 [B]."""
    return -(targets * functional.log_softmax(logits, axis=1)).sum(axis=1)


def _softened(x: paddle.Tensor, y: paddle.Tensor, temperature: float) -> paddle.Tensor:
    """T²·KL(softmax(y/T) ‖ softmax(x/T)), mean over images; T² keeps the gradient's size as T grows."""
    own = functional.log_softmax(x / temperature, axis=1)
    soft = functional.softmax(y / temperature, axis=1)
    return functional.kl_div(own, soft, reduction="sum") * temperature**2 / x.shape[0]


def _label(x: paddle.Tensor, y: paddle.Tensor, labels: paddle.Tensor, *, of_teacher: bool) -> paddle.Tensor:
    """Return what counts as right, one-hot float32 [B, K]: the teacher's answer, or the label."""
    chosen = y.argmax(axis=-1) if of_teacher else labels.squeeze(-1)
    return functional.one_hot(chosen, x.shape[-1])


def _uncorrelated(p: paddle.Tensor, q: paddle.Tensor) -> paddle.Tensor:
    """One minus the mean correlation of the rows of p and q, float32 [N, M]; from 0 to 2."""
    p, q = (of - of.mean(axis=1, keepdim=True) for of in (p, q))
    return 1 - ((p * q).sum(axis=1) / (p.norm(axis=1) * q.norm(axis=1) + 1e-8)).mean()
