"""The whole config as a type."""

from __future__ import annotations

from collections.abc import Sequence

from pydantic import Field, model_validator

from trainer.config.archs import Arch
from trainer.config.data import DataLoaderSection
from trainer.config.infer import InferSection
from trainer.config.losses import LossSection
from trainer.config.metrics import MetricSection
from trainer.config.optimizers import Optimizer, OptimizerSection
from trainer.config.pipeline import PROGRESSIVE
from trainer.config.problems import KeyPath
from trainer.config.registry import Section
from trainer.config.sections import AmpSection, EmaSection, GlobalSection


class BaseConfig(Section):
    """What of a config predicting takes: a network, and what its images go through."""

    run: GlobalSection = Field(alias="Global")
    arch: Arch = Field(alias="Arch")
    data: DataLoaderSection | None = Field(alias="DataLoader", default=None)
    infer: InferSection | None = Field(alias="Infer", default=None)

    @model_validator(mode="before")
    @classmethod
    def _old_class_num(cls, values: object) -> object:
        """Copy Global.class_num to Arch where that has none, as PaddleClas does."""
        if isinstance(values, dict):
            run, arch = values.get("Global"), values.get("Arch")
            if isinstance(run, dict) and isinstance(arch, dict) and run.get("class_num") is not None:
                arch = {"class_num": run["class_num"], **arch}
                return {**values, "Arch": arch}
        return values


class InferConfig(BaseConfig):
    """A config that only predicts: PaddleClas ships some of Global, Arch and Infer alone.

    Whatever else stands in it is not looked at.
    """

    @model_validator(mode="before")
    @classmethod
    def _without_epochs(cls, values: object) -> object:
        """Take any number of epochs where Global has none: nothing is trained."""
        run = values.get("Global") if isinstance(values, dict) else None
        if isinstance(values, dict) and isinstance(run, dict):
            return {**values, "Global": {"epochs": 1, **run}}
        return values


class TrainConfig(BaseConfig):
    """A PaddleClas config. `Launch` is the launcher's and kept as it is in `model_extra`."""

    loss: LossSection = Field(alias="Loss")
    optimizer: OptimizerSection = Field(alias="Optimizer")
    data: DataLoaderSection = Field(alias="DataLoader")
    metric: MetricSection = Field(alias="Metric", default_factory=MetricSection)
    amp: AmpSection | None = Field(alias="AMP", default=None)
    ema: EmaSection | None = Field(alias="EMA", default=None)

    @property
    def is_progressive(self) -> bool:
        """Whether images grow with the epochs; see `pipeline`."""
        return self.run.train_mode == PROGRESSIVE

    @property
    def optimizers(self) -> Sequence[tuple[KeyPath, Optimizer]]:
        """Each optimizer after its place: one, or those of a list."""
        if isinstance(self.optimizer, tuple):
            return [(("Optimizer", index, item.label), item) for index, item in enumerate(self.optimizer)]
        return [(("Optimizer",), self.optimizer)]
