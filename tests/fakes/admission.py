"""What an API server with the training operator's webhook refuses, in its own words. Pure.

Messages as observed with Kubernetes 1.34 and training-operator v1.9.3. What the fake cannot play is refused
by `UnplayableError`, never accepted and ignored.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Iterable, Mapping
from typing import Any

from launcher.objects import (
    CLAIMS,
    CLUSTER_QUEUES,
    COHORTS,
    CONFIG_MAPS,
    EVENTS,
    JOB_SETS,
    JOBS,
    LIMIT_RANGES,
    LOCAL_QUEUES,
    NODES,
    PADDLE_JOBS,
    POD_GROUPS,
    PODS,
    QUOTAS,
    RULES_REVIEWS,
    SERVICES,
    STORAGE_CLASSES,
    TRAIN_JOBS,
    TRAINING_RUNTIMES,
    WORKLOADS,
    Resource,
)
from launcher.render.crds import find_faults

_RESOURCES = (
    CLAIMS, CLUSTER_QUEUES, COHORTS, CONFIG_MAPS, EVENTS, JOB_SETS, JOBS, LIMIT_RANGES, LOCAL_QUEUES, NODES,
    PADDLE_JOBS, POD_GROUPS, PODS, QUOTAS, RULES_REVIEWS, SERVICES, STORAGE_CLASSES, TRAIN_JOBS,
    TRAINING_RUNTIMES, WORKLOADS,
)  # fmt: skip
KNOWN = {resource.plural: resource for resource in _RESOURCES}
WEBHOOK = 'admission webhook "validator.paddlejob.training-operator.kubeflow.org" denied the request: '
MAX_CONFIG_MAP_BYTES = 1 << 20

_LABEL_VALUE = re.compile(r"([A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?)?")
_DNS_1035 = re.compile(r"[a-z]([-a-z0-9]*[a-z0-9])?")
_DNS_1123 = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*")
_CONFIG_MAP_BYTES = 1 << 20
_DATA_KEY = re.compile(r"[-._a-zA-Z0-9]+")

_METADATA = {
    "name", "namespace", "labels", "annotations", "ownerReferences", "uid", "resourceVersion",
    "creationTimestamp", "generation", "deletionTimestamp", "finalizers",
}  # fmt: skip
_RUN_POLICY = {"cleanPodPolicy", "suspend", "ttlSecondsAfterFinished", "schedulingPolicy"}
_JOB = {
    "backoffLimitPerIndex", "completionMode", "completions", "parallelism", "podFailurePolicy", "suspend",
    "template", "ttlSecondsAfterFinished",
}  # fmt: skip
_REPLICA = {"replicas", "restartPolicy", "template"}
_POD_SPEC = {
    "activeDeadlineSeconds", "affinity", "automountServiceAccountToken", "containers", "dnsConfig",
    "dnsPolicy", "enableServiceLinks", "hostAliases", "hostIPC", "hostNetwork", "hostPID", "hostname",
    "imagePullSecrets", "initContainers", "nodeName", "nodeSelector", "os", "overhead", "preemptionPolicy",
    "priority", "priorityClassName", "readinessGates", "resources", "restartPolicy", "runtimeClassName",
    "schedulerName", "securityContext", "serviceAccountName", "setHostnameAsFQDN", "shareProcessNamespace",
    "subdomain", "terminationGracePeriodSeconds", "tolerations", "topologySpreadConstraints", "volumes",
}  # fmt: skip
_CONTAINER = {
    "args", "command", "env", "envFrom", "image", "imagePullPolicy", "lifecycle", "livenessProbe", "name",
    "ports", "readinessProbe", "resources", "restartPolicy", "securityContext", "startupProbe", "stdin",
    "terminationMessagePath", "terminationMessagePolicy", "tty", "volumeDevices", "volumeMounts",
    "workingDir",
}  # fmt: skip


class UnplayableError(AssertionError):
    """The fake does not know this part of Kubernetes: teach it, or do not send it."""


class RefusalError(Exception):
    """An answer from 400 up.

    Args:
        code: HTTP status.
        reason: The server's word for it.
        message: Its sentence.
        field: What is wrong, where that is said.
        kind: What is missing, where something is.
        name: Its name.
    """

    def __init__(
        self, code: int, reason: str, message: str, *, field: str = "", kind: str = "", name: str = ""
    ) -> None:
        super().__init__(f"{code} {reason}: {message}")
        self.code = code
        self._reason, self._message, self._field, self._kind, self._name = reason, message, field, kind, name

    def status(self) -> dict[str, Any]:
        """Return the body of the answer."""
        details: dict[str, Any] = {"kind": self._kind, "name": self._name}
        if self._field:
            details["causes"] = [{"field": self._field, "message": self._message}]
        return {
            "kind": "Status", "apiVersion": "v1", "status": "Failure", "code": self.code,
            "reason": self._reason, "message": self._message, "details": details,
        }  # fmt: skip


def admit(resource: Resource, body: Mapping[str, Any], *, namespace: str) -> None:
    """Refuse an object as the server would."""
    if (body.get("apiVersion"), body.get("kind")) != (resource.api_version, resource.kind):
        got = f"{body.get('apiVersion')}, Kind={body.get('kind')}"
        raise RefusalError(
            400, "BadRequest", f"the API version in the data ({got}) does not match {resource.plural}"
        )
    top = {"apiVersion", "kind", "metadata"}
    _admit_metadata(resource, body["metadata"], namespace=namespace)
    if resource is CONFIG_MAPS:
        _known(body, {*top, "data", "binaryData", "immutable"}, at="")
        _admit_config_map(body)
    elif resource is PADDLE_JOBS:
        _known(body, {*top, "spec", "status"}, at="")
        _admit_job(body)
    elif resource is JOBS:
        _known(body, {*top, "spec", "status"}, at="")
        _admit_plain_job(body["spec"], at="spec")
    elif resource in (JOB_SETS, TRAIN_JOBS, TRAINING_RUNTIMES):
        _known(body, {*top, "spec", "status"}, at="")
        named = {key: body["metadata"][key] for key in ("name", "labels") if key in body["metadata"]}
        for field in find_faults({key: body[key] for key in body if key != "status"} | {"metadata": named}):
            raise _invalid(field.partition(":")[0], field.partition(": ")[2])
    elif resource is SERVICES:
        _known(body, {*top, "spec"}, at="")
        _known(body["spec"], {"clusterIP", "publishNotReadyAddresses", "selector"}, at="spec.")
    elif resource is WORKLOADS:
        _known(body, {*top, "spec", "status"}, at="")
    else:
        raise UnplayableError(f"creating or changing {resource.plural}")


def admit_change(
    resource: Resource, old: Mapping[str, Any], new: Mapping[str, Any], *, namespace: str
) -> None:
    """Refuse a change as the server would."""
    admit(resource, new, namespace=namespace)
    for key in ("name", "uid", "creationTimestamp"):
        if old["metadata"][key] != new["metadata"].get(key):
            raise _invalid(f"metadata.{key}", "Invalid value: field is immutable")
    if resource is CONFIG_MAPS and old.get("immutable"):
        for key in ("data", "binaryData", "immutable"):
            if old.get(key) != new.get(key):
                raise _invalid(key, "Forbidden: field is immutable when `immutable` is set")


def _admit_metadata(resource: Resource, metadata: Mapping[str, Any], *, namespace: str) -> None:
    _known(metadata, _METADATA, at="metadata.")
    if metadata.get("namespace", namespace) != namespace:
        raise RefusalError(
            400,
            "BadRequest",
            "the namespace of the provided object does not match the namespace sent on the request",
        )
    name = metadata.get("name", "")
    if not _DNS_1123.fullmatch(name) or len(name) > 253:
        raise _invalid(
            "metadata.name", f'Invalid value: "{name}": a lowercase RFC 1123 subdomain must consist of …'
        )
    for key in ("labels", "annotations"):
        for entry, value in metadata.get(key, {}).items():
            if not isinstance(value, str):
                raise RefusalError(
                    400, "BadRequest", f"metadata.{key}.{entry}: json: cannot unmarshal into string"
                )
            if key == "labels" and not _LABEL_VALUE.fullmatch(value):
                raise _invalid("metadata.labels", f'Invalid value: "{value}": a valid label must be …')
    for reference in metadata.get("ownerReferences", []):
        missing = {"apiVersion", "kind", "name", "uid"} - set(reference)
        if missing:
            raise _invalid(f"metadata.ownerReferences[0].{min(missing)}", "Invalid value: must not be empty")


def _admit_config_map(body: Mapping[str, Any]) -> None:
    data = body.get("data", {})
    for key, value in data.items():
        if not _DATA_KEY.fullmatch(key):
            raise _invalid(f"data[{key}]", "Invalid value: a valid config key must consist of …")
        if not isinstance(value, str):
            raise RefusalError(400, "BadRequest", f"data.{key}: json: cannot unmarshal into string")
    binary = {key: base64.b64decode(text, validate=True) for key, text in body.get("binaryData", {}).items()}
    size = sum(map(len, binary.values())) + sum(len(value.encode()) for value in data.values())
    if size > _CONFIG_MAP_BYTES:  # MaxSecretSize of kubernetes/pkg/apis/core
        raise _invalid("", f"Too long: must have at most {_CONFIG_MAP_BYTES} bytes")
    if sum(len(value.encode()) for value in data.values()) > MAX_CONFIG_MAP_BYTES:
        raise _invalid("[]", f"Too long: may not be more than {MAX_CONFIG_MAP_BYTES} bytes")


def _admit_job(body: Mapping[str, Any]) -> None:
    name, spec = body["metadata"]["name"], body.get("spec", {})
    if not _DNS_1035.fullmatch(name) or len(name) > 63:
        text = f'metadata.name: Invalid value: "{name}": should match: a DNS-1035 label must consist of …'
        raise RefusalError(403, "Forbidden", WEBHOOK + text)
    _known(spec, {"paddleReplicaSpecs", "runPolicy"}, at="spec.")
    policy = spec.get("runPolicy", {})
    _known(policy, _RUN_POLICY, at="spec.runPolicy.")
    if policy.get("cleanPodPolicy", "None") != "None":
        raise UnplayableError(f"cleanPodPolicy {policy['cleanPodPolicy']}")
    if set(spec.get("paddleReplicaSpecs", {})) != {"Worker"}:
        raise UnplayableError(
            f"replicas {sorted(spec.get('paddleReplicaSpecs', {}))}: only a Worker is played"
        )
    worker = spec["paddleReplicaSpecs"]["Worker"]
    at = "spec.paddleReplicaSpecs[Worker]"
    _known(worker, _REPLICA, at=f"{at}.")
    if worker.get("restartPolicy", "ExitCode") != "ExitCode":
        raise UnplayableError(f"restartPolicy {worker.get('restartPolicy')}: only ExitCode is played")
    replicas = worker.get("replicas", 1)
    if not isinstance(replicas, int) or replicas < 1:
        # the real one takes 0, reports success at once and still runs a worker: never what we mean
        raise _invalid(f"{at}.replicas", f"Invalid value: {replicas!r}: expected at least 1")
    _admit_template(worker["template"], at=f"{at}.template")


def _admit_plain_job(spec: Mapping[str, Any], *, at: str) -> None:
    _known(spec, _JOB, at=f"{at}.")
    pod = spec["template"]["spec"]
    if spec.get("completionMode") != "Indexed":
        raise UnplayableError("a Job that is not indexed")
    if pod.get("restartPolicy") not in ("Never", "OnFailure"):
        raise _invalid(
            f"{at}.template.spec.restartPolicy", 'Required value: valid values: "OnFailure", "Never"'
        )
    actions = [rule["action"] for rule in spec.get("podFailurePolicy", {}).get("rules", ())]
    if "FailIndex" in actions and spec.get("backoffLimitPerIndex") is None:
        raise _invalid(
            f"{at}.podFailurePolicy.rules[{actions.index('FailIndex')}].action",
            'Invalid value: "FailIndex": requires the backoffLimitPerIndex to be set',
        )
    _admit_template(spec["template"], at=f"{at}.template", container=None)


def _admit_template(template: Mapping[str, Any], *, at: str, container: str | None = "paddle") -> None:
    _known(template, {"metadata", "spec"}, at=f"{at}.")
    _known(template.get("metadata", {}), {"labels", "annotations"}, at=f"{at}.metadata.")
    pod = template["spec"]
    _known(pod, _POD_SPEC, at=f"{at}.spec.")
    if pod.get("initContainers"):
        raise UnplayableError("initContainers")
    containers = pod.get("containers", [])
    for index, each in enumerate(containers):
        _known(each, _CONTAINER, at=f"{at}.spec.containers[{index}].")
        if not each.get("image"):
            text = f"{at}.spec.containers[{index}].image: Required value: must be required"
            raise RefusalError(403, "Forbidden", WEBHOOK + text)
    if container is not None and not any(each["name"] == container for each in containers):
        text = f'{at}.spec.containers: Required value: must have at least one container with name "paddle"'
        raise RefusalError(403, "Forbidden", WEBHOOK + text)


def _known(mapping: Mapping[str, Any], fields: Iterable[str], *, at: str) -> None:
    unknown = sorted(set(mapping) - set(fields))
    if unknown:
        listed = ", ".join(f'unknown field "{at}{field}"' for field in unknown)
        raise RefusalError(400, "BadRequest", f"strict decoding error: {listed}")


def _invalid(field: str, message: str) -> RefusalError:
    return RefusalError(422, "Invalid", message, field=field)
