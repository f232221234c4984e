"""MLflow, by its own client (`mlflow-skinny`): a server, Databricks, or a folder.

A run of ours is found again by its tag `ftlaunch.run_id`, from any machine. That client repeats requests for
minutes by itself; here it tries once and is quick to give up, because whoever calls tries again anyway, and
says so.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

from trainer.protocol.tracking import Ending
from trainer.trackers.tracker import Row, Run, Tracker, TrackerError

# Before its import, which reads them.
_SETTINGS = {
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "0", "MLFLOW_HTTP_REQUEST_TIMEOUT": "30",
    "MLFLOW_DISABLE_TELEMETRY": "true", "MLFLOW_ALLOW_FILE_STORE": "true", "GIT_PYTHON_REFRESH": "quiet",
}  # fmt: skip
for _name, _value in _SETTINGS.items():
    os.environ.setdefault(_name, _value)

from mlflow import MlflowClient  # noqa: E402
from mlflow.entities import Metric, Param, RunTag, ViewType  # noqa: E402
from mlflow.exceptions import MlflowException  # noqa: E402

EXPERIMENT = "ftlaunch"
RUN_ID = "ftlaunch.run_id"
_MOST_METRICS, _MOST_PARAMETERS, _MOST_CHARACTERS = 1000, 100, 500
"""Of a request: mlflow.org, REST API, "Log Batch"; of a value what servers before 2.11 take, too."""
_NOT_A_NAME = re.compile(r"[^\w\-. :/]")
_STATUS = {"finished": "FINISHED", "failed": "FAILED", "stopped": "KILLED"}
T = TypeVar("T")


class MLflow(Tracker):
    """A run of an experiment."""

    def __init__(self) -> None:
        self._client: Any = None
        self._id, self._experiment, self._uri = "", "", ""

    def start(self, run: Run) -> str:
        """Find the run by its id or its tag, or make it, and give it the parameters that it lacks."""
        self._uri = run.settings.get("uri") or os.environ.get("MLFLOW_TRACKING_URI", "")
        if not self._uri:
            raise TrackerError(
                "mlflow: expected the address of a server, got none; give `uri`, or MLFLOW_TRACKING_URI"
            )
        if self._client is None:
            self._client = MlflowClient(tracking_uri=self._uri)
        name = run.settings.get("experiment") or os.environ.get("MLFLOW_EXPERIMENT_NAME") or EXPERIMENT
        self._experiment = self._find_experiment(name)
        found = self._find(run)
        if found is None:
            tags = {RUN_ID: run.run_id, "ftlaunch.job": run.job, "mlflow.source.name": "ftlaunch"}
            found = self._client.create_run(
                self._experiment, tags=tags, run_name=run.settings.get("name") or run.job
            )
        self._id = str(found.info.run_id)
        self._give_parameters(run.parameters, found.data.params)
        return self._id

    def log(self, rows: Sequence[Row]) -> None:
        """Send all values of some rows."""
        metrics = [
            Metric(name, value, int(row.time_s * 1000), row.step)
            for row in rows
            for name, value in row.values.items()
        ]
        for part in _cut(metrics, _MOST_METRICS):
            self._client.log_batch(self._id, metrics=part)

    def missing(self, rows: Sequence[Row]) -> Sequence[Row]:
        """Ask for the history of each value, and return what is not in it."""
        names = {name for row in rows for name in row.values}
        there = {name: {m.step for m in self._client.get_metric_history(self._id, name)} for name in names}
        left = [
            replace(row, values={n: value for n, value in row.values.items() if row.step not in there[n]})
            for row in rows
        ]
        return [row for row in left if row.values]

    def describe(self, facts: Mapping[str, str]) -> None:
        """Set tags."""
        tags = [RunTag(_name_of(name), text[:5000]) for name, text in facts.items()]
        self._client.log_batch(self._id, tags=tags)

    def artifact(self, path: Path) -> None:
        """Store a file with the run."""
        self._client.log_artifact(self._id, str(path))

    def end(self, ending: Ending) -> None:
        """Set the status, and why as a tag."""
        status = _STATUS.get(ending.state)
        if status is None:
            self._client.update_run(self._id, status="RUNNING")
            return
        if ending.reason:
            self.describe({"ftlaunch.reason": ending.reason})
        self._client.set_terminated(self._id, status=status)

    @property
    def place(self) -> str:
        """Address of the run's page."""
        if not self._uri.startswith(("http://", "https://")):
            return self._uri
        return f"{self._uri.rstrip('/')}/#/experiments/{self._experiment}/runs/{self._id}"

    def _find_experiment(self, name: str) -> str:
        found = self._client.get_experiment_by_name(name)
        if found is None:
            return str(self._client.create_experiment(name))
        if found.lifecycle_stage != "active":
            raise TrackerError(
                f"mlflow: expected an experiment that is there, got {name!r}, which was deleted; restore it, "
                "or name another one"
            )
        return str(found.experiment_id)

    def _find(self, run: Run) -> Any:
        if run.known is not None:
            try:
                found = self._client.get_run(run.known)
            except MlflowException as error:
                if error.error_code != "RESOURCE_DOES_NOT_EXIST":
                    raise
            else:
                if found.info.lifecycle_stage == "active":
                    return found
        there = self._client.search_runs(
            [self._experiment], f"tags.`{RUN_ID}` = '{run.run_id}'", run_view_type=ViewType.ACTIVE_ONLY,
            max_results=1,
        )  # fmt: skip
        return there[0] if there else None

    def _give_parameters(self, parameters: Mapping[str, str], there: Mapping[str, str]) -> None:
        """Parameters never change there: what a later life has otherwise becomes a tag."""
        given = {_name_of(name): value[:_MOST_CHARACTERS] for name, value in parameters.items()}
        new = [Param(name, value) for name, value in given.items() if name not in there]
        for part in _cut(new, _MOST_PARAMETERS):
            self._client.log_batch(self._id, params=part)
        changed = {
            f"changed.{name}": value for name, value in given.items() if there.get(name, value) != value
        }
        for part in _cut(list(changed.items()), _MOST_PARAMETERS):
            self.describe(dict(part))


def _name_of(text: str) -> str:
    return _NOT_A_NAME.sub("_", text)[:250]


def _cut(items: Sequence[T], most: int) -> Iterator[Sequence[T]]:
    for start in range(0, len(items), most):
        yield items[start : start + most]
