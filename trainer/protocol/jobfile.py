"""`job.json` in a job's run folder: what `trainer eval`, `predict` and `export` know of a job by its name.

The launcher writes it when it submits, beside `cfg.yaml`, which holds the bytes that were sent. The trainer
does not read the launcher's record and manifest, whose forms are the launcher's own.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated

from trainer.protocol.codec import UnlessNone, decode, encode

SCHEMA = 1
NAME = "job.json"
CONFIG = "cfg.yaml"
MAX_BYTES = 1024 * 1024
_NAMED = re.compile(
    r"((?P<backend>kubernetes|docker|local)://[a-z0-9-]*/)?(?P<job>[a-z]([a-z0-9-]*[a-z0-9])?)"
)


@dataclass(frozen=True, kw_only=True, slots=True)
class JobFile:
    """What is known of a job on the machine that submitted it.

    Attributes:
        job: Its name.
        backend: `kubernetes`, `docker` or `local`.
        run_id: 32 hexadecimal digits.
        workdir: Where `submit` was called; relative paths of the config count from it in a local job.
        overrides: Those of the trainer, as typed after `-o`, and what the launcher added.
        extra_modules: Of the user.
        folders: Mount -> file or folder of this machine; empty on a cluster.
        output_dir: As a path in the pod.
        code_sha256: Of the user's code, whose archive is `CODE_FILE` beside this file; or None.
    """

    job: str
    backend: str
    run_id: str
    workdir: str
    overrides: tuple[str, ...]
    extra_modules: tuple[str, ...]
    folders: Mapping[str, str]
    output_dir: str
    code_sha256: Annotated[str | None, UnlessNone()] = None


def format_job_file(job_file: JobFile) -> str:
    """Write job.json."""
    return json.dumps(encode(job_file, schema=SCHEMA), indent=2) + "\n"


def parse_job_file(data: bytes, *, where: str) -> JobFile:
    """Read job.json.

    Raises:
        FormatError: It is broken or of another schema.
    """
    return decode(JobFile, data, where=where, schema=SCHEMA)


def parse_job_name(text: str) -> tuple[str | None, str] | None:
    """Read a job's name, or its handle such as `local:///flowers-a3f9k`; None where it is neither.

    Returns:
        The backend of the handle, or None; and the name, which is safe as the name of a folder.
    """
    found = _NAMED.fullmatch(text)
    return (found["backend"], found["job"]) if found is not None else None
