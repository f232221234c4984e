"""`ftlaunch submit`."""

from __future__ import annotations

import importlib.util
import json
import posixpath
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING

import click

from launcher.backends.base import Backend, Submission
from launcher.backends.factory import open_backend
from launcher.cli.ahead import begin
from launcher.cli.blaming import blaming_the_config
from launcher.cli.host_folders import host_folders
from launcher.cli.interrupted import settle, stale_records, sweep
from launcher.cli.jobs import Found, exit_code
from launcher.cli.options import Asked, launch_options, output_option
from launcher.cli.preflight import preflight
from launcher.cli.prepare import Prepared, narrate, prepare
from launcher.cli.printing import echo
from launcher.errors import (
    CliExit,
    LaunchError,
    NotAllowedError,
    NothingSentError,
    UnreachableError,
    UsageError,
)
from launcher.plan.capabilities import CAPABILITIES
from launcher.plan.handle import Handle
from launcher.runs.gitstate import GitState, read_git_state
from launcher.runs.paths import project_of, runs_dir
from launcher.runs.record import RunRecord, Stage
from launcher.runs.store import RunStore
from trainer.protocol.codec import FormatError
from trainer.protocol.environment import WORKSPACE
from trainer.protocol.jobfile import JobFile
from trainer.protocol.lastrun import JOB_MARK, point_latest
from trainer.protocol.pathmap import PathMap
from trainer.protocol.runfile import OutputTakenError, refuse_taken

if TYPE_CHECKING:  # pydantic: `--help` does without
    from launcher.render.manifest import Manifest


@click.command("submit")
@launch_options
@click.option(
    "--dry-run", type=click.Choice(["client", "server"]),
    help="Print the manifest and submit nothing; server: have it checked where it would run.",
)  # fmt: skip
@click.option(
    "--follow/--detach", "-f", "following", default=False,
    help="Show the log until the job ends; the exit code is then the job's.",
)  # fmt: skip
@click.option(
    "--wait",
    "waiting",
    is_flag=True,
    help="Wait for the end and say meanwhile how far it is; the exit code is the job's.",
)
@click.option(
    "--container-runtime", "runtime", metavar="docker|podman|PATH", envvar="FTLAUNCH_CONTAINER_RUNTIME",
    help="Engine of --on docker; the first of docker and podman that is there.",
)  # fmt: skip
@click.option(
    "--preflight/--no-preflight", "looking", default=True,
    help="Look first whether the cluster has what the job needs: claims, quotas, room.",
)  # fmt: skip
@output_option("json")
def command(
    *, asked: Asked, dry_run: str | None, following: bool, waiting: bool, runtime: str | None, looking: bool,
    output: str,
) -> int:  # fmt: skip
    """Submit a job: a PaddleJob on Kubernetes, or its pods as containers or processes of this machine."""
    git_state = begin(lambda: read_git_state(Path.cwd()))
    prepared = prepare(asked)
    store = RunStore(runs_dir())
    here = open_backend(prepared.on[0], runs_folder=store.folder) if not prepared.is_on_cluster else None
    if dry_run is None and here is not None:
        prepared = _free_output(prepared, asked, here)
    config, job, (on, _) = prepared.config, prepared.job, prepared.on
    narrate(prepared)
    if dry_run == "client":
        return _print(prepared.manifest)
    if not CAPABILITIES[on].has_containers and dry_run is None:
        _require_trainer()
    folders = host_folders(prepared, here, make=dry_run is None) if here is not None else {}
    context = config.job.launch.context
    backend = open_backend(
        on,
        runs_folder=store.folder,
        namespace=job.namespace,
        context=context,
        runtime=runtime,
        gpu_ids=job.gpu_ids,
    )
    backend = backend.negotiate(config.job.launch.api)
    for note in backend.job_api_notes:
        echo(f"note: {note}", err=True)
    job, manifest = prepared.job, prepared.manifest
    submission = Submission(
        manifest=manifest, run_folder=store.run_folder(job.job), host_folders=folders, workdir=Path.cwd()
    )
    with blaming_the_config(prepared):
        checked = backend.check(submission) if dry_run == "server" else ()
        if looking:
            preflight(prepared, backend, check=lambda: checked or backend.check(submission))
    if dry_run == "server":
        echo("\n".join(checked), err=True)
        return _print(manifest)
    namespace = (job.namespace or backend.namespace) if prepared.is_on_cluster else ""
    handle = Handle(backend=on, namespace=namespace, job=job.job)
    record = RunRecord(
        handle=handle, run_id=job.run_id, stage=Stage.SUBMITTING, project=str(project_of(Path.cwd())),
        config=str(config.path.resolve()), command=tuple(sys.argv[1:]), created_s=time.time(),
        context=backend.context or context, api=job.api,
    )  # fmt: skip
    found = Found(record=record, backend=backend, store=store)
    _submit(found, prepared, submission, git_state=git_state)
    _link_latest(prepared, folders, here)
    echo(_as_json(record) if output == "json" else str(handle))
    _tell_more(found)
    if following or waiting:
        from launcher.cli.following import follow, wait_for_end
        from launcher.cli.waitline import echo_end

        if following:
            return follow(found)
        try:
            ended = wait_for_end(found, timeout_s=None)
        except KeyboardInterrupt:
            echo(f"\n{job.job} goes on; `ftlaunch wait {job.job}` waits for it again", err=True)
            return CliExit.INTERRUPTED
        echo_end(ended, backend)
        return exit_code(ended)
    echo("next: ftlaunch logs -f · ftlaunch status · ftlaunch wait", err=True)  # of the last job
    return CliExit.OK


def _submit(
    found: Found, prepared: Prepared, submission: Submission, *, git_state: Callable[[], GitState | None]
) -> None:
    """Have a run recorded and started: both, or neither."""
    record, backend, store = found.record, found.backend, found.store
    job = record.handle.job
    with store.lock(job):
        if (earlier := store.load(job)) is not None:
            settle(earlier, backend=backend, store=store)
        store.begin(
            record, config=prepared.config.content, manifest=prepared.manifest.text, git=git_state(),
            job_file=_describe(prepared, submission, backend=record.handle.backend),
        )  # fmt: skip
        try:
            with blaming_the_config(prepared):
                backend.submit(submission)
        except (NotAllowedError, NothingSentError):  # refused before anything was done
            store.remove(job)
            raise
        except UnreachableError:  # nobody knows whether it arrived: the record finds it again
            raise
        except LaunchError:  # refused for certain: nothing of ours is there
            store.remove(job)
            raise
        store.finish(record)


def _free_output(prepared: Prepared, asked: Asked, here: Backend) -> Prepared:
    """Give a job of this machine a folder of its own where another run has filled Global.output_dir.

    On a cluster the folder cannot be seen from here; `sub_path: '{job}'` of its volume does the same there.

    Raises:
        UsageError: The folder was named on the command line, so that no other one can be meant.
    """
    from trainer.config.overrides import parse_override

    job = prepared.job
    if asked.overwrite or asked.continues is not None:
        return prepared
    output = _output_here(prepared, here)
    try:
        refuse_taken(output)
    except OutputTakenError as error:
        if any(parse_override(text).path == ("Global", "output_dir") for text in asked.overrides):
            raise UsageError(str(error)) from error
    except (FormatError, OSError):  # the trainer says what is wrong of it
        return prepared
    else:
        return prepared
    own = posixpath.join(prepared.config.job.run.output_dir, JOB_MARK)
    freed = prepare(replace(asked, run_id=job.run_id), output_dir=own)
    echo(
        f"note: {output} holds another run, so this job writes to {output / freed.job.job}; with --overwrite "
        "it takes the folder itself",
        err=True,
    )
    return freed


def _output_here(prepared: Prepared, here: Backend) -> Path:
    """Return the folder of this machine that a job writes to."""
    folders = {mount: str(folder) for mount, folder in host_folders(prepared, here, make=False).items()}
    return Path(PathMap({WORKSPACE: str(Path.cwd()), **folders}).apply(prepared.job.node_file.output_dir))


def _describe(prepared: Prepared, submission: Submission, *, backend: str) -> JobFile:
    """Return what the trainer needs to know of the job by its name."""
    job = prepared.job
    return JobFile(
        job=job.job, backend=backend, run_id=job.run_id, workdir=str(submission.workdir),
        overrides=tuple(value for flag, value in pairwise(job.command) if flag == "-o"),
        extra_modules=prepared.config.job.launch.extra_modules,
        folders={mount: str(folder) for mount, folder in submission.host_folders.items()},
        output_dir=job.node_file.output_dir,
    )  # fmt: skip


def _link_latest(prepared: Prepared, folders: Mapping[str, Path], here: Backend | None) -> None:
    """Have `latest` lead to the job's folder on this machine, where each job has its own."""
    for volume in prepared.config.job.launch.volumes:
        if not volume.sub_path or JOB_MARK not in volume.sub_path or volume.mount not in folders:
            continue
        if problem := point_latest(folders[volume.mount], volume.sub_path):
            echo(f"note: {problem}", err=True)
    job = prepared.job
    own = posixpath.basename(job.node_file.output_dir) == job.job
    if own and here is not None and (problem := point_latest(_output_here(prepared, here))):
        echo(f"note: {problem}", err=True)


def _tell_more(found: Found) -> None:
    """Say what the submit gave cause to say, and sweep what earlier ones have left."""
    record, backend, store = found.record, found.backend, found.store
    for remark in backend.remarks:
        echo(remark, err=True)
    namespace, context = record.handle.namespace, record.context
    stale = stale_records(store, namespace=namespace, context=context, now_s=record.created_s)
    for name in sweep(stale, backend=backend, store=store):
        echo(f"{name}: removed the ConfigMap that an interrupted submit had left", err=True)


def _print(manifest: Manifest) -> int:
    echo(manifest.text.encode("utf-8"), nl=False)  # bytes: the terminal's encoding has no say
    return CliExit.OK


def _as_json(record: RunRecord) -> str:
    """Write what was submitted for programs. Keys are only ever added."""
    handle = record.handle
    document = {
        "schema": 1, "handle": str(handle), "backend": handle.backend, "namespace": handle.namespace or None,
        "job": handle.job, "run_id": record.run_id, "context": record.context,
    }  # fmt: skip
    return json.dumps(document, indent=2)


def _require_trainer() -> None:
    if importlib.util.find_spec("paddle") is None:
        from trainer.protocol import installation

        raise UsageError(
            where="--on local",
            expected="PaddlePaddle in this environment",
            got="none",
            fix=installation.trainer_cure(),
        )
