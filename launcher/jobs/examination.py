"""Looking whether everything is there that a job needs: on this machine, or on the cluster that is meant."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from launcher.errors import UsageError
from launcher.jobs.recovery import stale_records
from launcher.jobs.settings import choose_backend, current_layers, read_setting
from launcher.names import EARLIER_NAMES, KIND_NAMES, KindName
from launcher.plan.capabilities import CAPABILITIES
from launcher.plan.handle import BackendKind
from launcher.runs.paths import runs_dir
from launcher.runs.store import RunStore

if TYPE_CHECKING:  # the clients of cluster and engine; pydantic
    from launcher.config.layers import Layers
    from launcher.doctor.findings import Finding
    from launcher.doctor.leftovers import InterruptedSubmit


@dataclass(frozen=True, kw_only=True, slots=True)
class Examination:
    """What was found.

    Attributes:
        on: Which kind of backend was looked at.
        findings: In the order that people read them in.
        reached: Whether a cluster answers and lets us in; True where there is none.
    """

    on: BackendKind
    findings: tuple[Finding, ...]
    reached: bool = True


def examine(
    *,
    on: BackendKind | None = None,
    namespace: str | None = None,
    context: str | None = None,
    runtime: str | None = None,
) -> Examination:
    """Look at all that a job needs, everything at once.

    Args:
        on: What to look at; None for where jobs run by default.
        namespace: Of Kubernetes; None for what settings or the context say.
        context: Of the kubeconfig; None for what settings say, else its current one.
        runtime: Container engine of docker by name or path; None for the first that is there.
    """
    from launcher.doctor.examine import examine_cluster, examine_machine

    layers = current_layers()
    on, _ = choose_backend(on, layers)
    if not CAPABILITIES[on].is_cluster:
        return Examination(on=on, findings=tuple(examine_machine(on, state=runs_dir(), runtime=runtime)))
    found, reached = examine_cluster(
        context=context or read_setting(layers, "context"),
        namespace=namespace or read_setting(layers, "namespace"),
        wanted=_read_api(layers),
        gpu_resource=read_setting(layers, "gpu_resource") or "nvidia.com/gpu",
        state=runs_dir(),
        interrupted=_find_interrupted,
    )
    return Examination(on=on, findings=tuple(found), reached=reached)


def _read_api(layers: Layers) -> Literal["auto"] | KindName:
    said = read_setting(layers, "api") or "auto"
    wanted = EARLIER_NAMES.get(said, said)
    if wanted == "auto":
        return "auto"
    for name in KIND_NAMES:
        if name == wanted:
            return name
    raise UsageError(
        where="Launch.api in the settings", expected=f"auto, {', '.join(KIND_NAMES)}", got=repr(said),
        fix="change it in .ftlaunch.yaml, in your own settings file or in FTLAUNCH_API",
    )  # fmt: skip


def _find_interrupted(namespace: str, context: str) -> list[InterruptedSubmit]:
    from launcher.doctor.leftovers import InterruptedSubmit

    records = stale_records(RunStore(runs_dir()), namespace=namespace, context=context, now_s=time.time())
    return [
        InterruptedSubmit(job=record.handle.job, run_id=record.run_id, api=record.api) for record in records
    ]
