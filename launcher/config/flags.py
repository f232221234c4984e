"""Flags of the command line that stand for keys of `Launch`, apart from its models, which import slowly."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, kw_only=True, slots=True)
class Flags:
    """Flags that stand for keys of `Launch`; None where they were not given.

    Attributes:
        volumes: Mappings as in `Launch.volumes`; one with the mount of a volume in the file replaces it.
        gpu_ids: GPUs of this machine by name, for docker and local; `gpus` is then their number.
    """

    image: str | None = None
    nodes: int | None = None
    gpus: int | None = None
    procs_per_node: int | Literal["auto"] | None = None
    namespace: str | None = None
    context: str | None = None
    api: str | None = None
    code: str | None = None
    volumes: tuple[dict[str, object], ...] = ()
    gpu_ids: tuple[str, ...] | None = None
