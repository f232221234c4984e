"""The record of one run: what was submitted, from where, as which job."""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass
from enum import Enum

from launcher.errors import LaunchError
from launcher.plan.handle import Handle, JobApi, parse_handle

SCHEMA = 1


class RecordError(LaunchError):
    """A record is broken or of another release."""


class Stage(Enum):
    """How far a submit got. It is SUBMITTING before the first request goes out."""

    SUBMITTING = "submitting"
    SUBMITTED = "submitted"


@dataclass(frozen=True, kw_only=True, slots=True)
class RunRecord:
    """One run.

    Attributes:
        handle: Its job, wherever today's current context points.
        run_id: 32 hexadecimal digits.
        project: Folder that `ftlaunch` was called for; commands without a job mean its last one.
        config: The file, as an absolute path.
        command: Arguments of `ftlaunch submit`.
        created_s: Unix time.
        context: Of the kubeconfig, or None.
        api: Kind of PaddleJob that was sent.
    """

    handle: Handle
    run_id: str
    stage: Stage
    project: str
    config: str
    command: tuple[str, ...]
    created_s: float
    context: str | None = None
    api: JobApi = "kubeflow"


def format_record(record: RunRecord) -> str:
    """Write record.json."""
    plain = dataclasses.asdict(record)
    plain |= {"schema": SCHEMA, "handle": str(record.handle), "stage": record.stage.value}
    return json.dumps(plain, indent=2) + "\n"


def parse_record(text: str | bytes, *, where: str) -> RunRecord:
    """Read record.json; `where` names it in errors.

    Raises:
        RecordError: It is broken or of another schema.
    """
    try:
        document = json.loads(text)
        if document.pop("schema") != SCHEMA:
            raise RecordError(f"{where}: expected schema {SCHEMA}; it was written by another release")
        document["handle"] = parse_handle(document["handle"])
        document["stage"] = Stage(document["stage"])
        document["command"] = tuple(document["command"])
        return RunRecord(**document)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise RecordError(f"{where}: expected a run's record, got something broken: {error}") from error
