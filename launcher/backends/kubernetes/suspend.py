"""Stops a job for good and takes it up again, by `suspend` and, under Kueue, by its Workload."""

from __future__ import annotations

from launcher import objects
from launcher.backends.kubernetes.kueue import set_active
from launcher.kube import paddlejob
from launcher.kube.api import KubeApi
from launcher.objects import PADDLE_JOBS, KubeObject

CANCEL = {
    "metadata": {"annotations": {paddlejob.CANCELLED_ANNOTATION: "true"}},
    "spec": {"runPolicy": {"suspend": True}},
}
_FORGET = {"metadata": {"annotations": {paddlejob.CANCELLED_ANNOTATION: None}}}
RESUME = {**_FORGET, "spec": {"runPolicy": {"suspend": False}}}


def stop(api: KubeApi, job: KubeObject) -> None:
    """Suspend a job and mark it as cancelled; Kueue first, which would start it again.

    Raises:
        DeniedError: We may not; nothing was changed.
    """
    is_held = set_active(api, job, active=False)
    _patch(api, job, CANCEL)
    if not is_held:  # Kueue makes the Workload a moment after the job
        set_active(api, job, active=False)


def take_up(api: KubeApi, job: KubeObject) -> None:
    """Let a job have pods again, and forget that it was cancelled; under Kueue when there is room.

    Raises:
        DeniedError: We may not; nothing was changed.
    """
    is_queued = set_active(api, job, active=True)
    _patch(api, job, _FORGET if is_queued else RESUME)


def _patch(api: KubeApi, job: KubeObject, body: KubeObject) -> None:
    namespace = str(job["metadata"]["namespace"])
    api.patch(PADDLE_JOBS, objects.name_of(job), body, namespace=namespace)
