"""The `DataLoader` section: datasets, samplers, loaders (PaddleClas d178931, ppcls/data)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Literal, TypeAlias

from pydantic import AfterValidator, Field, model_validator

from trainer.config.batch_ops import BatchOpList
from trainer.config.chains import check_chain
from trainer.config.declaration import Declaration, Section, named
from trainer.config.ops import Op
from trainer.config.scalars import Positive

OpList = Annotated[tuple[Op, ...], Field(strict=False), AfterValidator(check_chain)]


class ImageNetDataset(Declaration):
    """Images and labels of a list file: `path label` a line."""

    names = ("ImageNetDataset", "ClsDataset")

    image_root: str
    """Folder that the paths of the list are relative to."""
    cls_label_path: str
    """The list file."""
    transform_ops: OpList
    """Begins with DecodeImage."""
    batch_transform_ops: BatchOpList | None = None
    """Mixes the images of a batch; in Train only."""
    delimiter: str | None = Field(default=None, min_length=1)
    """What stands between path and label; where it is not given, the last space of the line."""
    relabel: bool = False
    """Number the labels anew from 0, in increasing order."""


class DistributedBatchSampler(Declaration):
    """Deals an epoch's samples out to the ranks in batches."""

    batch_size: Positive
    """Samples a rank and step, not of all ranks together."""
    drop_last: bool = False
    shuffle: bool = False


class LoaderSection(Section):
    """How samples are read."""

    num_workers: int = Field(default=0, ge=0)
    """Reader threads a rank; 0 reads in the training thread."""
    use_shared_memory: bool = True
    rng: Literal["per_sample", "paddleclas"] = "per_sample"
    """Random draws: seeded for each sample, or one stream a process in PaddleClas's order (no workers)."""

    @model_validator(mode="after")
    def _one_stream(self) -> LoaderSection:
        if self.rng == "paddleclas" and self.num_workers:
            raise ValueError(f"expected num_workers: 0 with rng: paddleclas, got {self.num_workers}")
        return self


DATASETS: tuple[type[Declaration], ...] = (ImageNetDataset,)
SAMPLERS: tuple[type[Declaration], ...] = (DistributedBatchSampler,)

if TYPE_CHECKING:
    Dataset: TypeAlias = ImageNetDataset
    Sampler: TypeAlias = DistributedBatchSampler
else:  # the unions that choose by name exist at run time only
    Dataset = named(DATASETS)
    Sampler = named(SAMPLERS, default="DistributedBatchSampler")


class SplitSection(Section):
    """One of Train and Eval."""

    dataset: Dataset
    sampler: Sampler
    loader: LoaderSection = LoaderSection()


class DataLoaderSection(Section):
    """Training and evaluation data."""

    Train: SplitSection
    Eval: SplitSection | None = None
