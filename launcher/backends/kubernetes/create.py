"""Creates the objects of a manifest exactly once, whatever becomes of the answers.

Names and run id are made before the first request, so every request can be sent again: what exists with
our run id is ours, what exists with another is somebody else's.
"""

from __future__ import annotations

from collections.abc import Callable

from launcher.errors import LaunchError, TakenError
from launcher.kinds.base import JobKind
from launcher.kube.api import KubeApi
from launcher.kube.errors import (
    AbsentError,
    ConflictError,
    InvalidError,
    NoAnswerError,
    NotAdmittedError,
    OrphanError,
)
from launcher.objects import (
    CONFIG_MAPS,
    KubeObject,
    Resource,
    is_being_deleted,
    is_owned,
    name_of,
    run_id_of,
    uid_of,
)
from launcher.render.manifest import Manifest

MAX_PAUSE_S = 30.0  # where a server asks for more, the error says so and the user decides
SEEN_WITHIN_S = (0.2, 0.5, 1.0, 2.0)
"""Pauses until a webhook that reads objects from a cache has seen one that was just made."""
PAUSES_S = (0.5, 2.0)  # between tries; an API server that restarts is back in a few seconds


class Creator:
    """Makes and unmakes the objects of one manifest."""

    def __init__(self, api: KubeApi, *, kind: JobKind, pause: Callable[[float], None]) -> None:
        """`kind` is that of the job; `pause` waits between tries, for so many seconds."""
        self._api, self._kind, self._jobs = api, kind, kind.resource
        self._pause = pause

    def create(self, manifest: Manifest, *, namespace: str) -> KubeObject:
        """Make the ConfigMap and what else stands beside the job, then the job, which then owns these.

        All of it or nothing.

        Returns:
            The job as the server has stored it.

        Raises:
            TakenError: Another run has an object of this name.
            NoAnswerError: The cluster fell silent; what it has made stays.
            OrphanError: It refuses, and refuses to delete what was made before.
            LaunchError: It refuses; nothing stays.
        """
        beside = (
            (CONFIG_MAPS, manifest.config_map),
            *zip(self._kind.companions, manifest.companions, strict=True),
        )
        made: list[tuple[Resource, KubeObject]] = []
        try:
            for resource, body in beside:
                made.append((resource, self._make(resource, body, namespace=namespace)[0]))
            job, is_new = self._make_job(manifest.job, namespace=namespace)
        except LaunchError as refusal:
            if _is_unknown(refusal):
                raise  # the job may be there, and would need what is beside it
            self._take_back(*reversed(made), namespace=namespace, refusal=refusal)
            raise
        orphans = [(resource, item) for resource, item in made if not is_owned(item, by=uid_of(job))]
        try:
            for resource, item in orphans:
                self._adopt(resource, item, owner=job, namespace=namespace)
        except NoAnswerError:
            raise
        except LaunchError as refusal:
            if is_new:
                self._take_back((self._jobs, job), *reversed(made), namespace=namespace, refusal=refusal)
            raise
        return job

    def sweep(self, job: KubeObject, *, namespace: str) -> None:
        """Delete what stood beside a deleted job where it has no owner to go with.

        That happens where a submit was killed before its last request.
        """
        name = name_of(job)
        beside = ((CONFIG_MAPS, f"{name}-config"), *((resource, name) for resource in self._kind.companions))
        for resource, its_name in beside:
            try:
                item = self._api.get(resource, its_name, namespace=namespace)
            except AbsentError:
                continue
            if run_id_of(item) == run_id_of(job) and not is_owned(item):
                self._unmake(resource, item, namespace=namespace)

    def _make_job(self, body: KubeObject, *, namespace: str) -> tuple[KubeObject, bool]:
        """Make the job; again where its webhook has not seen yet what was made beside it a moment ago."""
        for pause_s in SEEN_WITHIN_S:
            try:
                return self._make(self._jobs, body, namespace=namespace)
            except InvalidError as error:
                if not self._kind.refused_alone or self._kind.refused_alone not in error.words:
                    raise
            self._pause(pause_s)
        return self._make(self._jobs, body, namespace=namespace)

    def _make(self, resource: Resource, body: KubeObject, *, namespace: str) -> tuple[KubeObject, bool]:
        """Return this run's object, and whether this call has made it."""
        try:
            return self._insist(lambda: self._api.create(resource, body, namespace=namespace)), True
        except LaunchError as error:
            if _is_unknown(error):
                raise
            return self._claim(resource, body, namespace=namespace, refusal=error), False

    def _claim(
        self, resource: Resource, body: KubeObject, *, namespace: str, refusal: LaunchError
    ) -> KubeObject:
        """Return what an earlier request of this run has made.

        Also where the refusal is not that the name is taken: admission checks and quotas speak first.
        """
        try:
            found = self._insist(lambda: self._api.get(resource, name_of(body), namespace=namespace))
        except NoAnswerError:
            raise
        except LaunchError:
            raise refusal from None
        if run_id_of(found) == run_id_of(body):
            return found
        if not isinstance(refusal, ConflictError):
            raise refusal
        fix = "wait until it is gone" if is_being_deleted(found) else _choose_another(resource, name_of(body))
        raise TakenError(
            where=f"{resource.kind} {namespace}/{name_of(body)}",
            expected="a free name",
            got=f"one of run {run_id_of(found) or '(not ours)'!r}",
            fix=fix,
        ) from refusal

    def _insist(self, ask: Callable[[], KubeObject]) -> KubeObject:
        """Send a request that may be sent twice until an answer comes."""
        for pause_s in PAUSES_S:
            try:
                return ask()
            except NoAnswerError as error:
                self._pause(max(pause_s, min(error.retry_after_s, MAX_PAUSE_S)))
        return ask()

    def _adopt(self, resource: Resource, item: KubeObject, *, owner: KubeObject, namespace: str) -> None:
        reference = {
            "apiVersion": owner.get("apiVersion", self._jobs.api_version), "kind": self._jobs.kind,
            "name": name_of(owner), "uid": uid_of(owner),
        }  # fmt: skip
        patch = {"metadata": {"ownerReferences": [reference]}}
        self._insist(lambda: self._api.patch(resource, name_of(item), patch, namespace=namespace))

    def _take_back(self, *made: tuple[Resource, KubeObject], namespace: str, refusal: LaunchError) -> None:
        for resource, item in made:
            try:
                self._unmake(resource, item, namespace=namespace)
            except LaunchError as error:
                raise OrphanError(
                    where=f"{refusal}\n{resource.kind} {namespace}/{name_of(item)}",
                    expected="to take it back",
                    said=error,
                    fix="it stays: delete it with kubectl",
                ) from error

    def _unmake(self, resource: Resource, item: KubeObject, *, namespace: str) -> None:
        try:
            # Else it stays until the garbage collector has looked for what belongs to it, for half a minute
            # where the control plane was away, and its name is taken meanwhile.
            first = resource is not self._jobs or self._kind.goes_first
            self._api.delete(resource, name_of(item), namespace=namespace, uid=uid_of(item), first=first)
        except (AbsentError, ConflictError):
            return


def _is_unknown(error: LaunchError) -> bool:
    """Say whether the cluster may have done what was asked, though no answer came."""
    return isinstance(error, NoAnswerError) and not isinstance(error, NotAdmittedError)


def _choose_another(resource: Resource, name: str) -> str:
    """Say whose a name is: a job's ConfigMap is made before the job, and so is what is met first."""
    if resource != CONFIG_MAPS:
        return "choose another name"
    job = name.removesuffix("-config")
    return f"a job {job!r} is there: choose another name with --name, or `ftlaunch delete {job}` first"
