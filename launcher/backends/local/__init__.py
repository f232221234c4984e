"""Runs jobs on this machine: pods are processes, and a supervisor process a job plays operator and kubelet.

What it shares with docker is `launcher.backends.supervised`.
"""

from launcher.backends.local.backend import LocalBackend

__all__ = ["LocalBackend"]
