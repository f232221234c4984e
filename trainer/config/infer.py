"""The `Infer` section: what `trainer predict` reads, and what becomes of a network's output.

PaddleClas d178931, ppcls/engine/engine.py and ppcls/data/postprocess.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeAlias

from pydantic import Field

from trainer.config.data import OpList
from trainer.config.declaration import Catalogue, Declaration, Section, named
from trainer.config.scalars import Positive, TopK

_Share = Field(default=0.5, ge=0, le=1)


class Topk(Declaration):
    """The k most probable classes."""

    topk: TopK = (5,)
    class_id_map_file: str | None = None
    """`id name` a line."""
    delimiter: str | None = None
    """What stands between id and name; a space where it is not given."""
    label_list: str | None = None


class ThreshOutput(Declaration):
    """One of two classes: the second one where its probability reaches the threshold."""

    threshold: float = Field(ge=0, le=1)
    label_0: str = "0"
    label_1: str = "1"


class MultiLabelThreshOutput(Declaration):
    """All classes whose probability reaches the threshold, each by itself."""

    threshold: float = _Share
    class_id_map_file: str | None = None
    delimiter: str | None = None


class PersonAttribute(Declaration):
    """26 attributes of a pedestrian (PULC person_attribute)."""

    threshold: float = _Share
    glasses_threshold: float = Field(default=0.3, ge=0, le=1)
    hold_threshold: float = Field(default=0.6, ge=0, le=1)


class VehicleAttribute(Declaration):
    """Ten colours and nine types of a vehicle (PULC vehicle_attribute)."""

    color_threshold: float = _Share
    type_threshold: float = _Share


class TableAttribute(Declaration):
    """Six attributes of a picture of a table (PULC table_attribute)."""

    source_threshold: float = _Share
    number_threshold: float = _Share
    color_threshold: float = _Share
    clarity_threshold: float = _Share
    obstruction_threshold: float = _Share
    angle_threshold: float = _Share


POST_PROCESSES = Catalogue(
    Topk, ThreshOutput, MultiLabelThreshOutput, PersonAttribute, VehicleAttribute, TableAttribute,
)  # fmt: skip
if TYPE_CHECKING:
    PostProcess: TypeAlias = (
        Topk | ThreshOutput | MultiLabelThreshOutput | PersonAttribute | VehicleAttribute | TableAttribute
    )
else:  # the union that chooses by name exists at run time only
    PostProcess = named(POST_PROCESSES, default="Topk")


class InferSection(Section):
    """What `trainer predict` reads."""

    infer_imgs: str | None = None
    infer_list: str | None = None
    batch_size: Positive = 1
    transforms: OpList = ()
    post_process: PostProcess | None = Field(default=None, alias="PostProcess")
    save_dir: str | None = None
