"""Which kinds of jobs can be had here, and is what makes their pods awake?

What a user may see of that differs, so the evidence of a controller is gathered from several sides: its
webhook (asked by a dry run that it must refuse), its deployment, and jobs that nobody has looked at. A Job
of batch/v1 is Kubernetes' own and needs no look. Observed with training operator v1.9.3.

A controller that is away is a failure only where a job would be sent as its kind, or as one that builds on
it: what nobody sends needs nobody to look after it.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from launcher import objects
from launcher.backends.kubernetes.apis import Choice, choose_kind, serves
from launcher.doctor.cluster_info import ClusterInfo
from launcher.doctor.findings import Finding, Level, fail, ok, warn
from launcher.kinds.base import Controller, JobKind
from launcher.kinds.registry import KINDS
from launcher.kube.errors import DeniedError, InvalidError, NoAnswerError, UnservedError
from launcher.objects import DEPLOYMENTS, KubeObject

_IGNORED_S, _IGNORED_OF_A_POD_S = 60.0, 0.3
"""The first condition is written once all pods are made, for which it takes 0.1 s each by default."""
_AT_MOST = 50


def check_kinds(info: ClusterInfo) -> list[Finding]:
    """Say as what a job would be sent, and which other kinds are served."""
    try:
        choice = _choose(info)
    except (DeniedError, UnservedError) as error:
        return [fail("kinds", error.finding, error.fix)]
    others = [kind for kind in KINDS if kind is not choice.kind]
    there = [kind.resource.kind for kind in others if serves(info.api, kind)]
    message = f"a job is sent {choice.why or f'as a {choice.kind.title} (api {info.wanted})'}"
    return [ok("kinds", f"{message}; also served: {', '.join(there)}" if there else message)]


def check_operator(info: ClusterInfo, *, now: Callable[[], float] = time.time) -> list[Finding]:
    """Look at each controller of a kind that is served, from each side; the worst that was found counts."""
    try:
        sent = _choose(info).kind
    except (DeniedError, UnservedError):  # which the check of the kinds says
        sent = None
    found: list[Finding] = []
    for kind in KINDS:
        if kind.controller is not None and serves(info.api, kind):
            finding = _check_controller(info, kind, kind.controller, now)
            found.append(finding if sent is None else _weigh(finding, kind, sent=sent))
    return found


def _choose(info: ClusterInfo) -> Choice:
    return choose_kind(info.api, wanted=info.wanted, namespace=info.namespace)


def _weigh(finding: Finding, kind: JobKind, *, sent: JobKind) -> Finding:
    """Make a warning of the failure of a controller that the kind which is sent does without."""
    if finding.level is not Level.FAIL or kind is sent or kind.name in sent.builds_on:
        return finding
    message = f"{finding.message}; a job is sent as a {sent.resource.kind}, which does without it"
    return replace(finding, level=Level.WARN, message=message)


def _check_controller(
    info: ClusterInfo, kind: JobKind, controller: Controller, now: Callable[[], float]
) -> Finding:
    sides: list[Callable[[], Finding | None]] = [
        lambda: _ask_webhook(info, kind, controller),
        lambda: _find_deployment(info, controller),
        lambda: _find_ignored_job(info, kind, controller, now()),
    ]
    found = [finding for run in sides if (finding := _unless_denied(run)) is not None]
    # A user sees some sides only. One that is bad is enough to know that jobs will wait; good ones add up.
    bad = [finding for level in (Level.FAIL, Level.WARN) for finding in found if finding.level is level]
    if bad:
        return bad[0]
    if found:
        return ok(controller.check, "; ".join(finding.message for finding in found))
    return Finding(
        check=controller.check, level=Level.SKIP, fix=_wake(controller),
        message="whether it runs cannot be seen by this user: no webhook, no job yet",
    )  # fmt: skip


def _wake(controller: Controller) -> str:
    return f"an administrator: `kubectl get deployments,pods -A | grep {controller.deployment}`, and its logs"


def _unless_denied(run: Callable[[], Finding | None]) -> Finding | None:
    try:
        return run()
    except DeniedError:
        return None


def _ask_webhook(info: ClusterInfo, kind: JobKind, controller: Controller) -> Finding | None:
    """Send what the schema admits and the controller's webhook does not, as a dry run."""
    probe = kind.probe(f"ftlaunch-doctor-{secrets.token_hex(3)}")
    if probe is None:
        return None
    try:
        info.api.create(kind.resource, probe, namespace=info.namespace, dry_run=True)
    except InvalidError as error:
        if "denied the request" in error.words:
            return ok(controller.check, "its webhook answers")
        if any(cause.message == "unknown field" for cause in error.causes):
            fields = ", ".join(cause.field for cause in error.causes)
            message = f"its {kind.resource.kind} is of an older release, without {fields}"
            return fail(controller.check, message, controller.install)
        return None  # a quota or another admission check speaks first
    except NoAnswerError as error:
        if "webhook" not in error.issue.said:  # the server's words: it has asked the webhook in vain
            raise
        message = f"its webhook does not answer: {error.issue.said[:300]}"
        return fail(controller.check, message, _wake(controller))
    return None  # installed without one


def _find_deployment(info: ClusterInfo, controller: Controller) -> Finding | None:
    found = info.api.list(DEPLOYMENTS, namespace="", fields=f"metadata.name={controller.deployment}")
    if not found:
        return None
    status: dict[str, Any] = found[0].get("status") or {}
    place = f"{found[0]['metadata']['namespace']}/{controller.deployment}"
    if int(status.get("readyReplicas") or 0) > 0:
        return ok(controller.check, f"deployment {place} is ready")
    return fail(controller.check, f"deployment {place} has no ready pod", _wake(controller))


def _find_ignored_job(
    info: ClusterInfo, kind: JobKind, controller: Controller, now_s: float
) -> Finding | None:
    """Look for jobs that nobody has written a status on."""
    jobs = info.api.list(kind.resource, namespace=info.namespace, at_most=_AT_MOST)
    for job in jobs:
        waits_s = now_s - objects.created_s(job)
        if not kind.is_noticed(job) and waits_s > _ignored_after_s(job, kind):
            message = f"no controller has looked at job {objects.name_of(job)} in {waits_s:.0f} s"
            return warn(controller.check, message, _wake(controller))
    return ok(controller.check, f"it has looked at all {len(jobs)} jobs here") if jobs else None


def _ignored_after_s(job: KubeObject, kind: JobKind) -> float:
    return _IGNORED_S + _IGNORED_OF_A_POD_S * kind.replicas_of(job)
