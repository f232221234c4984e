"""What a config cannot ask for, given where it is to run; found all at once."""

from __future__ import annotations

from collections.abc import Iterator

from launcher.config.launch import LaunchSection
from launcher.config.load import RunConfig
from launcher.kinds.base import JobKind
from launcher.plan.capabilities import CAPABILITIES
from launcher.plan.handle import BackendKind
from launcher.plan.jobplan import PlannedCode, PlannedVolume
from launcher.plan.paths import find_unmounted
from trainer.config.problems import KeyPath, Problem

_MAX_CONFIG_BYTES = 900 * 1024  # a ConfigMap holds 1 MiB, node.json and metadata included


def find_problems(
    config: RunConfig, mounts: tuple[PlannedVolume, ...], *, on: BackendKind, kind: JobKind,
    code: PlannedCode | None = None,
) -> list[Problem]:  # fmt: skip
    """Return every reason why the job cannot run there, as an object of its kind."""
    launch, problem = config.job.launch, config.document.problem
    on_cluster = CAPABILITIES[on].is_cluster
    problems: list[Problem] = []
    if len(config.content) > _MAX_CONFIG_BYTES:
        message = f"expected at most {_MAX_CONFIG_BYTES} bytes, got {len(config.content)}"
        problems.append(Problem(file=str(config.path), message=message))
    if CAPABILITIES[on].has_containers:  # else paths lead to this machine
        problems += find_unmounted(config, mounts)
    device = config.job.run.device
    if launch.gpus and device != "gpu":
        message = f"expected 'gpu' where gpus is {launch.gpus}, got {device!r}; or set gpus to 0"
        problems.append(problem(("Global", "device"), message))
    if launch.gpus and launch.procs_per_node != "auto" and launch.procs_per_node > launch.gpus:
        message = f"expected at most {launch.gpus}, one a GPU, got {launch.procs_per_node}"
        problems.append(problem(("Launch", "procs_per_node"), message))
    if launch.code_volume is not None and launch.code is None:
        message = f"expected `code` beside it, got none; name your code, or leave {launch.code_volume!r} out"
        problems.append(problem(("Launch", "code_volume"), message))
    if code is not None and code.mount is not None:
        wanted = "claim" if on_cluster else "local"
        holds = [mount for mount in mounts if mount.path == code.mount]
        if not any(mount.claim if on_cluster else mount.local for mount in holds):
            message = (
                f"expected the mount of a volume with `{wanted}:`, got {code.mount!r}; add it to volumes"
            )
            problems.append(problem(("Launch", "code_volume"), message))
    if launch.node_range is not None and launch.queue is not None:
        message = "expected no queue where nodes has min: a queue lets in all pods of a job or none"
        problems.append(problem(("Launch", "queue"), message))
    for key, why in kind.cannot.items():
        if is_given(launch, key):
            name = f"{kind.resource.kind} of {kind.resource.api_version}"
            problems.append(problem(("Launch", *key), f"expected what a {name} can do: {why}"))
    wanted = "`claim: NAME`" if on_cluster else "`local: PATH`"
    for path, mount, source in _sources(config, on_cluster=on_cluster):
        if source is None:
            problems.append(problem(path, f"expected {wanted} for {mount} on {on}, got none; add it"))
    return problems


def is_given(launch: LaunchSection, key: tuple[str, ...]) -> bool:
    """Say whether a key of `Launch` has a value, wherever it comes from.

    Places in the config do not tell: a mapping that `-o` or a variable gives has one for all of its keys, and
    a key that is null has one as well.
    """
    value: object = launch
    for name in key:
        value = getattr(value, name, None)
    return value is not None


def _sources(config: RunConfig, *, on_cluster: bool) -> Iterator[tuple[KeyPath, str, str | None]]:
    """Yield where each mount is written, its path in the pod, and what is mounted there."""
    launch, cluster = config.job.launch, on_cluster
    for index, volume in enumerate(launch.volumes):
        there = next(iter(volume.sources), None)
        if not cluster and volume.empty_dir is not None:
            continue
        yield ("Launch", "volumes", index), volume.mount, there if cluster else volume.local
    for index, secret in enumerate(launch.secrets):
        yield ("Launch", "secrets", index), secret.mount, secret.name if cluster else secret.local
    if launch.weights is not None:
        weights = launch.weights
        yield ("Launch", "weights"), weights.path, weights.claim if cluster else weights.local
