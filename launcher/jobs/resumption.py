"""What a resume goes on from, told before it begins: the checkpoint, and what has changed here since.

Must not: resume; `launcher.jobs.lifecycle` does.
"""

from __future__ import annotations

import json
from contextlib import suppress
from pathlib import Path, PurePosixPath

from launcher.backends.states import JobStatus
from launcher.jobs.metrics import load_job_file, output_here
from launcher.jobs.resolve import ResolvedJob
from launcher.runs.origin import hash_file, load_origin
from launcher.runs.store import CONFIG
from trainer.protocol.environment import WORKSPACE
from trainer.protocol.layout import OutputLayout, parse_checkpoint_name
from trainer.protocol.pathmap import PathMap
from trainer.protocol.safe_files import read_file, replace_file
from trainer.protocol.untrusted import FormatError, parse_object

EARLIER = "earlier.json"
"""In a run folder: how long the job ran before it was resumed."""
_MAX_BYTES = 4096


def describe_start(job: ResolvedJob, before: JobStatus) -> str:
    """Say where a job goes on: `after epoch 3 (step 120)`; empty where that cannot be seen from here.

    Args:
        job: Which.
        before: How it stood before it was resumed.
    """
    folder, end = output_here(job.run_folder), before.termination
    name = PurePosixPath(end.checkpoint).name if end is not None and end.checkpoint else ""
    if folder is not None:
        try:
            name = read_file(OutputLayout(folder).pointer, max_bytes=_MAX_BYTES).decode("ascii").strip()
        except FileNotFoundError:
            return "from its beginning: it had saved no checkpoint"
        except (OSError, UnicodeDecodeError):
            return ""
    found = parse_checkpoint_name(name)
    return "" if found is None else f"after epoch {found.epoch} (step {found.step})"


def find_changed(job: ResolvedJob) -> list[str]:
    """Say what lies here otherwise than when the job was submitted: its config, its lists."""
    record, said = job.record, []
    with suppress(OSError):
        if Path(record.config).read_bytes() != (job.run_folder / CONFIG).read_bytes():
            said.append(
                f"{record.config} has changed since, and the job goes on with it as it was; `ftlaunch submit "
                f"{record.config} --continue {job.name}` begins one with the changes"
            )
    origin, file = load_origin(job.run_folder), load_job_file(job.run_folder)
    if origin is None or file is None:
        return said
    path_map = PathMap({WORKSPACE: file.workdir, **file.folders}, counts_relative=True)
    for path, digest in origin.lists.items():
        here = Path(path_map.apply(path))
        now = hash_file(here)
        if now is not None and now != digest:
            said.append(f"{here} has changed since, and the job goes on with it as it is now")
    return said


def read_earlier_s(run_folder: Path) -> float:
    """Return how many seconds a job ran before it was resumed last; 0 where it never was."""
    try:
        found = parse_object(read_file(run_folder / EARLIER, max_bytes=_MAX_BYTES), where=EARLIER)
    except (OSError, FormatError):
        return 0.0
    seconds = found.get("ran_s")
    return float(seconds) if isinstance(seconds, int | float) and 0 <= seconds < 1e12 else 0.0


def note_earlier(run_folder: Path, ran_s: float) -> None:
    """Add what a job has run to what it ran before. A folder that cannot be written to keeps nothing."""
    with suppress(OSError):
        total = read_earlier_s(run_folder) + max(0.0, ran_s)
        replace_file(run_folder / EARLIER, (json.dumps({"ran_s": round(total, 3)}) + "\n").encode())
