"""What is taken away: pods by force, and ConfigMaps that an interrupted submit has left without a job.

A ConfigMap is made before its job, and goes with it once the job owns it. One that is left was made by a
submit that was killed between the two. It is ours to delete only where it carries a run id that is known to
be ours.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from contextlib import suppress

from launcher import objects
from launcher.errors import NotFoundError
from launcher.kinds.base import JobKind
from launcher.kinds.registry import KINDS
from launcher.kube.access import SIDE_BY_SIDE
from launcher.kube.api import KubeApi
from launcher.kube.errors import AbsentError, ConflictError, DeniedError
from launcher.names import RUN_ID_LABEL
from launcher.objects import CONFIG_MAPS, PODS, KubeObject, created_s, is_owned, name_of, run_id_of, uid_of
from launcher.times import STALE_S


def remove_at_once(api: KubeApi, pods: Sequence[KubeObject], *, namespace: str) -> None:
    """Remove pods without waiting for their nodes; those that are gone or made again are left alone.

    Raises:
        LaunchError: The cluster refuses it, or has fallen silent; see `launcher.kube.failures`.
    """

    def remove(pod: KubeObject) -> None:
        with suppress(NotFoundError, ConflictError):  # it ended by itself meanwhile
            name, uid = objects.name_of(pod), objects.uid_of(pod)
            api.delete(PODS, name, namespace=namespace, uid=uid, at_once=True)

    if len(pods) <= SIDE_BY_SIDE:
        for pod in pods:
            remove(pod)
        return
    from concurrent.futures import ThreadPoolExecutor

    with ThreadPoolExecutor(SIDE_BY_SIDE) as pool:
        for _ in pool.map(remove, pods):  # raises what one of them has raised
            pass


SUFFIX = "-config"


def sweep_config_map(
    api: KubeApi, job: str, *, kind: JobKind, run_id: str, namespace: str, now_s: float
) -> bool:
    """Delete the ConfigMap of a run whose job was never made, and say whether there was one.

    What its kind has beside it goes too. Only where it carries this very run id, is older than an hour, and
    has neither owner nor job.

    Args:
        api: Of the cluster.
        job: Name of the job.
        kind: Of the job.
        run_id: Of the run. Whose record we do not have is not ours to sweep.
        namespace: Where.
        now_s: Unix time.
    """
    try:
        found = api.get(CONFIG_MAPS, f"{job}{SUFFIX}", namespace=namespace)
    except AbsentError:
        return False
    if run_id_of(found) != run_id or is_owned(found) or now_s - created_s(found) < STALE_S:
        return False
    if _is_there(api, kind, job, run_id=run_id, namespace=namespace):
        return False
    for resource in kind.companions:
        with suppress(AbsentError, ConflictError):
            item = api.get(resource, job, namespace=namespace)
            if run_id_of(item) == run_id and not is_owned(item):
                api.delete(resource, job, namespace=namespace, uid=uid_of(item))
    try:
        api.delete(CONFIG_MAPS, name_of(found), namespace=namespace, uid=uid_of(found))
    except (AbsentError, ConflictError):
        return False
    return True


def find_orphans(api: KubeApi, *, namespace: str, now_s: float, ours: Iterable[str] = ()) -> tuple[str, ...]:
    """Return the names of stale ConfigMaps without a job that are not of runs of ours.

    Args:
        api: Of the cluster.
        namespace: Where.
        now_s: Unix time.
        ours: Run ids that are left out.
    """
    config_maps = api.list(CONFIG_MAPS, namespace=namespace, labels=RUN_ID_LABEL, metadata_only=True)
    old = [item for item in config_maps if not is_owned(item) and now_s - created_s(item) >= STALE_S]
    if not old:
        return ()
    alive = set(ours)
    for kind in KINDS:
        with suppress(AbsentError, DeniedError):  # not served, or not for this user
            jobs = api.list(kind.resource, namespace=namespace, labels=RUN_ID_LABEL, metadata_only=True)
            alive |= {run_id_of(job) for job in jobs}
    return tuple(name_of(item) for item in old if run_id_of(item) not in alive)


def _is_there(api: KubeApi, kind: JobKind, job: str, *, run_id: str, namespace: str) -> bool:
    try:
        return run_id_of(api.get(kind.resource, job, namespace=namespace)) == run_id
    except AbsentError:
        return False
