"""Paths of a config must lead somewhere in the pod: relative ones count from its working directory."""

from __future__ import annotations

import posixpath
from collections.abc import Sequence

from launcher.config.load import RunConfig
from launcher.plan.jobplan import PlannedVolume
from trainer.config.paths import find_paths
from trainer.config.problems import KeyPath, Problem
from trainer.protocol.environment import WORKSPACE


def pod_path(path: str) -> str:
    """Return the absolute path in the pod."""
    return posixpath.normpath(posixpath.join(WORKSPACE, path))


def find_covering(path: str, mounts: Sequence[str]) -> int | None:
    """Return which mount an absolute path of the pod lies under: the innermost; None for no mount."""
    covering = [index for index, mount in enumerate(mounts) if path == mount or path.startswith(mount + "/")]
    return max(covering, key=lambda index: len(mounts[index]), default=None)


def find_unmounted(config: RunConfig, mounts: tuple[PlannedVolume, ...]) -> list[Problem]:
    """Return a problem for every path that lies under no mount, or that is written to on a read-only one.

    Training reads neither `Infer` nor `save_inference_dir`; their paths may lead nowhere.
    """
    problems = []
    paths: dict[KeyPath, str] = {
        **{
            ("Launch", "extra_modules", index): module
            for index, module in enumerate(config.job.launch.extra_modules)
            if "/" in module or module.endswith(".py")
        },
        ("Global", "output_dir"): config.job.run.output_dir,
        **dict(find_paths(config.document.values)),
    }
    for key, path in paths.items():
        if key[0] == "Infer" or key[-1] == "save_inference_dir":
            continue
        absolute = pod_path(path)
        covering = find_covering(absolute, [mount.path for mount in mounts])
        if covering is None:
            folder = _mount_for(absolute)
            message = (
                f"expected a path under a mounted volume, got {path!r}, which is {absolute} in the pod; add "
                f"`volumes: [{{mount: {folder}, claim: CLAIM}}]` to Launch, or pass --volume {folder}=CLAIM"
            )
        elif key[-1] == "output_dir" and mounts[covering].read_only:
            message = (
                f"expected a volume that can be written to, got {path!r} on {mounts[covering].path}, "
                "which is read-only"
            )
        else:
            continue
        problems.append(config.document.problem(key, message))
    return problems


def _mount_for(absolute: str) -> str:
    """Return the topmost folder of a path that can be mounted."""
    if absolute == WORKSPACE:
        return "/data"  # the working directory itself is every pod's own
    base = WORKSPACE if absolute.startswith(WORKSPACE + "/") else ""
    return f"{base}/{absolute[len(base) + 1 :].partition('/')[0]}"
