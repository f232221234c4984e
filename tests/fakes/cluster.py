"""A cluster in memory, at our own seam: `KubeApi` and `PodLogs`, with state, refusals and faults.

It plays the API server, its garbage collector and the controllers of jobs; a test plays the kubelet
(`start_pod`, `write_log`, `finish_pod`) and the network (`lose_answer`, `time_out`, `refuse`). What it does
not know it refuses.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timezone
from typing import Protocol, TypeVar, cast

from launcher.kinds.registry import find_kind
from launcher.kube.api import Keep, whole
from launcher.kube.errors import NoAnswerError
from launcher.kube.failures import RequestContext, Verb, read_failure
from launcher.kube.watch import WatchEvent
from launcher.names import RUN_ID_LABEL
from launcher.objects import (
    CLAIMS,
    JOB_SETS,
    JOBS,
    PADDLE_JOBS,
    PODS,
    RULES_REVIEWS,
    TRAIN_JOBS,
    TRAINING_RUNTIMES,
    KubeObject,
    Resource,
)
from tests.fakes.admission import KNOWN, RefusalError, UnplayableError, admit, admit_change
from tests.fakes.job_controller import JobController
from tests.fakes.jobset_controllers import JobSetController, TrainJobController
from tests.fakes.kubelet import Kubelet
from tests.fakes.store import ObjectStore, matches, matches_fields, merge
from tests.fakes.training_operator import TrainingOperator
from trainer.protocol.termination import Termination

T = TypeVar("T")


class Controller(Protocol):
    """Makes an object true."""

    def reconcile(self, job: KubeObject) -> None: ...


@dataclass
class _Fault:
    verb: Verb
    plural: str
    acts: bool
    refusal: RefusalError | None
    times: int


class FakeCluster:
    """See the module.

    Attributes:
        requests: What was asked, such as `create configmaps flowers-config`.
        operator_runs: Where False, jobs are stored and nobody looks at them.
        rules: What a user may do, as a review answers it.
        served: Kinds that it says it knows.
        kueue_holds: Of which jobs Kueue's webhook suspends what is to be stored.
    """

    def __init__(self, *, namespace: str = "ml", claims: Sequence[str] = ("flowers", "runs")) -> None:
        """The claims are those that the tests' configs mount."""
        self.requests: list[str] = []
        self.operator_runs = True
        self.rules: list[KubeObject] = [{"apiGroups": ["*"], "resources": ["*"], "verbs": ["*"]}]
        self.served: tuple[Resource, ...] = tuple(KNOWN.values())
        self.kueue_holds: Callable[[KubeObject], bool] = lambda job: False
        self._namespaces = {namespace}
        self._store = ObjectStore()
        self._kubelet = Kubelet(self._store)
        self._operators: dict[str, Controller] = {
            PADDLE_JOBS.plural: TrainingOperator(self._store),
            TRAIN_JOBS.plural: TrainJobController(self._store),
            JOB_SETS.plural: JobSetController(self._store),
            JOBS.plural: JobController(self._store),
        }
        self._faults: list[_Fault] = []
        for name in claims:
            spec = {"accessModes": ["ReadWriteMany"]}
            self.put(
                CLAIMS,
                {"metadata": {"name": name}, "spec": spec, "status": {"phase": "Bound"}},
                namespace=namespace,
            )

    # what the backend asks

    def create(
        self, resource: Resource, body: KubeObject, *, namespace: str, dry_run: bool = False
    ) -> KubeObject:
        name = str(body["metadata"].get("name", ""))

        def act() -> KubeObject:
            if resource is RULES_REVIEWS:
                return {**body, "status": {"resourceRules": self.rules, "incomplete": False}}
            admit(resource, body, namespace=namespace)
            if self._store.find(resource.plural, namespace, name) is not None:
                raise RefusalError(409, "AlreadyExists", f'{resource.plural} "{name}" already exists')
            self._admit_beside(resource, body, namespace)
            stored = copy.deepcopy(body)
            kind = find_kind(stored)
            if kind is not None and self.kueue_holds(stored):
                stored = merge(stored, kind.suspend_patch(suspend=True))
            if dry_run:
                return stored
            self._store.add(resource.plural, stored, namespace=namespace)
            made = copy.deepcopy(self._must(resource.plural, namespace, name))
            self._settle()
            return made

        return self._answer("create", resource, namespace, name, act)

    def get(self, resource: Resource, name: str, *, namespace: str) -> KubeObject:
        return self._answer(
            "get", resource, namespace, name,
            lambda: copy.deepcopy(self._must(resource.plural, namespace, name)),
        )  # fmt: skip

    def list(
        self,
        resource: Resource,
        *,
        namespace: str,
        labels: str = "",
        fields: str = "",
        at_most: int | None = None,
        keep: Keep = whole,
        metadata_only: bool = False,
    ) -> tuple[KubeObject, ...]:
        def act() -> tuple[KubeObject, ...]:
            found = [
                item for item in self._store.all(resource.plural, namespace or None)
                if matches(item, labels) and matches_fields(item, fields)
            ]  # fmt: skip
            # lists of core objects do not repeat in each item what they are lists of
            hidden = () if resource.group else ("apiVersion", "kind")
            return tuple(
                keep({
                    key: copy.deepcopy(item[key]) for key in item
                    if key not in hidden and (key == "metadata" or not metadata_only)
                })
                for item in found[:at_most]
            )  # fmt: skip

        return self._answer("list", resource, namespace, "", act)

    def patch(self, resource: Resource, name: str, body: KubeObject, *, namespace: str) -> KubeObject:
        def act() -> KubeObject:
            old = self._must(resource.plural, namespace, name)
            new = merge(old, body)
            admit_change(resource, old, new, namespace=namespace)
            if new != old:
                self._store.replace(resource.plural, new)
            changed = copy.deepcopy(new)
            self._settle()
            return changed

        return self._answer("patch", resource, namespace, name, act)

    def delete(
        self,
        resource: Resource,
        name: str,
        *,
        namespace: str,
        uid: str,
        at_once: bool = False,
        first: bool = False,
    ) -> None:
        def act() -> None:
            if self._must(resource.plural, namespace, name)["metadata"]["uid"] != uid:
                raise RefusalError(
                    409, "Conflict", "the UID in the precondition does not match the UID in record"
                )
            if resource is TRAIN_JOBS and not first:
                # its runtime would go first, and its webhook then refuse to have the finalizer taken off
                raise UnplayableError("a TrainJob that is deleted in the foreground stays for ever")
            self._store.end(resource.plural, namespace, name, at_once=at_once or first)
            self._settle()

        self._answer("delete", resource, namespace, name, act)

    def serves(self, resource: Resource) -> bool:
        return resource in self.served

    def watch(
        self,
        resource: Resource,
        *,
        namespace: str,
        labels: str = "",
        fields: str = "",
        version: str = "",
        timeout_s: int = 0,
    ) -> Iterator[WatchEvent]:
        """Not allowed: its time moves by hand, so that whoever waits has to ask."""
        del labels, fields, version, timeout_s
        call = RequestContext(verb="watch", resource=resource, namespace=namespace, access="context 'fake'")
        raise read_failure(call, code=403, body=b'{"message": "User cannot watch resource"}')

    def read_pod_log(
        self,
        pod: str,
        *,
        namespace: str,
        container: str,
        previous: bool = False,
        tail_lines: int | None = None,
    ) -> bytes:
        def act() -> bytes:
            found = self._must("pods", namespace, pod)
            return self._kubelet.read(found, container=container, previous=previous, tail_lines=tail_lines)

        return self._answer("get", PODS, namespace, pod, act, sub="log")

    # what a test does to it

    def lose_answer(self, verb: Verb, resource: Resource, *, times: int = 1) -> None:
        """Act on the next such requests, and let their answers get lost."""
        self._faults.append(_Fault(verb=verb, plural=resource.plural, acts=True, refusal=None, times=times))

    def time_out(self, verb: Verb, resource: Resource, *, times: int = 1) -> None:
        """Let the next such requests get lost before they arrive."""
        self._faults.append(_Fault(verb=verb, plural=resource.plural, acts=False, refusal=None, times=times))

    def refuse(self, verb: Verb, resource: Resource, *, code: int, message: str = "", times: int = 1) -> None:
        """Answer the next such requests with an HTTP status; 403 without a message is a missing RBAC rule."""
        if code == 403 and not message:
            message = (
                f'{resource.plural} is forbidden: User "ann" cannot {verb} resource "{resource.plural}" '
                f'in API group "{resource.group}"'
            )
        reason = {403: "Forbidden", 409: "Conflict", 500: "InternalError"}.get(code, "")
        refusal = RefusalError(code, reason, message or reason)
        self._faults.append(
            _Fault(verb=verb, plural=resource.plural, acts=False, refusal=refusal, times=times)
        )

    def put(self, resource: Resource, item: KubeObject, *, namespace: str = "ml") -> None:
        """Let somebody else have made an object, such as a node or a claim."""
        self._store.add(resource.plural, copy.deepcopy(item), namespace=namespace)

    def allow_namespace(self, name: str) -> None:
        """Let there be another namespace."""
        self._namespaces.add(name)

    def set_time(self, created_s: float, config_map: str) -> None:
        """Let a ConfigMap have been made at a moment of Unix time."""
        moment = datetime.fromtimestamp(created_s, tz=timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")
        self._only("configmaps", config_map)["metadata"]["creationTimestamp"] = moment

    def relabel(self, config_map: str, run_id: str) -> None:
        """Let a ConfigMap be that of another run."""
        self._only("configmaps", config_map)["metadata"]["labels"][RUN_ID_LABEL] = run_id

    def pass_time(self, seconds: float) -> None:
        self._store.now_s += seconds

    def names(self, plural: str) -> tuple[str, ...]:
        """Return the names of all objects of a kind, services too."""
        return tuple(item["metadata"]["name"] for item in self._store.all(plural))

    def hold_pod(self, name: str, *, reason: str, message: str) -> None:
        """Let a pod wait, as for an image that does not come."""
        self._kubelet.hold(self._pod(name), reason=reason, message=message)

    def note(
        self, about: str, *, reason: str, message: str, warning: bool = True, namespace: str = "ml"
    ) -> None:
        """Let a controller or a kubelet write an event."""
        event = {
            "metadata": {"name": f"{about}.{len(self._store.all('events'))}"},
            "involvedObject": {"kind": "Pod", "name": about, "namespace": namespace},
            "reason": reason, "message": message, "type": "Warning" if warning else "Normal",
            "lastTimestamp": self._store.now_text(), "count": 1,
        }  # fmt: skip
        self._store.add("events", event, namespace=namespace)

    def start_pod(self, name: str) -> None:
        """Let a pending pod's container run."""
        self._kubelet.start(self._pod(name))
        self._settle()

    def place_pod(self, name: str, host: str) -> None:
        """Let the scheduler give a pod a node."""
        pod = self._pod(name)
        pod["spec"]["nodeName"] = host
        scheduled = {"type": "PodScheduled", "status": "True", "lastTransitionTime": self._store.now_text()}
        pod["status"].setdefault("conditions", []).append(scheduled)

    def annotate(
        self, resource: Resource, name: str, notes: dict[str, str], *, namespace: str = "ml"
    ) -> None:
        """Let somebody have put annotations on an object."""
        metadata = self._must(resource.plural, namespace, name)["metadata"]
        metadata["annotations"] = {**metadata.get("annotations", {}), **notes}

    def runs(self, name: str) -> bool:
        """Say whether a pod's container runs."""
        return bool(self._pod(name)["status"]["phase"] == "Running")

    def write_log(self, name: str, data: bytes) -> None:
        """Let a running container write."""
        self._kubelet.write(self._pod(name), data)

    def finish_pod(
        self, name: str, exit_code: int, termination: Termination | str = "", *, reason: str = ""
    ) -> None:
        """Let a running container end; a pod whose end was asked for is then gone."""
        pod = self._pod(name)
        self._kubelet.finish(pod, exit_code=exit_code, termination=termination, reason=reason)
        self._settle()
        left = self._store.find("pods", pod["metadata"]["namespace"], name)
        if left is pod and "deletionTimestamp" in pod["metadata"]:
            self._store.end("pods", pod["metadata"]["namespace"], name)
            self._settle()

    def delete_pod(self, name: str) -> None:
        """Ask for a pod's end, as a person or a preemption does; a running one still has to finish."""
        self._store.end("pods", self._pod(name)["metadata"]["namespace"], name)
        self._settle()

    # how it works

    def _answer(
        self,
        verb: Verb,
        resource: Resource,
        namespace: str,
        name: str,
        act: Callable[[], T],
        *,
        sub: str = "",
    ) -> T:
        self.requests.append(f"{verb} {resource.plural} {name}".rstrip())
        call = RequestContext(
            verb=verb,
            resource=resource,
            namespace=namespace,
            name=name,
            subresource=sub,
            access="context 'fake'",
        )
        fault = self._next_fault(verb, resource)
        answer, refusal = None, None
        try:
            self._let_in(resource, namespace, fault)
            answer = act() if fault is None or fault.acts else None
        except RefusalError as error:
            refusal = error
        if fault is not None and fault.refusal is None:  # a refusal's answer gets lost as well
            raise NoAnswerError(f"{call}: expected an answer, got a time-out; check that the cluster runs")
        if refusal is not None:
            raise read_failure(call, code=refusal.code, body=json.dumps(refusal.status()).encode())
        return cast("T", answer)

    def _let_in(self, resource: Resource, namespace: str, fault: _Fault | None) -> None:
        if KNOWN.get(resource.plural) is not resource:
            raise UnplayableError(f"{resource}")
        if fault is not None and fault.refusal is not None:
            raise fault.refusal
        if namespace and namespace not in self._namespaces:
            message = f'namespaces "{namespace}" not found'
            raise RefusalError(404, "NotFound", message, kind="namespaces", name=namespace)

    def _admit_beside(self, resource: Resource, body: KubeObject, namespace: str) -> None:
        """Refuse a TrainJob whose runtime is not there, as its webhook does."""
        if resource is not TRAIN_JOBS:
            return
        name = body["spec"]["runtimeRef"]["name"]
        if self._store.find(TRAINING_RUNTIMES.plural, namespace, name) is None:
            message = (
                'admission webhook "validator.trainjob.trainer.kubeflow.org" denied the request: '
                f'spec.runtimeRef: Invalid value: {{"name":"{name}"}}: trainingruntimes "{name}" not found: '
                "specified trainingRuntime must be created before the TrainJob is created"
            )
            raise RefusalError(403, "Forbidden", message)

    def _next_fault(self, verb: Verb, resource: Resource) -> _Fault | None:
        fault = next(
            (item for item in self._faults if (item.verb, item.plural) == (verb, resource.plural)), None
        )
        if fault is not None:
            fault.times -= 1
            if fault.times == 0:
                self._faults.remove(fault)
        return fault

    def _must(self, plural: str, namespace: str, name: str) -> KubeObject:
        found = self._store.find(plural, namespace, name)
        if found is None:
            raise RefusalError(404, "NotFound", f'{plural} "{name}" not found', kind=plural, name=name)
        return found

    def _pod(self, name: str) -> KubeObject:
        return self._only("pods", name)

    def _only(self, plural: str, name: str) -> KubeObject:
        found = [item for item in self._store.all(plural) if item["metadata"]["name"] == name]
        assert len(found) == 1, f"expected {name} among {plural}, got {self.names(plural)}"
        return found[0]

    def _settle(self) -> None:
        self._store.collect()
        if self.operator_runs:
            for _ in range(3):  # what one of them has written another reads
                for plural, controller in self._operators.items():
                    for job in self._store.all(plural):
                        controller.reconcile(job)
        self._store.collect()
