"""A study whose driver is a pod of a cluster.

The study itself lies in a folder of the volume that its trials write to, and is one like any other there:
the pod runs the same loop as a driver of this machine. Here is a copy of it: what was asked for, and the
journal as the driver has last published it. Every look renews the copy, and writes records of the jobs that
the driver has started, so that `logs`, `cancel` or `report` of a trial work here as of any job.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import time
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from launcher.errors import LaunchError, TakenError, UnreachableError, UsageError
from launcher.jobs import driver_job
from launcher.jobs.driver_job import DriverFiles, DriverPlace
from launcher.jobs.notes import Note, Notes, ignore
from launcher.names import KIND_NAMES, KindName
from launcher.plan.handle import Handle
from launcher.runs.paths import project_of, runs_dir
from launcher.runs.record import RunRecord, Stage
from launcher.runs.store import RunStore
from launcher.sweep.study import (
    HALTED,
    JOURNAL,
    Settings,
    Study,
    begin_study,
    format_settings,
    load_study,
    options_from_json,
    parse_settings,
    remove_study,
)
from launcher.sweep.trial_jobs import jobs_of
from trainer.protocol.safe_files import replace_file
from trainer.protocol.studyfile import SUMMARY
from trainer.protocol.untrusted import FormatError

if TYPE_CHECKING:
    from launcher.jobs.options import SubmitOptions
    from launcher.jobs.prepare import Draft
    from launcher.objects import KubeObject

MOST_TRIALS = 10_000
"""Of a study whose journal is to fit into a ConfigMap: one of 1,000 trials has 100 KB there."""
_JOBS, _API = "jobs", "api"
_VARIABLE = "FTLAUNCH_"
_OF_THIS_MACHINE = ("CONTEXT", "NAMESPACE", "STATE", "DEBUG", "LOG", "ON", "CONTAINER_RUNTIME")


def place_of(study: Study) -> DriverPlace:
    """Return where the driver of a study is."""
    settings = study.settings
    return DriverPlace(study=study.name, namespace=settings.driver_namespace, context=settings.driver_context)


def with_driver_in(settings: Settings, draft: Draft, *, namespace: str, context: str) -> Settings:
    """Return what a study was asked for, with a driver in the cluster; refuse what a pod cannot have.

    Args:
        settings: Of the study.
        draft: Of a trial.
        namespace: Where its jobs go.
        context: Of the kubeconfig.

    Raises:
        UsageError: The driver would run on this machine's files, or on this machine.
    """
    if not draft.capabilities.is_cluster:
        raise UsageError(
            where="--driver pod", expected="--on kubernetes beside it", got=f"--on {draft.on[0]}",
            fix="--detach alone has a driver in the background of this machine",
        )  # fmt: skip
    if draft.code is not None:
        raise UsageError(
            where="Launch.code", expected="none where a pod is the driver: it has no files of this machine",
            got=repr(draft.config.job.launch.code),
            fix="build it into the image, or leave --driver pod out",
        )  # fmt: skip
    if draft.template_dirs:
        raise UsageError(
            where="--template-dir", expected="none where a pod is the driver",
            got=str(draft.template_dirs[0]),
            fix="leave --driver pod out",
        )  # fmt: skip
    if settings.trials > MOST_TRIALS:
        raise UsageError(
            where="--trials", expected=f"at most {MOST_TRIALS} where a pod is the driver",
            got=str(settings.trials),
        )  # fmt: skip
    return replace(settings, driver_namespace=namespace, driver_context=context)


def plan_driver(settings: Settings, content: bytes, *, image: str | None) -> tuple[KubeObject, KubeObject]:
    """Return ConfigMap and Job of a study's driver.

    Args:
        settings: Of the study.
        content: Config of its trials.
        image: With the launcher and optuna; None for the one that goes with the trainer's.

    Raises:
        UsageError: The trials' output is on no volume.
    """
    from launcher.jobs.prepare import load  # with YAML and pydantic, which a look does without
    from launcher.jobs.settings import current_layers

    place = DriverPlace(
        study=settings.name, namespace=settings.driver_namespace, context=settings.driver_context
    )
    draft = load(Path(settings.config), options_of_driver(settings, name=place.name))
    layers = current_layers()
    below = layers.below.values.get("Launch")
    kept = {key: value for key, value in below.items() if key != "context"} if isinstance(below, dict) else {}
    above = layers.above.values.get("Launch")
    variables = {
        name: os.environ[name] for key in (above if isinstance(above, dict) else {})
        if (name := f"{_VARIABLE}{key.upper()}") in os.environ and key.upper() not in _OF_THIS_MACHINE
    }  # fmt: skip
    options = {name: value for name, value in settings.options.items() if name not in ("context", "runtime")}
    inside = replace(
        settings, config=f"{driver_job.FOLDER}/{driver_job.CONFIG}", workdir="/workspace", options=options,
        driver_namespace="", driver_context="", command=(),
    )  # fmt: skip
    files = DriverFiles(
        study=format_settings(inside), config=content, settings=json.dumps({"Launch": kept}) + "\n",
        variables=variables,
    )  # fmt: skip
    return driver_job.make_objects(draft, place, files, image=image)


def options_of_driver(settings: Settings, *, name: str) -> SubmitOptions:
    """Return what a trial would be submitted with that is called as the driver's Job."""
    from launcher.jobs.options import SubmitOptions

    return SubmitOptions(
        **options_from_json(settings.options), on=settings.on, name=name, overrides=settings.overrides,
        without_secret=True,
    )  # fmt: skip


def send_driver(study: Study, *, image: str | None = None) -> None:
    """Have a pod go on with a study; one that does already goes on.

    Raises:
        LaunchError: The cluster refuses it.
    """
    place = place_of(study)
    config_map, job = plan_driver(study.settings, study.config.read_bytes(), image=image)
    if driver_job.look_at_driver(place).state in ("Failed", "Ended"):
        driver_job.remove_driver(place, copies=False)
    with contextlib.suppress(TakenError):  # it runs, and reads what was changed just now
        driver_job.create_driver(place, config_map, job)
    study.note_remote(state="Waiting", reason="")


def check(settings: Settings, content: bytes, *, image: str | None, on_server: bool) -> list[str]:
    """Return the objects of a driver as YAML; with `on_server` the cluster has checked them.

    Raises:
        LaunchError: It refuses them.
    """
    from launcher.render.filters import to_yaml

    config_map, job = plan_driver(settings, content, image=image)
    if on_server:
        place = DriverPlace(
            study=settings.name, namespace=settings.driver_namespace, context=settings.driver_context
        )
        driver_job.create_driver(place, config_map, job, dry_run=True)
    return [f"---\n{to_yaml(item)}" for item in (config_map, job)]


def renew(study: Study) -> None:
    """Renew this machine's copy of a study; what cannot be reached leaves the last one."""
    try:
        look = driver_job.look_at_driver(place_of(study))
    except UnreachableError as error:
        study.note_remote(state="Unknown", reason=str(error))
        return
    study.note_remote(state=look.state, reason=look.reason)
    if look.state == "Gone":
        return
    if look.halted is None:
        (study.folder / HALTED).unlink(missing_ok=True)
    else:
        replace_file(study.folder / HALTED, look.halted.encode())
    if (content := look.files.get(JOURNAL)) is not None:
        replace_file(study.folder / JOURNAL, content)
    if (summary := look.texts.get(SUMMARY)) is not None:
        replace_file(study.folder / SUMMARY, summary.encode())
    api = next((name for name in KIND_NAMES if name == look.texts.get(_API)), None)
    if api is not None:
        _adopt(study, look.files.get(_JOBS, b"").decode(errors="replace").split(), api=api)


def _adopt(study: Study, names: Iterable[str], *, api: KindName) -> None:
    """Write records of those jobs of a study that its driver has started, and that are not known here."""
    store = RunStore(runs_dir())
    known, settings = set(store.names()), study.settings
    missing = {name for name in names if name not in known}
    if not missing:
        return
    content = study.config.read_bytes()
    for number in range(settings.trials):
        for job in jobs_of(study, number):
            if job.name not in missing:
                continue
            record = RunRecord(
                handle=Handle(backend=settings.on, namespace=settings.driver_namespace, job=job.name),
                run_id=job.run_id, stage=Stage.SUBMITTED, project=str(project_of(Path(settings.workdir))),
                config=settings.config, command=(*settings.command, job.name), created_s=time.time(),
                context=settings.driver_context or None, api=api, study=study.name,
            )  # fmt: skip
            try:
                with store.lock(job.name):
                    store.begin(record, config=content, manifest="", git=None)
            except TakenError:  # another command did just now, or it is somebody else's
                continue


def tell(study: Study, *, notes: Notes = ignore) -> None:
    """Tell a study's driver whether it is to stop, as stands in this machine's copy."""
    halted = study.folder / HALTED
    text = halted.read_text(encoding="utf-8") if halted.exists() else None
    try:
        driver_job.tell_driver(place_of(study), text)
    except LaunchError as error:
        notes(Note(str(error), "warning"))


def remove(study: Study) -> None:
    """Delete what a study has in its cluster but for its jobs; the folder of the volume stays."""
    driver_job.remove_driver(place_of(study))


# in the pod


def open_in_pod(folder: Path) -> tuple[Study, DriverPlace]:
    """Return the study that a pod is to go on with: the one of its volume, begun where it is not there.

    Args:
        folder: Where the driver's ConfigMap is mounted.

    Raises:
        UsageError: What is there is no study.
    """
    try:
        settings = parse_settings((folder / driver_job.STUDY).read_bytes(), where=driver_job.STUDY)
        content = (folder / driver_job.CONFIG).read_bytes()
    except (OSError, FormatError) as error:
        raise UsageError(where=folder, expected="what a study was asked for", said=error) from error
    study = load_study(settings.name)
    if study is not None and study.settings.study_id != settings.study_id:
        # of an earlier study of this name, which was deleted from elsewhere, with its jobs
        remove_study(study)
        shutil.rmtree(runs_dir(), ignore_errors=True)
        study = None
    if study is None:
        study = begin_study(settings, content)
    study = study.with_numbers(trials=settings.trials, parallel=settings.parallel)
    namespace = os.environ.get("FTLAUNCH_NAMESPACE", "")
    return study, DriverPlace(study=study.name, namespace=namespace)


class Published:
    """What a driver in a pod has last published; a step that changed nothing sends nothing."""

    def __init__(self, study: Study, place: DriverPlace) -> None:
        self._study, self._place = study, place
        self._sent: tuple[bytes, bytes] = (b"", b"")

    def listen(self) -> bool:
        """Take over whether the driver is to stop; return whether that is new."""
        told = driver_job.read_told(self._place)
        path = self._study.folder / HALTED
        was = path.exists()
        if told is None:
            path.unlink(missing_ok=True)
        elif not was:
            replace_file(path, told.encode())
        return told is not None and not was

    def send(self) -> None:
        """Publish what is new."""
        store = RunStore(runs_dir())
        records = [record for record in store.newest() if record.study == self._study.name]
        names = sorted(record.handle.job for record in records if record.stage is Stage.SUBMITTED)
        content, jobs = (self._study.folder / JOURNAL).read_bytes(), "\n".join(names).encode()
        if (content, jobs) == self._sent:
            return
        texts: dict[str, str] = {_API: records[0].api} if records else {}
        summary = self._study.folder / SUMMARY
        if summary.exists():
            texts[SUMMARY] = summary.read_text(encoding="utf-8")
        driver_job.publish(self._place, {JOURNAL: content, _JOBS: jobs}, texts)
        self._sent = (content, jobs)

    def tell(self) -> None:
        """Say that the driver has stopped by itself, and why."""
        text = (self._study.folder / HALTED).read_text(encoding="utf-8")
        driver_job.tell_driver(self._place, text)
