"""What `Infer.PostProcess` may name (PaddleClas d178931, ppcls/data/postprocess)."""

from __future__ import annotations

from pydantic import Field

from trainer.config.registry import Spec
from trainer.config.scalars import TopK


class BasePostProcess(Spec):
    """What all have."""

    @property
    def names_file(self) -> tuple[str, str] | None:
        """Key and value of the parameter that names the file of class names; None where none does."""
        return None

    @property
    def names_delimiter(self) -> str | None:
        """What stands between id and name in it; None for a space."""
        return None


class Topk(BasePostProcess):
    """The k most probable classes."""

    topk: TopK = (5,)
    class_id_map_file: str | None = None
    """`id name` a line."""
    delimiter: str | None = None
    """What stands between id and name; a space where it is not given."""
    label_list: str | None = None

    @property
    def names_file(self) -> tuple[str, str] | None:
        """The first of two."""
        if self.class_id_map_file:
            return "class_id_map_file", self.class_id_map_file
        return ("label_list", self.label_list) if self.label_list else None

    @property
    def names_delimiter(self) -> str | None:
        """As it says."""
        return self.delimiter


_THRESHOLD = Field(default=0.5, ge=0, le=1)


class ThreshOutput(BasePostProcess):
    """One of two classes: the second one where its probability reaches the threshold."""

    threshold: float = Field(ge=0, le=1)
    label_0: str = "0"
    label_1: str = "1"


class MultiLabelThreshOutput(BasePostProcess):
    """All classes whose probability reaches the threshold, each by itself."""

    threshold: float = _THRESHOLD
    class_id_map_file: str | None = None
    delimiter: str | None = None

    @property
    def names_file(self) -> tuple[str, str] | None:
        """Its one."""
        return ("class_id_map_file", self.class_id_map_file) if self.class_id_map_file else None

    @property
    def names_delimiter(self) -> str | None:
        """As it says."""
        return self.delimiter


class PersonAttribute(BasePostProcess):
    """26 attributes of a pedestrian (PULC person_attribute)."""

    threshold: float = _THRESHOLD
    glasses_threshold: float = Field(default=0.3, ge=0, le=1)
    hold_threshold: float = Field(default=0.6, ge=0, le=1)


class VehicleAttribute(BasePostProcess):
    """Ten colours and nine types of a vehicle (PULC vehicle_attribute)."""

    color_threshold: float = _THRESHOLD
    type_threshold: float = _THRESHOLD


class TableAttribute(BasePostProcess):
    """Six attributes of a picture of a table (PULC table_attribute)."""

    source_threshold: float = _THRESHOLD
    number_threshold: float = _THRESHOLD
    color_threshold: float = _THRESHOLD
    clarity_threshold: float = _THRESHOLD
    obstruction_threshold: float = _THRESHOLD
    angle_threshold: float = _THRESHOLD
