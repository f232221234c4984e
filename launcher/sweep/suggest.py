"""A small first study for a config: rates around its own, two sizes of images, label smoothing on and off.

The learning rate decides most, and is known worst, so it gets a range; the others get two values each. What
the config has no place for is left out. Written as a file with a `Sweep` section, for people to read and
change.
"""

from __future__ import annotations

import json
import math
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from launcher.config.load import RunConfig
from launcher.errors import UsageError
from launcher.jobs.options import SubmitOptions
from launcher.jobs.prepare import load
from launcher.jobs.trainer_process import can_train
from launcher.sweep.space import resize_overrides
from trainer.config.problems import ConfigError, format_path
from trainer.protocol import installation
from trainer.protocol.python_command import python_command

_BELOW, _ABOVE = 10.0, 4.0
"""Around a rate: too large a one fails at once, too small a one only learns slowly."""
_TRIALS, _SMOOTHING = 8, 0.1
_STEP, _SMALL = 32, 64
"""Pixels by which networks halve images; sides up to which one more step is tried instead of one fewer."""
_PRUNES_FROM = 9
"""Epochs from which on ASHA has two looks that are worth the starts of paused jobs."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Suggestion:
    """What is proposed.

    Attributes:
        over: Key, values and the reason of each.
        left: Sentences on what is left out.
    """

    config: Path
    over: tuple[tuple[str, str, str], ...]
    trials: int
    prune: str
    left: tuple[str, ...] = ()


def suggest(
    config: Path, options: SubmitOptions, *, measures: bool = False, named: Path | None = None
) -> Suggestion:
    """Propose a first study for a config.

    Args:
        config: The file.
        options: Changes of it, as of `submit`.
        named: What the file that is written calls the config; None for `config`.
        measures: Find the rate by `trainer lr-find` on this machine, which takes a minute or so.

    Raises:
        ConfigError: The config is refused.
        UsageError: A rate is to be measured, and Paddle is not here or finds none.
    """
    loaded = load(config, options).config
    measured = _measure(config, options) if measures else None
    over, left = [], []
    for key, rate in _rates(loaded):
        center, above, origin = measured if measured is not None else (rate, _ABOVE, "the config's own")
        why = f"around {center:g}, {origin}"
        over.append((key, f"log({_round(center / _BELOW)}, {_round(center * above)})", why))
    if not over:
        left.append("the learning rate: the config has no learning_rate in Optimizer.lr")
    sides = _sides(loaded)
    if sides is None:
        left.append("image_size: the config's images have no size that could be set in one go")
    else:
        over.append(("image_size", str(sides), "larger images show more and take longer"))
    smoothing = list(_smoothing(loaded))
    over += [(key, "[null, 0.1]", "label smoothing, off and on") for key in smoothing]
    if not smoothing:
        left.append("label smoothing: Loss.Train has no CELoss with labels")
    if not over:
        raise UsageError(where=config, expected="something to vary", got="none", fix="name it by --over")
    prune = "asha" if loaded.job.run.epochs >= _PRUNES_FROM else "none"
    return Suggestion(config=named or config, over=tuple(over), trials=_TRIALS, prune=prune, left=tuple(left))


def format_suggestion(found: Suggestion) -> str:
    """Write a suggestion as a file that `ftlaunch sweep` takes."""
    lines = [
        "# A small first study; `ftlaunch sweep FILE` begins it.",
        "Sweep:",
        f"  config: {json.dumps(str(found.config))}",
        "  over:",
    ]
    width = max(len(f"{key}: {values}") for key, values, _ in found.over)
    lines += [f"    {f'{key}: {values}':<{width}}   # {why}" for key, values, why in found.over]
    lines.append(f"    {'# seed: 3':<{width}}   # three jobs a trial: says what is more than chance")
    lines.append(f"  trials: {found.trials}")
    if found.prune != "none":
        lines.append(f"  prune: {found.prune}")
    lines += [f"# left out: {sentence}" for sentence in found.left]
    return "\n".join(lines) + "\n"


def _rates(config: RunConfig) -> Iterator[tuple[str, float]]:
    for path, _ in config.job.optimizers:
        here: object = config.document.values
        for part in (*path, "lr"):
            here = (
                here.get(part)
                if isinstance(here, dict)
                else here[part]
                if isinstance(here, list) and isinstance(part, int) and part < len(here)
                else None
            )
        rate = here.get("learning_rate") if isinstance(here, dict) else None
        if isinstance(rate, int | float) and not isinstance(rate, bool) and rate > 0:
            yield format_path((*path, "lr", "learning_rate")), float(rate)


def _sides(config: RunConfig) -> list[int] | None:
    """Return two sides: what the images have, and one step of 32 pixels fewer, of small images more."""
    try:
        texts = resize_overrides(config.content, 1, name=str(config.path))
    except ConfigError:
        return None
    values = [_value_at(config.document.values, text.partition("=")[0]) for text in texts]
    sides = [value for value in values if isinstance(value, int) and not isinstance(value, bool)]
    if not sides:
        return None
    side = min(sides)  # a resize before a crop is larger
    return [side, side + _STEP // 2] if side <= _SMALL else [side - _STEP, side]


def _value_at(values: object, path: str) -> object:
    for part in path.split("."):
        if isinstance(values, dict):
            values = values.get(part)
        elif isinstance(values, list) and part.isdecimal() and int(part) < len(values):
            values = values[int(part)]
        else:
            return None
    return values


def _smoothing(config: RunConfig) -> Iterator[str]:
    losses = _value_at(config.document.values, "Loss.Train")
    for index, loss in enumerate(losses if isinstance(losses, list) else ()):
        if isinstance(loss, dict) and "CELoss" in loss:
            yield f"Loss.Train.{index}.CELoss.epsilon"


def _measure(config: Path, options: SubmitOptions) -> tuple[float, float, str]:
    """Return the rate that `trainer lr-find` proposes or guesses, how far to go above, and which it is."""
    if not can_train():
        raise UsageError(
            where="--measure",
            expected="PaddlePaddle in this environment",
            got="none",
            fix=installation.trainer_fix(),
        )
    changes = [word for text in options.overrides for word in ("-o", text)]
    arguments = ["lr-find", "-c", str(config), "--output", "json", *changes]
    done = subprocess.run(python_command("trainer", arguments), capture_output=True, text=True, check=False)
    try:
        document = json.loads(done.stdout)
        proposal, guess = document["proposal"], document["guess"]
    except (ValueError, KeyError, TypeError):
        proposal = guess = None
    found = guess if proposal is None else proposal
    if not isinstance(found, int | float) or isinstance(found, bool) or not found > 0:
        said = done.stderr.strip().splitlines()
        raise UsageError(
            where="--measure", expected="a rate from `trainer lr-find`", said=said[-1] if said else "none",
            fix=f"see `trainer lr-find -c {config}`",
        )  # fmt: skip
    if proposal is not None:
        return float(found), _ABOVE, "what `trainer lr-find` found"
    # of 20 cases the best rate was up to 8.3 times the guess (benchmarks/RESULTS.md)
    return float(found), _BELOW, "a third of the rate from which the loss grows in `trainer lr-find`"


def _round(value: float) -> str:
    """Write a number by its first digit."""
    digits = -math.floor(math.log10(value))
    return f"{round(value, digits):g}"
