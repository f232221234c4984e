"""What takes a pod below what ours are is found, with the level of pod security that refuses it."""

from __future__ import annotations

from typing import Any

import pytest

from launcher.render.protection import find_weakenings
from launcher.render.render import render


def container(**fields: Any) -> dict[str, Any]:
    return {"spec": {"containers": [{"name": "paddle", **fields}]}}


def security(**fields: Any) -> dict[str, Any]:
    return container(securityContext=fields)


def pod_security(**fields: Any) -> dict[str, Any]:
    return {"spec": {"securityContext": fields}}


def volume(**source: Any) -> dict[str, Any]:
    return {"spec": {"volumes": [{"name": "x", **source}]}}


SAFE_SIDECAR = {
    "allowPrivilegeEscalation": False, "readOnlyRootFilesystem": True, "capabilities": {"drop": ["ALL"]},
}  # fmt: skip
REFUSED_BY_BASELINE = {
    "hostNetwork": {"spec": {"hostNetwork": True}}, "hostPID": {"spec": {"hostPID": True}},
    "hostIPC": {"spec": {"hostIPC": True}}, "privileged": security(privileged=True),
    "SYS_PTRACE": security(capabilities={"add": ["SYS_PTRACE"]}), "hostPath": volume(hostPath={"path": "/"}),
    "hostPort": container(ports=[{"containerPort": 9, "hostPort": 9}]),
    "procMount": security(procMount="Unmasked"), "seLinuxOptions": security(seLinuxOptions={"type": "spc_t"}),
    "AppArmor": security(appArmorProfile={"type": "Unconfined"}),
    "AppArmor is": {
        "metadata": {"annotations": {"container.apparmor.security.beta.kubernetes.io/paddle": "unconfined"}}
    },
    "seccomp": pod_security(seccompProfile={"type": "Unconfined"}),
    "sysctl": pod_security(sysctls=[{"name": "net.core.somaxconn", "value": "1"}]),
    "hostProcess": security(windowsOptions={"hostProcess": True}),
    "livenessProbe.host": container(livenessProbe={"httpGet": {"host": "169.254.169.254", "port": 80}}),
    "preStop.host": container(lifecycle={"preStop": {"tcpSocket": {"host": "10.0.0.1", "port": 1}}}),
}  # fmt: skip
REFUSED_BY_RESTRICTED = {
    "runAsUser: 0": pod_security(runAsUser=0), "runAsNonRoot": pod_security(runAsNonRoot=None),
    "allowPrivilegeEscalation": security(allowPrivilegeEscalation=True),
    "capabilities.drop": security(capabilities={"drop": ["KILL"]}),
    "CHOWN": security(capabilities={"add": ["CHOWN"]}), "kind nfs": volume(nfs={"server": "s", "path": "/p"}),
    "seccompProfile": pod_security(seccompProfile=None),
    "'side'": {"spec": {"containers": [{"name": "side", "image": "i"}]}},
    "'first'": {"spec": {"initContainers": [{"name": "first", "image": "i"}]}},
}  # fmt: skip
OTHERS = {
    "token of its service account": {"spec": {"automountServiceAccountToken": True}},
    "token": {"spec": {"automountServiceAccountToken": None}},
    "a token": volume(projected={"sources": [{"serviceAccountToken": {"path": "t"}}]}),
    "service account 'admin'": {"spec": {"serviceAccountName": "admin"}},
    "readOnlyRootFilesystem": security(readOnlyRootFilesystem=False),
    "lifecycle.postStart": container(lifecycle={"postStart": {"exec": {"command": ["id"]}}}),
    "LD_PRELOAD": container(env=[{"name": "LD_PRELOAD", "value": "/data/x.so"}]),
    "envFrom": container(envFrom=[{"secretRef": {"name": "s"}}]),
    "shareProcessNamespace": {"spec": {"shareProcessNamespace": True}},
    "nodeName": {"spec": {"nodeName": "n1"}}, "fsGroup: 0": pod_security(fsGroup=0),
    "supplementalGroups": pod_security(supplementalGroups=[0]),
    "/usr/lib/python3": container(volumeMounts=[{"name": "tmp", "mountPath": "/usr/lib/python3"}]),
    "another program runs": {
        "spec": {"containers": [{"name": "side", "image": "i", "securityContext": SAFE_SIDECAR}]}
    },
}  # fmt: skip
CASES = [
    *((word, patch, "baseline") for word, patch in REFUSED_BY_BASELINE.items()),
    *((word, patch, "restricted") for word, patch in REFUSED_BY_RESTRICTED.items()),
    *((word, patch, "ours") for word, patch in OTHERS.items()),
]


def test_a_pod_that_asks_for_nothing_is_as_protected_as_can_be(make_plan):
    assert find_weakenings(render(make_plan()).pod_template) == []


@pytest.mark.parametrize(("word", "patch", "level"), CASES, ids=[case[0] for case in CASES])
def test_each_weakening_is_found_with_the_level_that_refuses_it(make_plan, word, patch, level):
    found = find_weakenings(render(make_plan(launch={"pod_patch": patch})).pod_template)
    assert level in [item.level for item in found if word in item.what], found
    assert {item.level for item in found} <= {level, "ours"}
