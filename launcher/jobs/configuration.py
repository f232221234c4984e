"""The configuration of a run with where each value comes from.

Read from its run folder, and nobody is asked; of a job that was submitted elsewhere what stands beside the
job in the cluster (`fetch_configuration`).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from launcher.errors import NotFoundError
from launcher.jobs.changes import options_of
from launcher.jobs.metrics import load_job_file
from launcher.jobs.resolve import ResolvedJob
from launcher.objects import CONFIG_MAPS
from launcher.runs.origin import load_origin
from launcher.runs.store import CONFIG
from trainer.protocol.codec import FormatError
from trainer.protocol.environment import NODE_FILE
from trainer.protocol.nodefile import parse_node_file
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


def is_recorded(job: ResolvedJob) -> bool:
    """Say whether a job's config lies on this machine."""
    return (job.run_folder / CONFIG).is_file()


def fetch_configuration(job: ResolvedJob) -> Configuration:
    """Read it from the ConfigMap of a job that was submitted elsewhere: one request.

    Raises:
        LaunchError: The cluster does not answer, does not show it, or has none.
    """
    cluster = job.backend.cluster
    if cluster is None:
        raise NotFoundError(where=job.name, expected=f"a {CONFIG} on this machine", got="none")
    name = f"{job.handle.job}-config"
    data = cluster.api.get(CONFIG_MAPS, name, namespace=job.handle.namespace).get("data") or {}
    notes = ["it is read from the cluster: options of its submit and origins of -o lie with who submitted it"]
    content = str(data.get(CONFIG, "")).encode()
    values = _describe_content(content, (), notes) if content else ()
    if not content:
        notes.append(f"{name}: expected {CONFIG} in it, got none")
    made_of = [("run id", job.record.run_id), ("kind of job object", job.record.api)]
    try:
        node_file = parse_node_file(str(data.get(NODE_FILE, "")))
    except FormatError as error:
        notes.append(f"{name}: {NODE_FILE}: {error}")
    else:
        made_of += [
            ("nodes × ranks", f"{node_file.nodes} × {node_file.procs_per_node}"),
            ("output folder", node_file.output_dir),
        ]
        if node_file.code_sha256:
            made_of.append(("code", node_file.code_sha256[:_SHORT]))
    return Configuration(values=values, options=(), made_of=tuple(made_of), notes=tuple(notes))


def _read_values(job: ResolvedJob, notes: list[str]) -> tuple[ConfigValue, ...]:
    from trainer.config.document import MAX_BYTES  # YAML

    file = load_job_file(job.run_folder)
    try:
        content = read_file(job.run_folder / CONFIG, max_bytes=MAX_BYTES)
    except OSError as error:
        notes.append(f"{CONFIG}: cannot be read: {error.strerror or error}")
        return ()
    return _describe_content(content, () if file is None else file.overrides, notes)


def _describe_content(
    content: bytes, overrides: Sequence[str], notes: list[str]
) -> tuple[ConfigValue, ...]:  # fmt: skip
    from trainer.config.document import parse_document  # YAML and pydantic
    from trainer.config.load import check
    from trainer.config.origins import describe_values, describe_written
    from trainer.config.overrides import apply_overrides
    from trainer.config.problems import ConfigError
    from trainer.config.root import TrainConfig

    try:
        document = parse_document(content, name=CONFIG)
        document = apply_overrides(document, tuple(overrides), is_known=lambda _: True)
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
