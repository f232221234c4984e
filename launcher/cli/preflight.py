"""Looks at the cluster before a job is sent, and says what it finds."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from launcher.backends.base import Backend
from launcher.cli.prepare import Prepared
from launcher.cli.printing import echo
from launcher.errors import Issue, UsageError

if TYPE_CHECKING:
    from launcher.why.verdict import Verdict


def preflight(prepared: Prepared, backend: Backend, *, check: Callable[[], object]) -> None:
    """Say what keeps a job from starting. Does nothing for a backend that has no cluster.

    Args:
        prepared: The job.
        backend: Where it is to go.
        check: Sends it as a dry run: the server's own refusal says more than ours.

    Raises:
        LaunchError: The server refuses the job.
        UsageError: It would be taken, and could never run.
    """
    cluster = backend.cluster
    if cluster is None:
        return
    from launcher.why.preflight import check_before

    namespace = prepared.manifest.namespace or backend.namespace
    found = check_before(
        cluster.api,
        prepared.manifest.job,
        kind=cluster.jobs,
        namespace=namespace,
        now_s=time.time(),
    )
    if found.errors:
        check()
        raise UsageError(problems=[_to_issue(verdict) for verdict in found.errors])
    for verdict in found.warnings:
        echo(f"warning: {_to_issue(verdict)}", err=True)
    for verdict in found.notes:
        if verdict.code != "fits-now":
            echo(f"note: {verdict.sentence}", err=True)
    if found.skipped:
        what = ", ".join(item.what for item in found.skipped)
        echo(f"note: not looked at before submitting: {what}", err=True)


def _to_issue(verdict: Verdict) -> Issue:
    return Issue(message=f"{verdict.sentence} [{verdict.code}]", fix=verdict.fix)
