"""Architectures that PaddleClas has and this trainer has not: built by PaddleClas where it is installed."""

from __future__ import annotations

from pydantic import ConfigDict

from trainer.config.arch_base import BaseArch
from trainer.config.arch_names import FOREIGN
from trainer.config.declaration import STRICT


class PaddleClasArch(BaseArch):
    """An architecture of an installed `paddleclas`, with whatever parameters it takes there."""

    model_config = ConfigDict(**STRICT, extra="allow")
    names = FOREIGN
    hands_on = True
    stages_handed_on = False
