"""Where every value of a job comes from. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from launcher.config.launch import LaunchSection
from launcher.config.load import RunConfig
from launcher.plan.jobplan import JobPlan
from trainer.config.problems import KeyPath, format_path
from trainer.protocol.environment import API_ACCESS, CONFIG_MOUNT, NODE, WORKSPACE

DEFAULT, OURS = "default", "ftlaunch"
_SECTION = "Launch"


@dataclass(frozen=True, kw_only=True, slots=True)
class Row:
    """One value.

    Attributes:
        kind: `launch`, `env`, `argv` or `mount`.
        name: Key of the config, variable, place in the command, or path in the pod.
        value: As it counts.
        source: A flag, `-o …`, a variable, `file:line:column`, `default`, or `ftlaunch: why`.
    """

    kind: str
    name: str
    value: object
    source: str


def explain(config: RunConfig, job: JobPlan, *, operator: dict[str, str]) -> list[Row]:
    """Return all rows, in the order of the manifest's parts.

    Args:
        config: As loaded.
        job: As planned from it.
        operator: Variables that whoever runs the pods adds, of node 0.
    """
    return [*_launch(config), *_env(config, job, operator), *_argv(config, job), *_mounts(config, job)]


def _launch(config: RunConfig) -> Iterator[Row]:
    values = config.job.launch.model_dump(mode="json")
    for key in LaunchSection.model_fields:
        source = _source(config, (_SECTION, key))
        yield Row(kind="launch", name=f"{_SECTION}.{key}", value=values[key], source=source)
        for path in _parts_set_apart(config, key):
            value, source = _value_at(config, path), _source(config, path)
            yield Row(kind="launch", name=format_path(path), value=value, source=source)


def _parts_set_apart(config: RunConfig, key: str) -> list[KeyPath]:
    """Find what inside a key was set by an option of its own: `-o Launch.env.A=1`, `--volume`."""
    return [
        path
        for path, location in config.document.locations.items()
        if path[:2] == (_SECTION, key) and len(path) > 2 and (location.source or "").startswith("-")
    ]


def _value_at(config: RunConfig, path: KeyPath) -> object:
    value: object = config.document.values
    for part in path:
        value = value[part]  # type: ignore[index]  # it has a place, so it is there
    return value


def _env(config: RunConfig, job: JobPlan, operator: dict[str, str]) -> Iterator[Row]:
    yield Row(kind="env", name=NODE, value="0, 1, …", source=f"{OURS}: index of the pod")
    for name, value in (("HOME", "/home/trainer"), ("TMPDIR", "/tmp")):  # noqa: S108 - a pod's own
        yield Row(kind="env", name=name, value=value, source=OURS)
    for name, value in job.env.items():
        yield Row(kind="env", name=name, value=value, source=_source(config, (_SECTION, "env", name)))
    for name, value in operator.items():
        yield Row(kind="env", name=name, value=value, source="whoever runs the pods, on node 0")


def _argv(config: RunConfig, job: JobPlan) -> Iterator[Row]:
    for index, part in enumerate(job.command):
        before = job.command[index - 1] if index else ""
        if before == "-o":
            typed = part in config.overrides
            source = f"-o {part}" if typed else f"{OURS}: no GPUs, so the ranks are the CPU's"
        else:
            source = OURS
        yield Row(kind="argv", name=str(index), value=part, source=source)


def _mounts(config: RunConfig, job: JobPlan) -> Iterator[Row]:
    yield Row(kind="mount", name=CONFIG_MOUNT, value=f"ConfigMap {job.job}-config", source=OURS)
    for path in (WORKSPACE, "/home/trainer", "/tmp"):  # noqa: S108 - a pod's own
        yield Row(kind="mount", name=path, value="emptyDir", source=OURS)
    shm = _source(config, (_SECTION, "resources", "shm"))
    yield Row(kind="mount", name="/dev/shm", value=f"memory, {job.resources.shm_size}", source=shm)  # noqa: S108
    for index, mount in enumerate(job.mounts):
        key: KeyPath = (_SECTION, "weights")
        if index < len(config.job.launch.volumes):
            key = (_SECTION, "volumes", index)
        kind = mount.source[0] if mount.source else ""
        named = (
            ("claim", mount.claim), ("host path", mount.host_path), ("volume", kind), ("local", mount.local),
        )  # fmt: skip
        value = ", ".join(f"{what} {text}" for what, text in named if text)
        if mount.read_only:
            value += ", read-only"
        yield Row(kind="mount", name=mount.path, value=value, source=_source(config, key))
    if job.node_file.publish is not None:
        key = (_SECTION, "publish_progress")
        value = f"token of service account {job.service_account}, read-only"
        yield Row(kind="mount", name=API_ACCESS, value=value, source=_source(config, key))
    for index, secret in enumerate(job.secrets):
        value = f"key {secret.key} of Secret {secret.secret}"
        source = _source(config, (_SECTION, "secrets", index))
        yield Row(kind="mount", name=secret.path, value=value, source=source)


def _source(config: RunConfig, path: KeyPath) -> str:
    locations = config.document.locations
    for length in range(len(path), 1, -1):
        location = locations.get(path[:length])
        if location is not None:
            return location.source or f"{config.document.name}:{location.line}:{location.column}"
    return DEFAULT
