"""Writes how far a run is where other clients see it: into the job object, and a TrainJob's status.

Two places, each of which somebody has to offer:

- Annotations of the job object (`Launch.publish_progress`), by a merge patch with the pod's own token. What
  stands in `ftlaunch.io/progress` is a progress line's JSON, for programs; the others are words for
  `kubectl get -o custom-columns`, which cannot look into JSON.
- `status.trainerStatus` of a TrainJob, where Kubeflow Trainer's feature gate `TrainJobStatus` (alpha as of
  v2.3, off by default) gives the pod an address, a certificate and a token of that audience alone
  (kubeflow/trainer, docs/proposals/2779-trainjob-progress).

A thread for each place sends, at most every `Intervals.publish_s`, the newest report and no other. Nothing
waits for it: a server that hangs holds its own thread, and what was not sent in time is replaced by what is
newer. Refusals are said once each, with what to do, and the next try comes later and later.
"""

from __future__ import annotations

import contextlib
import http.client
import json
import posixpath
import ssl
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timezone
from pathlib import Path
from typing import Any, Protocol

from trainer.node.settings import NodeSettings
from trainer.protocol.durations import format_duration
from trainer.protocol.nodefile import JobObject
from trainer.protocol.progress import MARK, Progress, RankProgress, format_progress
from trainer.protocol.untrusted import FormatError, parse_json

_ANSWER_WITHIN_S = 10.0
_LONGEST_PAUSE_S = 600.0
_MAX_SAID, _MAX_STATUS = 200, 1 << 14
_MAX_RANKS, _MAX_NODES = 16, 64
_PREFIX = "ftlaunch.io/"
_TOKEN, _CERTIFICATE, _NAMESPACE = "token", "ca.crt", "namespace"
_STATUS_URL, _STATUS_CA, _STATUS_TOKEN = (
    f"KUBEFLOW_TRAINER_SERVER_{part}" for part in ("URL", "CA_CERT", "TOKEN")
)
_REASONS = {
    401: "it does not know the token",
    403: "the service account may not patch it; k8s/rbac/progress.yaml has the role",
    404: "there is no such object",
}


class Place(Protocol):
    """Where progress is written."""

    @property
    def shown(self) -> str:
        """What a log calls it."""

    def write(self, report: Report) -> str | None:
        """Write; returns what went wrong, or None. May block for some seconds."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Report:
    """What is written.

    Attributes:
        progress: Of all ranks.
        left_s: Seconds that the run still takes at the pace of this attempt; None where that is not known.
    """

    progress: Progress
    left_s: float | None


def condense(progress: Progress) -> Progress:
    """Return the same progress in fewer rows, so that a job object stays small.

    All ranks up to 16, then a row a node up to 64, then one row. A row of several ranks has their first
    rank, their least step and epoch, the sum of their rates and the longest silence.
    """
    if len(progress.ranks) <= _MAX_RANKS:
        return replace(progress, ranks=tuple(replace(rank, times=None) for rank in progress.ranks))
    by_node: dict[int, list[RankProgress]] = {}
    for rank in progress.ranks:
        by_node.setdefault(rank.node, []).append(rank)
    if len(by_node) <= _MAX_NODES:
        return replace(progress, ranks=tuple(map(_join, by_node.values())))
    return replace(
        progress, ranks=(_join(progress.ranks),), absent=None
    )  # who is absent is read off the rows


def _join(ranks: Sequence[RankProgress]) -> RankProgress:
    slowest = min(ranks, key=lambda rank: rank.step)
    rates = [rank.images_per_s for rank in ranks if rank.images_per_s is not None]
    return replace(
        slowest, rank=ranks[0].rank, epoch=min(rank.epoch for rank in ranks), times=None,
        images_per_s=sum(rates) if rates else None, silent_s=max(rank.silent_s for rank in ranks),
    )  # fmt: skip


def annotate(report: Report) -> Mapping[str, str | None]:
    """Return the annotations of a job object; None takes one away."""
    progress = report.progress
    step, total, evaluated = progress.step or 0, progress.total_steps, progress.evaluated
    epoch = min((rank.epoch for rank in progress.ranks), default=0)
    is_over = bool(total) and step >= total
    words = {
        "step": f"{step}/{total}" if total else str(step),
        "epoch": None if is_over else str(epoch + 1),  # of what is over the number would be one too many
        "metric": None if evaluated is None else f"top1 {evaluated.top1:.4g}, best {evaluated.best_top1:.4g}",
        "time-left": None if report.left_s is None or is_over else format_duration(report.left_s),
    }
    text = format_progress(condense(progress)).removeprefix(MARK).decode()
    return {_PREFIX + "progress": text, **{_PREFIX + name: word for name, word in words.items()}}


def trainer_status(report: Report) -> Mapping[str, Any]:
    """Return the body that Kubeflow Trainer takes for `status.trainerStatus`."""
    progress = report.progress
    step, total, evaluated = progress.step or 0, progress.total_steps, progress.evaluated
    losses = [rank.loss for rank in progress.ranks if rank.loss is not None]
    rates = [rank.images_per_s for rank in progress.ranks if rank.images_per_s is not None]
    metrics: dict[str, float] = {
        "step": step, "currentEpoch": min((rank.epoch for rank in progress.ranks), default=0) + 1
    }  # fmt: skip
    if total:
        metrics["totalSteps"] = total
    if losses:
        metrics["loss"] = sum(losses) / len(losses)
    if rates:
        metrics["images_per_s"] = sum(rates)
    if evaluated is not None:
        metrics |= {"top1": evaluated.top1, "best_top1": evaluated.best_top1}
    found: dict[str, Any] = {
        "metrics": [{"name": name, "value": f"{value:.10g}"} for name, value in metrics.items()],
        "lastUpdatedTime": datetime.fromtimestamp(progress.time_s, timezone.utc).strftime(
            "%Y-%m-%dT%H:%M:%SZ"
        ),
    }
    if total:
        found["progressPercentage"] = min(100, 100 * step // total)
    if report.left_s is not None:
        found["estimatedRemainingSeconds"] = round(report.left_s)
    return {"trainerStatus": found}


@dataclass(frozen=True, kw_only=True, slots=True)
class JobAnnotations:
    """The job object, at the API server that the pod was given.

    Attributes:
        target: Which kind of object.
        job: Its name.
        folder: With the token, the server's certificate and the namespace; a token is renewed there.
        server: `https://HOST:PORT`.
    """

    target: JobObject
    job: str
    folder: Path
    server: str

    @property
    def shown(self) -> str:
        """Resource and name."""
        return f"{self.target.resource}/{self.job}"

    def write(self, report: Report) -> str | None:
        """Patch the annotations, and nothing else."""
        try:
            namespace = (self.folder / _NAMESPACE).read_text().strip()
        except OSError as error:
            return _describe(error)
        target = self.target
        path = posixpath.join("apis", target.api, "namespaces", namespace, target.resource, self.job)
        return _send(
            f"{self.server}/{path}?fieldManager=ftlaunch-progress",
            {"metadata": {"annotations": annotate(report)}},
            method="PATCH", kind="application/merge-patch+json", token=self.folder / _TOKEN,
            certificate=self.folder / _CERTIFICATE,
        )  # fmt: skip


@dataclass(frozen=True, kw_only=True, slots=True)
class TrainerStatus:
    """The endpoint of Kubeflow Trainer for a TrainJob's status."""

    url: str
    token: Path
    certificate: Path

    @property
    def shown(self) -> str:
        """What it fills."""
        return "trainerStatus"

    def write(self, report: Report) -> str | None:
        """POST it."""
        return _send(
            self.url, trainer_status(report), method="POST", kind="application/json", token=self.token,
            certificate=self.certificate,
        )  # fmt: skip


def find_places(settings: NodeSettings, environ: Mapping[str, str]) -> tuple[list[Place], list[str]]:
    """Return where node 0 is to write, and what is to be said of places that are asked for and not there."""
    places: list[Place] = []
    problems: list[str] = []
    target = settings.job.publish
    if target is not None and settings.api_access is not None:
        host, port = environ.get("KUBERNETES_SERVICE_HOST"), environ.get("KUBERNETES_SERVICE_PORT")
        if host and port:
            server = f"https://[{host}]:{port}" if ":" in host else f"https://{host}:{port}"
            job = settings.job.job
            places.append(JobAnnotations(target=target, job=job, folder=settings.api_access, server=server))
        else:
            problems.append(
                "progress: expected KUBERNETES_SERVICE_HOST and _PORT, as pods have them; it is not written"
            )
    url, certificate, token = map(environ.get, (_STATUS_URL, _STATUS_CA, _STATUS_TOKEN))
    if url and certificate and token and url.startswith("https://"):
        places.append(TrainerStatus(url=url, certificate=Path(certificate), token=Path(token)))
    return places, problems


class Publisher:
    """Sends the newest report to one place, from a thread of its own.

    `take` at any time, from one thread; `close` at the end.
    """

    def __init__(
        self, place: Place, *, every_s: float, say: Callable[[str], None],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:  # fmt: skip
        """`say` is called in the publisher's thread; `clock` gives seconds that only grow."""
        self._place, self._every_s, self._say, self._clock = place, every_s, say, clock
        self._changed = threading.Condition()
        self._newest: Report | None = None
        self._closing = False
        self._said = ""
        self._began: Progress | None = None
        self._thread = threading.Thread(target=self._run, daemon=True, name=f"publish {place.shown}")
        self._thread.start()

    def take(self, progress: Progress) -> None:
        """Take what is to be written; never blocks."""
        report = Report(progress=progress, left_s=self._left_s(progress))
        with self._changed:
            self._newest = report
            self._changed.notify()

    def close(self, within_s: float) -> None:
        """Write the last report, if it was not yet, and wait some seconds for that."""
        with self._changed:
            self._closing = True
            self._changed.notify()
        self._thread.join(within_s)

    def _left_s(self, progress: Progress) -> float | None:
        began, step = self._began, progress.step
        if step is None:
            return None
        if began is None or began.attempt != progress.attempt:
            self._began = progress
            return None
        gained = step - (began.step or 0)
        if gained <= 0 or not progress.total_steps:
            return None
        pace_s = (progress.time_s - began.time_s) / gained
        return max(0.0, pace_s * (progress.total_steps - step))

    def _run(self) -> None:
        pause_s = 0.0
        while (report := self._next(pause_s)) is not None:
            problem = self._place.write(report)
            self._note(problem)
            if problem is None:
                pause_s = self._every_s
            else:
                pause_s = min(max(2 * pause_s, self._every_s), _LONGEST_PAUSE_S)

    def _next(self, pause_s: float) -> Report | None:
        """Return the newest report after a pause, which the end cuts short; None where nothing comes."""
        until_s = self._clock() + pause_s
        with self._changed:
            while not self._closing and (left_s := until_s - self._clock()) > 0:
                self._changed.wait(left_s)
            while not self._closing and self._newest is None:
                self._changed.wait()
            report, self._newest = self._newest, None
            return report

    def _note(self, problem: str | None) -> None:
        if problem is None and self._said:
            self._say(f"progress: {self._place.shown} is written again")
            self._said = ""
        elif problem is not None and problem != self._said:
            first = not self._said
            self._said = problem
            if first:  # what goes wrong in turns is said once
                self._say(f"progress: {self._place.shown} is not written: {problem}; training goes on")


def _send(
    url: str, body: Mapping[str, Any], *, method: str, kind: str, token: Path, certificate: Path
) -> str | None:
    try:
        headers = {
            "Authorization": f"Bearer {token.read_text().strip()}", "Content-Type": kind,
            "Accept": "application/json", "User-Agent": "ftlaunch",
        }  # fmt: skip
        context = ssl.create_default_context(cafile=str(certificate))
        data = json.dumps(body, separators=(",", ":")).encode()
        request = urllib.request.Request(url, data=data, headers=headers, method=method)  # noqa: S310 - https
        # Without the proxies of the environment, which lead out of a cluster.
        opener = urllib.request.build_opener(
            urllib.request.ProxyHandler({}), urllib.request.HTTPSHandler(context=context), _NoRedirect
        )
        with opener.open(request, timeout=_ANSWER_WITHIN_S):
            return None
    except urllib.error.HTTPError as error:
        with error:
            return f"it answered {error.code}: {_REASONS.get(error.code) or _read_message(error)}"
    except (OSError, ValueError, http.client.HTTPException) as error:
        return _describe(error)


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    """Follows nothing: a token is for one server."""

    def redirect_request(self, *_: Any, **__: Any) -> None:
        """Have the answer be an error."""


def _read_message(error: urllib.error.HTTPError) -> str:
    """Return the words of a Status object, or the reason of the status line."""
    with contextlib.suppress(OSError, FormatError, http.client.HTTPException):
        said = parse_json(error.read(_MAX_STATUS), where="the answer")
        if isinstance(said, dict) and isinstance(message := said.get("message"), str) and message:
            return message[:_MAX_SAID]
    return str(error.reason)[:_MAX_SAID]


def _describe(error: Exception) -> str:
    reason = getattr(error, "reason", None) or getattr(error, "strerror", None) or error
    return (str(reason) or type(error).__name__)[:_MAX_SAID].lower()
