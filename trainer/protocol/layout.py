"""Where things lie in an output folder."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

from trainer.protocol.codec import MAX_COUNT, Count, Within
from trainer.protocol.runfile import CHECKPOINTS, FOLDER
from trainer.protocol.writerlock import LOCK

MANIFEST = "manifest.json"
"""In a checkpoint's folder, a `Manifest`."""
MANIFEST_SCHEMA = 1
_NAME = re.compile(r"e(\d{3,})-s(\d{6,})")
# No dot in front, nothing that a shell, Python or ftlaunch itself would read from a folder that one works in,
# and none of the names that are devices wherever they stand on Windows.
_FILE = re.compile(
    r"(?!(?:con|prn|aux|nul|com\d|lpt\d)\.)[a-z0-9][a-z0-9_-]{0,63}\.(?:pdparams|pdopt|pdstates|pdema|safetensors)"
    r"|(?:state|settings)\.json",
    re.ASCII,
)


@dataclass(frozen=True, slots=True, order=True)
class CheckpointName:
    """Place of a checkpoint in its run: epochs completed and optimizer steps completed."""

    epoch: int
    step: int

    def __str__(self) -> str:
        return f"e{self.epoch:03d}-s{self.step:06d}"


@dataclass(frozen=True, kw_only=True, slots=True)
class SavedFile:
    """A file as it was saved: bytes, and hexadecimal digits."""

    size: Count
    sha256: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Keep:
    """Which checkpoints are kept when a further one is saved; what a pointer names stays in any case.

    Attributes:
        latest: So many of the furthest.
        best: So many of those with the best evaluations.
        every: That of the end of every so many epochs; 0 for none.
    """

    latest: Annotated[int, Within(1, MAX_COUNT)] = 2
    best: Annotated[int, Within(1, MAX_COUNT)] = 1
    every: Count = 0


@dataclass(frozen=True, kw_only=True, slots=True)
class Manifest:
    """What a checkpoint's folder holds; written last, so that a folder without one is no checkpoint.

    Attributes:
        run_id: Run that wrote it.
        name: Of the folder.
        files: Name -> file.
        metric: First metric of an evaluation of these weights; None where they were not evaluated.
        less_is_better: That metric counts mistakes.
        ends_epoch: It was saved at the end of an epoch.
        keep: What the run keeps besides it.
        names: Names of PaddleClas that it has, `best_model` among them where it is the best one.
    """

    run_id: str
    name: str = ""
    files: Mapping[str, SavedFile]
    metric: float | None = None
    less_is_better: bool = False
    ends_epoch: bool = False
    keep: Keep = field(default_factory=Keep)
    names: tuple[str, ...] = ()


def parse_checkpoint_name(text: str) -> CheckpointName | None:
    """Read a folder's name, such as `e003-s001200`; None where it is not a checkpoint's."""
    match = _NAME.fullmatch(text)
    return CheckpointName(int(match[1]), int(match[2])) if match else None


def explain_kept(
    found: Mapping[CheckpointName, Manifest],
    keep: Keep,
    *,
    latest: CheckpointName | None = None,
    best: CheckpointName | None = None,
) -> dict[CheckpointName, tuple[str, ...]]:
    """Say of each checkpoint why it is kept: `latest`, `best`, `every`, or by nothing, when it may go.

    Args:
        found: All that are whole, with what they say of themselves.
        keep: How many of each.
        latest: What the pointer to the latest names, which a run that goes on from an earlier step has behind
            others.
        best: What the pointer to the best one names.
    """
    # By steps first: a run that goes on with another list has epochs of another length.
    furthest = sorted(found, key=lambda name: (name.step, name.epoch), reverse=True)

    def rank(name: CheckpointName) -> float:
        metric = found[name].metric
        assert metric is not None
        return metric if found[name].less_is_better else -metric

    # Sorting keeps the order of equals: of two, the later one is the better one, as for the pointer.
    measured = sorted((name for name in furthest if found[name].metric is not None), key=rank)
    why: dict[str, set[CheckpointName | None]] = {
        "latest": {*furthest[: keep.latest], latest},
        "best": {*measured[: keep.best], best} if keep.best > 1 else {best},
        "every": {
            name for name in found if keep.every and found[name].ends_epoch and not name.epoch % keep.every
        },
    }
    return {name: tuple(word for word, names in why.items() if name in names) for name in furthest}


def is_checkpoint_file(name: str) -> bool:
    """Whether a checkpoint has files of this name: weights, states, and what describes them."""
    return _FILE.fullmatch(name) is not None


@dataclass(frozen=True, slots=True)
class OutputLayout:
    """Paths below `Global.output_dir`."""

    output_dir: Path

    @property
    def state_dir(self) -> Path:
        """Our own folder; everything that is trusted on resume lies here."""
        return self.output_dir / FOLDER

    @property
    def checkpoints_dir(self) -> Path:
        """Folder of the checkpoint folders."""
        return self.state_dir / CHECKPOINTS

    @property
    def pointer(self) -> Path:
        """File that names the latest whole checkpoint."""
        return self.checkpoints_dir / "latest"

    @property
    def best_pointer(self) -> Path:
        """File that names the checkpoint with the best evaluation."""
        return self.checkpoints_dir / "best"

    @property
    def metrics(self) -> Path:
        """metrics.jsonl, append-only."""
        return self.output_dir / "metrics.jsonl"

    @property
    def writer_lock(self) -> Path:
        """Lock of the one writer."""
        return self.state_dir / LOCK

    def checkpoint_dir(self, name: CheckpointName) -> Path:
        """Folder of one checkpoint."""
        return self.checkpoints_dir / str(name)
