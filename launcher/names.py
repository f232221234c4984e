"""Names and ids of jobs. Pure but for `new_run_id` and `new_secret`, which draw."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from typing import Literal, get_args

from trainer.protocol.jobnames import MAX_PREFIX, job_name, to_dns_label

RUN_ID_LABEL = "ftlaunch.io/run-id"
SUBMITTED_BY = "ftlaunch.io/submitted-by"
"""Annotation of job objects: who has submitted it, as their own machine calls them. A word, and no proof."""
SWEEP_LABEL = "ftlaunch.io/sweep"
"""Label of all objects of a trial: the study that it is of."""
MIN_NODES = "ftlaunch.io/min-nodes"
"""Annotation of a job: pods with which it trains, where it may do with fewer than it asks for."""
PROGRESS = "ftlaunch.io/progress"
"""Annotation of a job or of node 0's pod: what stands in a progress line, where somebody keeps it there."""
QUEUE_LABEL = "kueue.x-k8s.io/queue-name"
TOPOLOGY_ANNOTATION = "kueue.x-k8s.io/podset-{}-topology"
"""Annotation of pods, with `required` or `preferred` in it, whose value is the node label of a level."""
KindName = Literal["paddlejob", "jobset", "job", "trainjob"]
"""Kinds of job objects (`launcher.kinds`), as `Launch.api` and the records of runs have them."""
KIND_NAMES: tuple[KindName, ...] = get_args(KindName)
EARLIER_NAMES: Mapping[str, KindName] = {"kubeflow": "paddlejob"}
"""Names of before there were several kinds; they stay, in configs and in records of runs."""
MAX_JOB_NAME = 52  # pods and services are `<job>-worker-<i>` with up to 4 digits, at most 63 characters

__all__ = [
    "EARLIER_NAMES", "KIND_NAMES", "MAX_JOB_NAME", "MAX_PREFIX", "MIN_NODES", "PROGRESS", "QUEUE_LABEL",
    "RUN_ID_LABEL", "SUBMITTED_BY", "SWEEP_LABEL", "TOPOLOGY_ANNOTATION", "KindName", "is_dns_label",
    "is_run_id", "job_name", "new_run_id", "new_secret", "to_dns_label",
]  # fmt: skip

_RUN_ID = re.compile(r"[0-9a-f]{32}")
_LABEL = re.compile(r"[a-z]([a-z0-9-]*[a-z0-9])?")


def new_run_id() -> str:
    """Draw a run id: 128 random bits as 32 hexadecimal digits."""
    return os.urandom(16).hex()


def new_secret() -> str:
    """Draw what only the pods of a run know: 256 random bits as 64 hexadecimal digits."""
    return os.urandom(32).hex()


def is_run_id(text: str) -> bool:
    """Say whether `text` has the form of a run id."""
    return _RUN_ID.fullmatch(text) is not None


def is_dns_label(text: str) -> bool:
    """Say whether `text` is a DNS-1035 label of at most `MAX_JOB_NAME` characters."""
    return len(text) <= MAX_JOB_NAME and _LABEL.fullmatch(text) is not None
