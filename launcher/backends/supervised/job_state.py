"""Where a supervised job stands, from where its pods stand: the operator's rules for `ExitCode`.

`judge_job` is pure; the rest reads what pods left behind.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from launcher.backends.states import (
    JobState,
    JobStatus,
    PodState,
    PodStatus,
    early_end,
    trains_with_fewer,
)
from launcher.backends.supervised.identity import boot_id
from launcher.backends.supervised.state import JobLayout, JobRecord, PodRecord
from launcher.plan.handle import Handle
from trainer.protocol.codec import FormatError
from trainer.protocol.exits import describe_exit
from trainer.protocol.progress import Progress
from trainer.protocol.progress import last_progress as find_last
from trainer.protocol.tags import parse_line
from trainer.protocol.termination import MAX_BYTES, Termination, parse_termination

_TAIL_BYTES = 64 * 1024
_CURE = "take it up again with `ftlaunch resume`; what it saved is in its output folder"
_CONTAINERS = (
    "its containers may go on by themselves; `ftlaunch resume` looks after them again, "
    "`ftlaunch cancel` has them save and stop"
)
BEING_CANCELLED = "being cancelled: its pods save and stop"


def judge_job(
    pods: Sequence[PodRecord], *, told: bool, alive: bool, again: frozenset[str]
) -> tuple[JobState, str]:
    """Return the state of a job and a sentence about it.

    Args:
        pods: All of them.
        told: It was cancelled.
        alive: A pod runs or is about to be made again.
        again: Names of pods that are about to be made again.
    """
    if all(pod.state is PodState.SUCCEEDED for pod in pods):  # it was done before it heard of the cancelling
        return JobState.SUCCEEDED, ""
    if told:
        if alive:
            return JobState.RUNNING, BEING_CANCELLED
        return JobState.CANCELLED, ""
    failed = next((pod for pod in pods if pod.state is PodState.FAILED), None)
    if failed is not None:
        return JobState.FAILED, f"{failed.name}: {failed.reason or describe_exit(failed.exit_code or 1)}"
    if again:
        return JobState.RESTARTING, f"{min(again)} is made again"
    started = all(pod.state is not PodState.PENDING for pod in pods)
    return (JobState.RUNNING if alive and started else JobState.STARTING), ""


def read_status(handle: Handle, layout: JobLayout, record: JobRecord, *, pods_outlive: bool) -> JobStatus:
    """Return how a job stands; one whose supervisor is gone before its end is lost.

    Args:
        handle: Of the job.
        layout: Where its pods' last words and logs lie.
        record: As its supervisor left it.
        pods_outlive: Its pods may go on without a supervisor.
    """
    is_supervised = record.supervisor.is_running()
    lost = not record.state.is_terminal and not is_supervised
    rebooted = record.supervisor.boot_id != boot_id()
    why = "this machine was restarted" if rebooted else "its supervisor was killed"
    rest = _CONTAINERS if pods_outlive and not rebooted else f"its pods ended with it; {_CURE}"
    pods = tuple(_read_pod(layout, pod, is_supervised=is_supervised) for pod in record.pods)
    progress = last_progress(layout, record)
    away = frozenset(pod.node for pod in record.pods if pod.state is not PodState.RUNNING)
    fewer = trains_with_fewer(away, progress) if record.state is JobState.RESTARTING else ""
    if fewer:
        record = replace(record, state=JobState.RUNNING, reason=fewer)
    said = record.reason or (early_end(pods) if record.state is JobState.SUCCEEDED else "")
    return JobStatus(
        handle=handle,
        run_id=record.run_id,
        state=JobState.LOST if lost else record.state,
        reason=f"{why}, and {rest}" if lost else said,
        pods=pods,
        created_s=record.created_s,
        ended_s=record.ended_s,
        progress=progress,
    )


def _read_pod(layout: JobLayout, pod: PodRecord, *, is_supervised: bool) -> PodStatus:
    over = pod.state in (PodState.SUCCEEDED, PodState.FAILED)
    return PodStatus(
        pod=pod.name, node=pod.node, state=pod.state if is_supervised or over else PodState.UNKNOWN,
        restarts=pod.restart, exit_code=pod.exit_code,
        termination=read_termination(layout.termination(pod.name)), reason=pod.reason,
        started_s=pod.started_s, ended_s=pod.ended_s,
    )  # fmt: skip


def read_termination(path: Path) -> Termination | None:
    """Read a pod's last words; None where it left none of ours."""
    try:
        with path.open("rb") as file:
            return parse_termination(file.read(MAX_BYTES))
    except (OSError, FormatError):
        return None


def describe_end(path: Path, code: int) -> str:
    """Say why a pod ended so; empty where it ended well."""
    if code == 0:
        return ""
    words = read_termination(path)
    return words.reason if words is not None else describe_exit(code)


def last_progress(layout: JobLayout, record: JobRecord) -> Progress | None:
    """Return the last progress line of node 0, of whichever of its starts has one."""
    first = next((pod for pod in record.pods if pod.node == 0), None)
    if first is None:
        return None
    for restart in range(first.restart, -1, -1):
        try:
            with layout.log(first.name, restart).open("rb") as file:
                file.seek(max(0, file.seek(0, os.SEEK_END) - _TAIL_BYTES))
                lines = file.read().split(b"\n")
        except FileNotFoundError:
            continue
        found = find_last([parse_line(line.split(b" ", 3)[-1]).text for line in lines])
        if found is not None:
            return found
    return None
