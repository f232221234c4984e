"""Jobs of batch.paddlepaddle.org/v1: followed as those of kubeflow.org/v1 are, as far as the kind allows."""

from __future__ import annotations

from contextlib import AbstractContextManager
from dataclasses import replace
from typing import TYPE_CHECKING

from launcher.backends.kubernetes.backend import KubernetesBackend
from launcher.kube.batchjobs import BatchJobs, as_kubeflow
from launcher.kube.resources import BATCH_PADDLE_JOBS
from launcher.plan.handle import Handle

if TYPE_CHECKING:
    from launcher.render.manifest import Manifest
    from launcher.volumes.place import Place


class BatchBackend(KubernetesBackend):
    """The same cluster, asked about the other kind. Its logs are polled."""

    jobs = BATCH_PADDLE_JOBS
    cancel_deletes = True

    def __init__(self, cluster: KubernetesBackend) -> None:
        """`cluster` is the backend of the other kind."""
        super().__init__(
            BatchJobs(cluster.api), cluster.logs, namespace=cluster.namespace, context=cluster.context
        )
        self.programs = cluster.programs

    def cancel(self, handle: Handle) -> None:
        """Delete the job, whose pods then save and stop; see `Backend.cancel_deletes`."""
        if not self.status(handle).state.is_terminal:
            self.delete(handle)

    def open_folder(self, handle: Handle, path: str, *, manifest: Manifest) -> AbstractContextManager[Place]:
        """See `Backend.open_folder`."""
        return super().open_folder(handle, path, manifest=replace(manifest, job=as_kubeflow(manifest.job)))
