"""ConfigMaps without a job: ours are removed, others' are told of. And pods that passed files, told of."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass

from launcher.backends.kubernetes.delete import find_orphans, sweep_config_map
from launcher.backends.kubernetes.transfer_pod import find_abandoned
from launcher.doctor.cluster_info import ClusterInfo
from launcher.doctor.findings import Finding, ok
from launcher.errors import LaunchError
from launcher.kinds.registry import kind_named
from launcher.names import KindName
from launcher.objects import name_of

_SHOWN = 5


@dataclass(frozen=True, kw_only=True, slots=True)
class InterruptedSubmit:
    """A submit of ours that was cut off more than an hour ago."""

    job: str
    run_id: str
    api: KindName


def check_leftovers(
    info: ClusterInfo, ours: Sequence[InterruptedSubmit], *, now: Callable[[], float] = time.time
) -> list[Finding]:
    """Sweep what submits of ours have left, and name what others' have."""
    swept = [
        interrupted.job
        for interrupted in ours
        if sweep_config_map(
            info.api,
            interrupted.job,
            kind=kind_named(interrupted.api),
            run_id=interrupted.run_id,
            namespace=info.namespace,
            now_s=now(),
        )
    ]
    others = find_orphans(
        info.api, namespace=info.namespace, now_s=now(), ours=[interrupted.run_id for interrupted in ours]
    )
    words = [f"removed the ConfigMaps of {', '.join(swept)}"] if swept else []
    if others:
        shown = ", ".join(others[:_SHOWN]) + (", …" if len(others) > _SHOWN else "")
        words.append(f"{len(others)} ConfigMaps without a job, not from here and so not touched: {shown}")
    pods: list[str] = []
    with suppress(LaunchError):  # the check of permissions says who may not list pods
        pods = [name_of(pod) for pod in find_abandoned(info.api, namespace=info.namespace, now_s=now())]
    if pods:
        shown = ", ".join(pods[:_SHOWN]) + (", …" if len(pods) > _SHOWN else "")
        many = "pod that passed files" if len(pods) == 1 else "pods that passed files"
        words.append(f"{len(pods)} {many}, which the next `data` or `ckpt` deletes: {shown}")
    return [ok("leftovers", "; ".join(words) or "nothing of interrupted submits")]
