"""Submitting a job: from a config to a job that runs, exactly once, with a record of it on this machine.

The order is what matters here. Everything that can be found out without a side effect comes first: the config
is loaded, the place is asked which kind of job it takes, the job is planned and rendered, and the cluster is
looked at. The record is written before the first request that makes anything, so that a submit that is cut
off is found again by its run id (`recovery`), and it is removed only where it is certain that nothing was
made.
"""

from __future__ import annotations

import importlib.util
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING

from launcher.backends.base import Backend, Submission
from launcher.backends.factory import open_backend
from launcher.errors import (
    Issue,
    LaunchError,
    NotAllowedError,
    NothingSentError,
    UnreachableError,
    UsageError,
)
from launcher.jobs.findings import find_doubts
from launcher.jobs.host_folders import (
    find_free_output,
    find_host_folders,
    hash_lists,
    link_latest,
    make_host_folders,
)
from launcher.jobs.notes import Note, Notes, ignore
from launcher.jobs.options import SubmitOptions
from launcher.jobs.prepare import Draft, Prepared, load, plan_job, plan_notes, prepare, render_job
from launcher.jobs.recovery import collect, reconcile, stale_records
from launcher.jobs.resolve import ResolvedJob
from launcher.kube.errors import InvalidError
from launcher.plan.handle import Handle
from launcher.runs.gitstate import GitState, read_git_state
from launcher.runs.paths import project_of, runs_dir
from launcher.runs.record import RunRecord, Stage
from launcher.runs.store import RunStore
from launcher.threads import begin
from trainer.protocol.jobfile import JobFile

if TYPE_CHECKING:
    from launcher.jobs.code import Code
    from launcher.why.verdict import Verdict

_PLAIN = SubmitOptions()


def _nothing(job: ResolvedJob) -> None:
    del job


def submit(
    config: Path | str,
    options: SubmitOptions = _PLAIN,
    *,
    notes: Notes = ignore,
    on_sent: Callable[[ResolvedJob], None] = _nothing,
    command: tuple[str, ...] = (),
) -> ResolvedJob:
    """Submit a job, and return it once it is stored where it is to run.

    Args:
        config: The file.
        options: How; by default as the config and the settings say.
        notes: Told what a person should know, in order: of the config, of the place, of what was sent.
        on_sent: Told of the job as soon as it is stored, before what is done for earlier submits.
        command: What was typed, for the record.

    Raises:
        ConfigError: The config is refused.
        UsageError: What is asked for cannot be, or the cluster refuses the job.
        TakenError: Another run has a job of this name.
        UnreachableError: The cluster does not answer. Whether the job was made is then not known; the record
            stays, and the next use case that meets it finds out.
    """
    # git takes tens of milliseconds, and nothing asks for it before the record is written
    git_state = begin(lambda: read_git_state(Path.cwd()))
    store = RunStore(runs_dir())
    ready = _make_ready(Path(config), options, store=store, notes=notes, dry=False)
    prepared, backend = ready.prepared, ready.backend
    _preflight(prepared, backend, options, check=lambda: backend.check(ready.submission), notes=notes)
    # the record pins where the job goes: the current context may be another one tomorrow
    plan = prepared.job
    namespace = (plan.namespace or backend.namespace) if prepared.capabilities.is_cluster else ""
    record = RunRecord(
        handle=Handle(backend=prepared.on[0], namespace=namespace, job=plan.job),
        run_id=plan.run_id,
        stage=Stage.SUBMITTING,
        project=str(project_of(Path.cwd())),
        config=str(prepared.config.path.resolve()),
        command=command,
        created_s=time.time(),
        context=backend.context or prepared.config.job.launch.context,
        api=plan.api,
        code_sha256=plan.node_file.code_sha256,
        study=options.study,
    )
    if prepared.code is not None:
        _bring_code(prepared.code, ready, notes=notes)
    job = ResolvedJob(record=record, backend=backend, store=store)
    _send(job, ready, git_state=git_state)
    link_latest(prepared, ready.submission.host_folders, notes=notes)
    on_sent(job)
    _note_origin(job, ready)
    for remark in backend.remarks:
        notes(Note(remark))
    _collect_earlier(job, notes=notes)
    return job


@dataclass(frozen=True, kw_only=True, slots=True)
class DryRun:
    """What would be sent.

    Attributes:
        checked: What was checked where it would run, a sentence each; empty where nothing was asked.
    """

    prepared: Prepared
    checked: tuple[str, ...] = ()


def dry_run(
    config: Path | str, options: SubmitOptions = _PLAIN, *, on_server: bool = False, notes: Notes = ignore
) -> DryRun:
    """Return what a submit would send, and leave nothing behind.

    Args:
        config: The file.
        options: How; by default as the config and the settings say.
        on_server: Have it checked where it would run, too.
        notes: As for `submit`.

    Raises:
        ConfigError: The config is refused.
        LaunchError: What is asked for cannot be; with `on_server` also what a submit would be refused for.
    """
    if not on_server:
        prepared = prepare(Path(config), options, notes=notes)
        _tell_plan(prepared, notes)
        _tell_doubts(prepared, None, notes)
        return DryRun(prepared=prepared)
    ready = _make_ready(Path(config), options, store=RunStore(runs_dir()), notes=notes, dry=True)
    with _at_the_source(ready.prepared):
        checked = ready.backend.check(ready.submission)
    _preflight(ready.prepared, ready.backend, options, check=lambda: checked, notes=notes)
    return DryRun(prepared=ready.prepared, checked=checked)


@dataclass(frozen=True, kw_only=True, slots=True)
class _Ready:
    """A job that needs nothing more than to be sent."""

    prepared: Prepared
    backend: Backend
    submission: Submission


def _make_ready(path: Path, options: SubmitOptions, *, store: RunStore, notes: Notes, dry: bool) -> _Ready:
    draft = load(path, options, notes=notes)
    try:
        backend = _reach(draft, store)
    except LaunchError:
        _tell_faults(draft, store, notes)
        raise
    plan = plan_job(draft, api=backend.job_kind)
    # planning is pure and takes milliseconds, so that it is done again for another folder; rendering is not
    if not (dry or draft.capabilities.is_cluster or options.overwrite or options.parent is not None):
        output_dir = find_free_output(draft, plan, backend, notes=notes)
        if output_dir is not None:
            plan = plan_job(draft, api=backend.job_kind, output_dir=output_dir)
    prepared = render_job(draft, plan)
    _tell_plan(prepared, notes)
    for text in backend.job_kind_notes:
        notes(Note(text, "note"))
    if not (dry or draft.capabilities.has_containers):
        _require_trainer(draft.on[0])
    folders: Mapping[str, Path] = {}
    if not draft.capabilities.is_cluster:
        folders = find_host_folders(draft.config, plan, backend)
        if not dry:
            make_host_folders(plan, folders, manifest=prepared.manifest, backend=backend)
    _tell_doubts(prepared, None if draft.capabilities.is_cluster else folders, notes)
    submission = Submission(
        manifest=prepared.manifest,
        run_folder=store.run_folder(plan.job),
        host_folders=folders,
        workdir=Path.cwd(),
    )
    return _Ready(prepared=prepared, backend=backend, submission=submission)


def _tell_faults(draft: Draft, store: RunStore, notes: Notes) -> None:
    """Say what can be said of a job without what would run it, which does not answer or is not there.

    Raises:
        ConfigError: The config is to be mended in any case; that comes first.
        UsageError: What it names is not on this machine.
    """
    plan = plan_job(draft)
    _tell_plan(render_job(draft, plan), notes)
    if not draft.capabilities.is_cluster:
        find_host_folders(draft.config, plan, open_backend(draft.on[0], runs_folder=store.folder))


def _reach(draft: Draft, store: RunStore) -> Backend:
    """Return what sends the job, in a kind that is served where it goes."""
    from launcher.kinds.registry import KINDS
    from launcher.plan.validate import is_given  # with pydantic, which `submit --help` does without

    launch = draft.config.job.launch
    backend = open_backend(
        draft.on[0],
        runs_folder=store.folder,
        namespace=launch.namespace,
        context=launch.context,
        runtime=draft.options.runtime,
        gpu_ids=draft.options.gpu_ids,
    )
    asked = {key for kind in KINDS for key in kind.cannot if is_given(launch, key)}
    queue = launch.queue.kueue if launch.queue is not None else None
    return backend.negotiate(launch.api, asks=asked, queue=queue or "")


def _send(job: ResolvedJob, ready: _Ready, *, git_state: Callable[[], GitState | None]) -> None:
    """Have a run recorded and started: both, or neither."""
    record, backend, store, prepared = job.record, job.backend, job.store, ready.prepared
    # the lock is held over the request: of two submits of one name, the second sees what became of the first
    with store.lock(job.name):
        if (earlier := store.load(job.name)) is not None:
            reconcile(earlier, backend=backend, store=store)
        else:
            store.clear(job.name)
        store.begin(
            record,
            config=prepared.config.content,
            manifest=prepared.manifest.text,
            git=git_state(),
            job_file=_describe(prepared, ready.submission),
            code=prepared.code.archive.data if prepared.code is not None else None,
        )
        try:
            with _at_the_source(prepared):
                backend.submit(ready.submission)
        except (NotAllowedError, NothingSentError):  # refused before anything was done
            store.remove(job.name)
            raise
        except UnreachableError:  # nobody knows whether it arrived: the record finds it again
            raise
        except LaunchError:  # refused for certain: nothing of ours is there
            store.remove(job.name)
            raise
        store.finish(record)


def _note_origin(job: ResolvedJob, ready: _Ready) -> None:
    """Keep what the run was made of, for `diff`; a run folder that cannot be written to has it not."""
    from launcher.runs.origin import Origin, read_versions, save_origin  # once the job is sent

    submission = ready.submission
    lists = hash_lists(
        ready.prepared.config.document.values, submission.host_folders, workdir=submission.workdir
    )
    with suppress(OSError):
        save_origin(job.run_folder, Origin(versions=read_versions(), lists=lists))


def _bring_code(code: Code, ready: _Ready, *, notes: Notes) -> None:
    """Bring code that no ConfigMap holds to its volume. It is kept by its hash, so that it goes once."""
    from launcher.jobs.code import bring_code

    if code.planned.mount is not None:
        notes(Note(f"code: brought to {code.planned.mount}, {len(code.archive.data):,} bytes"))
        bring_code(code, ready.prepared.job, ready.backend, folders=ready.submission.host_folders)


def _collect_earlier(job: ResolvedJob, *, notes: Notes) -> None:
    """Remove what earlier submits to the same namespace have left that were cut off."""
    record = job.record
    stale = stale_records(
        job.store, namespace=record.handle.namespace, context=record.context, now_s=record.created_s
    )
    for name in collect(stale, backend=job.backend, store=job.store):
        notes(Note(f"{name}: removed the ConfigMap that an interrupted submit had left"))


def _describe(prepared: Prepared, submission: Submission) -> JobFile:
    """Return what the trainer needs to know of the job by its name."""
    job = prepared.job
    return JobFile(
        job=job.job,
        backend=prepared.on[0],
        run_id=job.run_id,
        workdir=str(submission.workdir),
        overrides=tuple(value for flag, value in pairwise(job.command) if flag == "-o"),
        extra_modules=prepared.config.job.launch.extra_modules,
        folders={mount: str(folder) for mount, folder in submission.host_folders.items()},
        output_dir=job.node_file.output_dir,
        code_sha256=job.node_file.code_sha256,
    )


def _tell_plan(prepared: Prepared, notes: Notes) -> None:
    for note in plan_notes(prepared):
        notes(note)


def _tell_doubts(prepared: Prepared, folders: Mapping[str, Path] | None, notes: Notes) -> None:
    """Say what a training of this config and its list would suffer from; see `find_doubts`."""
    for problem in find_doubts(prepared.config, on=prepared.on[0], folders=folders):
        notes(Note(str(problem), "problem"))


def _require_trainer(on: str) -> None:
    if importlib.util.find_spec("paddle") is None:
        from trainer.protocol import installation

        raise UsageError(
            where=f"--on {on}",
            expected="PaddlePaddle in this environment",
            got="none",
            fix=installation.trainer_fix(),
        )


def _preflight(
    prepared: Prepared,
    backend: Backend,
    options: SubmitOptions,
    *,
    check: Callable[[], object],
    notes: Notes,
) -> None:
    """Say what keeps a job from starting, where a cluster runs it and it is wanted.

    Args:
        prepared: The job.
        backend: Where it is to go.
        options: Says whether it is wanted.
        check: Sends it as a dry run: the server's own refusal says more than ours.
        notes: Told of what does not keep the job from being sent.

    Raises:
        LaunchError: The server refuses the job.
        UsageError: It would be taken, and could never run.
    """
    cluster = backend.cluster
    if cluster is None or not options.preflight:
        return
    from launcher.why.preflight import check_before

    # one round of questions side by side, bounded in time: what is not known by then is not waited for
    found = check_before(
        cluster.api,
        prepared.manifest.job,
        kind=cluster.jobs,
        namespace=prepared.manifest.namespace or backend.namespace,
        now_s=time.time(),
        rules=cluster.rules,
        beside=prepared.manifest.companions,
    )
    if found.errors:
        with _at_the_source(prepared):
            check()
        raise UsageError(problems=map(_to_issue, found.errors))
    for verdict in found.warnings:
        notes(Note(str(_to_issue(verdict)), "warning"))
    for verdict in found.notes:
        if verdict.code != "fits-now":
            notes(Note(verdict.sentence, "note"))
    if found.skipped:
        what = ", ".join(item.what for item in found.skipped)
        notes(Note(f"not looked at before submitting: {what}", "note"))


def _to_issue(verdict: Verdict) -> Issue:
    return Issue(message=f"{verdict.sentence} [{verdict.code}]", fix=verdict.fix)


@contextmanager
def _at_the_source(prepared: Prepared) -> Iterator[None]:
    """Say of a cluster's refusal where in the config it comes from, where that is known of any part of it.

    Raises:
        UsageError: Instead of the refusal.
    """
    try:
        yield
    except InvalidError as refusal:
        from launcher.plan.error_source import find_key, to_problem

        manifest, config = prepared.manifest, prepared.config
        keys = [
            find_key(cause.field, manifest.job, config, beside=manifest.companions)
            # or it was the Job that the controller would make of it
            or (find_key(cause.field, inner, config) if (inner := manifest.inner_job) else None)
            for cause in refusal.causes
        ]
        if not any(keys):
            raise
        problems = [
            to_problem(cause.field, cause.message, key=key, config=prepared.config)
            for cause, key in zip(refusal.causes, keys, strict=True)
        ]
        said = refusal.issue
        raise UsageError(
            where=said.where, expected=said.expected, got=said.got, fix="mend:", problems=problems
        ) from refusal
