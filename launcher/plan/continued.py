"""The run that a job goes on from, and the folder of the output volume that was that run's own. Pure."""

from __future__ import annotations

from dataclasses import dataclass

from launcher.config.load import RunConfig
from launcher.plan.paths import find_covering, pod_path
from trainer.config.problems import Problem
from trainer.protocol.lastrun import JOB_MARK


@dataclass(frozen=True, kw_only=True, slots=True)
class Continued:
    """An earlier run.

    Attributes:
        run_id: 32 hexadecimal digits.
        sub_path: Folder of the output volume that was its own, empty for all of it; None where not known.
    """

    run_id: str
    sub_path: str | None


def find_output_volume(config: RunConfig) -> int | None:
    """Return the index of the volume that `Global.output_dir` lies on; None for no volume."""
    mounts = [volume.mount for volume in config.job.launch.volumes]
    return find_covering(pod_path(config.job.run.output_dir), mounts)


def find_lost_folder(config: RunConfig, continues: Continued | None) -> list[Problem]:
    """Return a problem where the output volume has a folder a run, and the earlier run's is not known."""
    index = find_output_volume(config)
    if continues is None or continues.sub_path is not None or index is None:
        return []
    sub_path = config.job.launch.volumes[index].sub_path or ""
    if JOB_MARK not in sub_path:
        return []
    message = (
        f"expected the folder of run {continues.run_id}, which is not recorded here, got {sub_path!r}; "
        f"write that job's name in the place of {JOB_MARK}"
    )
    return [config.document.problem(("Launch", "volumes", index, "sub_path"), message)]
