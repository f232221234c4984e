from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
import yaml

from launcher.backends.kubernetes.backend import KubernetesBackend
from launcher.config.flags import Flags
from launcher.config.load import RunConfig, load_run_config
from launcher.kinds.base import JobKind
from launcher.kinds.registry import PADDLE_JOB
from launcher.plan.jobplan import JobPlan
from launcher.plan.plan import plan
from launcher.runs.store import RunStore
from tests.fakes.cluster import FakeCluster
from tests.fakes.log_client import FakeLogClient
from tests.launcher.configs import RUN_ID, config_values


@pytest.fixture(autouse=True)
def _no_settings_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep the settings file of whoever runs the tests out of them."""
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "no-settings"))


@pytest.fixture
def write_config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Path]:
    """Write a config into the current folder and return its relative path."""
    monkeypatch.chdir(tmp_path)

    def write(values: Mapping[str, Any] | None = None, *, name: str = "cfg.yaml", **changes: Any) -> Path:
        path = Path(name)
        path.write_text(yaml.safe_dump(values or config_values(**changes), sort_keys=False))
        return path

    return write


@pytest.fixture
def load(write_config: Callable[..., Path]) -> Callable[..., RunConfig]:
    def load_it(*overrides: str, flags: Flags | None = None, **changes: Any) -> RunConfig:
        return load_run_config(write_config(**changes), overrides=overrides, flags=flags)

    return load_it


@pytest.fixture
def make_plan(load: Callable[..., RunConfig]) -> Callable[..., JobPlan]:
    def make(overrides: Sequence[str] = (), *, flags: Flags | None = None, **given: Any) -> JobPlan:
        plan_keys = ("on", "exact_name", "gpus_here", "overwrite", "parent", "api", "submitted_by")
        asked = {"on": "kubernetes", **{key: given.pop(key) for key in plan_keys if key in given}}
        return plan(load(*overrides, flags=flags, **given), run_id=RUN_ID, version="0.2.0", **asked)

    return make


@pytest.fixture
def cluster(monkeypatch: pytest.MonkeyPatch) -> FakeCluster:
    """The cluster that every command reaches."""
    made = FakeCluster(namespace="ml")

    @functools.cache
    def connect(jobs: JobKind) -> KubernetesBackend:
        found = KubernetesBackend(made, made, namespace="ml", context="fake", jobs=jobs, pause=lambda _: None)
        found.make_async_client = lambda: FakeLogClient(made)
        return found

    monkeypatch.setattr(KubernetesBackend, "connect", lambda **given: connect(given.get("jobs", PADDLE_JOB)))
    return made


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> RunStore:
    """The run folders of the commands."""
    monkeypatch.setenv("FTLAUNCH_STATE", str(tmp_path / "state"))
    return RunStore(tmp_path / "state" / "runs")
