"""Runs jobs in Docker or Podman on this machine: one container a pod, one supervisor process a job.

What it shares with local is `launcher.backends.supervised`. Must not: import a client library; the engine's
own command line is the seam.
"""

from launcher.backends.docker.backend import DockerBackend

__all__ = ["DockerBackend"]
