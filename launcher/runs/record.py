"""The record of one run: what was submitted, from where, as which job."""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass
from enum import Enum
from typing import cast, get_args

from launcher.errors import LaunchError
from launcher.plan.handle import Handle, JobApi, parse_handle
from trainer.protocol.codec import LAST_TIME_S, need, need_or_none, need_texts
from trainer.protocol.untrusted import parse_object

SCHEMA = 1
_MAX_BYTES = 4 * 1024 * 1024


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
        document = parse_object(text, where=where, max_bytes=_MAX_BYTES)
        if document.get("schema") != SCHEMA:
            raise RecordError(
                where=where, expected=f"schema {SCHEMA}", fix="it was written by another release"
            )
        return RunRecord(
            handle=parse_handle(need(document, "handle", str, what=where)),
            run_id=need(document, "run_id", str, what=where),
            stage=Stage(need(document, "stage", str, what=where)),
            project=need(document, "project", str, what=where),
            config=need(document, "config", str, what=where),
            command=need_texts(document, "command", what=where),
            created_s=need(document, "created_s", float, what=where, least=0, most=LAST_TIME_S),
            context=need_or_none(document, "context", str, what=where),
            api=_api(need_or_none(document, "api", str, what=where)),
        )
    except ValueError as error:
        raise RecordError(where=where, expected="a run's record", got=f"something broken: {error}") from error


def _api(text: str | None) -> JobApi:
    if text == "batch":
        raise ValueError(
            "api: a PaddleJob of batch.paddlepaddle.org/v1, which this release does not follow any more; "
            "kubectl get paddlejobs.batch.paddlepaddle.org shows it"
        )
    found = next((api for api in get_args(JobApi) if api == (text or "kubeflow")), None)
    if found is None:
        raise ValueError(f"api: expected one of {', '.join(get_args(JobApi))}, got {text!r:.40}")
    return cast("JobApi", found)
