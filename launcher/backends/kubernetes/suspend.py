"""Stops a job for good and takes it up again, by `suspend` and, under Kueue, by its Workload."""

from __future__ import annotations

from launcher import objects
from launcher.backends.kubernetes.kueue import set_active
from launcher.kinds.base import CANCELLED_ANNOTATION, JobKind
from launcher.kube.api import KubeApi
from launcher.objects import KubeObject

_CANCELLED = {"metadata": {"annotations": {CANCELLED_ANNOTATION: "true"}}}
_FORGET = {"metadata": {"annotations": {CANCELLED_ANNOTATION: None}}}


def stop(api: KubeApi, job: KubeObject, *, kind: JobKind) -> None:
    """Suspend a job and mark it as cancelled; Kueue first, which would start it again.

    Raises:
        DeniedError: We may not; nothing was changed.
    """
    is_held = set_active(api, job, active=False)
    _patch(api, job, _CANCELLED | kind.suspend_patch(suspend=True), kind)
    if not is_held:  # Kueue makes the Workload a moment after the job
        set_active(api, job, active=False)


def take_up(api: KubeApi, job: KubeObject, *, kind: JobKind) -> None:
    """Let a job have pods again, and forget that it was cancelled; under Kueue when there is room.

    Raises:
        DeniedError: We may not; nothing was changed.
    """
    is_queued = set_active(api, job, active=True)
    _patch(api, job, _FORGET if is_queued else _FORGET | kind.suspend_patch(suspend=False), kind)


def _patch(api: KubeApi, job: KubeObject, body: KubeObject, kind: JobKind) -> None:
    namespace = str(job["metadata"]["namespace"])
    api.patch(kind.resource, objects.name_of(job), body, namespace=namespace)
