"""The `Infer` section: what `trainer predict` reads, and what becomes of a network's output.

PaddleClas d178931, ppcls/engine/engine.py.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, TypeAlias

from pydantic import BeforeValidator, Field

from trainer.config.pipeline import OpList
from trainer.config.problems import show
from trainer.config.registry import Registry, Section, lazy, named
from trainer.config.scalars import Positive

POST_PROCESSES = Registry(
    *lazy(
        "trainer.config.postprocess",
        "Topk ThreshOutput MultiLabelThreshOutput PersonAttribute VehicleAttribute TableAttribute",
    ),
)
if TYPE_CHECKING:
    from trainer.config.postprocess import BasePostProcess

    PostProcess: TypeAlias = BasePostProcess
else:  # the union that chooses by name exists at run time only
    PostProcess = named(POST_PROCESSES, default="Topk")


def _unwrap(value: Any) -> Any:  # whatever YAML gave
    """Read `{name: DistillationPostProcess, func: Topk, topk: 5}` as `{name: Topk, topk: 5}`.

    Which of several networks answers is said by `Arch.infer_model_name`, also for the export.
    """
    if not isinstance(value, dict) or value.get("name") != "DistillationPostProcess":
        return value
    own = {key: value[key] for key in ("model_name", "key") if key in value}
    for key, expected in (("model_name", str), ("key", str | None)):
        if key in own and not isinstance(own[key], expected):
            raise ValueError(f"expected text as {key}, got {show(own[key])}")
    name = value.get("func", "Topk")
    if name not in POST_PROCESSES:
        raise ValueError(f"expected one of {', '.join(POST_PROCESSES.names())} as func, got {show(name)}")
    rest = {key: item for key, item in value.items() if key not in ("name", "func", *own)}
    return {"name": name, **rest}


class InferSection(Section):
    """What `trainer predict` reads."""

    infer_imgs: str | None = None
    infer_list: str | None = None
    batch_size: Positive = 1
    transforms: OpList = ()
    post_process: Annotated[PostProcess | None, BeforeValidator(_unwrap)] = Field(
        default=None, alias="PostProcess"
    )
    save_dir: str | None = None
