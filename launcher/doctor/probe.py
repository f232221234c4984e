"""Does the cluster answer, and as whom? These come first: nothing else can be looked at without."""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from email.utils import parsedate_to_datetime

from launcher.doctor.cluster_info import ClusterInfo
from launcher.doctor.findings import Finding, fail, ok, warn
from launcher.errors import LaunchError, UnreachableError
from launcher.objects import Resource

OLDEST = (1, 27)
"""Strict field validation is there for good since Kubernetes 1.27 (its changelog)."""
MAX_SKEW_S = 5.0
_WHO = Resource(group="authentication.k8s.io", plural="selfsubjectreviews", kind="SelfSubjectReview")


def probe_server(info: ClusterInfo, *, now: Callable[[], float] = time.time) -> list[Finding]:
    """Ask for the version, and compare the clocks.

    Raises:
        UnreachableError: It does not answer, or does not let us in.
    """
    before_s = now()
    reply = info.api.read("/version")
    after_s = now()
    version = str(reply.document.get("gitVersion") or "of no known version")
    found = re.match(r"v(\d+)\.(\d+)", version)
    if found and (int(found[1]), int(found[2])) < OLDEST:
        oldest = ".".join(map(str, OLDEST))
        reached = warn("cluster", f"Kubernetes {version}", f"upgrade it to {oldest} or later")
    else:
        reached = ok("cluster", f"Kubernetes {version}")
    return [reached, _compare_clocks(str(reply.headers.get("Date") or ""), (before_s + after_s) / 2)]


def _compare_clocks(date: str, here_s: float) -> Finding:
    try:
        there_s = parsedate_to_datetime(date).timestamp() + 0.5  # it is cut to whole seconds
    except ValueError:
        return ok("clock", "the server does not tell its time")
    skew_s = here_s - there_s
    if abs(skew_s) <= MAX_SKEW_S:
        return ok("clock", "agrees with the cluster's to a few seconds")
    which = "ahead of" if skew_s > 0 else "behind"
    return warn(
        "clock",
        f"this machine's is {abs(skew_s):.0f} s {which} the cluster's: tokens may be refused",
        "set it, such as with `timedatectl set-ntp true`",
    )


def probe_user(info: ClusterInfo) -> list[Finding]:
    """Ask whom the cluster takes us for (kubernetes.io, SelfSubjectReview, from 1.28)."""
    body = {"apiVersion": _WHO.api_version, "kind": _WHO.kind, "metadata": {}}
    try:
        answer = info.api.create(_WHO, body, namespace="")
    except UnreachableError:
        raise
    except LaunchError:  # an older server does not tell
        return [ok("credentials", "accepted")]
    user = ((answer.get("status") or {}).get("userInfo") or {}).get("username") or "somebody"
    if user == "system:anonymous":
        return [fail("credentials", "the cluster does not know us", "log in again")]
    return [ok("credentials", f"accepted as {user}")]
