"""Ends a run that gets no better: counts the evaluations since the best one.

All ranks see the same values, which the evaluation has brought together already, and so end after the same
epoch without a word to each other. The count is part of the state, so that a resumed run ends where the
undisturbed one does.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Mapping
from dataclasses import dataclass

from trainer.checkpoints.state import EarlyStoppingState
from trainer.config.checks import has_less_is_better, is_less_better
from trainer.config.problems import ConfigError, Problem
from trainer.config.root import TrainConfig

_PLACE = ("Global", "early_stopping", "metric")


@dataclass(frozen=True, kw_only=True, slots=True)
class EarlyStopping:
    """What `Global.early_stopping` asks for.

    Attributes:
        metric: Name of a value of the evaluation; None for the one that chooses the best checkpoint.
        less_is_better: Of that value.
        patience: Evaluations in a row without a better one after which the run ends, 1 or more.
        min_delta: By how much a value must be better to count, 0 or more.
    """

    metric: str | None
    less_is_better: bool
    patience: int
    min_delta: float

    def observe(
        self, before: EarlyStoppingState | None, values: Mapping[str, float], *, key: str | None,
        chosen: float | None, epoch: int,
    ) -> EarlyStoppingState:  # fmt: skip
        """Return the count after an evaluation.

        A value that is no number is no better one.

        Args:
            before: The count so far.
            values: All that was measured, by name.
            key: The metric that chooses the best checkpoint.
            chosen: Its value, of the weights and their average the better one.
            epoch: Epochs completed.

        Raises:
            ConfigError: The evaluation has no such value.
        """
        name = self.metric or key
        value = chosen if self.metric is None else values.get(self.metric)
        if name is None or value is None:
            message = f"expected a value of the evaluation, which are {', '.join(values)}, got {name!r}"
            raise ConfigError([Problem(file="config", path=_PLACE, message=message)])
        sign = -1.0 if self.less_is_better else 1.0
        if before is None or before.metric != name:
            # What is no number cannot be written down; the worst number that there is stands for it.
            first = value if math.isfinite(value) else -sign * sys.float_info.max
            return EarlyStoppingState(metric=name, best=first, best_epoch=epoch, waited=0)
        if math.isfinite(value) and sign * value > sign * before.best + self.min_delta:
            return EarlyStoppingState(metric=name, best=value, best_epoch=epoch, waited=0)
        return EarlyStoppingState(
            metric=name, best=before.best, best_epoch=before.best_epoch, waited=before.waited + 1
        )

    def why_ended(self, state: EarlyStoppingState | None, *, epoch: int, epochs: int) -> str | None:
        """Say why a run ends after `epoch` of `epochs`; None where it goes on."""
        if state is None or state.waited < self.patience:
            return None
        more = "below" if self.less_is_better else "above"
        by = f" by more than {self.min_delta:g}" if self.min_delta else ""
        return (
            f"early stopping after epoch {epoch} of {epochs}: {state.metric} has not come {more} "
            f"{state.best:.5g} (epoch {state.best_epoch}){by} in {state.waited} evaluations"
        )


def build_early_stopping(config: TrainConfig) -> EarlyStopping | None:
    """Make what the config asks for; None where it asks for nothing."""
    wanted = config.run.early_stopping
    if wanted is None:
        return None
    less = has_less_is_better(config)
    if wanted.metric is not None:
        less = is_less_better(config, wanted.metric.removeprefix("ema_"))
    return EarlyStopping(
        metric=wanted.metric, less_is_better=less if wanted.mode == "auto" else wanted.mode == "min",
        patience=wanted.patience, min_delta=wanted.min_delta,
    )  # fmt: skip
