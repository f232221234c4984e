"""Is there something that makes pods of PaddleJobs, and is it awake?

What a user may see of that differs, so the evidence is gathered from several sides: the kinds that are
served, the operator's webhook (asked by a dry run that it must refuse), its deployment, and jobs that
nobody has looked at. Observed with training operator v1.9.3.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable
from typing import Any

from launcher import objects
from launcher.backends.kubernetes.apis import choose_kind
from launcher.doctor.cluster_info import ClusterInfo
from launcher.doctor.findings import Finding, Level, fail, ok, warn
from launcher.kinds.registry import DEFAULT
from launcher.kube.errors import DeniedError, InvalidError, NoAnswerError, UnservedError
from launcher.objects import DEPLOYMENTS, KubeObject

_CONTROLLER = DEFAULT.controller
_IGNORED_S, _IGNORED_OF_A_POD_S = 60.0, 0.3
"""The first condition is written once all pods are made, for which it takes 0.1 s each by default."""
_AT_MOST = 50
_WAKE = "an administrator: `kubectl get deployments,pods -A | grep training-operator`, and its logs"


def check_kinds(info: ClusterInfo) -> list[Finding]:
    """Say which PaddleJobs are served."""
    try:
        kind = choose_kind(info.api, wanted="auto")
    except UnservedError as error:
        return [fail("paddlejobs", error.finding, error.fix)]
    return [ok("paddlejobs", f"{kind.resource.api_version} is served")]


def check_operator(info: ClusterInfo, *, now: Callable[[], float] = time.time) -> list[Finding]:
    """Look at the operator from each side; the worst that was found counts."""
    if not info.api.serves(DEFAULT.resource):
        return []
    sides: list[Callable[[], Finding | None]] = [
        lambda: _ask_webhook(info), lambda: _find_deployment(info), lambda: _find_ignored_job(info, now()),
    ]  # fmt: skip
    found = [finding for run in sides if (finding := _unless_denied(run)) is not None]
    # A user sees some sides only. One that is bad is enough to know that jobs will wait; good ones add up.
    bad = [finding for level in (Level.FAIL, Level.WARN) for finding in found if finding.level is level]
    if bad:
        return bad[:1]
    if found:
        return [ok("operator", "; ".join(finding.message for finding in found))]
    return [
        Finding(
            check="operator", level=Level.SKIP, fix=_WAKE,
            message="whether it runs cannot be seen by this user: no webhook, no job yet",
        )
    ]  # fmt: skip


def _unless_denied(run: Callable[[], Finding | None]) -> Finding | None:
    try:
        return run()
    except DeniedError:
        return None


def _ask_webhook(info: ClusterInfo) -> Finding | None:
    """Send what the schema admits and the operator's webhook does not, as a dry run."""
    probe = DEFAULT.probe(f"ftlaunch-doctor-{secrets.token_hex(3)}")
    assert probe is not None
    try:
        info.api.create(DEFAULT.resource, probe, namespace=info.namespace, dry_run=True)
    except InvalidError as error:
        if "denied the request" in error.words:
            return ok("operator", "its webhook answers")
        if any(cause.message == "unknown field" for cause in error.causes):
            fields = ", ".join(cause.field for cause in error.causes)
            return fail(
                "operator", f"its PaddleJob is of an older release, without {fields}", _CONTROLLER.install
            )
        return None  # a quota or another admission check speaks first
    except NoAnswerError as error:
        if "webhook" not in error.issue.said:  # the server's words: it has asked the webhook in vain
            raise
        return fail("operator", f"its webhook does not answer: {error.issue.said[:300]}", _WAKE)
    return None  # installed without one


def _find_deployment(info: ClusterInfo) -> Finding | None:
    found = info.api.list(DEPLOYMENTS, namespace="", fields=f"metadata.name={_CONTROLLER.deployment}")
    if not found:
        return None
    status: dict[str, Any] = found[0].get("status") or {}
    place = f"{found[0]['metadata']['namespace']}/{_CONTROLLER.deployment}"
    if int(status.get("readyReplicas") or 0) > 0:
        return ok("operator", f"deployment {place} is ready")
    return fail("operator", f"deployment {place} has no ready pod", _WAKE)


def _find_ignored_job(info: ClusterInfo, now_s: float) -> Finding | None:
    """Look for jobs that nobody has written a condition on."""
    jobs = info.api.list(DEFAULT.resource, namespace=info.namespace, at_most=_AT_MOST)
    for job in jobs:
        waits_s = now_s - objects.created_s(job)
        if not DEFAULT.is_noticed(job) and waits_s > _ignored_after_s(job):
            message = f"no controller has looked at job {objects.name_of(job)} in {waits_s:.0f} s"
            return warn("operator", message, _WAKE)
    return ok("operator", f"it has looked at all {len(jobs)} jobs here") if jobs else None


def _ignored_after_s(job: KubeObject) -> float:
    return _IGNORED_S + _IGNORED_OF_A_POD_S * DEFAULT.replicas_of(job)
