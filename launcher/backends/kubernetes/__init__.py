"""Runs jobs on a Kubernetes cluster: posts the manifest, and reads what the operator made of it.

The library of the same name is not imported here, only in `launcher.kube.client`.
"""

from launcher.backends.kubernetes.backend import KubernetesBackend

__all__ = ["KubernetesBackend"]
