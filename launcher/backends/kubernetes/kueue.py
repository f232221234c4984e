"""Stops jobs and resumes them through `suspend`, and asks Kueue, which decides on that for its queues.

A job that is suspended by hand while its Workload is admitted is started again. What keeps it stopped is
`spec.active: false` of the Workload: Kueue then suspends the job and does not queue it again; true queues
it anew (kueue.sigs.k8s.io, concepts "Workload", "Active"; kubernetes-sigs/kueue pull request 1252).
"""

from __future__ import annotations

import os

from launcher import objects
from launcher.errors import LaunchError
from launcher.kinds.base import CANCELLED_ANNOTATION, JobKind
from launcher.kube.api import KubeApi
from launcher.kube.errors import AbsentError, DeniedError, NoAnswerError, NotAdmittedError
from launcher.names import QUEUE_LABEL
from launcher.objects import (
    CLUSTER_QUEUES,
    CLUSTER_QUEUES_V1BETA2,
    COHORTS,
    COHORTS_V1BETA2,
    CONFIG_MAPS,
    LOCAL_QUEUES,
    LOCAL_QUEUES_V1BETA2,
    WORKLOADS,
    WORKLOADS_V1BETA2,
    KubeObject,
    Resource,
)

WORKLOAD_KINDS = (WORKLOADS_V1BETA2, WORKLOADS)
MAX_WORKLOADS = 500
_NEWEST_FIRST = {
    "workloads": WORKLOAD_KINDS,
    "localqueues": (LOCAL_QUEUES_V1BETA2, LOCAL_QUEUES),
    "clusterqueues": (CLUSTER_QUEUES_V1BETA2, CLUSTER_QUEUES),
    "cohorts": (COHORTS_V1BETA2, COHORTS),
}
"""The newest is the one that is stored: the older ones take a webhook of Kueue's, which may be away."""


def find_kind(api: KubeApi, plural: str = "workloads") -> Resource | None:
    """Return one of Kueue's kinds in the newest version that the cluster serves; None without Kueue."""
    return next((kind for kind in _NEWEST_FIRST[plural] if api.serves(kind)), None)


SETTINGS = ("kueue-system", "kueue-manager-config", "controller_manager_config.yaml")
"""Namespace, ConfigMap and key of Kueue's configuration, as its manifests and its chart install them."""


def looks_after(api: KubeApi, kind: JobKind, *, namespace: str, queue: str = "") -> bool | None:
    """Say whether Kueue decides when jobs of a kind start here; None where this user cannot see it.

    PaddleJobs are off in Kueue's own configuration, and a job that Kueue does not look after starts at once,
    whatever queue it names. What its webhook does to a job that is stored as a dry run tells it for this very
    namespace, and takes no right but to create such jobs. Where that is refused, Kueue's configuration tells
    it, which few users may read, and else a Workload of such a job that is here already. At most three
    requests, mostly one.

    Args:
        api: The cluster.
        kind: Of the jobs.
        namespace: Where they are to go.
        queue: The LocalQueue that they are to name; any name does.
    """
    if find_kind(api) is None:
        return False
    try:
        held = holds_sample(api, kind, namespace=namespace, queue=queue)
    except NotAdmittedError:  # the webhook of the kind's own controller is away: it tells nothing of Kueue
        held = None
    if held is not None:
        return held
    frameworks = read_frameworks(api)
    if frameworks is not None:
        return kind.kueue_framework in frameworks
    return True if _has_workload(api, kind, namespace=namespace) else None


def holds_sample(api: KubeApi, kind: JobKind, *, namespace: str, queue: str = "") -> bool | None:
    """Store a small job of a kind as a dry run, and say whether Kueue's webhook suspends it.

    None where that shows nothing: no such job can be made, we may not, or a quota or another admission check
    speaks first.

    Raises:
        NotAdmittedError: A webhook does not answer, so that no job of the kind can be made now.
        NoAnswerError: The cluster does not.
    """
    sample = kind.sample(f"ftlaunch-{os.urandom(3).hex()}", labels={QUEUE_LABEL: queue or "any"})
    if sample is None:
        return None
    try:
        return kind.is_suspended(api.create(kind.resource, sample, namespace=namespace, dry_run=True))
    except NoAnswerError:
        raise
    except LaunchError:
        return None


def read_frameworks(api: KubeApi) -> frozenset[str] | None:
    """Return the kinds that Kueue is configured to look after, by its own names; None where it is hidden."""
    import yaml

    namespace, name, key = SETTINGS
    try:
        text = (api.get(CONFIG_MAPS, name, namespace=namespace).get("data") or {}).get(key)
        settings = yaml.safe_load(text) if isinstance(text, str) else None
    except NoAnswerError:
        raise
    except (LaunchError, yaml.YAMLError):
        return None
    integrations = settings.get("integrations") if isinstance(settings, dict) else None
    listed = integrations.get("frameworks") if isinstance(integrations, dict) else None
    return frozenset(map(str, listed)) if isinstance(listed, list) else None


def _has_workload(api: KubeApi, kind: JobKind, *, namespace: str) -> bool:
    found = find_kind(api)
    try:
        listed = () if found is None else api.list(
            found, namespace=namespace, at_most=MAX_WORKLOADS, metadata_only=True
        )  # fmt: skip
    except NoAnswerError:
        raise
    except LaunchError:
        return False
    owners = (owner for item in listed for owner in item["metadata"].get("ownerReferences") or ())
    return any(
        (owner.get("apiVersion"), owner.get("kind")) == (kind.resource.api_version, kind.resource.kind)
        for owner in owners
    )


def fetch_workloads(api: KubeApi, job: KubeObject, *, kind: JobKind) -> tuple[KubeObject, ...]:
    """Return the Workloads among which a queued job waits; none of another job, nor where they are hidden."""
    from launcher.backends.kubernetes.workloads import reduce_workload

    if not kind.is_queued(job) or kind.is_cancelled(job):
        return ()
    try:
        found = find_kind(api)
        namespace = str(job["metadata"]["namespace"])
        if found is None:
            return ()
        return api.list(found, namespace=namespace, at_most=MAX_WORKLOADS, keep=reduce_workload)
    except NoAnswerError:
        raise
    except LaunchError:  # they only make a sentence better
        return ()


def read_remarks(sent: KubeObject, stored: KubeObject, *, kind: JobKind) -> tuple[str, ...]:
    """Say what Kueue has made of a job while it was stored, where nobody has asked for that.

    Its webhook suspends each job of a namespace whose jobs it manages (`manageJobsWithoutQueueName`), and
    puts it into the LocalQueue `default` where there is one (kubernetes-sigs/kueue v0.17.0,
    pkg/controller/jobframework/defaults.go).
    """
    queue = objects.queue_of(stored)
    if not kind.is_suspended(stored) or kind.is_suspended(sent) or objects.queue_of(sent):
        return ()
    if queue:
        return (f"note: Kueue manages all jobs here, and has put it into queue {queue!r}",)
    name = objects.name_of(stored)
    return (
        "warning: it was suspended while it was stored, as Kueue does where it manages all jobs and one names"
        f" no queue; set Launch.queue.kueue, `ftlaunch why {name}` says more",
    )


def set_active(api: KubeApi, job: KubeObject, *, active: bool) -> bool:
    """Let Kueue run a job or hold it; say whether it has a Workload.

    Raises:
        DeniedError: We may not; nothing was changed.
    """
    queue = objects.queue_of(job)
    kind = find_kind(api) if queue else None
    if kind is None:
        return False
    namespace = str(job["metadata"]["namespace"])
    try:
        listed = api.list(kind, namespace=namespace)
        own = [item for item in listed if objects.is_owned(item, by=objects.uid_of(job))]
        for item in own:
            api.patch(kind, objects.name_of(item), {"spec": {"active": active}}, namespace=namespace)
    except AbsentError:
        return False
    except DeniedError as error:
        effect = "would start it again" if not active else "holds it back"
        raise DeniedError(
            where=objects.name_of(job),
            expected=f"to be allowed to change its Workload, because queue {queue!r} of Kueue {effect}",
            got=error.finding,
            fix=f"nothing was changed: {error.fix} (k8s/rbac/kueue.yaml)",
        ) from error
    return bool(own)


_CANCELLED = {"metadata": {"annotations": {CANCELLED_ANNOTATION: "true"}}}
_FORGET = {"metadata": {"annotations": {CANCELLED_ANNOTATION: None}}}


def suspend_job(api: KubeApi, job: KubeObject, *, kind: JobKind) -> None:
    """Suspend a job and mark it as cancelled; Kueue first, which would start it again.

    Raises:
        DeniedError: We may not; nothing was changed.
    """
    is_held = set_active(api, job, active=False)
    _patch(api, job, _CANCELLED | kind.suspend_patch(suspend=True), kind)
    if not is_held:  # Kueue makes the Workload a moment after the job
        set_active(api, job, active=False)


def resume_job(api: KubeApi, job: KubeObject, *, kind: JobKind) -> None:
    """Let a job have pods again, and forget that it was cancelled; under Kueue when there is room.

    Raises:
        DeniedError: We may not; nothing was changed.
    """
    is_queued = set_active(api, job, active=True)
    _patch(api, job, _FORGET if is_queued else _FORGET | kind.suspend_patch(suspend=False), kind)


def _patch(api: KubeApi, job: KubeObject, body: KubeObject, kind: JobKind) -> None:
    namespace = str(job["metadata"]["namespace"])
    api.patch(kind.resource, objects.name_of(job), body, namespace=namespace)
