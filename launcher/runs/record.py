"""The record of one run: what was submitted, from where, as which job."""

from __future__ import annotations

import json
from dataclasses import dataclass
from enum import Enum
from typing import Annotated

from launcher.errors import LaunchError
from launcher.names import EARLIER_NAMES, KindName
from launcher.plan.handle import Handle, parse_handle
from trainer.protocol.codec import Text, UnixTime, UnlessNone, encode, read
from trainer.protocol.untrusted import FormatError, parse_object

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
        api: Kind of job object that was sent.
        code_sha256: Of the user's code that was sent with it, or None.
        study: Name of the study that the job is a trial of, or None.
    """

    handle: Annotated[Handle, Text(parse_handle)]
    run_id: str
    stage: Stage
    project: str
    config: str
    command: tuple[str, ...]
    created_s: UnixTime
    context: str | None = None
    api: KindName = "paddlejob"
    code_sha256: Annotated[str | None, UnlessNone()] = None
    study: Annotated[str | None, UnlessNone()] = None


def format_record(record: RunRecord) -> str:
    """Write record.json."""
    return json.dumps({**encode(record), "schema": SCHEMA}, indent=2) + "\n"


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
        if document.get("api") == "batch":
            raise RecordError(
                where=f"{where}: api",
                expected="a PaddleJob of kubeflow.org/v1",
                got="one of batch.paddlepaddle.org/v1, which this release does not follow any more",
                fix="kubectl get paddlejobs.batch.paddlepaddle.org shows it",
            )
        if (name := str(document.get("api"))) in EARLIER_NAMES:
            document = {**document, "api": EARLIER_NAMES[name]}
        return read(RunRecord, document, where=where)
    except FormatError as error:
        raise RecordError(where=where, expected="a run's record", got=f"something broken: {error}") from error
