"""Which kind of PaddleJob a cluster serves, and what to do where it serves none that is asked for."""

from __future__ import annotations

from typing import Literal

from launcher.errors import LaunchError
from launcher.kube.api import KubeApi
from launcher.kube.errors import NoAnswerError, UnservedError
from launcher.kube.resources import BATCH_PADDLE_JOBS, PADDLE_JOBS
from launcher.plan.handle import JobApi

OPERATOR = "github.com/kubeflow/training-operator.git/manifests/overlays/standalone?ref=v1.9.3"
INSTALL = f'kubectl apply --server-side -k "{OPERATOR}"'
"""The training operator's own way of installing it (its README, release 1.9)."""
LIMITS = (
    "the operator of such a job fails it when a pod ends before its time, and cannot suspend it, so that "
    "`ftlaunch cancel` deletes it"
)


def choose_api(api: KubeApi, *, wanted: Literal["auto"] | JobApi) -> JobApi:
    """Return the kind of PaddleJob to send; kubeflow.org/v1 where both are served and none is named.

    A cluster that does not tell what it serves is taken to serve what is wanted: the job's own request finds
    out.

    Raises:
        UnservedError: It serves none that is wanted.
        NoAnswerError: It does not answer.
    """
    try:
        if wanted != "batch" and api.serves(PADDLE_JOBS):
            return "kubeflow"
        has_batch = api.serves(BATCH_PADDLE_JOBS)
    except NoAnswerError:
        raise
    except LaunchError:  # discovery is not open to us
        return "batch" if wanted == "batch" else "kubeflow"
    if has_batch and wanted != "kubeflow":
        return "batch"
    if has_batch:
        raise UnservedError(
            f"expected a cluster that serves paddlejobs of {PADDLE_JOBS.api_version}, got one that serves "
            f"those of {BATCH_PADDLE_JOBS.api_version} alone; set Launch.api: auto, or install the "
            f"training operator: {INSTALL}"
        )
    kind = BATCH_PADDLE_JOBS if wanted == "batch" else PADDLE_JOBS
    cure = (
        "leave Launch.api out, or have its administrator" if wanted == "batch" else "have its administrator"
    )
    raise UnservedError(
        f"expected a cluster that serves paddlejobs of {kind.api_version}, got one without; "
        f"{cure} install the training operator: {INSTALL}"
    )
