"""Runs jobs on a Kubernetes cluster: posts the manifest, and reads what the operator made of it.

It asks through `launcher.kube`. The library of the same name is imported by tests alone.
"""

from launcher.backends.kubernetes.backend import KubernetesBackend

__all__ = ["KubernetesBackend"]
