"""What a submit may be asked for, as one value that every caller can make."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from launcher.config.flags import Flags
from launcher.names import KindName
from launcher.plan.handle import BackendKind


@dataclass(frozen=True, kw_only=True, slots=True)
class SubmitOptions:
    """How a config is to be submitted or rendered; what is left out is as the config and the settings say.

    Attributes:
        on: Where the job is to run; None for what settings say, else kubernetes.
        overrides: `KEY=VALUE` each, such as `Global.epochs=3`; list items by index.
        name: Exact name of the job, or None for one made from prefix and run id.
        image: Container image with the trainer.
        nodes: Number of pods.
        gpus: GPUs of each node; 0 trains on CPUs.
        gpu_ids: GPUs of this machine by name, for docker and local; `gpus` is then their number.
        procs_per_node: Ranks of each node; auto is one a GPU.
        volumes: Mappings as in `Launch.volumes`; one with the mount of a volume in the config replaces it.
        code: File or folder of this machine with Python of the caller's own, for every pod.
        namespace: Of Kubernetes.
        context: Of the kubeconfig.
        api: Kind of job object, as `Launch.api`.
        runtime: Container engine for docker, by name or path; None for the first that is there.
        strict: Unknown keys are errors.
        overwrite: The job may take an output folder that another run filled.
        parent: Job whose output the new one goes on from: a name, a handle, or a run id.
        require_gpu: Docker and local: do not run on CPUs what asks for GPUs.
        require_restricted: Refuse pods that the pod security level `restricted` refuses.
        preflight: Look first whether the cluster has what the job needs.
        run_id: 32 hexadecimal digits, or None for new ones.
        study: Name of the study that the job is a trial of, or None.
        without_secret: Draw no secret for the nodes: what is rendered is to be the same each time.
        template_dirs: Folders of templates that win over all others.
    """

    on: BackendKind | None = None
    overrides: tuple[str, ...] = ()
    name: str | None = None
    image: str | None = None
    nodes: int | None = None
    gpus: int | None = None
    gpu_ids: tuple[str, ...] | None = None
    procs_per_node: int | Literal["auto"] | None = None
    volumes: tuple[Mapping[str, object], ...] = ()
    code: str | None = None
    namespace: str | None = None
    context: str | None = None
    api: Literal["auto"] | KindName | None = None
    runtime: str | None = None
    strict: bool = False
    overwrite: bool = False
    parent: str | None = None
    require_gpu: bool = False
    require_restricted: bool = False
    preflight: bool = True
    run_id: str | None = None
    study: str | None = None
    without_secret: bool = False
    template_dirs: tuple[Path, ...] = ()

    @property
    def flags(self) -> Flags:
        """Those that stand for keys of `Launch`."""
        return Flags(
            image=self.image,
            nodes=self.nodes,
            gpus=len(self.gpu_ids) if self.gpu_ids is not None else self.gpus,
            procs_per_node=self.procs_per_node,
            code=self.code,
            namespace=self.namespace,
            context=self.context,
            api=self.api,
            volumes=tuple(dict(volume) for volume in self.volumes),
            gpu_ids=self.gpu_ids,
        )
