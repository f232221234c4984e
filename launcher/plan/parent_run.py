"""The run that a job goes on from, and the folder of the output volume that was that run's own. Pure."""

from __future__ import annotations

import posixpath
from dataclasses import dataclass

from launcher.config.load import RunConfig
from launcher.errors import UsageError
from launcher.plan.paths import find_covering, pod_path
from trainer.config.problems import Problem
from trainer.protocol.lastrun import JOB_MARK


@dataclass(frozen=True, kw_only=True, slots=True)
class ParentRun:
    """An earlier run, which has ended.

    Attributes:
        run_id: 32 hexadecimal digits.
        sub_path: Folder of the output volume that was its own, empty for all of it; None where not known.
        output_dir: Where it wrote, as a path in the pod; None where that is not known.
        asked: What the caller named it by.
        code_sha256: Of the user's code that it had, or None.
        faulty_nodes: Names of nodes where it ended of a broken GPU.
        folder_name: Of a folder of its own in `Global.output_dir`, where it got one: the job's name.
    """

    run_id: str
    sub_path: str | None
    output_dir: str | None = None
    asked: str = ""
    folder_name: str = ""
    code_sha256: str | None = None
    faulty_nodes: tuple[str, ...] = ()

    def output_below(self, output_dir: str) -> str | None:
        """Return where the run wrote if that was a folder of its own in the config's; else None."""
        if self.output_dir is None or self.output_dir != f"{pod_path(output_dir)}/{self.folder_name}":
            return None
        return posixpath.join(output_dir, self.folder_name)

    def require_same_output(self, output_dir: str) -> None:
        """Do nothing where the new run writes to the same place.

        Raises:
            UsageError: It does not.
        """
        if self.output_dir not in (None, output_dir):
            raise UsageError(
                where=f"--continue {self.asked}",
                expected=f"Global.output_dir {self.output_dir!r}, as in that run",
                got=f"{output_dir!r}",
                fix=f"pass -o Global.output_dir={self.output_dir}",
            )


def find_output_volume(config: RunConfig) -> int | None:
    """Return the index of the volume that `Global.output_dir` lies on; None for no volume."""
    mounts = [volume.mount for volume in config.job.launch.volumes]
    return find_covering(pod_path(config.job.run.output_dir), mounts)


def find_lost_folder(config: RunConfig, parent: ParentRun | None) -> list[Problem]:
    """Return a problem where the output volume has a folder a run, and the earlier run's is not known."""
    index = find_output_volume(config)
    if parent is None or parent.sub_path is not None or index is None:
        return []
    sub_path = config.job.launch.volumes[index].sub_path or ""
    if JOB_MARK not in sub_path:
        return []
    message = (
        f"expected the folder of run {parent.run_id}, which is not recorded here, got {sub_path!r}; "
        f"write that job's name in the place of {JOB_MARK}"
    )
    return [config.document.problem(("Launch", "volumes", index, "sub_path"), message)]
