"""The Kubernetes API as this project uses it: access, errors, facts of PaddleJob.

Belongs here: `api` (the seam that backends call and tests stand in for), `access` (how a cluster is reached,
and as whom: the one place that decides it), `client`, what its answers mean, and where facts lie in objects.
Must not: know a backend or a manifest's meaning, decide what to do about an answer, or print.
"""
