"""The `DataLoader` section: datasets, samplers, loaders, and the table of batch operations.

Source: PaddleClas d178931, ppcls/data.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal, TypeAlias

from pydantic import AfterValidator, Field, ValidationInfo, field_validator, model_validator

from trainer.config.ops import CropImage, Op, RandCropImage, ResizeImage
from trainer.config.pipeline import OpList
from trainer.config.registry import Registry, Section, Spec, keyed, lazy, named
from trainer.config.samplers import ClassBalancedSampler, Sampler
from trainer.config.scalars import Amount, Split, Workers, parse_amount
from trainer.protocol.lists import Grammar, Labels

BATCH_OPS = Registry(
    *lazy(
        "trainer.config.batch_ops", "MixupOperator CutmixOperator OpSampler FmixOperator MixupCutmixHybrid"
    ),
)  # fmt: skip
if TYPE_CHECKING:
    from trainer.config.batch_ops import BaseBatchOp

    BatchOp: TypeAlias = BaseBatchOp
else:  # the union that chooses by name exists at run time only
    BatchOp = keyed(BATCH_OPS)


def _one(ops: Sequence[BatchOp]) -> Sequence[BatchOp]:
    if len(ops) > 1:
        raise ValueError(
            f"expected one operation, because it leaves no class labels for another, got {len(ops)}; "
            "write them into an OpSampler, each with its prob"
        )
    return ops


BatchOpList = Annotated[tuple[BatchOp, ...], Field(strict=False), AfterValidator(_one)]
SIZED_OPS = (RandCropImage, ResizeImage, CropImage)
"""Operations whose size a MultiScaleSampler sets."""


class ImageNetDataset(Spec):
    """Images and labels of a list file: `path label` a line."""

    names: ClassVar[tuple[str, ...]] = ("ImageNetDataset", "ClsDataset", "ShiTuRecDataset")

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


class MultiScaleDataset(ImageNetDataset):
    """An ImageNetDataset whose images have the size that a MultiScaleSampler gives each batch.

    RandCropImage, ResizeImage and CropImage take that size and their defaults, whatever the list says.
    """

    names: ClassVar[tuple[str, ...]] = ("MultiScaleDataset",)

    @model_validator(mode="after")
    def _sized(self) -> MultiScaleDataset:
        if not any(isinstance(op, SIZED_OPS) for op in self.transform_ops):
            raise ValueError("expected RandCropImage, ResizeImage or CropImage in transform_ops, got none")
        return self


class MultiLabelDataset(Spec):
    """Images of a list file with a 0 or 1 for each class: path, tab, `0,1,1,0` a line."""

    image_root: str
    """Folder that the paths of the list are relative to."""
    cls_label_path: str
    """The list file."""
    transform_ops: OpList
    """Begins with DecodeImage."""
    label_ratio: bool = False
    """Hand each class's share of ones in the list on beside the labels: float32 [B, 2, K]."""
    batch_transform_ops: None = None
    """Refused: mixing takes one class an image."""


class CustomLabelDataset(Spec):
    """Images of a list file, a path a line, whose label an operation of `transform_ops` draws."""

    image_root: str
    """Folder that the paths of the list are relative to."""
    sample_list_path: str
    """The list file."""
    transform_ops: OpList
    """Begins with DecodeImage."""
    label_key: str
    """The label: random_rot90_orientation (RandomRot90, 0 to 3) or blur_image (BlurImage, 0 or 1)."""
    delimiter: str | None = Field(default=None, min_length=1)
    """What ends the path; where it is not given, the path is the whole line."""
    batch_transform_ops: BatchOpList | None = None
    """Mixes the images of a batch; in Train only."""

    @field_validator("label_key")
    @classmethod
    def _drawn(cls, key: str, info: ValidationInfo) -> str:
        ops = info.data.get("transform_ops")
        if ops is not None and key not in (drawn := [op.label_key for op in _labelling(ops)]):
            known = ", ".join(drawn) or "none; RandomRot90 and BlurImage draw one"
            raise ValueError(
                f"expected a label that an operation of transform_ops draws ({known}), got {key!r}"
            )
        return key

    @property
    def labels(self) -> int:
        """How many labels there are, 0 and up."""
        return next(op.labels for op in _labelling(self.transform_ops) if op.label_key == self.label_key)


def _labelling(ops: Sequence[Op]) -> list[Op]:
    return [op for op in ops if op.label_key]


class LoaderSection(Section):
    """How samples are read."""

    num_workers: Workers = 0
    """Reader processes a rank; 0 reads in the training thread. Evaluation uses those of training again.

    auto, which is ours, chooses from the cores that the pod or machine gives, the ranks on it, and how long
    an image takes; the log says what.
    """
    use_shared_memory: bool = True
    rng: Literal["per_sample", "paddleclas"] = "per_sample"
    """Random draws: seeded for each sample, or one stream a process in PaddleClas's order (no workers)."""
    bad_images: Literal["error", "skip"] = "error"
    """Images that cannot be read: end the training with exit 3 (error), or go on without them (skip).

    With skip, training takes another image of the list in place of each, drawn by seed, epoch and sample, and
    an evaluation leaves it out of its counts; both name them. Ours; PaddleClas draws at random.
    """
    bad_images_limit: float = Field(default=0.01, ge=0, le=1)
    """Share of the list's images that `bad_images: skip` bears in an epoch; more end with exit 3."""

    normalize_on: Literal["auto", "reader", "device"] = "auto"
    """Ours: who computes NormalizeImage where transform_ops end in it: whoever reads (reader), or the device.

    With device, images go there as uint8, a quarter of the bytes; the numbers are the same. auto is device on
    GPUs and reader on CPUs. Operations after it, and batch_transform_ops, keep it with the readers.
    """

    decode: Literal["exact", "fast"] = "exact"
    """Ours: fast decodes JPEGs at a half, a quarter or an eighth of their size where the next operation makes
    them smaller than that; pixels differ from PaddleClas's.
    """

    cache: Literal["memory", "disk"] | None = None
    """Ours: keep decoded images, for all ranks of a node, in /dev/shm until the end or on a disk for ever."""
    cache_size: Amount | None = None
    """What they may take, such as `20Gi`; two fifths of what is free where it is not given."""
    cache_dir: str | None = None
    """Folder of `cache: disk`; below the user's cache folder where it is not given."""

    @property
    def cache_bytes(self) -> int | None:
        """What decoded images may take, in bytes; None where nothing is said."""
        return None if self.cache_size is None else parse_amount(self.cache_size)

    @model_validator(mode="after")
    def _cacheable(self) -> LoaderSection:
        if self.cache is not None and self.decode == "fast":
            raise ValueError(
                f"expected decode: exact with cache: {self.cache}, which keeps whole images, got fast; "
                "remove one of them"
            )
        if self.cache is None and self.cache_size is not None:
            raise ValueError("expected cache: memory or cache: disk beside cache_size, got none")
        if self.cache != "disk" and self.cache_dir is not None:
            raise ValueError("expected cache: disk beside cache_dir, got " + (self.cache or "none"))
        return self

    def hands_over_uint8(self, *, on_gpu: bool) -> bool:
        """Tell whether images go to the device before they are normalised, where that can be."""
        return on_gpu if self.normalize_on == "auto" else self.normalize_on == "device"

    @model_validator(mode="after")
    def _one_stream(self) -> LoaderSection:
        if self.rng == "paddleclas" and self.num_workers not in (0, "auto"):
            raise ValueError(f"expected num_workers: 0 with rng: paddleclas, got {self.num_workers}")
        return self


DATASETS = Registry(
    ImageNetDataset, MultiScaleDataset, MultiLabelDataset, CustomLabelDataset,
)  # fmt: skip
if TYPE_CHECKING:
    Dataset: TypeAlias = ImageNetDataset | MultiScaleDataset | MultiLabelDataset | CustomLabelDataset
else:  # the union that chooses by name exists at run time only
    Dataset = named(DATASETS)


def listed_by(dataset: Dataset) -> tuple[str, Grammar]:
    """Return the list file that a data set names, and how its lines are read."""
    if isinstance(dataset, MultiLabelDataset):
        return dataset.cls_label_path, Grammar(labels=Labels.FLAGS)
    if isinstance(dataset, CustomLabelDataset):
        return dataset.sample_list_path, Grammar(labels=Labels.NONE, delimiter=dataset.delimiter)
    return dataset.cls_label_path, Grammar(delimiter=dataset.delimiter, relabel=dataset.relabel)


class SplitSection(Section):
    """One of Train and Eval."""

    dataset: Dataset
    sampler: Sampler
    loader: LoaderSection = Field(default_factory=LoaderSection)

    @model_validator(mode="before")
    @classmethod
    def _of_images(cls, values: object) -> object:
        """Refuse the lists of retrieval by name, rather than ask for what should stand in their place."""
        if isinstance(values, dict) and "dataset" not in values and {"Query", "Gallery"} & set(values):
            raise ValueError(
                "expected dataset, sampler and loader, got Query and Gallery, which serve metric learning; "
                "name one list to classify"
            )
        return values

    @model_validator(mode="after")
    def _resized_next(self) -> SplitSection:
        if self.loader.decode == "fast" and not self.dataset.transform_ops[1].is_resizing():
            raise ValueError(
                "expected RandCropImage, RandomResizedCrop, ResizeImage or Resize after DecodeImage with "
                f"loader.decode: fast, got {self.dataset.transform_ops[1].label}; set decode: exact"
            )
        return self


class DataLoaderSection(Section):
    """Training and evaluation data."""

    Train: SplitSection
    Eval: SplitSection | None = None

    @field_validator("Eval", mode="before")
    @classmethod
    def _each_once(cls, values: object) -> object:
        """Refuse what would measure some images several times and others never, by that reason."""
        sampler = values.get("sampler") if isinstance(values, dict) else None
        if isinstance(sampler, dict) and sampler.get("name") == ClassBalancedSampler.__name__:
            raise ValueError(
                "expected a sampler that gives each image once, got ClassBalancedSampler, which is for "
                "DataLoader.Train; use DistributedBatchSampler"
            )
        return values

    @property
    def splits(self) -> tuple[tuple[Split, SplitSection], ...]:
        """Those that there are, with their names."""
        return (("Train", self.Train), *((("Eval", self.Eval),) if self.Eval is not None else ()))
