"""All kinds of job objects, and those that a job may be submitted as."""

from __future__ import annotations

from launcher.kinds.base import JobKind
from launcher.kinds.job import PlainJob
from launcher.kinds.kubeflow import PaddleJob
from launcher.objects import KubeObject

PADDLE_JOB = PaddleJob()
PLAIN_JOB = PlainJob()
KINDS: tuple[JobKind, ...] = (PADDLE_JOB, PLAIN_JOB)
"""All that can be rendered and read."""
OFFERED: tuple[JobKind, ...] = (PADDLE_JOB,)
"""Those that `Launch.api` names, as `auto` prefers them: the whole way was run on a cluster."""
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
