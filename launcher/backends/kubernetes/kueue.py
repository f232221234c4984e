"""Jobs of a Kueue queue: Kueue decides when they have pods, through `suspend`, so we ask Kueue.

A job that is suspended by hand while its Workload is admitted is started again. What keeps it stopped is
`spec.active: false` of the Workload: Kueue then suspends the job and does not queue it again; true queues it
anew (kueue.sigs.k8s.io, concepts "Workload", "Active"; kubernetes-sigs/kueue pull request 1252).
"""

from __future__ import annotations

from launcher.kube import paddlejob
from launcher.kube.api import KubeApi
from launcher.kube.errors import AbsentError, DeniedError
from launcher.kube.resources import WORKLOADS, WORKLOADS_V1BETA2, KubeObject, Resource


def find_kind(api: KubeApi) -> Resource | None:
    """Return the kind of Workloads that the cluster serves, the newest; None where there is no Kueue."""
    return next((kind for kind in (WORKLOADS_V1BETA2, WORKLOADS) if api.serves(kind)), None)


def set_active(api: KubeApi, job: KubeObject, *, active: bool) -> bool:
    """Let Kueue run a job or hold it; say whether it has a Workload.

    Raises:
        DeniedError: We may not; nothing was changed.
    """
    queue = paddlejob.queue_of(job)
    kind = find_kind(api) if queue else None
    if kind is None:
        return False
    namespace = str(job["metadata"]["namespace"])
    try:
        listed = api.list(kind, namespace=namespace)
        own = [item for item in listed if paddlejob.is_owned(item, by=paddlejob.uid_of(job))]
        for item in own:
            api.patch(kind, paddlejob.name_of(item), {"spec": {"active": active}}, namespace=namespace)
    except AbsentError:
        return False
    except DeniedError as error:
        _, _, rule = str(error).rpartition("; ")
        effect = "would start it again" if not active else "holds it back"
        raise DeniedError(
            f"{paddlejob.name_of(job)}: expected to be allowed to change its Workload, because queue "
            f"{queue!r} of Kueue {effect}, got {error}; nothing was changed: {rule} (k8s/rbac/kueue.yaml)"
        ) from error
    return bool(own)
