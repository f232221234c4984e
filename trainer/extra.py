"""For modules of the user: register operations, losses, metrics, models and optimizers by name.

    from trainer.extra import register_loss

    @register_loss("MarginLoss")
    def margin_loss(margin=1.0):
        def compute(logits, labels):
            ...
        return compute

What is registered is a factory. It is called once where the config names it, with the parameters that stand
there, by name; parameters that it does not take are refused before anything runs. Names of ours
cannot be replaced.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

from trainer.config.archs import ARCHS
from trainer.config.extras import Kind, add
from trainer.config.losses import LOSSES
from trainer.config.metrics import METRICS
from trainer.config.ops import OPS
from trainer.config.optimizers import OPTIMIZERS
from trainer.config.registry import Registry

if TYPE_CHECKING:
    import paddle
    from numpy.typing import NDArray

    from trainer.data.rng import Rng

    OpFactory = Callable[..., Callable[[NDArray[Any], Rng], NDArray[Any]]]
    LossFactory = Callable[..., Callable[[paddle.Tensor, paddle.Tensor], paddle.Tensor]]
    MetricFactory = Callable[..., Callable[[paddle.Tensor, paddle.Tensor], dict[str, paddle.Tensor | float]]]
    ModelFactory = Callable[..., paddle.nn.Layer]
    OptimizerFactory = Callable[..., paddle.optimizer.Optimizer]

F = TypeVar("F", bound=Callable[..., Any])
_OURS: dict[Kind, Registry] = {
    "op": OPS, "loss": LOSSES, "metric": METRICS, "model": ARCHS, "optimizer": OPTIMIZERS,
}  # fmt: skip

__all__ = ["register_loss", "register_metric", "register_model", "register_op", "register_optimizer"]


def register_op(name: str) -> Callable[[OpFactory], OpFactory]:
    """Register an image operation for `transform_ops` and `Infer.transforms`.

    The factory returns a function of an image and its random generators. The image is uint8 [H, W, 3] before
    NormalizeImage and float32 after it; [3, H, W] once the channels were moved. Return the next image as a
    numpy array, and do not write into the one that came. Draw from `rng.python` (random.Random) and
    `rng.numpy` (numpy.random.RandomState) only: they make a resumed run the same run. Reader processes
    import the module, too, and each reads other images, so it keeps nothing between calls.

    Raises:
        ValueError: The name is taken.
    """
    return _register("op", name)


def register_loss(name: str) -> Callable[[LossFactory], LossFactory]:
    """Register a loss for `Loss.Train` and `Loss.Eval`.

    The factory returns a function of logits, float32 [B, K], and labels, int64 [B, 1] (float32 [B, K] where a
    batch is mixed); it returns the mean over the batch, a float32 tensor of no or one element. The parameter
    `weight` is the trainer's: the factor in the sum of several losses.

    Raises:
        ValueError: The name is taken.
    """
    return _register("loss", name)


def register_metric(name: str) -> Callable[[MetricFactory], MetricFactory]:
    """Register a metric for `Metric.Train` and `Metric.Eval`.

    The factory returns a function of logits, float32 [B, K], and labels, int64 [B, 1], that returns means
    over the batch by name: tensors of one element, which are read later and all at once, or floats, for which
    the host waits for the device in every step. Means over an evaluation are weighted by the size of the
    batches. The first value of the first metric of `Metric.Eval` chooses the best checkpoint: more must be
    better.

    Raises:
        ValueError: The name is taken.
    """
    return _register("metric", name)


def register_model(name: str) -> Callable[[ModelFactory], ModelFactory]:
    """Register a network for `Arch.name`.

    The factory is called with `class_num` and the parameters of `Arch` that are not the trainer's own
    (`pretrained`, `freeze_norm_stats` and the like). Its layer takes images, float32 [B, 3, H, W], and
    returns logits, float32 [B, class_num]. Initial weights come from Paddle's generator,
    which the run's seed seeds.

    Raises:
        ValueError: The name is taken.
    """
    return _register("model", name)


def register_optimizer(name: str) -> Callable[[OptimizerFactory], OptimizerFactory]:
    """Register an optimizer for `Optimizer.name`.

    The factory is called with `learning_rate`, a number that is replaced before the first step, `parameters`,
    the list of trainable ones, and the config's parameters except `lr`.

    Raises:
        ValueError: The name is taken.
    """
    return _register("optimizer", name)


def _register(kind: Kind, name: str) -> Callable[[F], F]:
    def register(factory: F) -> F:
        if not name or not isinstance(name, str):
            raise ValueError(f"expected a name, got {name!r}")
        if name in _OURS[kind]:
            raise ValueError(f"expected a name of your own, got {name!r}, which the trainer has; rename it")
        add(kind, name, factory)
        return factory

    return register
