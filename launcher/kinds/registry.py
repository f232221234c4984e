"""All kinds of job objects, in the order in which `Launch.api: auto` prefers them."""

from __future__ import annotations

from launcher.kinds.base import JobKind
from launcher.kinds.kubeflow import PaddleJob
from launcher.objects import KubeObject

PADDLE_JOB = PaddleJob()
KINDS: tuple[JobKind, ...] = (PADDLE_JOB,)
DEFAULT = PADDLE_JOB
"""Where no cluster is asked: by `render`, and for docker and local."""


def kind_named(name: str) -> JobKind:
    """Return a kind by its name in configs and records.

    Raises:
        KeyError: There is none.
    """
    return {kind.name: kind for kind in KINDS}[name]  # type: ignore[index]  # checked by who read it


def find_kind(job: KubeObject) -> JobKind | None:
    """Return the kind that an object is of, by its `apiVersion` and `kind`; None for another object."""
    said = (job.get("apiVersion"), job.get("kind"))
    return next((kind for kind in KINDS if (kind.resource.api_version, kind.resource.kind) == said), None)
