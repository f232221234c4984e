"""All kinds of job objects."""

from __future__ import annotations

from launcher.kinds.base import JobKind
from launcher.kinds.job import PlainJob
from launcher.kinds.jobset import JobSet
from launcher.kinds.paddlejob import PaddleJob
from launcher.kinds.trainjob import TrainJob
from launcher.names import EARLIER_NAMES
from launcher.objects import KubeObject

PADDLE_JOB = PaddleJob()
JOB_SET = JobSet()
PLAIN_JOB = PlainJob()
TRAIN_JOB = TrainJob()
KINDS: tuple[JobKind, ...] = (PADDLE_JOB, JOB_SET, PLAIN_JOB, TRAIN_JOB)
"""All, as `Launch.api: auto` prefers them."""
DEFAULT = PADDLE_JOB
"""What `auto` is where no cluster is asked: by `render`, and for docker and local."""


def kind_named(name: str) -> JobKind:
    """Return a kind by its name in configs and records, an earlier one too.

    Raises:
        KeyError: There is none.
    """
    known: dict[str, JobKind] = {kind.name: kind for kind in KINDS}
    return known[EARLIER_NAMES.get(name, name)]


def find_kind(job: KubeObject) -> JobKind | None:
    """Return the kind that an object is of, by its `apiVersion` and `kind`; None for another object."""
    said = (job.get("apiVersion"), job.get("kind"))
    return next((kind for kind in KINDS if (kind.resource.api_version, kind.resource.kind) == said), None)
