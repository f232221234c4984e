"""GPU-hours of a run, kept beside its record, so that they are known when its pods are gone.

Controllers delete pods: when a job is restarted, cancelled or cleaned away. So each look at a job notes which
of its pods hold GPUs since when, and until when, in `usage.json` of the run folder. Of a pod that has gone
between two looks, the end is when the next one of its number was given a node, else when the job ended, else
when it was last seen. What came and went between two looks is not counted.
"""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from launcher.backends.gpu_time import GpuTime, PodHold, add_up, holds_of
from launcher.backends.states import JobStatus
from launcher.jobs.resolve import ResolvedJob
from launcher.objects import queue_of, requests_of
from launcher.quantity import is_gpu
from launcher.render.manifest import ManifestError, parse_manifest
from launcher.runs.store import RunStore
from trainer.protocol.safe_files import replace_file
from trainer.protocol.untrusted import FormatError, parse_object

USAGE = "usage.json"
SCHEMA = 1
_MAX_BYTES = 4 * 1024 * 1024
_REFRESH_S = 60.0
"""What is only seen again is written no more often."""


def note_gpu_time(job: ResolvedJob, status: JobStatus, *, now_s: float | None = None) -> GpuTime | None:
    """Note what a job's pods hold, and return the whole time; None for a job without GPUs.

    A run folder that cannot be written to is no reason to say nothing: the result is then of what is seen.

    Args:
        job: Which.
        status: As it stands now.
        now_s: Unix time; None for the clock's.
    """
    now_s = time.time() if now_s is None else now_s
    kept = _read(job.run_folder) or _begin(job.store, job.name)
    if kept is None or not kept["gpus"]:
        return None
    before: dict[str, PodHold] = {key: PodHold(**value) for key, value in kept["pods"].items()}
    holds = _merge(before, holds_of(status.pods, ended_s=status.ended_s), status, seen_s=kept["seen_s"])
    if holds != before or status.state.is_terminal or now_s - kept["seen_s"] >= _REFRESH_S:
        pods = {key: asdict(hold) for key, hold in holds.items()}
        with suppress(OSError):
            _write(job.run_folder, {**kept, "seen_s": now_s, "ended_s": status.ended_s, "pods": pods})
    return add_up(holds, status, gpus=kept["gpus"], now_s=now_s, is_queued=kept["queued"])


def read_gpu_hours(store: RunStore, job: str) -> float | None:
    """Return what has been noted of a job, in GPUs times hours; None where nothing has. Asks nobody."""
    kept = _read(store.run_folder(job))
    if kept is None:
        return None
    until_s = kept["ended_s"] if kept["ended_s"] is not None else kept["seen_s"]
    holds = [PodHold(**value) for value in kept["pods"].values()]
    held_s = sum(
        max(0.0, (hold.end_s if hold.end_s is not None else until_s) - hold.start_s) for hold in holds
    )
    return float(held_s * kept["gpus"] / 3600)


def _merge(
    before: dict[str, PodHold], now: dict[str, PodHold], status: JobStatus, *, seen_s: float
) -> dict[str, PodHold]:
    """Put what is seen now over what was, and end those that are gone."""
    merged = {**before, **now}
    for key, hold in before.items():
        if key in now or hold.end_s is not None:
            continue
        later = [other.start_s for other in now.values() if other.node == hold.node]
        end_s = min((at_s for at_s in later if at_s >= hold.start_s), default=status.ended_s or seen_s)
        merged[key] = replace(hold, end_s=max(hold.start_s, end_s))
    return merged


def _begin(store: RunStore, job: str) -> dict[str, Any] | None:
    """Return what is known of a run before its pods are: how many GPUs each has, and if it was queued."""
    try:
        manifest = parse_manifest(store.read_manifest(job))
        asked = requests_of(manifest.pod_template["spec"])
    except (OSError, ManifestError, KeyError):
        return None
    gpus = int(sum(amount for name, amount in asked.items() if is_gpu(name)))
    return {
        "gpus": gpus, "queued": bool(queue_of(manifest.job)), "seen_s": 0.0, "ended_s": None, "pods": {}
    }  # fmt: skip


def _read(folder: Path) -> dict[str, Any] | None:
    """Return what was noted; None where nothing was, or it is broken and begins anew."""
    try:
        document: Mapping[str, Any] = parse_object(
            (folder / USAGE).read_bytes(), where=USAGE, max_bytes=_MAX_BYTES
        )
        if document.get("schema") != SCHEMA:
            return None
        pods = {
            str(key): {
                "node": int(value["node"]), "start_s": float(value["start_s"]),
                "end_s": None if value["end_s"] is None else float(value["end_s"]),
            }
            for key, value in document["pods"].items()
        }  # fmt: skip
        ended_s = document["ended_s"]
        return {
            "gpus": int(document["gpus"]), "queued": bool(document["queued"]), "pods": pods,
            "seen_s": float(document["seen_s"]), "ended_s": None if ended_s is None else float(ended_s),
        }  # fmt: skip
    except (OSError, FormatError, AttributeError, KeyError, TypeError, ValueError):
        return None


def _write(folder: Path, document: dict[str, Any]) -> None:
    replace_file(folder / USAGE, (json.dumps({"schema": SCHEMA, **document}) + "\n").encode())
