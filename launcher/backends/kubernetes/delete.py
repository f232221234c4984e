"""Removes pods by force, several at a time: a request a pod takes minutes for a thousand."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress

from launcher import objects
from launcher.errors import NotFoundError
from launcher.kube.access import SIDE_BY_SIDE
from launcher.kube.api import KubeApi
from launcher.kube.errors import ConflictError
from launcher.objects import PODS, KubeObject


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
