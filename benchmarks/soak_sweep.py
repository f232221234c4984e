"""Kills the drivers of studies at random moments: `python -m benchmarks.soak_sweep --kills 500`.

A study of 24 trials is gone on with by one driver or by two at once. Each is a process of its own that is
killed (SIGKILL) after a random time, over and over, until the study has ended; then the next study begins,
with another seed, until so many drivers were killed. At the end of each study:

* each trial has one job, by the name and run id that it is to have, and no other job was ever made; * all
trials have ended, each with the curve that its job measured, and none failed; * never did more jobs run at
the same time than were asked for; * the winner is that of a study nobody disturbed, which is known: values
are drawn by seed and number alone.

What runs the jobs is a stand-in below the launcher's own seam, `Backend`: a folder where a job is a file,
made by a link that cannot be made twice, and whose epochs pass by the clock. All above it is what users
have: `submit` with its records and locks, the journal, the driver. Drivers are forked, so that a kill meets
them at work and not at imports.

The seed is printed; a failure leaves its folder, and prints it."""

from __future__ import annotations

import argparse
import hashlib
import itertools
import json
import math
import os
import random
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar

import yaml

from launcher.backends.base import Backend, Submission
from launcher.backends.states import JobState, JobStatus
from launcher.errors import NotFoundError, TakenError, UsageError
from launcher.jobs import listing, resolve, submit
from launcher.plan.handle import BackendKind, Handle
from launcher.runs.store import RunStore
from launcher.sweep import lifecycle
from launcher.sweep.machine import share_cluster
from launcher.sweep.results import find_winner
from launcher.sweep.space import parse_space
from launcher.sweep.study import Settings, Study, begin_study, load_study
from launcher.sweep.trial_jobs import jobs_of
from launcher.sweep.trials import TrialState
from tests.launcher.configs import config_values

RATE = "Optimizer.lr.learning_rate"
TRIALS, PARALLEL, EPOCHS, EPOCH_S = 24, 4, 9, 0.02
_LIVES_S = (0.2, 0.6, 2.0)
"""Longest lives of drivers: some are killed while they begin, some after many steps."""
_KILLED_S, _ALONE_S = 300.0, 120.0
"""So long drivers of a study are killed; so long it may take afterwards, with drivers that are left alone."""


class FolderBackend(Backend):
    """Jobs as files of a folder; what is made there is there at once, and only once."""

    kind: ClassVar[BackendKind] = "kubernetes"
    namespace = "ml"

    def __init__(self, folder: Path, *, seed: int) -> None:
        self._folder = folder
        self._draws = random.Random(f"{seed}/{os.getpid()}")

    def submit(self, submission: Submission) -> Handle:
        manifest = submission.manifest
        self._dawdle()  # a request is on its way: a kill may come before it arrives, or after
        mine = self._folder / f".{manifest.run_id}.{os.getpid()}"
        argv = [word for item in manifest.pod_spec["containers"] for word in item.get("command", [])]
        argv += [word for item in manifest.pod_spec["containers"] for word in item.get("args", [])]
        rate = next(float(word.partition("=")[2]) for word in argv if word.startswith(f"{RATE}="))
        mine.write_text(json.dumps({"run_id": manifest.run_id, "rate": rate, "created_s": time.time()}))
        try:
            os.link(mine, self._path(manifest.name))
        except FileExistsError:
            if self._read(manifest.name)["run_id"] != manifest.run_id:
                raise TakenError(where=manifest.name, expected="a free name", got="another run's") from None
        finally:
            mine.unlink()
        self._dawdle()
        return Handle(backend=self.kind, namespace=self.namespace, job=manifest.name)

    def check(self, submission: Submission) -> tuple[str, ...]:
        del submission
        return ()

    def status(self, handle: Handle) -> JobStatus:
        return self._status(handle.job, self._read(handle.job))

    def list_jobs(self, run_ids: Sequence[str] = ()) -> tuple[JobStatus, ...]:
        found = [self._status(path.stem, self._read(path.stem)) for path in self._folder.glob("*.json")]
        return tuple(status for status in found if not run_ids or status.run_id in run_ids)

    def cancel(self, handle: Handle) -> None:
        self._dawdle()
        job = self._read(handle.job)
        if not self._status(handle.job, job).state.is_terminal:
            self._note(handle.job, len(self._turns(handle.job)))

    def resume(self, handle: Handle) -> None:
        self._dawdle()
        job = self._read(handle.job)
        state = self._status(handle.job, job).state
        if state is not JobState.CANCELLED:
            raise UsageError(where=handle.job, expected="a job that was cancelled", got=state.value)
        self._note(handle.job, len(self._turns(handle.job)))
        self._dawdle()

    def _note(self, name: str, turn: int) -> None:
        """Note that a job stops (even turns) or goes on (odd ones), once."""
        mine = self._folder / f".{name}.{os.getpid()}.turn"
        mine.write_text(str(time.time()))
        try:
            os.link(mine, self._folder / f"{name}.turn{turn}")
        except FileExistsError:
            pass
        finally:
            mine.unlink()

    def delete(self, handle: Handle, *, force: bool = False) -> None:
        raise AssertionError(f"{handle}: nothing is deleted here, {force}")

    def log_source(self, handle: Handle) -> Any:
        raise AssertionError(f"{handle}: logs are read by their tails")

    def read_tails(self, handle: Handle, *, pods: int, max_bytes: int) -> dict[str, str]:
        del pods, max_bytes
        job = self._read(handle.job)
        lines = [
            f"2026-01-01T00:00:00.000000000Z [a1 r0] [2026/01/01 00:00:00] trainer INFO: "
            f"[Eval][Epoch {epoch}][Avg]CELoss: 1.0, loss: 1.0, top1: {value!r}"
            for epoch, value in enumerate(curve_of(job["rate"])[: self._epochs(handle.job, job)], 1)
        ]
        return {f"{handle.job}-worker-0": "\n".join(lines)}

    def ends(self) -> list[tuple[float, float]]:
        """Return when each job began and ended, in Unix time."""
        found = []
        for path in self._folder.glob("*.json"):
            found += self._spans(path.stem, self._read(path.stem), until_s=math.inf)
        return found

    def _dawdle(self) -> None:
        time.sleep(self._draws.uniform(0, 0.02))

    def _path(self, name: str) -> Path:
        return self._folder / f"{name}.json"

    def _read(self, name: str) -> dict[str, Any]:
        try:
            found: dict[str, Any] = json.loads(self._path(name).read_text())
        except FileNotFoundError:
            raise NotFoundError(where=name, expected="a job", got="none") from None
        return found

    def _turns(self, name: str) -> list[float]:
        """Return when a job stopped and went on, by turns, in Unix time."""
        found: list[float] = []
        while (path := self._folder / f"{name}.turn{len(found)}").exists():
            found.append(float(path.read_text()))
        return found

    def _spans(self, name: str, job: dict[str, Any], *, until_s: float) -> list[tuple[float, float]]:
        """Return the times in which a job ran, the last of which ends at its end, or at `until_s`."""
        moments = [job["created_s"], *self._turns(name)]
        found: list[tuple[float, float]] = []
        left_s = EPOCHS * EPOCH_S
        for began_s, stopped_s in itertools.zip_longest(moments[::2], moments[1::2], fillvalue=until_s):
            end_s = min(stopped_s, began_s + left_s)
            found.append((began_s, end_s))
            left_s -= end_s - began_s
        return found

    def _epochs(self, name: str, job: dict[str, Any]) -> int:
        ran_s = sum(end_s - began_s for began_s, end_s in self._spans(name, job, until_s=time.time()))
        return min(EPOCHS, int(ran_s / EPOCH_S + 1e-6))

    def _status(self, name: str, job: dict[str, Any]) -> JobStatus:
        if self._epochs(name, job) >= EPOCHS:
            state = JobState.SUCCEEDED
        else:
            state = JobState.CANCELLED if len(self._turns(name)) % 2 else JobState.RUNNING
        return JobStatus(
            handle=Handle(backend=self.kind, namespace=self.namespace, job=name), run_id=job["run_id"],
            state=state, pods=(), created_s=job["created_s"],
        )  # fmt: skip


def curve_of(rate: float) -> list[float]:
    """Return what a job of a rate measures: of two rates one is better at each epoch."""
    quality = int.from_bytes(hashlib.sha256(repr(rate).encode()).digest()[:4], "big") / 2**32
    return [round(quality * epoch / EPOCHS, 9) for epoch in range(1, EPOCHS + 1)]


@dataclass(frozen=True, kw_only=True)
class Round:
    """What came of a study."""

    kills: int
    faults: list[str]


def main() -> int:
    asked = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    asked.add_argument("--kills", type=int, default=500)
    asked.add_argument("--seed", type=int, default=None)
    options = asked.parse_args()
    seed = options.seed if options.seed is not None else random.SystemRandom().randrange(2**31)
    print(f"soak_sweep: --kills {options.kills} --seed {seed}", flush=True)
    killed, studies, began_s = 0, 0, time.monotonic()
    while killed < options.kills:
        folder = Path(tempfile.mkdtemp(prefix="soak-sweep-"))
        found = play(folder, seed=seed + studies, most=options.kills - killed)
        studies, killed = studies + 1, killed + found.kills
        print(f"study {studies}: {found.kills} drivers killed, {killed} in all", flush=True)
        if found.faults:
            print(
                f"study {studies} (seed {seed + studies - 1}), in {folder}:\n  " + "\n  ".join(found.faults)
            )
            return 1
        shutil.rmtree(folder)
    took = f"{time.monotonic() - began_s:.0f} s"
    print(
        f"{killed} drivers killed in {studies} studies of {TRIALS} trials, {took}: none lost, none twice, ",
        end="",
    )
    print("the same winners")
    return 0


def play(folder: Path, *, seed: int, most: int) -> Round:
    """Go through one study, killing its drivers, and say what is wrong at its end.

    Args:
        folder: Empty, of its own.
        seed: Of the study and of the kills.
        most: Drivers that are killed; after them one is left alone.
    """
    os.environ["FTLAUNCH_STATE"], os.environ["XDG_CONFIG_HOME"] = str(folder / "state"), str(folder / "none")
    os.chdir(folder)
    backend = _use_stand_in(folder / "jobs", seed=seed)
    study = _begin(folder, seed=seed)
    draws, kills = random.Random(seed), 0
    until_s = time.monotonic() + _KILLED_S
    while not lifecycle.look(study).is_over:
        late_s = time.monotonic() - until_s
        if late_s > _ALONE_S:
            return Round(kills=kills, faults=[f"left alone, it did not end within {_ALONE_S:.0f} s"])
        count = draws.choice((1, 2))
        drivers = [_fork_driver(study.name, folder, seed) for _ in range(count)]
        for pid in drivers:
            time.sleep(draws.uniform(0, draws.choice(_LIVES_S) / count))
            kills += _kill(pid, leave=kills >= most or late_s > 0)
    picture = lifecycle.look(study)
    lifecycle.write_results(study, picture)
    return Round(kills=kills, faults=_find_faults(study, picture, backend, seed=seed))


def _use_stand_in(folder: Path, *, seed: int) -> FolderBackend:
    folder.mkdir()

    def open_stand_in(kind: BackendKind, **given: object) -> FolderBackend:
        del kind, given
        return FolderBackend(folder, seed=seed)

    for module in (submit, listing, resolve):
        module.open_backend = open_stand_in  # type: ignore[assignment]  # the seam
    return FolderBackend(folder, seed=seed)


def _begin(folder: Path, *, seed: int) -> Study:
    values = config_values(Global__epochs=EPOCHS)
    values["Metric"] = {"Eval": [{"TopkAcc": {"topk": [1]}}]}
    settings = Settings(
        name=f"soak-{seed % 10**6}",
        study_id=f"{seed:032x}",
        config=str(folder / "cfg.yaml"),
        workdir=str(folder),
        created_s=time.time(),
        over=(f"{RATE}=log(1e-4,1)",),
        on="kubernetes",
        options={},
        sampler="random",
        prune=random.Random(seed).choice(("asha", "none")),
        metric="top1",
        goal="max",
        trials=TRIALS,
        parallel=PARALLEL,
        epochs=EPOCHS,
        seed=seed,
    )
    return begin_study(replace(settings), yaml.safe_dump(values).encode())


def _fork_driver(name: str, folder: Path, seed: int) -> int:
    pid = os.fork()
    if pid:
        return pid
    code = 1
    try:
        os.setsid()
        sys.stdout = sys.stderr = (folder / "driver.log").open("a")
        study = load_study(name)
        assert study is not None
        lifecycle.go_on(study, share_cluster(PARALLEL), pause=lambda _: time.sleep(0.01))
        code = 0
    except BaseException as error:  # noqa: BLE001 - a fork never returns
        print(f"seed {seed}: {type(error).__name__}: {error}", flush=True)
    finally:
        os._exit(code)


def _kill(pid: int, *, leave: bool) -> int:
    """Kill a driver; of one that has ended already, or is left alone, only wait for its end."""
    if leave:
        os.waitpid(pid, 0)
        return 0
    ended, _ = os.waitpid(pid, os.WNOHANG)
    if ended:
        return 0
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    return 1


def _find_faults(study: Study, picture: lifecycle.Picture, backend: FolderBackend, *, seed: int) -> list[str]:
    faults = []
    space = parse_space(study.settings.over)
    rates = [float(str(space.draw(seed=seed, number=number)[RATE])) for number in range(TRIALS)]
    if [trial.number for trial in picture.trials] != list(range(TRIALS)):
        faults.append(f"expected trials 0 to {TRIALS - 1}, got {[trial.number for trial in picture.trials]}")
    faults += [f"trial {t.number} failed: {t.reason}" for t in picture.trials if t.state is TrialState.FAILED]
    for trial in picture.trials:
        if trial.params[RATE] != rates[trial.number]:
            faults.append(
                f"trial {trial.number}: expected the rate {rates[trial.number]}, got {trial.params[RATE]}"
            )
        wanted = curve_of(rates[trial.number])
        if any(value != wanted[epoch - 1] for epoch, value in trial.curve.items()):
            faults.append(f"trial {trial.number}: another job's curve: {dict(trial.curve)}")
        if trial.state is TrialState.COMPLETE and trial.value != wanted[-1]:
            faults.append(f"trial {trial.number}: expected {wanted[-1]}, got {trial.value}")
    made = {status.handle.job: status.run_id for status in backend.list_jobs()}
    meant = {job.name: job.run_id for number in range(TRIALS) for job in jobs_of(study, number)}
    if made != meant:
        faults.append(
            f"jobs that nobody meant: {set(made) - set(meant)}; that were lost: {set(meant) - set(made)}"
        )
    records = {record.handle.job: record.stage.value for record in RunStore(lifecycle.runs_dir()).newest()}
    if records != dict.fromkeys(meant, "submitted"):
        faults.append(
            f"records: {sorted(set(records.items()) ^ set(dict.fromkeys(meant, 'submitted').items()))}"
        )
    most = _most_at_once(backend.ends())
    if most > PARALLEL:
        faults.append(f"expected at most {PARALLEL} jobs at once, got {most}")
    winner = find_winner(picture.trials, goal="max")
    best = max(range(TRIALS), key=lambda number: curve_of(rates[number])[-1])
    if winner is None or winner.number != best:
        faults.append(f"expected trial {best} to win, got {winner and winner.number}")
    return faults


def _most_at_once(spans: Sequence[tuple[float, float]]) -> int:
    events = sorted([(begin, 1) for begin, _ in spans] + [(end, -1) for _, end in spans])
    running = most = 0
    for _, step in events:
        running += step
        most = max(most, running)
    return most


if __name__ == "__main__":
    sys.exit(main())
