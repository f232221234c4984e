"""Keywords that several functions take, with their types, for editors and type checkers.

Each is a field of what the use case takes, whose docstring says what it means; tests/ftlaunch/
test_keywords.py holds names, types and defaults equal. They stand here again because those modules are
imported late, and a type checker reads no dataclass as keywords. `help`, editors and the reference show them
as parameters.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal, TypedDict

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from launcher.config.recipe import PresetName
    from launcher.names import KindName
    from launcher.sweep.study import Goal, PrunerName, SamplerName


class SubmitKeywords(TypedDict, total=False):
    """Of `submit` and `render`: fields of `launcher.jobs.options.SubmitOptions`."""

    name: str | None
    image: str | None
    nodes: int | None
    gpus: int | None
    gpu_ids: Sequence[str] | None
    procs_per_node: int | Literal["auto"] | None
    volumes: Sequence[Mapping[str, object]]
    code: str | None
    namespace: str | None
    context: str | None
    api: Literal["auto"] | KindName | None
    runtime: str | None
    strict: bool
    overwrite: bool
    parent: str | None
    require_gpu: bool
    require_restricted: bool
    preflight: bool
    run_id: str | None
    template_dirs: Sequence[Path]


class InitKeywords(TypedDict, total=False):
    """Of `init`: fields of `launcher.jobs.new_config.NewConfig`."""

    preset: PresetName
    arch: str | None
    image_size: int | None
    epochs: int | None
    gpus: int
    nodes: int
    image: str | None
    name: str | None


class SweepKeywords(TypedDict, total=False):
    """Of `sweep`: fields of `launcher.sweep.begin.SweepRequest`."""

    name: str | None
    sampler: SamplerName | None
    prune: PrunerName | None
    trials: int | None
    parallel: int | None
    metric: str | None
    goal: Goal | None
    seed: int | None
    per_gpu: int | None
    against: str | None


class ClaimKeywords(TypedDict, total=False):
    """Of what deals with a claim: fields of `launcher.jobs.data.ClaimTarget`."""

    namespace: str | None
    context: str | None
    image: str | None
    user: int
    group: int


DEFAULTS: Mapping[type, Mapping[str, object]] = {
    SubmitKeywords: {
        "volumes": (), "strict": False, "overwrite": False, "require_gpu": False, "require_restricted": False,
        "preflight": True, "template_dirs": (),
    },
    InitKeywords: {"preset": "good", "gpus": 0, "nodes": 1},
    SweepKeywords: {},
    ClaimKeywords: {"user": 1000, "group": 1000},
}  # fmt: skip
"""What counts where a keyword is left out; None where it is not named here."""


def annotations_of(kind: type) -> Mapping[str, str]:
    """Return the types of a class's keywords, as they are written."""
    return {name: _written(text) for name, text in kind.__annotations__.items()}


def _written(annotation: Any) -> str:
    # TypedDict wraps the text of an annotation that is not evaluated.
    return str(getattr(annotation, "__forward_arg__", annotation))
