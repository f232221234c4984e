"""Which kinds of jobs a cluster serves, and what to do where it serves none that is asked for."""

from __future__ import annotations

from typing import Literal

from launcher.errors import LaunchError
from launcher.kube.api import KubeApi
from launcher.kube.errors import NoAnswerError, UnservedError
from launcher.objects import PADDLE_JOBS
from launcher.plan.handle import JobApi

OPERATOR = "github.com/kubeflow/training-operator.git/manifests/overlays/standalone?ref=v1.9.3"
INSTALL = f'kubectl apply --server-side -k "{OPERATOR}"'
"""The training operator's own way of installing it (its README, release 1.9)."""


def choose_api(api: KubeApi, *, wanted: Literal["auto"] | JobApi) -> JobApi:
    """Return the kind of job to send.

    A cluster that does not tell what it serves is taken to serve what is wanted: the job's own request finds
    out.

    Raises:
        UnservedError: It serves none that is wanted.
        NoAnswerError: It does not answer.
    """
    del wanted
    try:
        if api.serves(PADDLE_JOBS):
            return "kubeflow"
    except NoAnswerError:
        raise
    except LaunchError:  # discovery is not open to us
        return "kubeflow"
    raise UnservedError(
        expected=f"a cluster that serves paddlejobs of {PADDLE_JOBS.api_version}",
        got="one without",
        fix=f"have its administrator install the training operator: {INSTALL}",
    )
