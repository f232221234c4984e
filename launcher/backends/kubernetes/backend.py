"""The backend: all requests to the cluster. What reads a job is imported late: a submit does without."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Literal

from launcher import objects
from launcher.backends.base import Backend, Cluster, Submission, refuse_to_resume
from launcher.backends.kubernetes.apis import choose_kind, require_served
from launcher.backends.kubernetes.create import Creator
from launcher.backends.kubernetes.kueue import fetch_workloads, read_remarks
from launcher.backends.poll_timer import PollTimer
from launcher.errors import LaunchError, NotFoundError
from launcher.kinds.base import JobKind
from launcher.kinds.pods import node_of
from launcher.kinds.registry import DEFAULT
from launcher.kube.api import KubeApi, PodLogs, PodPrograms
from launcher.kube.client import connect
from launcher.kube.errors import DeniedError, InvalidError
from launcher.names import RUN_ID_LABEL, KindName
from launcher.objects import CONFIG_MAPS, EVENTS, JOBS, PODS, KubeObject
from launcher.plan.handle import BackendKind, Handle

if TYPE_CHECKING:
    from launcher.backends.kubernetes.pods import RestartCounter
    from launcher.backends.states import JobEvent, JobStatus
    from launcher.kube.api import LogClient
    from launcher.kube.async_client import AsyncClient
    from launcher.logs.source import Source
    from launcher.render.manifest import Manifest
    from launcher.volumes.place import Place, Scratch

NAMED = 100
"""Runs in one question, which then is a URL of 4 KiB; proxies take twice that."""
MOST_NAMED = 300
"""For more runs all of a namespace are asked for, 500 in an answer."""


class KubernetesBackend(Backend):
    """Jobs on one cluster, as one identity.

    Attributes:
        namespace: Where jobs go whose manifest names none, and which `list_jobs` looks at.
        context: Of the kubeconfig, or empty.
        api: The cluster's objects, for whoever asks about more than a job.
        logs: What its pods write.
        jobs: The kind of object that its jobs are.
        make_async_client: Makes what follows logs.
    """

    kind: ClassVar[BackendKind] = "kubernetes"
    _rules: KubeObject | None

    def __init__(
        self,
        api: KubeApi,
        logs: PodLogs,
        *,
        namespace: str,
        context: str = "",
        jobs: JobKind = DEFAULT,
        pause: Callable[[float], None] = time.sleep,
    ) -> None:
        self.namespace, self.context = namespace, context
        self.api, self.logs, self.jobs, self.job_kind = api, logs, jobs, jobs.name
        self._pause, self._rules = pause, None
        self._creator = Creator(api, kind=jobs, pause=pause)
        self.programs: PodPrograms | None = None
        self.make_async_client: Callable[[], LogClient] | None = None

    @classmethod
    def connect(
        cls,
        *,
        context: str | None = None,
        namespace: str | None = None,
        kubeconfig: Path | None = None,
        jobs: JobKind = DEFAULT,
    ) -> KubernetesBackend:
        """Make the backend of a kubeconfig's context, or of the cluster that we run in. Sends nothing.

        Raises:
            KubeconfigError: No cluster is configured, or its configuration cannot be used.
        """
        client = connect(context=context, kubeconfig=kubeconfig)
        backend = cls(
            client, client, namespace=namespace or client.namespace, context=client.context, jobs=jobs
        )
        backend.programs = client

        def make_async_client() -> AsyncClient:
            from launcher.kube.async_client import AsyncClient

            return AsyncClient(client)

        backend.make_async_client = make_async_client
        return backend

    @property
    def cluster(self) -> Cluster:
        """See `Backend.cluster`."""
        return Cluster(api=self.api, logs=self.logs, jobs=self.jobs, rules=self._rules)

    def negotiate(
        self,
        wanted: Literal["auto"] | KindName,
        *,
        asks: Collection[tuple[str, ...]] = (),
        queue: str = "",
    ) -> KubernetesBackend:
        """See `Backend.negotiate`, and `launcher.backends.kubernetes.apis` for what is asked."""
        choice = choose_kind(self.api, wanted=wanted, namespace=self.namespace, asks=asks, queue=queue)
        chosen = self
        if choice.kind is not self.jobs:
            chosen = KubernetesBackend(
                self.api, self.logs, namespace=self.namespace, context=self.context, jobs=choice.kind,
                pause=self._pause,
            )  # fmt: skip
            chosen.programs, chosen.make_async_client = self.programs, self.make_async_client
        chosen.job_kind_notes = (choice.why,) if choice.why else ()
        chosen._rules = choice.rules
        return chosen

    @cached_property
    def _restarts(self) -> RestartCounter:
        from launcher.backends.kubernetes.pods import RestartCounter

        return RestartCounter()

    def submit(self, submission: Submission) -> Handle:
        """Post the ConfigMap, then the job, then make the job the ConfigMap's owner; see `Backend.submit`.

        Raises:
            UnservedError: The cluster has no such jobs; nothing was made.
            NoAnswerError: The cluster fell silent. What was made stays, because the job may be among it; a
                second call with the same run id finds it and finishes.
        """
        manifest = submission.manifest
        namespace = manifest.namespace or self.namespace
        require_served(self.api, self.jobs)
        stored = self._creator.create(manifest, namespace=namespace)
        self.remarks = read_remarks(manifest.job, stored, kind=self.jobs)
        return Handle(backend=self.kind, namespace=namespace, job=manifest.name)

    def check(self, submission: Submission) -> tuple[str, ...]:
        """Send both objects as dry runs, strictly; see `Backend.check`."""
        manifest = submission.manifest
        namespace = manifest.namespace or self.namespace
        require_served(self.api, self.jobs)
        self.api.create(CONFIG_MAPS, manifest.config_map, namespace=namespace, dry_run=True)
        for resource, body in zip(self.jobs.companions, manifest.companions, strict=True):
            self.api.create(resource, body, namespace=namespace, dry_run=True)
        kinds, unchecked = ["ConfigMap", *(each.kind for each in self.jobs.companions)], ""
        try:
            self.api.create(self.jobs.resource, manifest.job, namespace=namespace, dry_run=True)
        except InvalidError as error:
            if not self.jobs.refused_alone or self.jobs.refused_alone not in error.words:
                raise  # else all that it lacks is what a dry run does not leave behind
        if (inner := manifest.inner_job) is not None:
            try:
                self.api.create(JOBS, inner, namespace=namespace, dry_run=True)
            except DeniedError:
                unchecked = f"the Job that the {self.jobs.resource.kind} makes, "
        return (
            f"the API server would take the {', the '.join(kinds)} and the {self.jobs.resource.kind} in "
            f"{namespace}: schema, admission",
            f"not checked: {unchecked}images, volumes, secrets, room on the nodes",
        )

    def status(self, handle: Handle) -> JobStatus:
        """See `Backend.status`.

        Two requests, and a third: for the progress once node 0 has started, before that for the events
        where the pods themselves do not say what they wait for; of a queued job for Kueue's Workloads.
        """
        from launcher.backends.kubernetes.progress import fetch_progress
        from launcher.backends.kubernetes.status import AWAITED, MAX_REASON, read_job
        from launcher.backends.states import JobState

        job, listed = self._fetch_all(handle)
        pods, earlier = self.jobs.pods_of(job, listed), self.jobs.earlier_of(job, listed)
        starts = {
            objects.name_of(pod): self._restarts.read(job, pod, earlier=len(earlier.get(node_of(pod), ())))
            for pod in pods
        }
        status = read_job(
            job,
            pods,
            kind=self.jobs,
            restarts={pod: start.number for pod, start in starts.items()},
            progress=fetch_progress(self.logs, pods, starts, container=self.jobs.container),
            queued=fetch_workloads(self.api, job, kind=self.jobs),
        )
        if status.state is JobState.FAILED:
            status = self._name_cause(status, job)
        # an operator that may not make the pods writes no condition, only events
        is_mute = not status.reason or not self.jobs.is_noticed(job)
        warning = self._fetch_warning(handle) if status.state in AWAITED and is_mute else ""
        return replace(status, reason=warning[:MAX_REASON]) if warning else status

    def poll_timer(self, handle: Handle) -> PollTimer:
        """See `Backend.poll_timer`: by two watches, where a user may watch."""
        from launcher.backends.kubernetes.watch import JobWatch

        return JobWatch(self.api, handle, kind=self.jobs)

    def list_jobs(self, run_ids: Sequence[str] = ()) -> tuple[JobStatus, ...]:
        """See `Backend.list_jobs`: two requests for a hundred runs, or for five hundred jobs.

        Without progress, and without the pods of jobs that have ended, which are kept for days: the job says
        that it has ended.
        """
        from launcher.backends.kubernetes.status import read_job

        jobs = [
            job for labels in _selectors(run_ids)
            for job in self.api.list(
                self.jobs.resource, namespace=self.namespace, labels=labels, keep=self.jobs.trim
            )
        ]  # fmt: skip
        going = [objects.run_id_of(job) for job in jobs if self.jobs.ending_of(job) is None]
        pods = [
            pod for labels in (_selectors(going) if going else ())
            for pod in self.api.list(PODS, namespace=self.namespace, labels=labels, keep=objects.trim_pod)
        ]  # fmt: skip
        owned = self.jobs.group_pods(jobs, pods)
        found = []
        for job in jobs:
            own = owned.get(objects.uid_of(job), ())
            restarts = {objects.name_of(pod): self._restarts.read(job, pod).number for pod in own}
            found.append(read_job(job, own, kind=self.jobs, restarts=restarts, progress=None))
        return tuple(sorted(found, key=lambda status: (-status.created_s, status.handle.job)))

    def cancel(self, handle: Handle) -> None:
        """Suspend the job and mark it as cancelled; see `Backend.cancel`.

        The operator then ends all pods with SIGTERM and their full grace period, and makes no new ones
        (observed with training operator v1.9.3). Their logs go with them. A job of a Kueue queue has its
        Workload deactivated as well.
        """
        from launcher.backends.kubernetes.kueue import suspend_job
        from launcher.backends.kubernetes.status import read_job

        job = self._fetch_job(handle)
        if not read_job(job, (), kind=self.jobs, restarts={}, progress=None).state.is_terminal:
            suspend_job(self.api, job, kind=self.jobs)

    def resume(self, handle: Handle) -> None:
        """Let the operator make the pods again, and forget the cancelling; see `Backend.resume`.

        A job of a Kueue queue has its Workload activated, and starts when that queue has room.
        """
        from launcher.backends.kubernetes.kueue import resume_job
        from launcher.backends.kubernetes.status import read_job
        from launcher.backends.states import JobState

        job, pods = self._fetch(handle)
        state = read_job(job, pods, kind=self.jobs, restarts={}, progress=None).state
        suspended = self.jobs.is_suspended(job)
        if suspended and state in (JobState.CANCELLED, JobState.SUSPENDED, JobState.QUEUED):
            resume_job(self.api, job, kind=self.jobs)
        else:
            refuse_to_resume(handle, state, stopping=suspended and not state.is_terminal)

    def delete(self, handle: Handle, *, force: bool = False) -> None:
        """Delete the job, its pods first; the ConfigMap goes with its owner. See `Backend.delete`."""
        job, pods = self._fetch(handle)
        uid, first = objects.uid_of(job), self.jobs.goes_first
        self.api.delete(self.jobs.resource, handle.job, namespace=handle.namespace, uid=uid, first=first)
        self._creator.sweep(job, namespace=handle.namespace)
        if force:
            from launcher.backends.kubernetes.delete import remove_at_once

            remove_at_once(self.api, pods, namespace=handle.namespace)

    def collect_orphans(self, handle: Handle, *, run_id: str, now_s: float) -> bool:
        """See `Backend.collect_orphans`."""
        from launcher.backends.kubernetes.delete import sweep_config_map

        return sweep_config_map(
            self.api, handle.job, kind=self.jobs, run_id=run_id, namespace=handle.namespace, now_s=now_s
        )

    def list_events(self, handle: Handle) -> tuple[JobEvent, ...]:
        """See `Backend.list_events`; the API keeps them for an hour by default."""
        from launcher.backends.kubernetes.events import read_events, trim_event

        self._fetch_job(handle)
        found = self.api.list(EVENTS, namespace=handle.namespace, keep=trim_event)
        return read_events(found, job=handle.job, kind=self.jobs)

    def command_in(self, handle: Handle, *, node: int, command: Sequence[str], terminal: bool) -> list[str]:
        """See `Backend.command_in`; by kubectl."""
        where = ["--namespace", handle.namespace, *(["--context", self.context] if self.context else [])]
        options = ["--stdin", *(["--tty"] if terminal else []), "--container", self.jobs.container]
        return ["kubectl", *where, "exec", *options, self._pod_name(handle, node), "--", *command]

    def open_folder(self, handle: Handle, path: str, *, manifest: Manifest) -> AbstractContextManager[Place]:
        """See `Backend.open_folder`: in node 0's pod while it runs, else in a pod that lives as long."""
        from launcher.backends.kubernetes.transfer_pod import open_of_job

        programs = self._need_programs()
        try:
            job, pods = self._fetch(handle)
        except NotFoundError:  # its volumes may well be there
            job, pods = manifest.job, ()
        return open_of_job(
            self.api, programs, namespace=handle.namespace, pods=pods, job=job,
            beside=manifest.companions, kind=self.jobs, path=path,
        )  # fmt: skip

    def open_claim(
        self, claim: str, path: str, *, image: str, run_as: Mapping[str, int], read_only: bool,
        scratch: Scratch | None = None,
    ) -> AbstractContextManager[Place]:  # fmt: skip
        """See `Backend.open_claim`: in a pod that mounts it for as long."""
        from launcher.backends.kubernetes.transfer_pod import open_claim

        return open_claim(
            self.api, self._need_programs(), claim, path, namespace=self.namespace, image=image,
            run_as=run_as, read_only=read_only, scratch=scratch,
        )  # fmt: skip

    def _need_programs(self) -> PodPrograms:
        """Return what runs programs in pods.

        Raises:
            VolumeError: This backend was made without, as by whoever gives it a client of theirs.
        """
        if self.programs is None:
            from launcher.volumes.place import VolumeError

            raise VolumeError("no program can be run in its pods", where=self.namespace)
        return self.programs

    def log_source(self, handle: Handle) -> Source:
        """See `Backend.log_source`."""
        from launcher.backends.kubernetes.logsource import KubernetesLogSource

        assert self.make_async_client is not None
        return KubernetesLogSource(self.make_async_client(), handle, kind=self.jobs)

    def _pod_name(self, handle: Handle, node: int) -> str:
        """Return the name of a node's pod, without a request where the kind's names can be known."""
        if (name := self.jobs.pod_name(handle.job, node)) is not None:
            return name
        _, pods = self._fetch(handle)
        found = next((objects.name_of(pod) for pod in pods if node_of(pod) == node), None)
        if found is None:
            raise NotFoundError(
                where=handle, expected=f"a pod of node {node}", got="none", fix="see `ftlaunch status`"
            )
        return found

    def _fetch_job(self, handle: Handle) -> KubeObject:
        job = self.api.get(self.jobs.resource, handle.job, namespace=handle.namespace)
        if not objects.run_id_of(job):
            raise NotFoundError(
                where=handle,
                expected="a job of ours",
                got=f"one without the label {RUN_ID_LABEL}",
                fix="use kubectl",
            )
        return job

    def _fetch(self, handle: Handle) -> tuple[KubeObject, tuple[KubeObject, ...]]:
        job, pods = self._fetch_all(handle)
        return job, self.jobs.pods_of(job, pods)

    def _fetch_all(self, handle: Handle) -> tuple[KubeObject, tuple[KubeObject, ...]]:
        """Return the job, and all pods of its name: also those before the present ones, and a namesake's."""
        job = self._fetch_job(handle)
        labels = self.jobs.pod_selector(handle.job)
        return job, self.api.list(PODS, namespace=handle.namespace, labels=labels, keep=objects.trim_pod)

    def _name_cause(self, status: JobStatus, job: KubeObject) -> JobStatus:
        """Say of a failed job what the Job inside it says, where no pod says more."""
        ending, inner = self.jobs.ending_of(job), self.jobs.inner_job_name(status.handle.job)
        if ending is None or inner is None or status.reason != ending.message:
            return status
        try:
            found = self.api.get(JOBS, inner, namespace=status.handle.namespace)
        except LaunchError:  # gone with its deadline, or not for us to see
            return status
        failed = objects.conditions_of(found).get("Failed")
        return status if failed is None else replace(status, reason=f"{failed.reason}: {failed.message}")

    def _fetch_warning(self, handle: Handle) -> str:
        from launcher.backends.kubernetes.events import WARNINGS, last_warning

        try:
            events = self.api.list(EVENTS, namespace=handle.namespace, fields=WARNINGS)
        except LaunchError:  # a missing rule must not hide how the job stands
            return ""
        return last_warning(events, job=handle.job, kind=self.jobs)


def _selectors(run_ids: Sequence[str]) -> Iterator[str]:
    if not run_ids or len(run_ids) > MOST_NAMED:
        yield RUN_ID_LABEL
        return
    for begin in range(0, len(run_ids), NAMED):
        yield f"{RUN_ID_LABEL} in ({','.join(run_ids[begin : begin + NAMED])})"
