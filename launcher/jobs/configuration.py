"""The configuration of a run with where each value comes from, read from its run folder. Asks nobody."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from launcher.jobs.changes import options_of
from launcher.jobs.metrics import load_job_file
from launcher.jobs.resolve import ResolvedJob
from launcher.runs.origin import load_origin
from launcher.runs.store import CONFIG
from trainer.protocol.reportfile import ConfigValue
from trainer.protocol.safe_files import read_file

_SHORT = 12


@dataclass(frozen=True, kw_only=True, slots=True)
class Configuration:
    """What a run was asked for.

    Attributes:
        values: Of its config, in the order of the file: those of the file and of `-o`, then defaults.
        options: Of its `submit`, by name.
        made_of: Versions, hashes and the like, by name.
        notes: What could not be read, a sentence each.
    """

    values: tuple[ConfigValue, ...]
    options: tuple[ConfigValue, ...]
    made_of: tuple[tuple[str, str], ...]
    notes: tuple[str, ...] = ()


def read_configuration(job: ResolvedJob) -> Configuration:
    """Read it. What is broken is said, and the rest is there."""
    notes: list[str] = []
    options = tuple(
        ConfigValue(key=name, value=value, origin="ftlaunch submit")
        for name, value in options_of(job.record.command).items()
    )
    return Configuration(
        values=_read_values(job, notes), options=options, made_of=tuple(_made_of(job)), notes=tuple(notes)
    )


def _read_values(job: ResolvedJob, notes: list[str]) -> tuple[ConfigValue, ...]:
    from trainer.config.document import MAX_BYTES, parse_document  # YAML and pydantic
    from trainer.config.load import check
    from trainer.config.origins import describe_values, describe_written
    from trainer.config.overrides import apply_overrides
    from trainer.config.problems import ConfigError
    from trainer.config.root import TrainConfig

    file = load_job_file(job.run_folder)
    try:
        content = read_file(job.run_folder / CONFIG, max_bytes=MAX_BYTES)
        document = parse_document(content, name=CONFIG)
        document = apply_overrides(document, () if file is None else file.overrides, is_known=lambda _: True)
    except OSError as error:
        notes.append(f"{CONFIG}: cannot be read: {error.strerror or error}")
        return ()
    except ConfigError as error:
        notes.append(f"{CONFIG}: {error}")
        return ()
    try:
        config = check(document, TrainConfig, expects_extra=True).config
    except ConfigError:  # of another release, or it needs modules of the user: what was written is known
        notes.append("defaults are not shown: this release does not take the config as it is")
        return describe_written(document)
    return describe_values(config, document, left_out=())


def _made_of(job: ResolvedJob) -> Iterator[tuple[str, str]]:
    record, origin = job.record, load_origin(job.run_folder)
    yield "run id", record.run_id
    yield "config", record.config
    yield "project", record.project
    yield "command", " ".join(("ftlaunch", *record.command))
    yield "kind of job object", record.api
    if record.code_sha256:
        yield "code", record.code_sha256[:_SHORT]
    if origin is not None:
        yield from origin.versions.items()
        for path, digest in origin.lists.items():
            yield f"list {path}", digest[:_SHORT]
