"""The supervisor's loop: makes the pods of one job, and makes them again as the controller of its kind does.

One thread, which looks every 50 ms, or as soon as a pod writes something. Each round does five things in
this order, because each needs what the one before has found out:

1. *pump*: move what containers have written into their logs.
2. *reap*: note the containers that have ended. An exit that the kind retries puts the pod on a list with
   the time from which it may begin again, unless the job was told to stop or has failed for good.
3. *heed*: a first SIGTERM stops all containers and sets a limit by the longest grace period; a SIGINT, or
   the limit, kills them. Signal handlers only note the signal: nothing is done between two steps.
4. *make again*: start what is due.
5. *settle*: derive the job's state from its pods (`job_state.judge_job`), and save both in one file, by
   replacing it, so that no reader sees one without the other. Only this process writes it.

A supervisor may be killed at any moment. Its successor has the records of the pods and adopts the
containers that carry their names, running or ended (`Kubelet.adopt`); ended ones are reaped as usual. A pod
whose container was made but not yet noted is found the same way, since what runs is believed rather than
what was written.
"""

from __future__ import annotations

import contextlib
import os
import selectors
import signal
import sys
import time
import uuid
from collections.abc import Callable, Sequence
from dataclasses import replace
from types import FrameType

from launcher.backends.replicas import Pod
from launcher.backends.states import PodState
from launcher.backends.supervised.identity import identify
from launcher.backends.supervised.job_state import describe_end, judge_job
from launcher.backends.supervised.kubelet import Container, Kubelet, StartError
from launcher.backends.supervised.state import (
    JobLayout,
    JobRecord,
    PodRecord,
    Request,
    load_job_record,
    load_request,
    save_record,
)
from launcher.render.manifest import Manifest, parse_manifest

_LOOK_S = 0.05
_FIRST_PAUSE_S, _MAX_PAUSE_S = 0.25, 30.0  # the operator has no pause: a pod that dies at once is a hot loop
_NOT_STARTED = 127  # what a shell exits with for a program that it cannot find

Expand = Callable[[Manifest], Sequence[Pod]]
MakeKubelet = Callable[[JobLayout, Request], Kubelet]


class Supervisor:
    """Makes the pods of one job, makes them again, and writes down how they do."""

    def __init__(self, layout: JobLayout, *, expand: Expand, make_kubelet: MakeKubelet) -> None:
        """Read what is asked for; no pod is made and nothing written."""
        self._layout = layout
        manifest = parse_manifest(layout.manifest.read_text(encoding="utf-8"))
        self._request = load_request(layout.request)
        self._kind = manifest.kind
        self._pods = {pod.name: pod for pod in expand(manifest)}
        self._kubelet = make_kubelet(layout, self._request)
        self._running: dict[str, Container] = {}
        self._again_at_s: dict[str, float] = {}
        self._selector = selectors.DefaultSelector()
        self._kill_at_s: float | None = None
        self._told: signal.Signals | None = None
        earlier = load_job_record(layout.state)
        self._earlier = {pod.name: pod for pod in earlier.pods if pod.uid} if earlier else {}
        begun = {name: pod.restart + 1 for name, pod in self._earlier.items()}
        self._record = JobRecord(
            job=manifest.name, run_id=manifest.run_id, supervisor=identify(os.getpid()),
            created_s=earlier.created_s if earlier else time.time(), scratch=self._kubelet.scratch,
            generation=self._request.generation,
            pods=tuple(
                PodRecord(name=pod.name, node=pod.index, restart=begun.get(pod.name, 0))
                for pod in self._pods.values()
            ),
        )  # fmt: skip

    def on_signal(self, number: int, frame: FrameType | None) -> None:
        """Note what is asked; the loop acts on it. SIGINT outweighs SIGTERM."""
        del frame
        if self._told is not signal.SIGINT:
            self._told = signal.Signals(number)

    def claim(self) -> None:
        """Say that the job is ours now.

        Raises:
            OSError: The run folder cannot be written.
        """
        save_record(self._layout.state, self._record)

    def run(self) -> None:
        """Keep the job to its end; nothing that it started is left then."""
        for pod in self._pods.values():
            if not self._adopt(pod):
                self._start(pod, restart=self._pod_record(pod.name).restart)
        while self._running or self._again_at_s:
            self._pump()
            self._reap()
            self._heed()
            self._make_again()
            self._settle(self._record)
        self._settle(self._record)
        self._kubelet.sweep((), kill=True)
        self._kubelet.close()

    def _adopt(self, pod: Pod) -> bool:
        """Go on with what a killed supervisor has left of a pod; what has ended is reaped as usual."""
        found = self._kubelet.adopt(pod)
        if found is None:
            return False
        known = self._earlier.get(pod.name)
        if known is None or known.restart != found.restart:  # killed before it could note this start
            known = replace(self._pod_record(pod.name), uid=str(uuid.uuid4()), started_s=time.time())
        self._watch(replace(known, restart=found.restart, ended_s=None, exit_code=None), found.container)
        return True

    def _start(self, pod: Pod, *, restart: int) -> None:
        record = replace(
            self._pod_record(pod.name), uid=str(uuid.uuid4()), restart=restart,
            started_s=time.time(), ended_s=None, exit_code=None, reason="",
        )  # fmt: skip
        try:
            container = self._kubelet.start(pod, restart=restart, devices=self._devices(pod))
        except StartError as error:
            self._note(
                replace(
                    record, state=PodState.FAILED, exit_code=_NOT_STARTED, ended_s=time.time(),
                    reason=str(error),
                )
            )  # fmt: skip
            return
        self._watch(record, container)

    def _watch(self, record: PodRecord, container: Container) -> None:
        self._selector.register(container.output.pipe, selectors.EVENT_READ, record.name)
        self._running[record.name] = container
        self._note(replace(record, state=PodState.RUNNING, process=container.process, reason=""))

    def _devices(self, pod: Pod) -> tuple[str, ...]:
        first = sum(other.gpus for other in self._pods.values() if other.index < pod.index)
        return self._request.devices[first : first + pod.gpus]

    def _pump(self) -> None:
        if not self._selector.get_map():
            time.sleep(_LOOK_S)
        for key, _ in self._selector.select(_LOOK_S):
            if not self._running[key.data].output.read():
                self._selector.unregister(key.fileobj)

    def _reap(self) -> None:
        for name, container in list(self._running.items()):
            if not container.has_ended():
                continue
            with contextlib.suppress(KeyError):  # at the end of its output already
                self._selector.unregister(container.output.pipe)
            code = container.close()
            del self._running[name]
            self._on_end(name, code, lost_bytes=container.output.lost_bytes)
        self._kubelet.sweep(tuple(self._running.values()), kill=False)

    def _on_end(self, name: str, code: int, *, lost_bytes: int) -> None:
        reason = describe_end(self._layout.termination(name), code)
        if lost_bytes:
            reason = "; ".join(filter(None, (reason, f"{lost_bytes} bytes of its log could not be written")))
        ended = replace(
            self._pod_record(name), process=None, exit_code=code, ended_s=time.time(), reason=reason,
            state=PodState.FAILED if code else PodState.SUCCEEDED,
        )  # fmt: skip
        if self._kind.is_retried(code) and self._told is None and not self._record.state.is_terminal:
            pause_s = min(_FIRST_PAUSE_S * 2.0 ** min(ended.restart, 10), _MAX_PAUSE_S)
            self._again_at_s[name] = time.monotonic() + pause_s
            ended = replace(ended, state=PodState.PENDING)
        self._note(ended)

    def _make_again(self) -> None:
        for name, at_s in list(self._again_at_s.items()):
            record = self._pod_record(name)
            if self._told is not None or self._record.state.is_terminal:
                del self._again_at_s[name]
                self._note(replace(record, state=PodState.FAILED))
            elif time.monotonic() >= at_s:
                del self._again_at_s[name]
                self._start(self._pods[name], restart=record.restart + 1)

    def _heed(self) -> None:
        if self._told is None:
            return
        now_s = time.monotonic()
        if self._kill_at_s is None:
            self._kill_at_s = now_s + max(pod.grace_s for pod in self._pods.values())
            for container in self._running.values():
                container.stop()
        if self._told is signal.SIGINT or now_s >= self._kill_at_s:
            for container in self._running.values():
                container.kill()

    def _pod_record(self, name: str) -> PodRecord:
        return next(pod for pod in self._record.pods if pod.name == name)

    def _note(self, changed: PodRecord) -> None:
        pods = tuple(changed if pod.name == changed.name else pod for pod in self._record.pods)
        self._settle(replace(self._record, pods=pods))

    def _settle(self, record: JobRecord) -> None:
        """Save a record with the state that its pods give the job: no reader sees one without the other."""
        if not record.state.is_terminal:
            state, reason = judge_job(
                record.pods, told=self._told is not None, alive=bool(self._running or self._again_at_s),
                again=frozenset(self._again_at_s),
            )  # fmt: skip
            ended_s = time.time() if state.is_terminal else None
            record = replace(record, state=state, reason=reason, ended_s=ended_s)
        if record != self._record:
            self._save(record)

    def _save(self, record: JobRecord) -> None:
        self._record = record
        try:
            save_record(self._layout.state, record)
        except OSError as error:  # a full disk must not kill the job; the next change is written again
            sys.stderr.write(f"{self._layout.state}: expected to write it, got: {error.strerror}\n")
