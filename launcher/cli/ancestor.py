"""The job that a new one goes on from: `--continue JOB`."""

from __future__ import annotations

import posixpath
from dataclasses import dataclass
from typing import TYPE_CHECKING

from launcher.cli.jobs import find_job
from launcher.errors import NotFoundError, UsageError
from launcher.names import is_run_id
from launcher.render.manifest import Manifest, ManifestError, parse_manifest
from launcher.runs.store import MANIFEST
from trainer.protocol.codec import FormatError
from trainer.protocol.environment import NODE_FILE
from trainer.protocol.nodefile import parse_node_file

if TYPE_CHECKING:
    from launcher.plan.continued import Continued


@dataclass(frozen=True, kw_only=True, slots=True)
class Ancestor:
    """An earlier run.

    Attributes:
        job: As it was named on the command line.
        run_id: 32 hexadecimal digits.
        output_dir: Where it wrote, as a path in the pod; None where that is not recorded here.
        sub_path: Folder of the volume there, empty for all of it; None where that is not recorded here.
        folder_name: Of a folder of its own, where it got one: the job's name.
    """

    job: str
    run_id: str
    output_dir: str | None
    sub_path: str | None
    folder_name: str = ""

    @property
    def continued(self) -> Continued:
        """What a plan takes of it."""
        from launcher.plan.continued import Continued  # here: pydantic comes with it

        return Continued(run_id=self.run_id, sub_path=self.sub_path)

    def output_below(self, output_dir: str) -> str | None:
        """Return where the run wrote if that was a folder of its own in the config's; else None."""
        from launcher.plan.paths import pod_path  # as above

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
                where=f"--continue {self.job}",
                expected=f"Global.output_dir {self.output_dir!r}, as in that run",
                got=f"{output_dir!r}",
                fix=f"pass -o Global.output_dir={self.output_dir}",
            )


def find_ancestor(text: str) -> Ancestor:
    """Return the run that a job's name, its handle or a run id means; it must not run any more.

    A run id is taken as it is: the job may have been submitted from another machine. The trainer checks that
    the output folder is that run's, and that nobody writes to it.

    Raises:
        NotFoundError: No such job was submitted from here.
        UsageError: It still runs.
    """
    if is_run_id(text):
        return Ancestor(job=text, run_id=text, output_dir=None, sub_path=None)
    found = find_job(text)
    try:
        status = found.backend.status(found.handle)
    except NotFoundError:  # the job is gone; its output may well be there
        pass
    else:
        if not status.state.is_terminal:
            raise UsageError(
                where=f"--continue {text}",
                expected="a job that has ended",
                got=f"one that is {status.state.value}",
                fix=f"`ftlaunch cancel {found.handle.job}` first",
            )
    path = found.store.run_folder(found.handle.job) / MANIFEST
    try:
        manifest = parse_manifest(path.read_text(encoding="utf-8"))
        output_dir = parse_node_file(manifest.config_map["data"][NODE_FILE]).output_dir
    except (OSError, ManifestError, FormatError, KeyError):
        return Ancestor(job=text, run_id=found.record.run_id, output_dir=None, sub_path=None)
    return Ancestor(
        job=text,
        run_id=found.record.run_id,
        output_dir=output_dir,
        sub_path=_find_folder(manifest, output_dir),
        folder_name=found.handle.job,
    )


def _find_folder(manifest: Manifest, output_dir: str) -> str:
    from launcher.plan.paths import find_covering  # as above

    container = next(
        item for item in manifest.pod_spec["containers"] if item["name"] == manifest.kind.container
    )
    mounts = container.get("volumeMounts") or []
    index = find_covering(output_dir, [str(mount["mountPath"]) for mount in mounts])
    return "" if index is None else str(mounts[index].get("subPath", ""))
