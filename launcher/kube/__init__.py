"""The Kubernetes API as this project uses it: access, errors, facts of PaddleJob.

Belongs here: `api` (the seam that backends call and tests stand in for), `client` (the only module that
imports the Kubernetes client), what its answers mean, and where facts lie in objects.
Must not: know a backend or a manifest's meaning, decide what to do about an answer, or print.
"""
