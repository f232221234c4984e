"""The `Infer` section: what `trainer predict` reads, and what becomes of a network's output.

PaddleClas d178931, ppcls/engine/engine.py and ppcls/data/postprocess.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeAlias

from pydantic import Field

from trainer.config.data import OpList
from trainer.config.declaration import Catalogue, Declaration, Section, later, named
from trainer.config.scalars import Positive, TopK


class Topk(Declaration):
    """The k most probable classes."""

    topk: TopK = (5,)
    class_id_map_file: str | None = None
    """`id name` a line."""
    delimiter: str | None = None
    """What stands between id and name; a space where it is not given."""
    label_list: str | None = None


POST_PROCESSES = Catalogue(
    Topk,
    *later(
        "trainer.config.infer_thresholds",
        "ThreshOutput MultiLabelThreshOutput PersonAttribute VehicleAttribute TableAttribute",
    ),
)  # fmt: skip
if TYPE_CHECKING:
    from trainer.config.infer_thresholds import (
        MultiLabelThreshOutput,
        PersonAttribute,
        TableAttribute,
        ThreshOutput,
        VehicleAttribute,
    )

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
