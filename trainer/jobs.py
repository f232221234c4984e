"""Jobs by their names: `trainer eval|predict|export JOB`. What a job was is read from its run folder; of a
study's name the best job is meant, by what its driver has last seen.
"""

from __future__ import annotations

import atexit
import contextlib
import os
import shutil
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from trainer.config.problems import ConfigError, Problem
from trainer.errors import JobNotFoundError
from trainer.protocol import studyfile
from trainer.protocol.code_archive import unpack
from trainer.protocol.codec import FormatError
from trainer.protocol.environment import CODE_FILE, WORKSPACE
from trainer.protocol.exits import describe_exit
from trainer.protocol.jobfile import CONFIG, MAX_BYTES, NAME, JobFile, parse_job_file, parse_job_name
from trainer.protocol.layout import OutputLayout
from trainer.protocol.pathmap import PathMap
from trainer.protocol.runfile import load_run_file
from trainer.protocol.safe_files import read_file

_STATE = "FTLAUNCH_STATE"


@dataclass(frozen=True, kw_only=True, slots=True)
class Job:
    """A job that was submitted from this machine.

    Attributes:
        text: As it was typed.
        file: What its run folder says.
        config: The bytes that were sent, as a file.
        path_map: What stands for its paths on this machine; for a job on a cluster, its working folder only.
    """

    text: str
    file: JobFile
    config: Path
    path_map: PathMap

    @property
    def is_here(self) -> bool:
        """Whether its output lies on this machine."""
        return self.file.backend != "kubernetes"

    def refusal(self, message: str) -> ConfigError:
        """Make an error that names it."""
        return ConfigError([Problem(file=self.text, message=message)])


def runs_dir(environ: Mapping[str, str] = os.environ) -> Path:
    """Return where the launcher keeps its run folders."""
    return _state_dir(environ) / "runs"


def _state_dir(environ: Mapping[str, str] = os.environ) -> Path:
    import platformdirs

    chosen = environ.get(_STATE)
    return Path(chosen).expanduser() if chosen else platformdirs.user_state_path("ftlaunch")


def is_job(text: str) -> bool:
    """Say whether a job of this name, or a study, was begun from here."""
    found = parse_job_name(text)
    return found is not None and ((runs_dir() / found[1] / CONFIG).is_file() or _is_study(text))


def find_best_of_study(text: str) -> str | None:
    """Return the job with the best weights of a study that is called so; None where none is.

    Raises:
        JobNotFoundError: It has no trial yet that has ended by itself.
    """
    if not _is_study(text):
        return None
    path = _state_dir() / studyfile.FOLDER / text / studyfile.SUMMARY
    best: str | None = None
    with contextlib.suppress(OSError, FormatError):  # nothing was seen of it yet
        data = read_file(path, max_bytes=studyfile.MAX_BYTES)
        best = studyfile.parse_summary(data, where=str(path)).job
    if best is None or parse_job_name(best) is None:
        message = (
            "expected a study with a trial that has ended by itself, of which the best is meant, got none; "
            f"`ftlaunch sweep status {text}` says how far it is, `ftlaunch list {text}` names its jobs"
        )
        raise JobNotFoundError([Problem(file=text, message=message)])
    return best


def _is_study(text: str) -> bool:
    found = parse_job_name(text)  # no path
    if found is None or found[0] is not None:
        return False
    return (_state_dir() / studyfile.FOLDER / text / studyfile.STUDY).is_file()


def find_job(text: str) -> Job:
    """Return the job that a name or a handle means.

    Raises:
        JobNotFoundError: There is none.
        ConfigError: It was submitted by an earlier release, or is not where the handle says.
    """
    found = parse_job_name(text)
    folder = runs_dir() / found[1] if found is not None else None
    if found is None or folder is None or not (folder / CONFIG).is_file():
        message = "expected a job that was submitted from this machine, got none; see `ftlaunch list`"
        if Path(text).exists():
            message = f"{message}; a config is named by -c"
        raise JobNotFoundError([Problem(file=text, message=message)])
    try:
        file = parse_job_file(read_file(folder / NAME, max_bytes=MAX_BYTES), where=str(folder / NAME))
    except FileNotFoundError as error:
        message = "expected a job of this release, got one of an earlier one; name its config by -c"
        raise ConfigError([Problem(file=text, message=message)]) from error
    except (OSError, FormatError) as error:
        raise ConfigError([Problem(file=text, message=str(error))]) from error
    if found[0] not in (None, file.backend):
        message = f"expected a job on {found[0]}, got {file.job}, which is on {file.backend}"
        raise ConfigError([Problem(file=text, message=message)])
    path_map = PathMap({WORKSPACE: file.workdir, **file.folders}, counts_relative=True)
    return Job(text=text, file=file, config=folder / CONFIG, path_map=path_map)


def find_name(run_id: str) -> str | None:
    """Return the name of the job of a run id; None where none of this machine's run folders is its."""
    for path in sorted(runs_dir().glob(f"*/{NAME}")):
        try:
            file = parse_job_file(read_file(path, max_bytes=MAX_BYTES), where=str(path))
        except (OSError, FormatError):
            continue
        if file.run_id == run_id:
            return file.job
    return None


def unpack_code(job: Job) -> Path | None:
    """Return a folder with the job's code, which goes when this process ends; None where it had none.

    Raises:
        CodeError: What the run folder holds is not that code.
    """
    if job.file.code_sha256 is None:
        return None
    folder = Path(tempfile.mkdtemp(prefix="ftlaunch-code-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    try:
        unpack(job.config.parent / CODE_FILE, folder, sha256=job.file.code_sha256)
    except OSError as error:
        raise job.refusal(f"expected its code, got an error: {error}; submit it again") from error
    return folder


def require_output(job: Job, output_dir: Path) -> str | None:
    """Do nothing where a job has left a checkpoint on this machine.

    Args:
        job: The job.
        output_dir: Of its config, as a path of this machine.

    Returns:
        A note for people where the job has not come to its end; else None.

    Raises:
        ConfigError: Its output is on a cluster, gone, another run's, or has no checkpoint.
    """
    name, others = job.file.job, "or name weights by --weights FILE"
    if not job.is_here:
        raise job.refusal(
            f"expected a job of this machine, got one on {job.file.backend}, whose checkpoints lie there; "
            f"`ftlaunch ckpt pull {name} --checkpoint best` brings them here, then pass --weights with the "
            "model.pdparams that it wrote"
        )
    layout = OutputLayout(output_dir)
    try:
        run = load_run_file(output_dir)
    except (OSError, FormatError) as error:
        raise job.refusal(f"{output_dir}: expected the job's output, got: {error}; {others}") from error
    if run is None:
        gone = "a folder without it" if output_dir.is_dir() else "no such folder"
        raise job.refusal(
            f"expected its output in {output_dir}, got {gone}; see whether it has begun by "
            f"`ftlaunch status {name}`, {others}"
        )
    if run.run_id != job.file.run_id:
        taker = find_name(run.run_id)
        if taker is None:
            got = f"that of run {run.run_id}, which took the folder over and was not submitted from here"
            raise job.refusal(
                f"expected its output in {output_dir}, got {got}; name its config by -c, {others}"
            )
        raise job.refusal(
            f"expected its output in {output_dir}, got that of the job {taker}, which took the folder over; "
            f"name {taker}, {others}"
        )
    if not layout.pointer.is_file() and not layout.best_pointer.is_file():
        if run.ended is None:
            raise job.refusal(f"expected a checkpoint, got none yet; `ftlaunch wait {name}`, {others}")
        raise job.refusal(
            f"expected a checkpoint, got none: it ended before it saved one ({describe_exit(run.ended)}); "
            f"`ftlaunch why {name}`, {others}"
        )
    if run.ended != 0:
        return f"{name}: note: it has not trained to its end; what it has saved so far is taken"
    return None
