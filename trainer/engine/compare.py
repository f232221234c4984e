"""Holds exported models against the trained one that they were made of, on images of the validation list.

Compared are logits, relative to their size. A fixed bound on probabilities, as one would write first, refuses
sound models: runtimes fold batch norms into convolutions and add up in another order, so that their errors
grow with the numbers that a network works with. Where two classes are as good as equal, the first is chance.
"""

from __future__ import annotations

import contextlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import paddle
from numpy.typing import NDArray

from trainer.config.root import TrainConfig
from trainer.data.lists import load_list
from trainer.engine.predict import Network, run_model
from trainer.engine.setup import make_eval_loader
from trainer.errors import CheckpointError
from trainer.postprocess.build import Activation
from trainer.progress import NO_PROGRESS, Progress
from trainer.ranks import Ranks

TOLERANCE = 1e-4
"""Largest difference of a logit, as a share of the largest logit of its image."""
_SMALLEST = 1e-30
"""A probability whose logarithm is still compared; float32 ends at 1e-38."""
_LARGE = 1e3
"""A logit that no trained classifier has: those of ImageNet models are below 100."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Comparison:
    """How far exported models were compared.

    Attributes:
        images: How many; 0 where there is no list to compare on.
        largest: By name, the largest difference of a logit as a share of the largest logit of its image.
    """

    images: int = 0
    largest: Mapping[str, float] = field(default_factory=dict)


def compare(
    config: TrainConfig,
    model: paddle.nn.Layer,
    activation: Activation,
    made: Mapping[str, Network],
    *,
    measured: Mapping[str, Network],
    images: int,
    progress: Progress = NO_PROGRESS,
) -> Comparison:
    """Hold what was written against the trained model.

    Args:
        config: Its DataLoader.Eval names the images; without one, nothing is compared.
        model: The trained one, in evaluation mode.
        activation: The last one of the exported models.
        made: Exported models by file name, which must answer like it.
        measured: Others that are only measured.
        images: At most; 0 compares nothing.
        progress: Is told of every batch.

    Raises:
        CheckpointError: They differ by more than `TOLERANCE`, or an answer is no number.
    """
    if config.data.Eval is None or not images:
        return Comparison()
    samples = load_list(config.data.Eval.dataset, class_num=config.arch.class_num)
    compared = 0
    largest = dict.fromkeys((*made, *measured), 0.0)
    logits_of = run_model(model, None)
    activate = getattr(paddle.nn.functional, activation)
    loader = make_eval_loader(config.data.Eval, samples, run=config.run, ranks=Ranks())
    batches = loader.batches(0)
    progress.begin("comparing", min(images, len(samples)))
    with contextlib.closing(loader), contextlib.closing(batches):
        for batch in batches:
            if not batch.valid.any():  # bad images, of which nothing was read
                continue
            chosen = loader.normalized(batch.images[batch.valid])
            logits = logits_of(chosen)
            mine = activate(paddle.to_tensor(logits)).numpy()
            places = [samples.place(int(index)) for index in batch.indices[batch.valid]]
            _refuse_no_numbers(logits, places)
            for name, network in {**made, **measured}.items():
                theirs = network(chosen)
                shares = difference(logits, mine, theirs, activation=activation)
                largest[name] = max(largest[name], float(shares.max()))
                if name in made and not largest[name] <= TOLERANCE:
                    raise _differing(
                        name, logits=logits, shares=shares, mine=mine, theirs=theirs, places=places
                    )
            compared += len(mine)
            progress.advance(len(mine))
            if compared >= images:
                break
    return Comparison(images=compared, largest=largest)


def difference(
    logits: NDArray[np.float32],
    mine: NDArray[np.float32],
    theirs: NDArray[np.float32],
    *,
    activation: Activation,
) -> NDArray[np.float64]:
    """Return for each image how far two answers are apart, as a share of its largest logit.

    The exported model gives probabilities only. A softmax's logarithms are its logits but for a constant, so
    those are compared; a sigmoid saturates in float32, so its probabilities are, times four, which is the
    least that the logits differ by. Where an image's logits are all below 1, shares are of 1.

    Args:
        logits: Of the trained model, float32 [B, K].
        mine: Probabilities that these make.
        theirs: Probabilities of the exported model.
        activation: That made the probabilities.

    Returns:
        float64 [B]; inf where an answer is no number.
    """
    sizes = np.maximum(np.abs(logits).max(axis=1), 1.0).astype(np.float64)
    if activation == "softmax":
        found, expected = (np.log(np.maximum(np.nan_to_num(part), _SMALLEST)) for part in (theirs, mine))
        apart = np.abs(found.astype(np.float64) - expected)
    else:
        apart = 4.0 * np.abs(theirs.astype(np.float64) - mine)
    apart[~np.isfinite(theirs)] = np.inf
    shares: NDArray[np.float64] = apart.max(axis=1) / sizes
    return shares


def _refuse_no_numbers(logits: NDArray[np.float32], places: Sequence[str]) -> None:
    bad = np.flatnonzero(~np.isfinite(logits).all(axis=1))
    if bad.size:
        raise CheckpointError(
            where=places[bad[0]],
            expected="numbers of the trained model",
            got="nan or infinity",
            fix="its weights have diverged: export an earlier checkpoint with --weights, or train with a "
            "lower learning rate",
        )


def _differing(
    name: str,
    *,
    logits: NDArray[np.float32],
    shares: NDArray[np.float64],
    mine: NDArray[np.float32],
    theirs: NDArray[np.float32],
    places: Sequence[str],
) -> CheckpointError:
    """Say how far the answers of the image that differs most are apart, and what to do."""
    worst = int(shares.argmax())
    size = float(np.abs(logits[worst]).max())
    first, second = int(mine[worst].argmax()), int(theirs[worst].argmax())
    classes = f"class {first} for both" if first == second else f"class {second} instead of {first}"
    fix = (
        "such large logits are those of a network that has trained for a few steps only: train it longer, or "
        "pass --compare 0 to write it as it is"
        if size > _LARGE
        else "pass --compare 0 to write it all the same, and measure its accuracy where it is to run"
    )
    return CheckpointError(
        where=f"export: {name}",
        expected=f"the trained model's logits within {TOLERANCE:g} of their size",
        got=f"a difference of {shares[worst]:.2g} for {places[worst]}, whose largest logit is {size:.3g} "
        f"({classes})",
        fix=f"nothing was written; {fix}",
    )
