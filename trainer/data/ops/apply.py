"""RandomApply."""

from __future__ import annotations

from trainer.config.ops_augment import RandomApply
from trainer.data.ops.registry import Operation, Pixels, implements, make_operation
from trainer.data.rng import Draws


@implements(RandomApply)
def random_apply(spec: RandomApply) -> Operation:
    """Draw whether at all, then what the operations draw. Image uint8 [H, W, 3]."""
    operations = [make_operation(op) for op in spec.transforms]

    def operation(image: Pixels, draws: Draws) -> Pixels:
        if spec.p < draws.numpy.rand():
            return image
        for inner in operations:
            image = inner(image, draws)
        return image

    return operation
