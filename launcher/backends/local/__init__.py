"""Runs jobs on this machine: one keeper process a job plays operator and kubelet over the same manifest.

`backend` is what callers see; `keeper` is the program that it starts and that outlives it. They meet in the
run folder (`state`) and nowhere else.
"""

from launcher.backends.local.backend import LocalBackend

__all__ = ["LocalBackend"]
