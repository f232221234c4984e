"""Which kind of PaddleJob a cluster serves, and what to do where it serves none that can be followed."""

from __future__ import annotations

from launcher.errors import LaunchError
from launcher.kube.api import KubeApi
from launcher.kube.errors import NoAnswerError, UnservedError
from launcher.kube.resources import BATCH_PADDLE_JOBS, PADDLE_JOBS

OPERATOR = "github.com/kubeflow/training-operator.git/manifests/overlays/standalone?ref=v1.9.3"
INSTALL = f'kubectl apply --server-side -k "{OPERATOR}"'
"""The training operator's own way of installing it (its README, release 1.9)."""


def require_paddle_jobs(api: KubeApi) -> None:
    """Do nothing where the cluster serves PaddleJobs of kubeflow.org/v1.

    A cluster that does not tell what it serves is taken to serve them: the job's own request finds out.

    Raises:
        UnservedError: It does not.
        NoAnswerError: It does not answer.
    """
    try:
        if api.serves(PADDLE_JOBS):
            return
        has_batch = api.serves(BATCH_PADDLE_JOBS)
    except NoAnswerError:
        raise
    except LaunchError:  # discovery is not open to us
        return
    if has_batch:
        raise UnservedError(
            f"expected a cluster that serves paddlejobs of {PADDLE_JOBS.api_version}, got one that serves "
            f"those of {BATCH_PADDLE_JOBS.api_version} alone, which this release does not follow; "
            "`ftlaunch render CONFIG -o Launch.api=batch | kubectl create -f -` sends one, "
            f"or install the training operator: {INSTALL}"
        )
    raise UnservedError(
        f"expected a cluster that serves paddlejobs of {PADDLE_JOBS.api_version}, got one without; "
        f"have its administrator install the training operator: {INSTALL}"
    )
