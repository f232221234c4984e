"""Studies whose jobs are stand-ins: what they measure is known, and what is done with them is counted."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest
import yaml

from launcher.backends.states import JobState
from launcher.sweep.driver import Driver
from launcher.sweep.machine import Place
from launcher.sweep.study import Settings, Study, begin_study
from launcher.sweep.trial_jobs import ABSENT, Seen, TrialJob
from launcher.sweep.trials import Trial, Trials
from tests.launcher.cli.conftest import ftlaunch  # noqa: F401 - a fixture
from tests.launcher.configs import config_values


@dataclass
class StandIns:
    """Jobs that pass an epoch with each look.

    Attributes:
        curve: What a trial's job measures: from its values and its seed.
        started: Names in the order of their starts, each once.
        stopped: Names that were told to save and stop.
        most: Jobs that ran at the same time, at most.
    """

    curve: Callable[[Trial, TrialJob], Sequence[float]]
    started: list[str] = field(default_factory=list)
    stopped: list[str] = field(default_factory=list)
    resumed: list[str] = field(default_factory=list)
    ends: dict[str, str] = field(default_factory=dict)
    most: int = 0
    _still: set[str] = field(default_factory=set)
    _jobs: dict[str, tuple[Sequence[float], int]] = field(default_factory=dict)

    def start(self, trial: Trial, job: TrialJob, *, place: Place) -> None:
        if job.name not in self._jobs:
            self.started.append(job.name)
            self._jobs[job.name] = (self.curve(trial, job), 0)
        self.most = max(self.most, sum(not self._see(name).is_over for name in self._jobs))

    def look(self, jobs: Sequence[TrialJob]) -> dict[str, Seen]:
        for job in jobs:
            if job.name in self._jobs and job.name not in self._still:
                curve, epoch = self._jobs[job.name]
                self._jobs[job.name] = (curve, min(len(curve), epoch + 1))
        return {job.name: self._see(job.name) for job in jobs}

    def _see(self, name: str) -> Seen:
        if name not in self._jobs:
            return Seen(state=ABSENT)
        curve, epoch = self._jobs[name]
        if name in self._still:
            state = JobState.CANCELLED.value
        elif name in self.ends:
            state = self.ends[name]
        else:
            state = JobState.SUCCEEDED.value if epoch == len(curve) else JobState.RUNNING.value
        return Seen(
            state=state, curve={index + 1: curve[index] for index in range(epoch)}, measured=("loss", "top1")
        )

    def stop(self, job: TrialJob) -> None:
        self.stopped.append(job.name)
        self._still.add(job.name)

    def resume(self, job: TrialJob) -> None:
        self.resumed.append(job.name)
        self.ends.pop(job.name, None)
        self._still.discard(job.name)


RATE = "Optimizer.lr.learning_rate"
EVAL = (
    "[a1 r0] [2026/01/01 00:00:00] trainer INFO: [Eval][Epoch {epoch}][Avg]"
    "CELoss: 1.0, loss: 1.0, top1: {value}\n"
)
"""What a rank prints of an evaluation."""

SETTINGS = Settings(
    name="digits-abcde", study_id="0123456789abcdef" * 2, config="/cfg.yaml", workdir="/", created_s=1.0,
    over=("Optimizer.lr.learning_rate=[0.1,0.2,0.3]",), on="local", options={}, sampler="grid", prune="none",
    metric="top1", goal="max", trials=3, parallel=2, epochs=3,
)  # fmt: skip


@pytest.fixture
def config(tmp_path, monkeypatch, store) -> Path:
    """A config of three epochs with a metric, where commands are typed."""
    monkeypatch.chdir(tmp_path)
    values = config_values(Global__epochs=3)
    values["Metric"] = {"Eval": [{"TopkAcc": {"topk": [1]}}]}
    Path("cfg.yaml").write_text(yaml.safe_dump(values))
    return Path("cfg.yaml")


@pytest.fixture
def make_study(tmp_path, monkeypatch) -> Callable[..., Study]:
    monkeypatch.setenv("FTLAUNCH_STATE", str(tmp_path / "state"))

    def make(**changes) -> Study:
        return begin_study(replace(SETTINGS, **changes), b"Global: {output_dir: /output}\n")

    return make


@pytest.fixture
def drive() -> Callable[..., Driver]:
    def make(study: Study, port: StandIns, **given) -> Driver:
        places = [Place(slot=slot) for slot in range(study.settings.parallel)]
        return Driver(study, Trials(study), port, places=places, **given)

    return make
